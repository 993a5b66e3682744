//! Services of all sources, and what names and addresses mean.
//!
//! *Names.* A host name means the service of exactly that name (any case). Known to several sources, or in
//! several namespaces of one, it means the one that a Backend names; if no Backend or several do, it is
//! ambiguous and the answer names them. A name that is no service's may be `NAME.NAMESPACE`: the text after the
//! last dot narrows the search to that namespace. A service that lost its last instance keeps its name for
//! [`DEPARTED_SERVICE_KEPT`], so that callers are told "no usable instance" rather than sent elsewhere.
//!
//! *Addresses.* An endpoint's advertised address and its application's own both mean its service. An address
//! that nobody has any more keeps its meaning for [`DEPARTED_ADDRESS_KEPT`]: connections to it are re-picked.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use lanes::{
    EMBEDDED_SOURCE, ServiceId,
    directory::{
        NameAnswer,
        digest::{of_address, of_host, of_name},
    },
};

use super::digest::Digest;
use super::versioned::{self, Versioned};
use crate::key::{ResourceKey, Topic, Touch};

/// How long an address keeps its meaning after its last service lost it (semantics, "What an instance is").
pub(crate) const DEPARTED_ADDRESS_KEPT: Duration = Duration::from_secs(60);

/// How long a service that disappeared keeps its name: longer than a redeployment takes, shorter than it takes
/// people to wonder why a name of last week still answers 503.
pub(crate) const DEPARTED_SERVICE_KEPT: Duration = Duration::from_secs(600);

/// Departed services and addresses kept at once, each: ten times a large installation.
const DEPARTED_MAX: usize = 100_000;

/// One service as it was last seen.
#[derive(Debug)]
struct Seen {
    service: Arc<lanes::Service>,
    wire: Versioned,
    departed_at: Option<Instant>,
}

/// Who has, or lately had, an address.
#[derive(Debug, Default)]
struct Occupants {
    present: BTreeSet<ServiceId>,
    /// Only meaningful while nobody is present.
    departed: BTreeSet<ServiceId>,
    departed_at: Option<Instant>,
}

/// How much a source has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) services: usize,
    pub(crate) instances: usize,
}

/// Services, names and addresses.
#[derive(Debug, Default)]
pub(crate) struct Services {
    by_id: HashMap<ServiceId, Seen>,
    /// By source.
    present: HashMap<String, Present>,
    by_name: HashMap<Arc<str>, BTreeSet<ServiceId>>,
    by_address: HashMap<SocketAddr, Occupants>,
    by_application: HashMap<Arc<str>, BTreeSet<ServiceId>>,
    /// Applications of which instances came, went or changed.
    changed_applications: BTreeSet<Arc<str>>,
    /// Services behind which another application is.
    reassigned: Vec<ServiceId>,
    /// How many Backends name each service.
    backed: HashMap<ServiceId, usize>,
    departed_services: VecDeque<(Instant, ServiceId)>,
    departed_addresses: VecDeque<(Instant, SocketAddr)>,
    /// Sources whose instances' hosts are named beside those of registered ones, of whatever application: somebody has listed
    /// them, port by port.
    listing: BTreeSet<String>,
    /// What of names and addresses means something.
    digest: Digest,
}

impl Services {
    /// A source lists its instances port by port: further ports on their hosts are nobody's. Said before it tells any.
    pub(crate) fn set_listing(&mut self, source: &str, is_listing: bool) {
        let source = source.to_lowercase();
        match is_listing {
            true => self.listing.insert(source),
            false => self.listing.remove(&source),
        };
    }

    /// Whether further ports on the hosts of its instances are named, of whatever application: each was declared on purpose.
    /// Others register the ports that they are called at, and may have more that are nobody's business; of members of lane
    /// groups these are told all the same.
    fn names_hosts(&self, id: &ServiceId) -> bool {
        id.source() == EMBEDDED_SOURCE || self.listing.contains(id.source())
    }

