//! What is believed of what a Nacos server says. Time is an argument.
//!
//! *Restarts.* Ephemeral registrations belong to the connections of those who registered: a server that starts has none,
//! and gets them back one by one as its clients come back. So after we have reached a server again nothing is taken away
//! for [`HELD`]: what it tells is there, and what it does not tell yet is there as well.
//!
//! *Emptied services.* That a service has lost its last instance is believed while most others have theirs: it is looked
//! at [`SETTLED`] later, so that those that go together are seen together. When most services are emptied at once it is
//! more likely the server that lost them: they stay for [`HELD`]. That a service has fewer instances than before is
//! believed at once.
//!
//! *Tags.* One process registers under several names, and not each of them carries its tag: what one registration of an
//! address says covers the others there that say nothing. Where the registrations of an address disagree, those that say
//! nothing cannot be used: they are never taken for base.
//!
//! *Joins.* Where Nacos says nothing of a tag, a source that it is joined to may, by address. An instance that none of them
//! knows is held back for [`HELD_BACK`], and before anything is told nothing is held back any more: a control plane that
//! starts takes nobody out.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lanes::{
    Endpoint, Problem, Service, ServiceId, Tag,
    service::{Health, Port},
};
use tokio::{sync::watch, time::Instant};

use super::{
    joins::{self, HELD_BACK, Joins},
    registered::{Registered, Said, weights},
    rules::{self, Places},
};
use crate::Change;

/// How long nothing is taken away after a server was reached again, and how long most services may be without instances
/// before it is believed. Clients of Nacos come back within three seconds of their server; slow ones take ten.
pub(super) const HELD: Duration = Duration::from_secs(10);

/// How long an emptied service is waited with, for others that go with it.
pub(super) const SETTLED: Duration = Duration::from_millis(500);

/// How the names of those begin that only call, by Dubbo.
const CONSUMERS: &str = "consumers:";

/// What to do about an instance that cannot be read.
const UNREAD: &str = "register it with values of the kinds that Nacos documents: it is left out";

/// A service in its namespace. Names that differ by case are one, as they are in a [`ServiceId`].
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// As it is spelled.
    pub(super) group: String,
    pub(super) name: String,
    /// As it is compared.
    lower: (String, String),
}

impl Key {
    pub(super) fn new(group: &str, name: &str) -> Self {
        let lower = (group.to_lowercase(), name.to_lowercase());
        Self { group: group.to_owned(), name: name.to_owned(), lower }
    }

    pub(super) fn is_spelled_as(&self, other: &Self) -> bool {
        self.group == other.group && self.name == other.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower.cmp(&other.lower)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower.hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

/// What of an address a tag covers that one registration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TagCovers {
    /// Every registration there that says nothing: one process has an address of its own.
    #[default]
    Address,
    /// That registration alone: several processes share an address.
    Registration,
}

/// Everything that is believed.
#[derive(Debug)]
pub(super) struct Picture {
    source: String,
    namespace: String,
    covers: TagCovers,
    services: BTreeMap<Key, Known>,
    /// What the registrations of an address say of tags.
    at: HashMap<IpAddr, At>,
    /// Services with instances that are kept though nobody tells them.
    keeping: BTreeSet<Key>,
    /// Until then nothing is taken away.
    held_until: Option<Instant>,
    /// Services to look at.
    changed: BTreeSet<Key>,
    joins: Joins,
    /// Something was told: others use it.
    is_told: bool,
    /// Since when somebody was waited for before anything was told.
    began: Option<Instant>,
}

/// What the registrations of an address say of tags.
#[derive(Debug, Default)]
struct At {
    said: BTreeMap<Key, Vec<Said>>,
    /// What was said by one that has left, while others stay and nobody says anything: it is the same process.
    remembered: BTreeMap<Key, Vec<Said>>,
}

/// Who says the tag of a registration.
enum Tagged {
    /// Nacos: it, or another of its address.
    By(Option<Tag>),
    /// Nacos says nothing.
    Joined(joins::Said),
    /// Nacos says what is no tag, or several.
    Unclear(Problem),
}

/// What is known of a service.
#[derive(Debug, Default)]
struct Known {
    heard: Heard,
    /// Instances that are not told any more, and are not believed to be gone yet.
    kept: Vec<Registered>,
    /// Since when.
    kept_since: Option<Instant>,
    /// When its last instance was believed to be gone.
    emptied: Option<Instant>,
    /// The application that was named first; the answer outlives who said it.
    application: Option<String>,
    /// What could not be read.
    unread: Vec<Problem>,
    told: Option<(Arc<Service>, Vec<Problem>)>,
}

/// What the server says of a service on this connection.
#[derive(Debug, Default)]
enum Heard {
    /// Nothing yet.
    #[default]
    NotYet,
    /// That there is none.
    Nothing,
    /// Its instances.
    Instances(Vec<Registered>),
}

impl Known {
    fn heard(&self) -> &[Registered] {
        match &self.heard {
            Heard::NotYet | Heard::Nothing => &[],
            Heard::Instances(instances) => instances,
        }
    }

