//! HTTPS in the demo: a certificate made for it alone, what is applied beside the samples, and a client that believes it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::traffic::{Answer, in_time, whole};

/// How long the certificate is good: longer than anybody plays, and not so soon over that it is warned of.
const GOOD_FOR: Duration = Duration::from_secs(90 * 86_400);

/// The certificate's name among resources.
pub(super) const CERTIFICATE: &str = "demo";

/// The demo's certificate, in files that a user may take.
#[derive(Debug, Clone)]
pub(crate) struct Https {
    /// Where it is shown.
    address: SocketAddr,
    /// PEM: who signed it.
    pub(crate) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    believes: Arc<ClientConfig>,
}

impl Https {
    /// Makes a certificate for an address, in files of a directory.
    pub(super) fn make(address: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut params = lasting(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Laneway demo");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec![address.ip().to_string(), "localhost".to_owned()];
        let certificate = lasting(names)?.signed_by(&key, &authority)?;

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let file = |name: &str, text: &str, mode: u32| {
            let path = directory.join(name);
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(mode).open(&path)?;
            file.write_all(text.as_bytes())?;
            Ok::<_, std::io::Error>(path)
        };
        Ok(Self {
            address,
            authority: file("authority.pem", &authority.pem(), 0o644)?,
            certificate: file("certificate.pem", &certificate.pem(), 0o644)?,
            key: file("key.pem", &key.serialize_pem(), 0o600)?,
            believes: Arc::new(config),
        })
    }

    /// Sends one GET in TLS.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request =
            Request::get(path).header(HOST, self.address.to_string()).body(Empty::<Bytes>::new())?;
        in_time(async {
            let stream = TcpStream::connect(self.address).await?;
            let name = ServerName::from(self.address.ip());
            let believing = TlsConnector::from(Arc::clone(&self.believes));
            let stream = believing.connect(name, stream).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let answer = whole(sender.send_request(request).await?).await;
            connection.abort();
            answer
        })
        .await
    }
}

fn lasting(names: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    let now = SystemTime::now();
    // Clocks differ.
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + GOOD_FOR).into();
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn its_files_fit_together_and_nobody_else_reads_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:8443".parse().unwrap();
        // Again, over the files of before.
        for _ in 0..2 {
            let made = Https::make(address, &directory.path().join("https")).unwrap();
            let read = |path: &Path| fs::read_to_string(path).unwrap();
            let spec = api::resource::CertificateSpec {
                certificate: Some(read(&made.certificate)),
                private_key: Some(api::resource::WrittenKey::new(read(&made.key))),
                ..api::resource::CertificateSpec::default()
            };
            let object = api::resource::Certificate::new(CERTIFICATE, spec).into();
            assert_eq!(api::validate(&api::resource::Set::new([object])), []);
            assert!(read(&made.authority).starts_with("-----BEGIN CERTIFICATE-----"));
            let mode = fs::metadata(&made.key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
