//! Which instances are believed in TLS: what a connection to one of them goes by, made when it is first needed and kept
//! by each thread, with the sessions that its connections go on with.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, OnceLock, Weak},
};

use routes::tls::{Authorities, Certificate, UpstreamTls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::shown::provider;

/// Ways to instances kept per thread: one for each backend policy, many times over. What goes is made again.
const KEPT_MAX: usize = 256;

/// A way to instances in TLS, as a thread knows it. Connections that were made by it serve nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Believed(NonZeroU32);

type Certificates = BTreeMap<String, Arc<Certificate>>;

/// All that a thread knows.
#[derive(Debug, Default)]
pub(crate) struct AllBelieved {
    kept: RefCell<Vec<Kept>>,
    last: Cell<u32>,
    /// Counts requests, to know which way was not used for longest.
    uses: Cell<u64>,
}

#[derive(Debug)]
struct Kept {
    id: Believed,
    tls: Arc<UpstreamTls>,
    /// What was at hand then. It goes with its picture: there are private keys in it, and they are nobody's authorities.
    certificates: Weak<Certificates>,
    /// Those of it that are named.
    named: Vec<Arc<Certificate>>,
    way: Way,
    last_use: u64,
}

/// What a connection goes by.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl AllBelieved {
    /// The way that is meant. The error says why there is none.
    pub(crate) fn id_of(
        &self,
        tls: &Arc<UpstreamTls>,
        certificates: &Arc<Certificates>,
    ) -> Result<Believed, String> {
        let mut kept = self.kept.borrow_mut();
        let last_use = self.uses.get() + 1;
        self.uses.set(last_use);
        let is_it = |it: &&mut Kept| {
            Arc::ptr_eq(&it.tls, tls) && it.certificates.as_ptr() == Arc::as_ptr(certificates)
        };
        if let Some(known) = kept.iter_mut().find(is_it) {
            known.last_use = last_use;
            return Ok(known.id);
        }
        // A new picture, or another rule, that says the same.
        let named = named(tls, certificates);
        let is_alike = |it: &&mut Kept| it.tls == *tls && believe_the_same(&it.named, &named);
        if let Some(known) = kept.iter_mut().find(is_alike) {
            known.tls = Arc::clone(tls);
            known.certificates = Arc::downgrade(certificates);
            known.named = named;
            known.last_use = last_use;
            return Ok(known.id);
        }
        let way = Way::new(tls, &named)?;
        let id = NonZeroU32::MIN.saturating_add(self.last.get());
        self.last.set(id.get());
        if kept.len() >= KEPT_MAX
            && let Some(index) = (0..kept.len()).min_by_key(|index| kept[*index].last_use)
        {
            kept.swap_remove(index);
        }
        let (tls, certificates) = (Arc::clone(tls), Arc::downgrade(certificates));
        kept.push(Kept { id: Believed(id), tls, certificates, named, way, last_use });
        Ok(Believed(id))
    }

    /// What a connection goes by. None: too much has come since.
    pub(crate) fn way(&self, id: Believed) -> Option<Way> {
        self.kept.borrow().iter().find(|it| it.id == id).map(|it| it.way.clone())
    }
}

/// The certificates that are named, as far as they are at hand.
fn named(tls: &UpstreamTls, certificates: &Certificates) -> Vec<Arc<Certificate>> {
    tls.certificates().iter().filter_map(|id| certificates.get(id)).map(Arc::clone).collect()
}

fn believe_the_same(these: &[Arc<Certificate>], those: &[Arc<Certificate>]) -> bool {
    let is_same = |this: &Arc<Certificate>, that: &Arc<Certificate>| {
        Arc::ptr_eq(this, that) || this.authorities == that.authorities
    };
    these.len() == those.len() && these.iter().zip(those).all(|(this, that)| is_same(this, that))
}

impl Way {
    fn new(tls: &UpstreamTls, named: &[Arc<Certificate>]) -> Result<Self, String> {
        let name = host_name(&tls.hostname)?;
        let roots = match &tls.authorities {
            Authorities::System => system_roots()?,
            Authorities::Certificates(_) => {
                let mut roots = RootCertStore::empty();
                let ders = named.iter().flat_map(|certificate| &certificate.authorities);
                let ders = ders.map(|der| CertificateDer::from_slice(der));
                if roots.add_parsable_certificates(ders).0 == 0 {
                    return Err(
                        "none of the authorities that its instances are verified by is at hand"
                            .to_owned(),
                    );
                }
                Arc::new(roots)
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider()));
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if tls.names.is_empty() {
            builder.with_webpki_verifier(verifier)
        } else {
            let names = tls.names.iter().map(|name| host_name(name)).collect::<Result<_, _>>()?;
            let one_of = Arc::new(OneOf { names, verifier });
            builder.dangerous().with_custom_certificate_verifier(one_of)
        };
        Ok(Self { config: Arc::new(builder.with_no_client_auth()), name })
    }
}

fn host_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is no host name"))
}

/// Whom the system believes: the operator's choice and its updates, not ours of the day we were built. Read once.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let (added, ignored) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        tracing::info!(added, ignored, "the system's authorities are read");
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err("the system has no authorities (install ca-certificates)".to_owned());
    }
    Ok(Arc::clone(roots))
}

/// Believes who has one of several names, whichever was asked for.
#[derive(Debug)]
struct OneOf {
    names: Vec<ServerName<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OneOf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut failed = CertificateError::NotValidForName.into();
        for name in &self.names {
            match self.verifier.verify_server_cert(leaf, chain, name, ocsp, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