    /// Its instances as they are believed.
    fn instances(&self) -> impl Iterator<Item = &Registered> + Clone {
        self.heard().iter().chain(&self.kept)
    }
}

impl Picture {
    /// Nothing believed yet.
    pub(super) fn new(source: &str, namespace: &str, covers: TagCovers, joins: Joins) -> Self {
        Self {
            source: source.to_owned(),
            namespace: namespace.to_owned(),
            covers,
            services: BTreeMap::new(),
            at: HashMap::new(),
            keeping: BTreeSet::new(),
            held_until: None,
            changed: BTreeSet::new(),
            joins,
            is_told: false,
            began: None,
        }
    }

    /// A server has been reached: what it says is yet to be heard, and till then everything stays.
    pub(super) fn connected(&mut self, now: Instant) {
        for (key, known) in &mut self.services {
            let heard = std::mem::take(&mut known.heard);
            if let Heard::Instances(instances) = heard {
                known.kept.extend(instances);
            }
            if !known.kept.is_empty() {
                known.kept_since.get_or_insert(now);
                self.keeping.insert(key.clone());
                self.held_until = Some(now + HELD);
            }
        }
    }

    /// The services that the server has, each of which is heard by itself: of those that are none of them is heard that
    /// they are not there.
    pub(super) fn listed(&mut self, listed: &BTreeSet<Key>, now: Instant) {
        let gone: Vec<Key> = (self.services.iter())
            .filter(|(key, known)| !listed.contains(*key) && !matches!(known.heard, Heard::Nothing))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.hear(&key, Heard::Nothing, Vec::new(), now);
        }
        // It is there again, and is yet to be heard.
        for key in listed {
            if let Some(known) = self.services.get_mut(key)
                && matches!(known.heard, Heard::Nothing)
            {
                known.heard = Heard::NotYet;
            }
        }
        self.forget(now);
    }

    /// The services of a group that something is known of.
    pub(super) fn of_group(&self, group: &str) -> impl Iterator<Item = Key> {
        let is_there = |known: &Known| !matches!(known.heard, Heard::Nothing);
        let known = self.services.iter().filter(move |(_, known)| is_there(known));
        known.map(|(key, _)| key).filter(move |key| key.group == group).cloned()
    }

    /// A service's instances as the server tells them.
    pub(super) fn told(
        &mut self,
        key: &Key,
        instances: &[Result<::nacos::Instance, String>],
        now: Instant,
    ) {
        let (mut read, mut unread) = (Vec::new(), Vec::new());
        // Who consumes by Dubbo registers without a port, and that is as it should be.
        let is_of_consumers = key.name.starts_with(CONSUMERS);
        for instance in instances {
            match instance.as_ref().map(Registered::read) {
                Ok(Ok(registered)) => {
                    let uncalled = registered.uncalled.iter().filter(|_| !is_of_consumers);
                    unread.extend(uncalled.cloned());
                    read.push(registered);
                }
                Ok(Err(problem)) => unread.push(problem),
                Err(wrong) => unread.push(Problem::new("instance", wrong, UNREAD)),
            }
        }
        // Of two at one address, in two clusters, the usable one counts; what either says of its tag counts for both.
        read.sort_by_key(|it| (it.address, it.health != Health::Usable));
        read.dedup_by(|other, first| {
            let is_same = other.address == first.address;
            if is_same {
                first.join(other);
            }
            is_same
        });
        self.hear(key, Heard::Instances(read), unread, now);
    }