    /// A service appeared or changed.
    pub(crate) fn put(
        &mut self,
        service: Arc<lanes::Service>,
        now: Instant,
        touches: &mut Vec<Touch>,
    ) {
        let id = service.id().clone();
        let key = ResourceKey::Service(id.clone());
        let wire = versioned::service(&service);
        let before = self.by_id.remove(&id);
        self.count(&id, before.as_ref().and_then(Seen::instances), Some(service.endpoints().len()));
        let was_present = before.as_ref().is_some_and(|before| before.departed_at.is_none());
        let application = Arc::clone(service.application());
        let same_application = before
            .as_ref()
            .is_some_and(|before| before.service.application() == service.application());
        let unchanged = was_present
            && before.as_ref().is_some_and(|before| before.wire.version == wire.version);
        if !unchanged {
            let old = before.as_ref().map(|before| before.service.application());
            self.note_application(&id, old, Some(service.application()));
        }
        let had = before.map(|before| addresses_of(&before.service)).unwrap_or_default();
        let has = addresses_of(&service);
        self.by_id.insert(id.clone(), Seen { service, wire, departed_at: None });
        if unchanged {
            return;
        }
        touches.push(Touch::Content(key.clone()));
        if !same_application {
            touches.push(Touch::Share(Topic::Resource(key)));
        }
        if !was_present {
            if self.by_name.entry(id.name().into()).or_default().insert(id.clone()) {
                names_of(&id).for_each(|hash| self.digest.add(hash));
            }
            touch_names(&id, touches);
        }
        if !was_present || !same_application {
            touches.push(Touch::Share(Topic::Members(application)));
        }
        for address in has.difference(&had) {
            self.occupy(*address, &id, touches);
        }
        for address in had.difference(&has) {
            self.vacate(*address, &id, now, touches);
        }
    }

    /// A service disappeared: it stays as one without instances.
    pub(crate) fn depart(&mut self, id: &ServiceId, now: Instant, touches: &mut Vec<Touch>) {
        let Some(entry) = self.by_id.get_mut(id).filter(|entry| entry.departed_at.is_none()) else {
            return;
        };
        let (name, application) = (entry.service.name(), entry.service.application());
        let empty = lanes::Service::new(id.clone(), name, application, Vec::new());
        let addresses = addresses_of(&entry.service);
        let instances = entry.instances();
        *entry = Seen {
            wire: versioned::service(&empty),
            service: Arc::new(empty),
            departed_at: Some(now),
        };
        self.changed_applications.insert(Arc::clone(entry.service.application()));
        self.count(id, instances, None);
        touches.push(Touch::Content(ResourceKey::Service(id.clone())));
        touch_names(id, touches);
        self.departed_services.push_back((now, id.clone()));
        if self.departed_services.len() > DEPARTED_MAX {
            self.forget_oldest_service(touches);
        }
        for address in addresses {
            self.vacate(address, id, now, touches);
        }
    }

