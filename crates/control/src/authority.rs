//! Who signs: the built-in authority behind the certificates of data planes and that of the discovery listener.
//!
//! It is made at the first start. A data plane says by the server name it asks for which authority it knows, so that a new one
//! can stand beside an old one until every certificate of the old has ended. Which certificates are let in, and as what, is
//! decided in `tokens/`; here is only whether they are good.

mod of_control;
mod server;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::join::{DataPlaneCertificate, DataPlaneName, Fingerprint};
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType,
};
use routes::tls::PrivateKey;
use rustls::{
    CertificateError, RootCertStore,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    keyring::{Keyring, KeyringError},
    store::StoredAuthority,
};
pub(crate) use of_control::{RotateError, begin};
use server::Server;
pub(crate) use server::config;

/// How far behind a data plane's clock may be: what is made now is good since then.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// How much longer than the life of what it signed an authority that was replaced is believed: renewals that are retried, and
/// clocks.
const REPLACED_MARGIN: Duration = Duration::from_secs(60 * 60);

/// Before the public part of the mesh's join token.
const MESH: &str = "mesh_";

/// Letters of that part beside.
const MESH_LETTERS: usize = 12;

/// All that are believed, the newest last: that one signs.
#[derive(Debug)]
pub(crate) struct Authorities {
    all: Mutex<Vec<Arc<Authority>>>,
    /// How long a certificate of a data plane is good.
    life: Duration,
    server: Server,
}

/// One that signs.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) fingerprint: Fingerprint,
    /// X.509 in PEM.
    pub(crate) certificate: String,
    der: CertificateDer<'static>,
    pub(crate) created: SystemTime,
    /// None where the key file does not open it: what it signed is believed, and it signs no more.
    issuer: Option<Issuer<'static, KeyPair>>,
}

/// What a data plane asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    /// X.509 in PEM.
    pub(crate) certificate: String,
    pub(crate) ends: SystemTime,
}

/// Why no certificate is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertifyError {
    #[error("signing_request: write a request of PKCS #10 in PEM, signed by its key ({0})")]
    Request(rcgen::Error),
    #[error("nobody signs: the control plane's log says why")]
    Nobody,
    #[error("the certificate cannot be made ({0})")]
    Made(rcgen::Error),
}

/// Why a certificate is not good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotGood {
    #[error("the certificate has ended by the control plane's clock, which says {now}: show a join token (--join-token-file), and look at both clocks if it was to be renewed", now = shown(.0))]
    Ended(SystemTime),
    #[error("the certificate is not yet good by the control plane's clock, which says {now}: set that clock or the data plane's", now = shown(.0))]
    NotYet(SystemTime),
    #[error(
        "the certificate was signed by somebody else than this control plane: show a join token of this one (--join-token-file)"
    )]
    OfAnother,
}

/// Why an authority is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("it cannot be signed ({0})")]
    Signed(#[from] rcgen::Error),
}

fn shown(time: &SystemTime) -> String {
    api::time::rfc3339(*time)
}

impl Authorities {
    /// As the store has them.
    pub(crate) fn new(stored: &[StoredAuthority], keyring: &Keyring, life: Duration) -> Self {
        let all = stored.iter().filter_map(|stored| Authority::open(stored, keyring)).map(Arc::new);
        Self { all: Mutex::new(all.collect()), life, server: Server::default() }
    }

    /// How long a certificate of a data plane is good.
    pub(crate) fn life(&self) -> Duration {
        self.life
    }

    /// From now on this one signs.
    pub(crate) fn add(&self, authority: Authority, now: SystemTime) {
        let mut all = self.all.lock();
        all.push(Arc::new(authority));
        let first = self.first_believed(&all, now);
        all.drain(..first);
    }

    /// Those that are believed, the newest last: one that was replaced as long as anything that it signed is good.
    pub(crate) fn believed(&self, now: SystemTime) -> Vec<Arc<Authority>> {
        let all = self.all.lock();
        all[self.first_believed(&all, now)..].to_vec()
    }

    /// Those that are believed no more.
    fn not_believed(&self, now: SystemTime) -> Vec<Arc<Authority>> {
        let all = self.all.lock();
        all[..self.first_believed(&all, now)].to_vec()
    }

    fn first_believed(&self, all: &[Arc<Authority>], now: SystemTime) -> usize {
        let outlived = |newer: &Arc<Authority>| now > newer.created + self.life + REPLACED_MARGIN;
        all.iter().rposition(outlived).unwrap_or(0)
    }

    /// Who signs now.
    pub(crate) fn newest(&self) -> Option<Arc<Authority>> {
        self.all.lock().last().filter(|newest| newest.issuer.is_some()).cloned()
    }