    fn hear(&mut self, key: &Key, heard: Heard, unread: Vec<Problem>, now: Instant) {
        let known = self.services.entry(key.clone()).or_default();
        let before: Vec<Registered> = known.instances().cloned().collect();
        known.heard = heard;
        known.unread = unread;
        let there: HashSet<_> = known.heard().iter().map(|it| it.address).collect();
        let missing: Vec<_> =
            before.iter().filter(|it| !there.contains(&it.address)).cloned().collect();
        let is_held = self.held_until.is_some_and(|until| now < until);
        let is_doubted = is_held || there.is_empty() || known.kept_since.is_some();
        if missing.is_empty() || !is_doubted {
            known.kept = Vec::new();
            known.kept_since = None;
            self.keeping.remove(key);
        } else {
            known.kept = missing;
            known.kept_since.get_or_insert(now);
            self.keeping.insert(key.clone());
        }
        self.index(key, &before);
        if !self.joins.is_empty() {
            let heard: Vec<SocketAddr> = (self.services.get(key).into_iter())
                .flat_map(Known::instances)
                .map(|it| it.address)
                .collect();
            if before.iter().any(|it| !heard.contains(&it.address)) {
                self.forget_unknown_addresses();
            }
            let others = self.joins.look(heard.into_iter(), now);
            self.look_at_instances(&others);
        }
    }

    /// Whoever comes to an address that nobody has is asked for anew.
    fn forget_unknown_addresses(&mut self) {
        let all: HashSet<SocketAddr> = self.addresses().collect();
        self.joins.keep_only(&all);
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.services.values().flat_map(Known::instances).map(|it| it.address)
    }

    /// Asks the sources that this one is joined to of all instances, where one of them says something else, or somebody is
    /// waited for.
    pub(super) fn look_at_joined(&mut self, now: Instant) {
        if !self.joins.have_changed() && self.joins.waits_for() == 0 {
            return;
        }
        let all: HashSet<SocketAddr> = self.addresses().collect();
        let others = self.joins.look(all.into_iter(), now);
        self.look_at_instances(&others);
    }

    /// Wakes whenever [`Picture::look_at_joined`] may find something.
    pub(super) fn joined_changes(&self) -> watch::Receiver<()> {
        self.joins.changes()
    }

    /// Services with an instance at one of these addresses are to be looked at.
    fn look_at_instances(&mut self, addresses: &HashSet<SocketAddr>) {
        if addresses.is_empty() {
            return;
        }
        for (key, known) in &self.services {
            if known.instances().any(|it| addresses.contains(&it.address)) {
                self.changed.insert(key.clone());
            }
        }
    }

    /// Whether time alone may change something: see [`Picture::settle`].
    pub(super) fn waits(&self) -> bool {
        !self.keeping.is_empty() || self.joins.waits_for() > 0
    }

    /// Whether something is held back, and nothing was told yet. Not for long, however many come: from then on each is held
    /// back by itself.
    pub(super) fn may_not_begin(&mut self, now: Instant) -> bool {
        if self.is_told || self.joins.waits_for() == 0 {
            return false;
        }
        now < *self.began.get_or_insert(now) + HELD_BACK
    }

    /// What is otherwise than it was told last, where something was told at all.
    pub(super) fn take_changes_of_told(&mut self) -> Vec<Change> {
        if self.is_told { self.take_changes() } else { Vec::new() }
    }

    /// Takes away what has been kept for long enough, and holds back no longer what has been.
    pub(super) fn settle(&mut self, now: Instant) {
        self.look_at_joined(now);
        let patience = if self.is_well(now) { SETTLED } else { HELD };
        for key in self.keeping.clone() {
            let Some(known) = self.services.get_mut(&key) else { continue };
            let since = known.kept_since.unwrap_or(now);
            let is_due =
                since + patience <= now && self.held_until.is_none_or(|until| until <= now);
            // Of what the server has not spoken yet it has not said that it is gone.
            if !is_due || matches!(known.heard, Heard::NotYet) {
                continue;
            }
            let before: Vec<Registered> = known.instances().cloned().collect();
            known.kept = Vec::new();
            known.kept_since = None;
            if known.heard().is_empty() {
                known.emptied = Some(now);
            }
            self.keeping.remove(&key);
            self.index(&key, &before);
        }
        self.held_until = self.held_until.filter(|until| *until > now);
    }

    /// Whether at least half of the services that have, or just had, instances are told with some.
    fn is_well(&self, now: Instant) -> bool {
        let has = |known: &&Known| {
            let just_emptied = known.emptied.is_some_and(|at| now < at + HELD);
            known.instances().next().is_some() || just_emptied
        };
        let had = self.services.values().filter(has);
        let (mut all, mut well) = (0_usize, 0_usize);
        for known in had {
            all += 1;
            well += usize::from(!known.heard().is_empty());
        }
        well * 2 >= all
    }

