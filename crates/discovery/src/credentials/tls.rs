//! TLS to a control plane: who is believed, what is shown, and what went wrong in words.
//!
//! Whatever address it was reached at, a control plane is who an authority signed for that is known here: by its fingerprint,
//! which is compared with what the other side shows beside its certificate.

use std::{error::Error as _, io, sync::Arc, time::SystemTime};

use api::join::Fingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a connection is agreed on.
#[derive(Debug, Clone)]
pub(crate) struct InTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl InTls {
    /// Believes these, the newest last, and shows this.
    pub(super) fn new(
        believed: Vec<Fingerprint>,
        shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, Error> {
        let name = believed.last().map(Fingerprint::server_name).unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|error| Error::General(error.to_string()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Believed { believed, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match shown {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Who shows another certificate is somebody else.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    pub(crate) async fn agree(self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.config).connect(self.name, stream).await.map_err(words_of)
    }
}

/// The same error in words that say what to do, where it is one of TLS.
fn words_of(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::General(words)) => io::Error::other(words.clone()),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => io::Error::other(
            "it does not speak TLS: an older control plane, or another listener, or one whose log says why it signs nothing",
        ),
        None if error.kind() == io::ErrorKind::UnexpectedEof && error.source().is_none() => {
            io::Error::other(
                "it closed the connection while TLS was agreed on: an older control plane, or another listener",
            )
        }
        _ => error,
    }
}

#[derive(Debug)]
struct Believed {
    believed: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Believed {
    fn in_words(&self, shown: Option<&CertificateDer<'_>>) -> String {
        let believed: Vec<_> = self.believed.iter().map(ToString::to_string).collect();
        let shown = match shown {
            Some(shown) => format!("a certificate of authority {}", Fingerprint::of(shown)),
            None => "a certificate that no authority of a control plane signed".to_owned(),
        };
        format!(
            "it shows {shown}, and known here is {}: it is another control plane, or its authority was made anew: name a token that it made (`laneway token create`), or its authority (--control-ca, from `laneway ca show`)",
            believed.join(" or ")
        )
    }
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_believed = |der: &&CertificateDer<'_>| self.believed.contains(&Fingerprint::of(der));
        let Some(authority) = intermediates.iter().find(is_believed) else {
            return Err(Error::General(self.in_words(intermediates.last())));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        let verified =
            verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now);
        verified.map_err(|error| {
            use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            match error {
                Error::InvalidCertificate(
                    Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
                ) => Error::General(format!(
                    "its certificate is not good at this time, which is {} here: set the clock of this machine, or that of the control plane's",
                    api::time::rfc3339(SystemTime::now())
                )),
                other => other,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
