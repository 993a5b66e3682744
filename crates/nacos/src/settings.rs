//! Which Nacos, who we are there, and whom we believe.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::Error;

/// How far the gRPC port is above the HTTP port: every server's rule, and every client's.
const GRPC_PORT_ABOVE: u16 = 1000;

/// The namespace that exists in every server. Written or not, it is the same.
pub(crate) const PUBLIC: &str = "public";

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A host name or an address.
    pub host: String,
    /// The port of its HTTP API, 8848 unless told otherwise. gRPC is 1000 above.
    pub port: u16,
}

impl Server {
    pub(crate) fn grpc_port(&self) -> u16 {
        self.port.saturating_add(GRPC_PORT_ABOVE)
    }

    /// `host:port` of its HTTP API.
    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

/// An address in IPv6 stands in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Who we are. Shows nothing of the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever logs in.
    User {
        /// The user.
        name: String,
        /// Its password.
        password: String,
    },
    /// Whoever signs each call, as Alibaba's servers (MSE) ask for it.
    AccessKey {
        /// The key's id.
        id: String,
        /// What is signed with.
        secret: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::User { name, .. } | Self::AccessKey { id: name, .. }) = self;
        f.debug_tuple("Credentials").field(name).finish()
    }
}

/// Where credentials come from: asked before every login, so that a password may be changed while we run. An error says
/// in words why there are none.
pub type Secrets = Arc<dyn Fn() -> Result<Credentials, String> + Send + Sync>;

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Those of the system.
    System,
    /// These, in PEM.
    Pem(String),
}

/// TLS, of HTTP and of gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Who signs the servers' certificates.
    pub authorities: Authorities,
    /// The name that the certificates are for; as the server is addressed when not given.
    pub server_name: Option<String>,
}

/// What a client is made of.
#[derive(Clone)]
pub struct Settings {
    /// The namespace's id or its name; empty or `public` is the one that is always there.
    pub namespace: String,
    /// Who we are; nobody when not given.
    pub secrets: Option<Secrets>,
    /// None: in the clear.
    pub tls: Option<TlsSettings>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("namespace", &self.namespace)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// TLS towards one server.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl TlsSettings {
    /// TLS towards a server, with what is spoken inside.
    pub(crate) fn towards(&self, server: &Server, inside: &[u8]) -> Result<Tls, Error> {
        let wrong = |reason: String| Error::Tls { reason };
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Authorities::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Authorities::Pem(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
        }
        if roots.is_empty() {
            return Err(wrong("there is no authority to believe".to_owned()));
        }
        let name = self.server_name.as_deref().unwrap_or(&server.host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| wrong(format!("`{name}` is no host name")))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![inside.to_vec()];
        Ok(Tls { config: Arc::new(config), name })
    }
}
