//! What listeners show in TLS and ask of clients. Made ready whenever a picture changes it, off the requests' way; who
//! has begun with what was before goes on with it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, OnceLock},
};

use routes::{
    Table,
    tls::{Certificate, ClientsTls, ListenerTls, TlsVersion},
};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::sync::watch;

use super::client_checks;
use crate::published::Published;

/// What is spoken inside, in the order in which it is preferred.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Everything that one picture shows.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    routes: Arc<Table>,
    certificates: Arc<BTreeMap<String, Arc<Certificate>>>,
    /// As the listeners of the table; none in the clear.
    listeners: Vec<Option<Arc<Listener>>>,
    loaded: BTreeMap<String, Loaded>,
    /// Of all listeners that ask clients for nothing: a ticket would outlive the certificate that a client has shown.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// A certificate of the picture.
#[derive(Debug, Clone)]
struct Loaded {
    /// What was tried last.
    tried: Arc<Certificate>,
    /// What could be loaded last.
    usable: Option<Arc<Usable>>,
}

/// A certificate that can be shown.
#[derive(Debug)]
struct Usable {
    /// `namespace/name`.
    id: Arc<str>,
    key: Arc<CertifiedKey>,
    /// What it covers, in lower case.
    names: Vec<String>,
}

/// How one listener ends TLS.
#[derive(Debug)]
pub(crate) struct Listener {
    by_name: Arc<ByName>,
    /// Those of whom a certificate is asked for.
    clients: Option<Arc<Clients>>,
    /// The error says why nobody can be let in.
    config: Result<Arc<ServerConfig>, String>,
}

/// Which clients a listener lets in.
#[derive(Debug)]
struct Clients {
    is_everybody: bool,
    /// DER of those by whom they are verified.
    authorities: Vec<Vec<u8>>,
}

/// What a client met in its handshake.
#[derive(Debug)]
pub(crate) struct Met {
    /// The certificate that covers the name it asked for, as `namespace/name`.
    certificate: Option<Arc<str>>,
    clients: Option<Arc<Clients>>,
}

/// Whether a host is one of those that a connection is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The same certificate is shown to whoever asks for it.
    Within,
    /// Another is.
    Beyond,
    /// What was shown in the handshake is shown there no more: only a new connection tells.
    Unknown,
}

impl Met {
    /// Whether it proved as much of itself as is asked for now.
    pub(crate) fn satisfies(&self, asked: Option<&ClientsTls>, picture: &Published) -> bool {
        let Some(asked) = asked.filter(|asked| !asked.insecure_fallback) else { return true };
        let Some(met) = self.clients.as_ref().filter(|met| !met.is_everybody) else { return false };
        let mut met = met.authorities.iter();
        met.all(|met| authorities(asked, &picture.certificates).any(|asked| asked == met))
    }
}

impl Listener {
    /// What a handshake goes by; the error says why there can be none.
    pub(crate) fn config(&self) -> Result<&Arc<ServerConfig>, &str> {
        self.config.as_ref().map_err(String::as_str)
    }

    /// What a client meets that asks for a name.
    pub(crate) fn met(&self, name: Option<&str>) -> Met {
        let certificate = self.by_name.of(name).map(|it| Arc::clone(&it.id));
        Met { certificate, clients: self.clients.clone() }
    }
}

impl Shown {
    /// Everything that a picture shows, with what is still good of before.
    pub(crate) fn of(picture: &Published, before: &Self) -> Self {
        let mut loaded = BTreeMap::new();
        for (id, certificate) in &*picture.certificates {
            if certificate.key.is_some() {
                loaded.insert(id.clone(), Loaded::of(id, certificate, before.loaded.get(id)));
            }
        }
        let tickets = before.tickets.clone().or_else(new_tickets);
        let mut shown = Self {
            routes: Arc::clone(&picture.routes),
            certificates: Arc::clone(&picture.certificates),
            listeners: Vec::new(),
            loaded,
            tickets,
        };
        let specs = picture.routes.listeners();
        shown.listeners = specs
            .iter()
            .map(|spec| {
                let tls = spec.ends_tls()?;
                Some(shown.listener_of(tls).unwrap_or_else(|why| {
                    tracing::warn!(listener = %spec.name, reason = %why, "a listener refuses every client");
                    Listener::broken(why)
                }))
            })
            .map(|listener| listener.map(Arc::new))
            .collect();
        shown
    }