    /// Signs what a data plane asked for. Of the request its key counts alone.
    pub(crate) fn certify(
        &self,
        request: &str,
        name: &DataPlaneName,
        of: &str,
        now: SystemTime,
    ) -> Result<Certified, CertifyError> {
        let request =
            CertificateSigningRequestParams::from_pem(request).map_err(CertifyError::Request)?;
        let authority = self.newest().ok_or(CertifyError::Nobody)?;
        let ends = now + self.life;
        let mut params = good_from(now, ends);
        params.distinguished_name.push(DnType::CommonName, of);
        let uri = name.to_uri().try_into().map_err(CertifyError::Made)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = authority.sign(params, &request.public_key)?;
        Ok(Certified { certificate: certificate.pem(), ends })
    }

    /// Whose certificate it is that a data plane has shown, and its key with it.
    pub(crate) fn verify(
        &self,
        der: &[u8],
        now: SystemTime,
    ) -> Result<DataPlaneCertificate, NotGood> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.believed(now).iter().map(|it| it.der.clone()));
        let provider = Arc::new(provider::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = verifier.map_err(|_| NotGood::OfAnother)?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(since);
        verifier.verify_client_cert(&CertificateDer::from(der), &[], at).map_err(|error| {
            use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            match error {
                rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
                    NotGood::Ended(now)
                }
                rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
                    NotGood::NotYet(now)
                }
                _ => NotGood::OfAnother,
            }
        })?;
        DataPlaneCertificate::read(der).ok_or(NotGood::OfAnother)
    }

    /// The public part of the mesh's join token, by each authority that is believed: from none of them the token can be
    /// guessed.
    pub(crate) fn names_of_mesh(&self, secret: &str, now: SystemTime) -> Vec<String> {
        self.believed(now).iter().filter_map(|authority| authority.name_of_mesh(secret)).collect()
    }

    fn verifier_of_signatures(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.all.lock().iter().map(|it| it.der.clone()));
        let provider = Arc::new(provider::default_provider());
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().ok()
    }
}

impl Authority {
    /// Makes one, and what is kept of it. `is_used`: the keyring has sealed others than authorities.
    pub(crate) fn make(
        keyring: &Keyring,
        is_used: bool,
        now: SystemTime,
    ) -> Result<(Self, StoredAuthority), MakeError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Nothing ends by itself that nobody would look after: whoever knows it does so by its fingerprint.
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = format!("Laneway data planes {}", uuid::Uuid::new_v4().simple());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let signed = params.self_signed(&key)?;
        let der = signed.der().clone();
        let fingerprint = Fingerprint::of(&der);
        let private_key = PrivateKey::new(key.serialize_der());
        let sealed = keyring.seal_authority(&fingerprint.to_string(), &private_key, is_used)?;
        let created = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stored = StoredAuthority {
            fingerprint: fingerprint.to_string(),
            certificate: signed.pem(),
            sealed,
            created,
        };
        let issuer = Some(Issuer::new(params, key));
        let certificate = signed.pem();
        let created = UNIX_EPOCH + Duration::from_secs(created);
        Ok((Self { fingerprint, certificate, der, created, issuer }, stored))
    }

    /// As the store has it. One whose key does not open is told, and signs nothing.
    fn open(stored: &StoredAuthority, keyring: &Keyring) -> Option<Self> {
        let StoredAuthority { fingerprint, certificate, sealed, created } = stored;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let opened = keyring.open_authority(fingerprint, sealed).map_err(MakeError::from);
        let issuer = opened.and_then(|key| {
            let key = PrivatePkcs8KeyDer::from(key.der());
            let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
            Ok(Issuer::from_ca_cert_der(&der, key)?)
        });
        if let Err(error) = &issuer {
            tracing::error!(
                %error,
                fingerprint,
                "the authority of data planes cannot sign: put its key file back, or make another authority with `laneway ca rotate`"
            );
        }
        Some(Self {
            fingerprint: Fingerprint::of(&der),
            certificate: certificate.clone(),
            der,
            created: UNIX_EPOCH + Duration::from_secs(*created),
            issuer: issuer.ok(),
        })
    }

    fn sign(
        &self,
        params: CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<rcgen::Certificate, CertifyError> {
        let issuer = self.issuer.as_ref().ok_or(CertifyError::Nobody)?;
        params.signed_by(key, issuer).map_err(CertifyError::Made)
    }

    /// The public part of the mesh's join token.
    pub(crate) fn name_of_mesh(&self, secret: &str) -> Option<String> {
        let key = self.issuer.as_ref()?.key().serialized_der();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), secret.as_bytes());
        let letters: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{MESH}{}", &letters[..MESH_LETTERS]))
    }
}

/// Whether a token's public part is of the mesh's.
pub(crate) fn is_of_mesh(token: &str) -> bool {
    token.starts_with(MESH)
}

/// A certificate of no authority that is good until then.
fn good_from(now: SystemTime, ends: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - CLOCKS_DIFFER).into();
    params.not_after = ends.into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests;
