//! What sources say of the tags at an address, for those that are joined to them.
//!
//! A process may be in several sources: registered in Nacos by itself, and in the embedded registry by its sidecar. A
//! source that is joined to another takes from it what its own registrations do not say.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lanes::{Endpoint, Service, ServiceId, Tag, service::Health};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Change, Receiver, Rule, Standing};

/// What sources say of tags, by source and address. Clones are the same.
#[derive(Debug, Clone)]
pub struct Joined(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sources: Mutex<HashMap<String, Source>>,
    changed: watch::Sender<()>,
}

/// What one source says.
#[derive(Debug, Default)]
struct Source {
    at: HashMap<IpAddr, Vec<Instance>>,
    /// Where each service has instances.
    services: HashMap<ServiceId, BTreeSet<IpAddr>>,
    /// How often it has said something else.
    version: u64,
}

/// One instance, at one of its IP addresses.
#[derive(Debug)]
struct Instance {
    service: ServiceId,
    /// There, with a port.
    addresses: Vec<SocketAddr>,
    said: Said,
}

/// What an instance says of its tag: none is what is no tag, and then the base.
type Said = Option<Option<Tag>>;

/// What a source says of the tag of whatever is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It knows nobody there, or only whoever is leaving.
    Unknown,
    /// This one; none is the base.
    Tag(Option<Tag>),
    /// Its instances there disagree, or one says what is no tag: what they say.
    Unclear(String),
}

impl Default for Joined {
    fn default() -> Self {
        let shared = Shared { sources: Mutex::default(), changed: watch::Sender::new(()) };
        Self(Arc::new(shared))
    }
}

impl Joined {
    /// Hears what `source` tells, before `receiver` does: whoever is joined to it then knows no less than others.
    pub fn hearing(&self, source: &str, receiver: Arc<dyn Receiver>) -> Arc<dyn Receiver> {
        Arc::new(Hearing { source: source.to_owned(), joined: self.clone(), receiver })
    }

    /// A source that is no more says nothing.
    pub fn forget(&self, source: &str) {
        self.0.sources.lock().remove(source);
    }

    /// Wakes whenever something may be answered otherwise.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// How often these have said something else.
    pub(crate) fn version(&self, sources: &[String]) -> u64 {
        let known = self.0.sources.lock();
        sources.iter().filter_map(|source| known.get(source)).map(|source| source.version).sum()
    }

    /// What `source` says of whatever is at `address`: of that very instance where it has it, else, with `shares_ip`, of
    /// those at its IP address.
    pub(crate) fn answer(&self, source: &str, address: SocketAddr, shares_ip: bool) -> Answer {
        let sources = self.0.sources.lock();
        let there = sources.get(source).and_then(|source| source.at.get(&address.ip()));
        let there = there.map_or(&[][..], Vec::as_slice);
        let exact = |instance: &&Instance| instance.addresses.contains(&address);
        let mut said: BTreeSet<&str> = there.iter().filter(exact).map(Instance::word).collect();
        let mut one = there.iter().find(exact);
        if one.is_none() && shares_ip {
            said = there.iter().map(Instance::word).collect();
            one = there.first();
        }
        match (one.map(|instance| &instance.said), said.len()) {
            (None, _) => Answer::Unknown,
            (Some(Some(tag)), 1) => Answer::Tag(tag.clone()),
            _ => Answer::Unclear(said.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }

    fn changed(&self, source: &str, changes: &[Change]) {
        let mut sources = self.0.sources.lock();
        let source = sources.entry(source.to_owned()).or_default();
        source.version += 1;
        for Change { service, state, .. } in changes {
            source.take(service, state.as_deref());
        }
        drop(sources);
        self.0.changed.send_replace(());
    }
}

impl Source {
    fn take(&mut self, id: &ServiceId, state: Option<&Service>) {
        for ip in self.services.remove(id).unwrap_or_default() {
            if let Some(there) = self.at.get_mut(&ip) {
                there.retain(|instance| instance.service != *id);
                if there.is_empty() {
                    self.at.remove(&ip);
                }
            }
        }
        let mut ips = BTreeSet::new();
        // Whoever leaves says nothing of whoever comes to its address.
        let endpoints = state.into_iter().flat_map(Service::endpoints);
        for endpoint in endpoints.filter(|it| it.health != Health::Draining) {
            let all = addresses(endpoint);
            let there: BTreeSet<IpAddr> = all.iter().map(SocketAddr::ip).collect();
            for ip in there {
                let addresses = all.iter().copied().filter(|it| it.ip() == ip).collect();
                let said = (endpoint.health != Health::InvalidTag).then(|| endpoint.tag.clone());
                let instance = Instance { service: id.clone(), addresses, said };
                self.at.entry(ip).or_default().push(instance);
                ips.insert(ip);
            }
        }
        if !ips.is_empty() {
            self.services.insert(id.clone(), ips);
        }
    }
}

impl Instance {
    fn word(&self) -> &str {
        match &self.said {
            None => "no tag",
            Some(None) => "base",
            Some(Some(tag)) => tag.as_str(),
        }
    }
}

/// Whatever means an instance. An application that its sidecar calls at a loopback address is at its host's for others.
fn addresses(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let on_host = endpoint.application_addresses().filter(|it| it.ip().is_loopback());
    let on_host = on_host.map(|it| SocketAddr::new(endpoint.address.ip(), it.port()));
    endpoint.all_addresses().chain(on_host).collect()
}

/// Hands on what a source tells.
struct Hearing {
    source: String,
    joined: Joined,
    receiver: Arc<dyn Receiver>,
}

impl Receiver for Hearing {
    fn changed(&self, changes: Vec<Change>) {
        self.joined.changed(&self.source, &changes);
        self.receiver.changed(changes);
    }

    fn stands(&self, standing: &Standing) {
        self.receiver.stands(standing);
    }

    fn ruled(&self, rules: &[Rule]) {
        self.receiver.ruled(rules);
    }
}