    /// Whether it is what the picture shows.
    fn is_of(&self, picture: &Published) -> bool {
        Arc::ptr_eq(&self.routes, &picture.routes)
            && Arc::ptr_eq(&self.certificates, &picture.certificates)
    }

    fn listener_of(&self, tls: &ListenerTls) -> Result<Listener, String> {
        let usable = |id: &String| self.loaded.get(id)?.usable.clone();
        let certificates: Vec<_> = tls.certificates.iter().filter_map(usable).collect();
        if certificates.is_empty() {
            return Err("none of its certificates is at hand and usable".to_owned());
        }
        let by_name = Arc::new(ByName::new(certificates));
        let clients = tls.clients.as_ref().map(|clients| Clients {
            is_everybody: clients.insecure_fallback,
            authorities: authorities(clients, &self.certificates).cloned().collect(),
        });
        let tickets = self.tickets.as_ref().filter(|_| clients.is_none());
        let by_whom = clients.as_ref().map_or(&[][..], |clients| &clients.authorities);
        let config = config(tls, &by_name, by_whom, tickets)?;
        Ok(Listener { by_name, clients: clients.map(Arc::new), config: Ok(Arc::new(config)) })
    }

    /// Whether it says how TLS ends on a port.
    pub(crate) fn knows(&self, port: u16) -> bool {
        !self.listeners.is_empty() && self.routes.speaks_tls(port)
    }

    /// Who takes a client that asks for this name on a port, or for none. None: nobody has the name.
    pub(crate) fn listener(&self, port: u16, name: Option<&str>) -> Option<&Arc<Listener>> {
        let listener = self.routes.listener(port, name.unwrap_or_default())?;
        self.listeners.get(listener)?.as_ref()
    }

    /// What a client that asked for a name, or for none, and met a certificate there may ask for on its connection.
    pub(crate) fn reach(&self, port: u16, (asked, met): (Option<&str>, &Met), host: &str) -> Reach {
        let today = |name| self.listener(port, name)?.met(name).certificate;
        let (of_host, of_asked) = (today(Some(host)), today(asked));
        if of_host.is_some() && (of_host == met.certificate || of_host == of_asked) {
            Reach::Within
        } else if of_asked == met.certificate {
            Reach::Beyond
        } else {
            Reach::Unknown
        }
    }
}

/// DER of those by whom clients are verified.
fn authorities<'a>(
    clients: &'a ClientsTls,
    certificates: &'a BTreeMap<String, Arc<Certificate>>,
) -> impl Iterator<Item = &'a Vec<u8>> {
    let certificates = clients.authorities.iter().filter_map(|id| certificates.get(id));
    certificates.flat_map(|certificate| &certificate.authorities)
}

impl Listener {
    fn broken(why: String) -> Self {
        Self { by_name: Arc::default(), clients: None, config: Err(why) }
    }
}

impl Loaded {
    fn of(id: &str, certificate: &Arc<Certificate>, before: Option<&Self>) -> Self {
        let usable = match before {
            Some(before) if Arc::ptr_eq(&before.tried, certificate) => before.usable.clone(),
            _ => match Usable::load(id, certificate) {
                Ok(usable) => Some(Arc::new(usable)),
                Err(error) => {
                    let last = before.and_then(|before| before.usable.clone());
                    let shows =
                        if last.is_some() { "the one before is shown" } else { "it is not shown" };
                    tracing::warn!(certificate = id, %error, "a certificate does not load; {shows}");
                    last
                }
            },
        };
        Self { tried: Arc::clone(certificate), usable }
    }
}