    /// Notes what the registrations of a service say of tags, where that is otherwise than before.
    fn index(&mut self, key: &Key, before: &[Registered]) {
        self.changed.insert(key.clone());
        let after: Vec<Registered> = match self.services.get(key) {
            Some(known) => known.instances().cloned().collect(),
            None => Vec::new(),
        };
        let (old, new) = (said_at(before), said_at(&after));
        // Those that said something and say nothing now. One that has left takes nothing back.
        let silent: HashSet<_> =
            after.iter().filter(|it| it.said == Said::Nothing).map(|it| it.address).collect();
        let took_back: HashSet<IpAddr> = (before.iter())
            .filter(|it| it.said != Said::Nothing && silent.contains(&it.address))
            .map(|it| it.address.ip())
            .collect();
        for ip in old.keys().chain(new.keys()) {
            if old.get(ip) == new.get(ip) {
                continue;
            }
            let there = self.at.entry(*ip).or_default();
            match new.get(ip) {
                Some(said) => {
                    let took_back = took_back.contains(ip);
                    if took_back || !said.is_empty() {
                        there.remembered.clear();
                    }
                    there.said.insert(key.clone(), said.clone());
                    let left = old.get(ip).filter(|left| !left.is_empty() && !took_back);
                    if there.said.values().all(Vec::is_empty)
                        && let Some(left) = left
                    {
                        there.remembered.insert(key.clone(), left.clone());
                    }
                }
                None => {
                    let left = there.said.remove(key).unwrap_or_default();
                    if there.said.values().all(Vec::is_empty) && !left.is_empty() {
                        there.remembered.insert(key.clone(), left);
                    }
                }
            }
            self.changed.extend(there.said.keys().cloned());
            if there.said.is_empty() {
                self.at.remove(ip);
            }
        }
    }