    /// A service, its name and its addresses are forgotten at once: its source was removed.
    pub(crate) fn remove(&mut self, id: &ServiceId, touches: &mut Vec<Touch>) {
        let Some(entry) = self.by_id.remove(id) else { return };
        self.count(id, entry.instances(), None);
        self.note_application(id, Some(entry.service.application()), None);
        let name = id.name();
        if let Some(ids) = self.by_name.get_mut(name) {
            if ids.remove(id) {
                names_of(id).for_each(|hash| self.digest.remove(hash));
            }
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
        touches.extend(Touch::both(ResourceKey::Service(id.clone())));
        touch_names(id, touches);
        for address in addresses_of(&entry.service) {
            if let Some(occupants) = self.by_address.get_mut(&address) {
                occupants.present.remove(id);
                occupants.departed.remove(id);
                self.forget_if_empty(address);
                touches.extend(Touch::both(ResourceKey::Address(address)));
            }
        }
    }

    /// A Backend names a service (`true`), or no longer does.
    pub(crate) fn back(&mut self, id: &ServiceId, named: bool, touches: &mut Vec<Touch>) {
        let count = self.backed.entry(id.clone()).or_default();
        *count = if named { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.backed.remove(id);
        }
        touch_names(id, touches);
    }

    /// Forgets what departed long enough ago; says when the next is due.
    pub(crate) fn forget_departed(
        &mut self,
        now: Instant,
        touches: &mut Vec<Touch>,
    ) -> Option<Instant> {
        let due = |first: Option<&Instant>, kept| first.is_some_and(|at| *at + kept <= now);
        while due(self.departed_addresses.front().map(|(at, _)| at), DEPARTED_ADDRESS_KEPT) {
            self.forget_oldest_address(touches);
        }
        while due(self.departed_services.front().map(|(at, _)| at), DEPARTED_SERVICE_KEPT) {
            self.forget_oldest_service(touches);
        }
        let address = self.departed_addresses.front().map(|(at, _)| *at + DEPARTED_ADDRESS_KEPT);
        let service = self.departed_services.front().map(|(at, _)| *at + DEPARTED_SERVICE_KEPT);
        address.into_iter().chain(service).min()
    }

    /// A service has other instances than before; `None`: it is not there.
    fn count(&mut self, id: &ServiceId, before: Option<usize>, after: Option<usize>) {
        if !self.present.contains_key(id.source()) {
            self.present.insert(id.source().to_owned(), Present::default());
        }
        let Some(present) = self.present.get_mut(id.source()) else { return };
        let services = |instances: Option<usize>| usize::from(instances.is_some());
        present.services = present.services + services(after) - services(before);
        present.instances =
            present.instances + after.unwrap_or_default() - before.unwrap_or_default();
        if present.services == 0 {
            self.present.remove(id.source());
        }
    }

    fn note_application(&mut self, id: &ServiceId, old: Option<&Arc<str>>, new: Option<&Arc<str>>) {
        self.changed_applications.extend(old.into_iter().chain(new).cloned());
        if old == new {
            return;
        }
        self.reassigned.push(id.clone());
        if let Some(old) = old
            && let Some(ids) = self.by_application.get_mut(old)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_application.remove(old);
            }
        }
        if let Some(new) = new {
            self.by_application.entry(Arc::clone(new)).or_default().insert(id.clone());
        }
    }

    fn occupy(&mut self, address: SocketAddr, id: &ServiceId, touches: &mut Vec<Touch>) {
        let occupants = self.by_address.entry(address).or_default();
        if occupants.is_empty() {
            self.digest.add(of_address(address));
            if !address.ip().is_loopback() {
                self.digest.add(of_host(address.ip()));
            }
        }
        occupants.present.insert(id.clone());
        touches.extend(Touch::both(ResourceKey::Address(address)));
    }

    fn vacate(
        &mut self,
        address: SocketAddr,
        id: &ServiceId,
        now: Instant,
        touches: &mut Vec<Touch>,
    ) {
        let Some(occupants) = self.by_address.get_mut(&address) else { return };
        if !occupants.present.remove(id) {
            return;
        }
        occupants.departed.insert(id.clone());
        if occupants.present.is_empty() {
            occupants.departed_at = Some(now);
            self.departed_addresses.push_back((now, address));
            if self.departed_addresses.len() > DEPARTED_MAX {
                self.forget_oldest_address(touches);
            }
        }
        touches.extend(Touch::both(ResourceKey::Address(address)));
    }

    fn forget_oldest_address(&mut self, touches: &mut Vec<Touch>) {
        let Some((at, address)) = self.departed_addresses.pop_front() else { return };
        let Some(occupants) = self.by_address.get_mut(&address) else { return };
        // Somebody may have come, and gone again later: that departure has its own place in the queue.
        if occupants.departed_at != Some(at) {
            return;
        }
        occupants.departed.clear();
        occupants.departed_at = None;
        if self.forget_if_empty(address) {
            touches.extend(Touch::both(ResourceKey::Address(address)));
        }
    }

    /// An address that nobody has means nothing any more; whether it is so.
    fn forget_if_empty(&mut self, address: SocketAddr) -> bool {
        if self.by_address.get(&address).is_none_or(|occupants| !occupants.is_empty()) {
            return false;
        }
        self.digest.remove(of_address(address));
        if !address.ip().is_loopback() {
            self.digest.remove(of_host(address.ip()));
        }
        self.by_address.remove(&address);
        true
    }

    fn forget_oldest_service(&mut self, touches: &mut Vec<Touch>) {
        let Some((at, id)) = self.departed_services.pop_front() else { return };
        if self.by_id.get(&id).is_some_and(|entry| entry.departed_at == Some(at)) {
            self.remove(&id, touches);
        }
    }
}