impl Usable {
    fn load(id: &str, certificate: &Certificate) -> Result<Self, String> {
        let key = certificate.key.as_ref().ok_or("it has no key")?;
        let key = PrivateKeyDer::try_from(key.der()).map_err(str::to_owned)?;
        let chain: Vec<_> =
            certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let leaf = chain.first().ok_or("it has no certificate")?;
        let names = names(leaf).map_err(|error| error.to_string())?;
        let key = provider().key_provider.load_private_key(key.clone_key());
        let key = CertifiedKey::new(chain, key.map_err(|error| error.to_string())?);
        key.keys_match().map_err(|error| error.to_string())?;
        Ok(Self { id: id.into(), key: Arc::new(key), names })
    }
}

/// The host names that a certificate covers.
fn names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let leaf = webpki::EndEntityCert::try_from(leaf)?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// The certificates of one listener by the names they cover.
#[derive(Default)]
struct ByName {
    certificates: Vec<Arc<Usable>>,
    /// By a name, or by what follows the first label of one: those that cover it, by preference.
    exact: HashMap<String, Vec<usize>>,
    wildcard: HashMap<String, Vec<usize>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.certificates.iter().map(|it| &it.id)).finish()
    }
}

impl ByName {
    fn new(certificates: Vec<Arc<Usable>>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut wildcard, rest),
                    None => (&mut exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_insert_with(Vec::new).push(index);
            }
        }
        Self { certificates, exact, wildcard }
    }

    /// Those that cover a name: exactly, else as a wildcard of one label. All, where none does.
    fn covering(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Usable>> {
        let covering = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let parent = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(&name).or_else(parent)
        });
        let all = covering.is_none().then_some(&self.certificates).into_iter().flatten();
        covering.into_iter().flatten().map(|index| &self.certificates[*index]).chain(all)
    }

    /// What is shown to a client that asks for a name and can read everything.
    fn of(&self, name: Option<&str>) -> Option<&Arc<Usable>> {
        self.covering(name).next()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let readable = |it: &&Arc<Usable>| it.key.key.choose_scheme(schemes).is_some();
        let name = hello.server_name();
        let usable = self.covering(name).find(readable).or_else(|| self.of(name))?;
        Some(Arc::clone(&usable.key))
    }
}

fn config(
    tls: &ListenerTls,
    by_name: &Arc<ByName>,
    authorities: &[Vec<u8>],
    tickets: Option<&Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, String> {
    let provider = provider();
    let versions: &[&SupportedProtocolVersion] = match tls.minimum {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let authorities: Vec<_> = authorities.iter().map(Vec::as_slice).collect();
            let verifier = client_checks::verifier(clients, &authorities, provider)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(by_name) as _);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // Sessions are with clients, in tickets, whichever thread they come back to.
    // All suites are strong, and a client cannot talk a server into the least of them.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let Some(tickets) = tickets {
        config.ticketer = Arc::clone(tickets);
    }
    Ok(config)
}

/// Tickets under keys of their own, which are replaced every six hours. None: there is no randomness; every client shakes
/// hands anew.
fn new_tickets() -> Option<Arc<dyn ProducesTickets>> {
    aws_lc_rs::Ticketer::new().ok()
}

/// Who computes.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// Makes what is shown ready again whenever a picture changes it.
pub(crate) async fn follow(
    mut pictures: watch::Receiver<Arc<Published>>,
    shown: &watch::Sender<Arc<Shown>>,
) {
    loop {
        let picture = Arc::clone(&pictures.borrow_and_update());
        let before = Arc::clone(&shown.borrow());
        let uses_tls = picture.routes.listeners().iter().any(|listener| listener.tls.is_some());
        if (uses_tls || !before.listeners.is_empty()) && !before.is_of(&picture) {
            // Keys take their time; this thread has requests.
            let made = tokio::task::spawn_blocking(move || Shown::of(&picture, &before));
            if let Ok(made) = made.await {
                shown.send_replace(Arc::new(made));
            }
        } else {
            drop((picture, before));
        }
        if pictures.changed().await.is_err() {
            return;
        }
    }
}
