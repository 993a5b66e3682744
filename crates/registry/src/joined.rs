//! What sources say of the tags at an address, for those that are joined to them.
//!
//! A process may be in several sources: registered in Nacos by itself, and in the embedded registry by its sidecar. A
//! source that is joined to another takes from it what its own registrations do not say.

use std::{
    collections::{HashMap, HashSet},
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
    is_synced: bool,
    services: HashMap<ServiceId, Arc<Service>>,
    /// How many of its services have an instance there.
    at: HashMap<IpAddr, HashSet<ServiceId>>,
}

/// What a source says of the tag of whatever is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has not told everything yet, and has not told of this address.
    NotYet,
    /// It knows nobody there.
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

    /// What `source` says of whatever is at `address`: of that very instance where it has it, else, with `shares_ip`, of
    /// those at its IP address.
    pub(crate) fn answer(&self, source: &str, address: SocketAddr, shares_ip: bool) -> Answer {
        let sources = self.0.sources.lock();
        let Some(source) = sources.get(source) else { return Answer::NotYet };
        let there = source.at.get(&address.ip()).into_iter().flatten();
        let there = there.filter_map(|id| source.services.get(id)).flat_map(|it| it.endpoints());
        let (mut exact, mut near) = (HashSet::new(), HashSet::new());
        for endpoint in there {
            if endpoint.all_addresses().any(|it| it == address) {
                exact.insert(said(endpoint));
            } else if shares_ip && endpoint.all_addresses().any(|it| it.ip() == address.ip()) {
                near.insert(said(endpoint));
            }
        }
        let said = if exact.is_empty() { near } else { exact };
        match (said.len(), said.iter().next()) {
            (0, _) if source.is_synced => Answer::Unknown,
            (0, _) => Answer::NotYet,
            (1, Some(Some(tag))) => Answer::Tag(tag.cloned()),
            _ => {
                let mut words: Vec<&str> = said.into_iter().map(word).collect();
                words.sort_unstable();
                Answer::Unclear(words.join(", "))
            }
        }
    }

    fn changed(&self, source: &str, changes: &[Change]) {
        let mut sources = self.0.sources.lock();
        let source = sources.entry(source.to_owned()).or_default();
        for Change { service: id, state, .. } in changes {
            let before = match state {
                Some(state) => source.services.insert(id.clone(), Arc::clone(state)),
                None => source.services.remove(id),
            };
            for ip in before.iter().flat_map(|it| ips(it)) {
                if let Some(there) = source.at.get_mut(&ip) {
                    there.remove(id);
                    if there.is_empty() {
                        source.at.remove(&ip);
                    }
                }
            }
            for ip in state.iter().flat_map(|it| ips(it)) {
                source.at.entry(ip).or_default().insert(id.clone());
            }
        }
        drop(sources);
        self.0.changed.send_replace(());
    }

    fn stands(&self, source: &str, standing: &Standing) {
        // Out of contact its last picture stays, and who is not in it may have come since.
        let is_synced = matches!(standing, Standing::Synced | Standing::SyncedBut { .. });
        let mut sources = self.0.sources.lock();
        let source = sources.entry(source.to_owned()).or_default();
        let was_synced = std::mem::replace(&mut source.is_synced, is_synced);
        drop(sources);
        if was_synced != is_synced {
            self.0.changed.send_replace(());
        }
    }
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
        self.joined.stands(&self.source, standing);
        self.receiver.stands(standing);
    }

    fn ruled(&self, rules: &[Rule]) {
        self.receiver.ruled(rules);
    }
}

/// What an instance says of its tag; none is what is no tag.
fn said(endpoint: &Endpoint) -> Option<Option<&Tag>> {
    (endpoint.health != Health::InvalidTag).then_some(endpoint.tag.as_ref())
}

fn word(said: Option<Option<&Tag>>) -> &str {
    match said {
        None => "no tag",
        Some(None) => "base",
        Some(Some(tag)) => tag.as_str(),
    }
}

fn ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.endpoints().iter().flat_map(Endpoint::all_addresses).map(|it| it.ip())
}