/// What others ask.
impl Services {
    /// That what is counted change by change is what there is.
    #[cfg(test)]
    pub(crate) fn assert_counted(&self) {
        let mut anew: HashMap<String, Present> = HashMap::new();
        for (id, seen) in &self.by_id {
            let Some(instances) = seen.instances() else { continue };
            let present = anew.entry(id.source().to_owned()).or_default();
            present.services += 1;
            present.instances += instances;
        }
        assert_eq!(self.present, anew);
    }

    /// Applications of which instances came, went or changed since this was last asked.
    pub(crate) fn take_changed_applications(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.changed_applications)
    }

    /// Services behind which another application is than when this was last asked.
    pub(super) fn take_reassigned(&mut self) -> Vec<ServiceId> {
        std::mem::take(&mut self.reassigned)
    }

    /// A service as it is distributed, departed ones included.
    pub(crate) fn wire(&self, id: &ServiceId) -> Option<&Versioned> {
        self.by_id.get(id).map(|entry| &entry.wire)
    }

    /// A service, departed ones included.
    pub(crate) fn get(&self, id: &ServiceId) -> Option<&Arc<lanes::Service>> {
        self.by_id.get(id).map(|entry| &entry.service)
    }

    /// The services behind which an application is.
    pub(crate) fn of_application(
        &self,
        application: &str,
    ) -> impl Iterator<Item = &Arc<lanes::Service>> {
        let ids = self.by_application.get(application).into_iter().flatten();
        ids.filter_map(|id| self.get(id))
    }

    /// What of names and addresses means something.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How much a source (lower-case) has now.
    pub(crate) fn present_in(&self, source: &str) -> Present {
        self.present.get(source).copied().unwrap_or_default()
    }

    /// How much all sources have now.
    pub(crate) fn present(&self) -> Present {
        self.present.values().fold(Present::default(), |sum, it| Present {
            services: sum.services + it.services,
            instances: sum.instances + it.instances,
        })
    }

    /// All services, departed ones included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<lanes::Service>> {
        self.by_id.values().map(|entry| &entry.service)
    }

    /// Every service of a source, departed ones included.
    pub(crate) fn of_source(&self, source: &str) -> Vec<ServiceId> {
        self.by_id.keys().filter(|id| id.source() == source).cloned().collect()
    }

    /// What a host name means.
    pub(crate) fn name(&self, host: &str) -> NameAnswer {
        let exact = self.candidates(host, None);
        if !exact.is_empty() {
            return self.decide(exact);
        }
        match host.rsplit_once('.') {
            Some((name, namespace)) => self.decide(self.candidates(name, Some(namespace))),
            None => NameAnswer::Absent,
        }
    }

    /// Which services an address means, sorted.
    pub(crate) fn address(&self, address: &SocketAddr) -> impl Iterator<Item = &ServiceId> {
        self.by_address.get(address).into_iter().flat_map(Occupants::meant)
    }

    /// The hosts of registered and listed instances, and of what other sources tell of members of lane groups; and whose
    /// these are.
    pub(crate) fn hosts(
        &self,
        is_member: impl Fn(&str) -> bool,
    ) -> HashMap<IpAddr, BTreeSet<Arc<str>>> {
        let mut hosts: HashMap<IpAddr, BTreeSet<Arc<str>>> = HashMap::new();
        let is_named = |service: &&Arc<lanes::Service>| {
            self.names_hosts(service.id()) || is_member(service.application())
        };
        for service in self.all().filter(is_named) {
            let addresses = service.endpoints().iter().flat_map(lanes::Endpoint::all_addresses);
            for ip in addresses.map(|address| address.ip()).filter(|ip| !ip.is_loopback()) {
                hosts.entry(ip).or_default().insert(Arc::clone(service.application()));
            }
        }
        hosts
    }

    /// Services of this name; departed ones only while no other is left.
    fn candidates(&self, name: &str, namespace: Option<&str>) -> Vec<&ServiceId> {
        let all = || {
            let ids = self.by_name.get(name).into_iter().flatten();
            ids.filter(|id| namespace.is_none_or(|namespace| id.namespace() == namespace))
        };
        let is_present =
            |id: &&ServiceId| self.by_id.get(*id).is_some_and(|entry| entry.departed_at.is_none());
        let present: Vec<&ServiceId> = all().filter(is_present).collect();
        if present.is_empty() { all().collect() } else { present }
    }

    fn decide(&self, candidates: Vec<&ServiceId>) -> NameAnswer {
        let backed: Vec<&&ServiceId> =
            candidates.iter().filter(|id| self.backed.contains_key(**id)).collect();
        match (candidates.as_slice(), backed.as_slice()) {
            ([], _) => NameAnswer::Absent,
            ([only], _) => NameAnswer::Service((*only).clone()),
            (_, [only]) => NameAnswer::Service((**only).clone()),
            (several, _) => NameAnswer::Ambiguous(where_found(several)),
        }
    }
}