    /// What is otherwise than it was told last.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.is_told = true;
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let Some(known) = self.services.get(&key) else { continue };
            let id = ServiceId::new(&self.source, &self.namespace, &key.group, &key.name);
            if matches!(known.heard, Heard::Nothing) && known.kept.is_empty() {
                if known.told.is_some() {
                    changes.push(Change::gone(id));
                }
                // How others stood is remembered for as long as it counts.
                if let Some(known) = self.services.get_mut(&key) {
                    known.told = None;
                }
                continue;
            }
            let now = self.compile(id.clone(), &key, known);
            let application = now.0.application().to_string();
            let Some(known) = self.services.get_mut(&key) else { continue };
            if known.instances().any(|it| it.application.is_some()) {
                known.application = Some(application);
            }
            if known.told.as_ref() != Some(&now) {
                let (state, problems) = now.clone();
                changes.push(Change { service: id, state: Some(state), problems });
                known.told = Some(now);
            }
        }
        changes
    }

    /// Forgets services that are gone for so long that they say nothing of others.
    fn forget(&mut self, now: Instant) {
        self.services.retain(|_, known| {
            known.told.is_some()
                || !matches!(known.heard, Heard::Nothing)
                || !known.kept.is_empty()
                || known.emptied.is_some_and(|at| now < at + HELD)
        });
    }

    fn compile(&self, id: ServiceId, key: &Key, known: &Known) -> (Arc<Service>, Vec<Problem>) {
        let mut problems = known.unread.clone();
        let called = known.instances().filter(|it| it.uncalled.is_none());
        let weights = weights(called.clone());
        let mut endpoints = Vec::with_capacity(weights.len());
        for (registered, weight) in called.zip(weights) {
            let address = registered.address;
            let mut tell = |problem: Problem| {
                problems.push(problem.under(&format!("instance {address}")));
            };
            let (tag, health) = match self.tag(registered) {
                Tagged::By(tag) => {
                    self.joins.contradiction(address, tag.as_ref()).map(&mut tell);
                    (tag, registered.health)
                }
                Tagged::Joined(joins::Said::Tag(tag)) => (tag, registered.health),
                Tagged::Joined(joins::Said::NotYet) => (None, Health::InvalidTag),
                Tagged::Joined(joins::Said::Unclear(problem)) | Tagged::Unclear(problem) => {
                    tell(problem);
                    (None, Health::InvalidTag)
                }
            };
            let (application_address, further, port) = (None, None, Port::default());
            endpoints.push(Endpoint {
                address,
                application_address,
                further,
                tag,
                weight,
                health,
                port,
            });
        }
        let mut named = known.instances().filter_map(|it| it.application.as_deref());
        let application = known.application.as_deref().or_else(|| named.next());
        let application = application.unwrap_or(&key.name);
        let mut named = known.instances().filter_map(|it| it.application.as_deref());
        if let Some(other) = named.find(|it| *it != application) {
            let remedy =
                format!("its instances name {application} as well, which stays: let all name one");
            problems.push(Problem::new("metadata[laneway.io/application]", other, remedy));
        }
        (Arc::new(Service::new(id, &key.name, application, endpoints)), problems)
    }

    /// The tag of a registration: its own, the one that covers its address, or what joined sources say.
    fn tag(&self, registered: &Registered) -> Tagged {
        let by_joined = || Tagged::Joined(self.joins.tag(registered.address));
        match &registered.said {
            Said::Tag(tag) => return Tagged::By(tag.clone()),
            Said::Invalid(problem) => return Tagged::Unclear(problem.clone()),
            Said::Nothing if self.covers == TagCovers::Registration => return by_joined(),
            Said::Nothing => {}
        }
        let at = self.at.get(&registered.address.ip());
        let all = at.into_iter().flat_map(|at| at.said.values().chain(at.remembered.values()));
        let said: Vec<&Said> = all.flatten().collect();
        let shown: BTreeSet<&str> = said.iter().map(|said| said.word()).collect();
        match (said.first(), shown.len()) {
            (None, _) => by_joined(),
            (Some(Said::Tag(tag)), 1) => Tagged::By(tag.clone()),
            _ => {
                let shown: Vec<&str> = shown.into_iter().collect();
                let remedy = "registrations at its address disagree: let this one name its tag, or base; where several \
                              processes share an address, write tagCovers: registration into the source";
                Tagged::Unclear(Problem::new("tag", shown.join(", "), remedy))
            }
        }
    }

    /// Where Dubbo's own rules of what it has registered may be.
    pub(super) fn places_of_rules(&self) -> Places {
        let mut places = Places::new();
        for (key, known) in &self.services {
            let Some((service, _)) = &known.told else { continue };
            for dubbo in known.instances().filter_map(|it| it.dubbo.as_deref()) {
                rules::note(&key.name, dubbo, service.application(), &mut places);
            }
        }
        places
    }

    /// What is kept though a server that was reached again does not tell it, in words.
    pub(super) fn keeping(&self) -> Option<String> {
        let kept: usize = self
            .keeping
            .iter()
            .filter_map(|key| self.services.get(key))
            .map(|it| it.kept.len())
            .sum();
        (kept > 0 && self.held_until.is_some()).then(|| {
            format!(
                "{kept} instances are kept for up to {} s though the server, reached again, does not tell them",
                HELD.as_secs()
            )
        })
    }

    /// What is held back until a joined source knows it, in words.
    pub(super) fn held_back(&self) -> Option<String> {
        let held = self.joins.waits_for();
        (held > 0).then(|| {
            let (sources, seconds) = (self.joins.sources(), HELD_BACK.as_secs());
            format!(
                "{held} addresses are not known to {sources}: they are held back for up to {seconds} s"
            )
        })
    }

    /// What else people should know of it though all is well, in one line.
    pub(super) fn remark(&self) -> Option<String> {
        let mut problems = self.services.iter().flat_map(|(key, known)| {
            let told = known.told.iter().flat_map(|(_, problems)| problems);
            told.map(move |problem| (key, problem))
        });
        let first = problems.next().map(|(key, problem)| format!("{key}: {problem}"))?;
        match problems.count() {
            0 => Some(first),
            more => Some(format!("{first} (and {more} more)")),
        }
    }
}

/// What registrations say of their tags, by address; nothing is not said.
fn said_at(registered: &[Registered]) -> BTreeMap<IpAddr, Vec<Said>> {
    let mut at: BTreeMap<IpAddr, Vec<Said>> = BTreeMap::new();
    for it in registered {
        let there = at.entry(it.address.ip()).or_default();
        if it.said != Said::Nothing && !there.contains(&it.said) {
            there.push(it.said.clone());
        }
    }
    at
}

#[cfg(test)]
mod tests;
