//! TLS of the discovery listener: what it shows, and that whoever shows a certificate has its key.
//!
//! Which certificates are good is not asked in the handshake: an alert of TLS says less than a refusal of gRPC can.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::join::Fingerprint;
use parking_lot::Mutex;
use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use super::{Authorities, Authority, CLOCKS_DIFFER, CertifyError, good_from};

/// How long what the listener shows is good: it is made again when half of that is over.
const SHOWN_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// What the listener shows, by authority, and until when.
#[derive(Debug, Default)]
pub(super) struct Server {
    shown: Mutex<Vec<(Fingerprint, SystemTime, Arc<CertifiedKey>)>>,
}

/// TLS as the discovery listener speaks it, with whatever authorities there are at the time.
pub(crate) fn config(authorities: &Arc<Authorities>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider::default_provider());
    let signatures = authorities.verifier_of_signatures();
    let signatures = signatures.ok_or_else(|| Error::General("nobody signs".to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(HasItsKey { signatures }))
        .with_cert_resolver(Arc::new(Shown(Arc::clone(authorities))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is resumed would be that of a certificate which nobody has looked at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[derive(Debug)]
struct Shown(Arc<Authorities>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = SystemTime::now();
        let authority = self.0.shown_to(hello.server_name().unwrap_or_default(), now)?;
        self.0.server.of(&authority, now)
    }
}

impl Authorities {
    /// The authority that is asked for, or the newest where that is none that signs here: who asked says then whom it knows.
    pub(super) fn shown_to(&self, asked: &str, now: SystemTime) -> Option<Arc<Authority>> {
        let mut sign = self.believed(now);
        sign.retain(|it| it.issuer.is_some());
        let authority = sign.iter().find(|it| it.fingerprint.is_asked_for(asked));
        authority.or(sign.last()).cloned()
    }
}

impl Server {
    pub(super) fn of(&self, authority: &Authority, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let mut shown = self.shown.lock();
        // One that was made under a clock that was ahead may not be good yet.
        let made_by = |until: SystemTime| now + CLOCKS_DIFFER / 2 + SHOWN_LIFE / 2 >= until;
        shown.retain(|(_, until, _)| now < *until && made_by(*until));
        if let Some((.., key)) = shown.iter().find(|(of, ..)| *of == authority.fingerprint) {
            return Some(Arc::clone(key));
        }
        let key = make(authority, now)
            .inspect_err(|error| tracing::error!(%error, "the discovery listener has no certificate to show"))
            .ok()?;
        let key = Arc::new(key);
        shown.push((authority.fingerprint, now + SHOWN_LIFE / 2, Arc::clone(&key)));
        Some(key)
    }
}

fn make(authority: &Authority, now: SystemTime) -> Result<CertifiedKey, CertifyError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertifyError::Made)?;
    let mut params = good_from(now, now + SHOWN_LIFE);
    params.distinguished_name.push(DnType::CommonName, "Laneway discovery");
    let names = api::join::names_of_control_plane().try_into().map_err(CertifyError::Made)?;
    params.subject_alt_names = vec![SanType::DnsName(names)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = authority.sign(params, &key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = provider::sign::any_ecdsa_type(&key)
        .map_err(|_| CertifyError::Made(rcgen::Error::CouldNotParseKeyPair))?;
    // Who knows the authority by its fingerprint alone must see it.
    Ok(CertifiedKey::new(vec![certificate.der().clone(), authority.der.clone()], key))
}

/// Has clients prove that they hold the key of the certificate they show; whether that is good is asked for each call.
#[derive(Debug)]
struct HasItsKey {
    signatures: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for HasItsKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