impl Seen {
    /// How many it has, while its source has it.
    fn instances(&self) -> Option<usize> {
        self.departed_at.is_none().then(|| self.service.endpoints().len())
    }
}

impl Occupants {
    fn is_empty(&self) -> bool {
        self.present.is_empty() && self.departed.is_empty()
    }

    fn meant(&self) -> impl Iterator<Item = &ServiceId> {
        if self.present.is_empty() { self.departed.iter() } else { self.present.iter() }
    }
}

/// By what hosts a service may be called.
fn names_of(id: &ServiceId) -> impl Iterator<Item = u64> {
    let with_namespace = format!("{}.{}", id.name(), id.namespace());
    [of_name(id.name()), of_name(&with_namespace)].into_iter()
}

/// The sources, or where one of them has several: source and namespace (and group).
fn where_found(ids: &[&ServiceId]) -> Vec<String> {
    let sources: BTreeSet<&str> = ids.iter().map(|id| id.source()).collect();
    if sources.len() == ids.len() {
        return sources.into_iter().map(str::to_owned).collect();
    }
    let full = |id: &&ServiceId| {
        let path = [id.source(), id.namespace(), id.group()].join("/");
        path.trim_end_matches('/').to_owned()
    };
    ids.iter().map(full).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The names whose meaning may change with this service: its own, and with its namespace.
fn touch_names(id: &ServiceId, touches: &mut Vec<Touch>) {
    let (name, namespace) = (id.name(), id.namespace());
    touches.extend(Touch::both(ResourceKey::Name(name.into())));
    if !namespace.is_empty() {
        touches.extend(Touch::both(ResourceKey::Name(format!("{name}.{namespace}").into())));
    }
}

fn addresses_of(service: &lanes::Service) -> HashSet<SocketAddr> {
    service.endpoints().iter().flat_map(lanes::Endpoint::all_addresses).collect()
}
