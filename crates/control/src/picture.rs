//! The one picture of the whole: stored objects and the services of all sources, as what is distributed.
//!
//! It is kept up to date change by change. Every change names what it [touches](Touch), so that its cost does not
//! grow with what it does not concern: an endpoint touches its service, a lane its group.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use api::{
    convert,
    discovery::v1,
    resource::{AnyRoute, CertificateFiles, Key, Kind, Object, ServiceSource, Set},
    validate::spread::ForeignRule,
};
use lanes::{ServiceId, directory::NameAnswer};
use routes::tls::Certificate;

use crate::{
    key::{CertificatesTold, ResourceKey, Subscription, Topic, Touch},
    keyring::Keyring,
    objects::{ObjectChange, Objects},
    sources::{Sources, Standing},
    store::Unreadable,
};

mod certificates;
mod conflicts;
mod dependencies;
pub(crate) mod digest;
mod groups;
mod newness;
mod routing;
mod services;
mod unknown;
mod versioned;

pub(crate) use certificates::{Certificates, pair};
pub(crate) use conflicts::{Conflicts, introduced};
pub(crate) use dependencies::Dependencies;
pub(crate) use groups::Groups;
use newness::Newness;
pub(crate) use routing::{Routing, policies_naming};
pub(crate) use services::Services;
#[cfg(test)]
pub(crate) use services::{DEPARTED_ADDRESS_KEPT, DEPARTED_SERVICE_KEPT};
use unknown::Unknown;
pub(crate) use versioned::Versioned;

/// How long after the start a source may take to tell what it has before "nobody has this name" is believed
/// without it. Long enough for a slow registry, short enough that an unreachable one does not make every
/// foreign host name fail for good.
pub(crate) const SOURCE_SYNC_WAIT: Duration = Duration::from_secs(10);

/// Services that a sidecar is told because its application is in a group with theirs: as many as it may ask for itself.
const MEMBERS_MAX: usize = 8_192;

/// What a data plane gets.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// These resources.
    pub keys: HashSet<ResourceKey>,
    /// It must be computed again when one of these changes.
    pub topics: HashSet<Topic>,
}

/// What is known of a resource.
#[derive(Debug)]
pub(crate) enum Known {
    /// It reads like this.
    Content(Versioned),
    /// It reads like this for whoever brought nothing of it along; what was brought may be more than is known here.
    Partly(Versioned),
    /// There is none.
    Absent,
    /// A source has not told yet: whoever holds something keeps it.
    NotYet,
}

/// What must be built anew after a change of objects.
#[derive(Debug, Default)]
struct Affected {
    groups: BTreeSet<Arc<str>>,
    /// Applications of groups that changed, as they were and as they are.
    applications: BTreeSet<String>,
    gateways: BTreeSet<Key>,
    routes: BTreeSet<Key>,
    backends: BTreeSet<Key>,
    certificates: BTreeSet<Key>,
}

/// Counts for people: none comes near the limit.
pub(crate) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The picture.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Services, names, addresses.
    pub services: Services,
    /// Lane groups.
    pub groups: Groups,
    /// Gateways, routes, backends.
    pub routing: Routing,
    /// Certificates that gateways, or policies for Backends, name.
    pub certificates: Certificates,
    /// Routes in conflict with groups.
    pub conflicts: Conflicts,
    /// What applications call.
    pub dependencies: Dependencies,
    objects: Arc<Objects>,
    /// Routes by what they name: the kind and name of a Gateway or a Backend.
    naming: HashMap<(Kind, String), BTreeSet<Key>>,
    sources: Sources,
    newness: Newness,
    unknown: Unknown,
    /// Some of what was registered before a restart is not known.
    journal_is_short: bool,
    /// Until then an unsynced source makes absence unknown; `None` when it has passed.
    absence_unknown_until: Option<Instant>,
}

impl Picture {
    /// Of the objects at a start, in this generation: what is enabled was admitted before.
    pub(crate) fn new(objects: Arc<Objects>, generation: u64, now: Instant) -> Self {
        let mut picture = Self {
            services: Services::default(),
            groups: Groups::default(),
            routing: Routing::default(),
            certificates: Certificates::default(),
            conflicts: Conflicts::default(),
            dependencies: Dependencies::new(now),
            objects: Arc::default(),
            naming: HashMap::new(),
            sources: Sources::default(),
            newness: Newness::default(),
            unknown: Unknown::default(),
            journal_is_short: false,
            absence_unknown_until: Some(now + SOURCE_SYNC_WAIT),
        };
        let (changes, mut touches) = (objects.as_changes(), Vec::new());
        picture.apply_objects(&changes, objects, None, &mut touches);
        picture.note_generation(&touches, generation);
        picture
    }

    /// Notes in which generation what is touched changed last.
    pub(crate) fn note_generation(&mut self, touches: &[Touch], generation: u64) {
        self.groups.note_generation(touches, generation);
        self.routing.note_generation(touches, generation);
        self.certificates.note_generation(touches, generation);
    }

    /// Stored objects changed, all of them at once. Lanes that become enabled by it wait until `admit_at` for
    /// the data planes, or not at all.
    pub(crate) fn apply_objects(
        &mut self,
        changes: &[ObjectChange],
        objects: Arc<Objects>,
        admit_at: Option<Instant>,
        touches: &mut Vec<Touch>,
    ) {
        let mut affected = Affected::default();
        let (before, after) = (self.objects.default_gateway(), objects.default_gateway());
        if before.is_some() != after.is_some() {
            affected.gateways.extend(before.or(after).map(api::resource::Resource::key));
        }
        self.objects = objects;
        for change in changes {
            self.apply_object(change, &mut affected, touches);
        }
        let objects = Arc::clone(&self.objects);
        let set = objects.set();
        for certificate in &affected.certificates {
            self.certificates.rebuild(certificate, set, touches);
        }
        for gateway in &affected.gateways {
            self.routing.rebuild_gateway(&gateway.name, set, touches);
        }
        for named in affected.gateways.iter().chain(&affected.backends) {
            let routes = self.naming.get(&(named.kind, named.name.clone()));
            affected.routes.extend(routes.into_iter().flatten().cloned());
        }
        for route in &affected.routes {
            self.routing.rebuild_route(route, set, touches);
            self.conflicts.route_changed(route, set, &self.services);
        }
        self.routing.settle_contested(touches);
        for group in &affected.groups {
            self.groups.rebuild(group, set, admit_at, touches);
        }
        for application in &affected.applications {
            self.conflicts.application_changed(application, set, &self.services);
        }
        self.note_applications();
    }

    fn apply_object(
        &mut self,
        change: &ObjectChange,
        affected: &mut Affected,
        touches: &mut Vec<Touch>,
    ) {
        for (stored, exists) in [(&change.old, false), (&change.new, true)] {
            let Some(stored) = stored else { continue };
            let key = || change.key.clone();
            match &*stored.object {
                Object::LaneGroup(group) => {
                    affected.groups.insert(group.metadata.name.as_str().into());
                    affected.applications.extend(group.spec.applications.iter().cloned());
                }
                Object::Lane(lane) => {
                    affected.groups.insert(lane.spec.group.as_str().into());
                }
                Object::Gateway(_) => drop(affected.gateways.insert(key())),
                Object::HttpRoute(route) => {
                    self.index_route(&route.into(), exists);
                    affected.routes.insert(key());
                }
                Object::GrpcRoute(route) => {
                    self.index_route(&route.into(), exists);
                    affected.routes.insert(key());
                }
                Object::TlsRoute(route) => {
                    self.index_route(&route.into(), exists);
                    affected.routes.insert(key());
                }
                Object::Backend(backend) => {
                    affected.backends.insert(key());
                    self.services.back(&convert::routes::service(backend), exists, touches);
                }
                Object::BackendTlsPolicy(policy) => {
                    affected.backends.extend(convert::routes::targets(policy));
                }
                Object::Certificate(_) => drop(affected.certificates.insert(key())),
                // No data plane gets it.
                Object::ServiceSource(source) => {
                    let new = change.new.as_deref().map(|stored| &*stored.object);
                    self.source_written(source, exists, new, touches);
                }
            }
        }
        let name = &change.key.name;
        let is_source = change.key.kind == Kind::ServiceSource;
        if is_source && !self.set().service_sources().any(|source| source.metadata.name == *name) {
            self.remove_source(name, touches);
        }
    }

    /// A source is there, or was. Of one that became another sort of source nothing stays.
    fn source_written(
        &mut self,
        source: &ServiceSource,
        exists: bool,
        new: Option<&Object>,
        touches: &mut Vec<Touch>,
    ) {
        let name = &source.metadata.name;
        if exists {
            self.add_source(name);
            self.services.set_listing(name, source.spec.fixed.is_some());
        } else if let Some(Object::ServiceSource(new)) = new
            && new.spec.sort() != source.spec.sort()
        {
            self.remove_source(name, touches);
        }
    }

    fn index_route(&mut self, route: &AnyRoute<'_>, exists: bool) {
        for named in routing::named_by(route) {
            let routes = self.naming.entry(named.clone()).or_default();
            if exists {
                routes.insert(route.key());
                continue;
            }
            routes.remove(&route.key());
            if routes.is_empty() {
                self.naming.remove(&named);
            }
        }
    }

    /// Looks again at routes that spread requests over services whose applications are others now.
    fn note_applications(&mut self) {
        for id in self.services.take_reassigned() {
            self.conflicts.service_changed(&id, self.objects.set(), &self.services);
        }
    }

    /// Stored objects.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Stored objects, and the default gateway while there is no other.
    pub(crate) fn set(&self) -> &Set {
        self.objects.set()
    }

    /// A source exists. Until it has synced what data planes hold of it stays.
    pub(crate) fn add_source(&mut self, name: &str) {
        self.sources.add(name);
    }

    /// Nothing was ever applied to the store.
    pub(crate) fn begin_unused(&mut self, is_new: bool, is_doubted: bool) {
        self.newness.begin_unused(is_doubted);
        self.sources.await_return(!is_new);
    }

    /// Of the store some objects, or registrations, cannot be read.
    pub(crate) fn begin_without(&mut self, rows: Vec<Unreadable>, journal_is_short: bool) {
        self.unknown = Unknown::new(rows);
        for source in self.unknown.names(Kind::ServiceSource) {
            self.sources.add(&source.name);
        }
        self.journal_is_short = journal_is_short;
    }

    /// Private keys can be opened: what is written of certificates is looked at again.
    pub(crate) fn open_certificates(&mut self, keyring: Arc<Keyring>) {
        self.certificates.set_keyring(keyring);
        let objects = Arc::clone(&self.objects);
        for certificate in objects.set().certificates() {
            // At the start nobody has been told anything.
            self.certificates.rebuild(&certificate.key(), objects.set(), &mut Vec::new());
        }
    }

    /// Files of a certificate were read.
    pub(crate) fn certificate_read(
        &mut self,
        object: &Key,
        files: &CertificateFiles,
        read: Result<Certificate, String>,
        touches: &mut Vec<Touch>,
    ) {
        self.certificates.files_read(object, files, read, touches);
    }

    /// Looks at the calendar, and for a key file that was missing.
    pub(crate) fn look_at_certificates(&mut self, now: SystemTime, touches: &mut Vec<Touch>) {
        if !self.certificates.is_due(now) {
            return;
        }
        let objects = Arc::clone(&self.objects);
        for certificate in self.certificates.unopened() {
            self.certificates.rebuild(&certificate, objects.set(), touches);
        }
        self.certificates.look_at_calendar(now);
    }

    /// What of the store cannot be read.
    pub(crate) fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    /// A data plane brought what it was told before.
    pub(crate) fn brings_along(&mut self, node: &str, is_of_another: bool) {
        if self.newness.brings_along(node, is_of_another) {
            self.sources.await_return(true);
        }
    }

    /// Somebody has applied something; says whether that makes more known than what it says.
    pub(crate) fn believe(&mut self, changes: &[ObjectChange]) -> bool {
        let is_known = self.unknown.written(changes.iter().map(|change| &change.key));
        self.newness.believe() || is_known
    }

    /// Whether doubt has come up since this was last asked.
    pub(crate) fn take_new_doubt(&mut self) -> bool {
        self.newness.take_new_doubt()
    }

    /// Whether what is not here is nowhere.
    pub(crate) fn is_all(&self) -> bool {
        !self.absence_is_unknown()
            && !self.newness.is_doubted()
            && !self.unknown.any(Kind::ServiceSource)
    }

    /// Whether this store is doubted, and by whom.
    pub(crate) fn newness(&self) -> &Newness {
        &self.newness
    }

    /// Hosts on which further ports are told that nobody has declared, and whose they are.
    pub(crate) fn hosts(&self) -> HashMap<IpAddr, BTreeSet<Arc<str>>> {
        self.services.hosts(|application| self.groups.of_application(application).next().is_some())
    }

    /// A source was removed: its services are gone.
    pub(crate) fn remove_source(&mut self, name: &str, touches: &mut Vec<Touch>) {
        self.sources.remove(name);
        self.source_ruled(name, Vec::new());
        for id in self.services.of_source(&name.to_lowercase()) {
            self.services.remove(&id, touches);
        }
        self.services.set_listing(name, false);
    }

    /// A source knows these rules of others. What is said of a source that was removed is not heard.
    pub(crate) fn source_ruled(&mut self, name: &str, rules: Vec<ForeignRule>) {
        let is_there = self.sources.get(name).is_some();
        let rules = if is_there { rules } else { Vec::new() };
        self.conflicts.rules_changed(name, rules, self.objects.set());
    }

    /// A source stands otherwise than before. Returns whether everyone must look again: what was not there may be
    /// known not to be there now.
    pub(crate) fn source_stands(&mut self, name: &str, standing: Standing) -> bool {
        self.sources.stands(name, standing)
    }

    /// How all sources stand.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Services of a source changed; `None` is one that disappeared. What is still told of a source that was
    /// removed meanwhile is not heard.
    pub(crate) fn update_services(
        &mut self,
        source: &str,
        changes: Vec<(ServiceId, Option<Arc<lanes::Service>>)>,
        now: Instant,
        touches: &mut Vec<Touch>,
    ) {
        if !self.sources.contains(source) {
            return;
        }
        for (id, service) in changes {
            match service {
                Some(service) => self.services.put(service, now, touches),
                None => self.services.depart(&id, now, touches),
            }
        }
        self.note_applications();
    }

    /// Lets time pass; says when it matters next. `all` is set when everyone must look again.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        touches: &mut Vec<Touch>,
        all: &mut bool,
    ) -> Option<Instant> {
        if self.absence_unknown_until.is_some_and(|until| until <= now) {
            self.absence_unknown_until = None;
            *all = true;
        }
        self.dependencies.forget_unused(now, touches);
        let departed = self.services.forget_departed(now, touches);
        self.note_applications();
        departed.into_iter().chain(self.absence_unknown_until).min()
    }

    /// What a data plane with this subscription gets.
    pub(crate) fn share(&self, subscription: &Subscription) -> Share {
        let mut share = Share::default();
        match subscription.role {
            v1::Role::Gateway => self.share_of_gateway(subscription, &mut share),
            v1::Role::Sidecar | v1::Role::Agent | v1::Role::Unspecified => {
                self.share_of_application(subscription, &mut share);
            }
        }
        for key in &share.keys {
            share.topics.insert(Topic::Resource(key.clone()));
        }
        share
    }

    /// Everything, as decisions run on it.
    pub(crate) fn snapshot(&self) -> lanes::Snapshot {
        let mut directory = lanes::Directory::new(true);
        for service in self.services.all() {
            directory.insert(Arc::clone(service));
        }
        lanes::Snapshot::new(self.groups.compiled().cloned().collect(), directory)
    }

    /// What is known of a resource.
    pub(crate) fn known(&self, key: &ResourceKey) -> Known {
        let known = match key {
            ResourceKey::Service(id) => return self.known_service(id),
            ResourceKey::Name(host) => return self.known_name(host),
            ResourceKey::Address(address) => return self.known_address(*address),
            ResourceKey::Group(name) => self.groups.wire(name).cloned(),
            ResourceKey::Gateway(name) => self.routing.gateway(name).cloned(),
            ResourceKey::Route(name) if self.unknown.any(Kind::BackendTlsPolicy) => {
                self.routing.route_unverified(name)
            }
            ResourceKey::Route(name) => self.routing.route(name).cloned(),
            ResourceKey::Certificate(name) => self.certificates.wire(name).cloned(),
        };
        let is_unknown = self.newness.is_doubted() || self.is_unknown(key);
        match known {
            // A group without a lane that cannot be read, or the gateway that stands in while there is no object.
            Some(content) if is_unknown => Known::Partly(content),
            Some(content) => Known::Content(content),
            None if is_unknown => Known::NotYet,
            None => Known::Absent,
        }
    }

    /// Whether what cannot be read may say something of a resource.
    fn is_unknown(&self, key: &ResourceKey) -> bool {
        if self.unknown.rows().is_empty() && !matches!(key, ResourceKey::Certificate(_)) {
            return false;
        }
        match key {
            ResourceKey::Group(name) => self.unknown.is_in_group(name),
            ResourceKey::Gateway(name) => self.unknown.is_gateway(name),
            ResourceKey::Route(name) => {
                self.unknown.is_route(name)
                    || self.names_unknown_backend(name)
                    || (self.unknown.any(Kind::BackendTlsPolicy)
                        && self.routing.depends_on_policies(name))
            }
            ResourceKey::Service(_) => {
                let kinds = [
                    Kind::HttpRoute,
                    Kind::GrpcRoute,
                    Kind::TlsRoute,
                    Kind::Backend,
                    Kind::BackendTlsPolicy,
                ];
                kinds.into_iter().any(|kind| self.unknown.any(kind))
            }
            ResourceKey::Certificate(name) => {
                self.certificates.is_not_loaded(name)
                    || self.unknown.is_certificate(name)
                    || self.unknown.any(Kind::BackendTlsPolicy)
            }
            ResourceKey::Name(_) | ResourceKey::Address(_) => false,
        }
    }

    fn names_unknown_backend(&self, route: &str) -> bool {
        self.unknown.names(Kind::Backend).any(|backend| {
            let routes = self.naming.get(&(Kind::Backend, backend.name.clone()));
            let is_it = |key: &Key| convert::routes::route_key(key).as_deref() == Some(route);
            routes.into_iter().flatten().any(is_it)
        })
    }

    /// Whether a data plane may be told to drop a resource that is not in its share: not while a source that may
    /// put it there again has not spoken.
    pub(crate) fn may_remove(&self, key: &ResourceKey) -> bool {
        if self.newness.is_doubted() || self.is_unknown(key) {
            return false;
        }
        match key {
            ResourceKey::Service(id) => self.sources.is_synced(id.source()),
            ResourceKey::Group(name) => {
                self.groups.wire(name).is_none() || self.sources.all_synced()
            }
            ResourceKey::Gateway(_)
            | ResourceKey::Route(_)
            | ResourceKey::Name(_)
            | ResourceKey::Address(_)
            | ResourceKey::Certificate(_) => true,
        }
    }

    fn known_service(&self, id: &ServiceId) -> Known {
        let is_synced = self.sources.is_synced(id.source());
        match self.services.wire(id) {
            // Not all that was registered before may be registered here yet.
            Some(wire) if self.is_short() && !is_synced => Known::Partly(wire.clone()),
            Some(wire) => Known::Content(wire.clone()),
            None if !is_synced => Known::NotYet,
            // A route may name a service before its source does: it has no instances.
            None => self.known_to_be_nothing(versioned::unknown_service(id)),
        }
    }

    fn is_short(&self) -> bool {
        self.journal_is_short || self.newness.is_doubted()
    }

    fn known_name(&self, host: &str) -> Known {
        match self.services.name(host) {
            NameAnswer::Absent if self.absence_is_unknown() => Known::NotYet,
            NameAnswer::Absent => {
                self.known_to_be_nothing(versioned::name(host, &NameAnswer::Absent))
            }
            answer => Known::Content(versioned::name(host, &answer)),
        }
    }

    fn known_address(&self, address: SocketAddr) -> Known {
        let services: Vec<ServiceId> = self.services.address(&address).cloned().collect();
        let answer = versioned::address(address, &services);
        match services.is_empty() {
            true if self.absence_is_unknown() => Known::NotYet,
            true => self.known_to_be_nothing(answer),
            false => Known::Content(answer),
        }
    }

    /// Here it is nothing; whoever was told more by another control plane keeps it while this one is doubted.
    fn known_to_be_nothing(&self, answer: Versioned) -> Known {
        match self.newness.is_doubted() {
            true => Known::Partly(answer),
            false => Known::Content(answer),
        }
    }

    fn absence_is_unknown(&self) -> bool {
        self.absence_unknown_until.is_some() && !self.sources.all_synced()
    }

    fn share_of_gateway(&self, subscription: &Subscription, share: &mut Share) {
        let name = &subscription.application.name;
        share.topics.insert(Topic::Attached(Arc::clone(name)));
        share.topics.insert(Topic::Entrance(Arc::clone(name)));
        share.keys.insert(ResourceKey::Gateway(Arc::clone(name)));
        let mut certificates: BTreeSet<Arc<str>> =
            self.routing.certificates(name).map(Arc::from).collect();
        for (route, needs) in self.routing.attached(name) {
            share.keys.insert(ResourceKey::Route(Arc::clone(route)));
            for id in &needs.services {
                self.add_service(id, share);
            }
            certificates.extend(needs.certificates.iter().cloned());
        }
        for certificate in certificates {
            self.add_certificate(certificate, subscription.certificates, share);
        }
        share.keys.extend(self.groups.of_gateway(name).cloned().map(ResourceKey::Group));
    }

    /// A private key is told where nobody else hears it; authorities are no secret.
    fn add_certificate(&self, name: Arc<str>, told: CertificatesTold, share: &mut Share) {
        let is_told = match told {
            CertificatesTold::Told => true,
            CertificatesTold::Overheard => self.certificates.is_public(&name),
            CertificatesTold::NotKnown => false,
        };
        let key = ResourceKey::Certificate(name);
        // Also where it is not told: it may come to be no secret.
        share.topics.insert(Topic::Resource(key.clone()));
        if is_told {
            share.keys.insert(key);
        }
    }

    /// What it asked for, what others of its application did, and what belongs to the groups that this is in.
    fn share_of_application(&self, subscription: &Subscription, share: &mut Share) {
        let application = &subscription.application;
        self.add_application(&application.name, share);
        share.topics.insert(Topic::Dependencies(application.clone()));
        for key in self.dependencies.of(application) {
            self.add_asked(key, share);
        }
        for host in &subscription.names {
            self.add_asked(&ResourceKey::Name(Arc::clone(host)), share);
        }
        for address in &subscription.addresses {
            self.add_asked(&ResourceKey::Address(*address), share);
        }
        self.add_members(&application.name, share);
    }

    fn add_asked(&self, key: &ResourceKey, share: &mut Share) {
        share.keys.insert(key.clone());
        match key {
            ResourceKey::Name(host) => {
                if let NameAnswer::Service(id) = self.services.name(host) {
                    self.add_service(&id, share);
                }
            }
            ResourceKey::Address(address) => {
                self.services.address(address).for_each(|id| self.add_service(id, share));
            }
            // Nobody gets these for asking.
            ResourceKey::Group(_)
            | ResourceKey::Service(_)
            | ResourceKey::Gateway(_)
            | ResourceKey::Route(_)
            | ResourceKey::Certificate(_) => {}
        }
    }

    /// Services of the applications that are in a group with this one: it is likely to call them, and must not send
    /// a lane's request past it when nobody can be asked.
    fn add_members(&self, application: &str, share: &mut Share) {
        let groups = self.groups.of_application(application);
        let members = groups.filter_map(|group| self.groups.spec(group));
        let members: BTreeSet<&String> = members.flat_map(|spec| &spec.applications).collect();
        let mut services = 0;
        for member in members {
            share.topics.insert(Topic::Members(member.as_str().into()));
            for service in self.services.of_application(member) {
                services += 1;
                if services <= MEMBERS_MAX {
                    self.add_asked(&ResourceKey::Name(service.id().name().into()), share);
                }
            }
        }
    }

    fn add_service(&self, id: &ServiceId, share: &mut Share) {
        if share.keys.insert(ResourceKey::Service(id.clone()))
            && let Some(service) = self.services.get(id)
        {
            self.add_application(service.application(), share);
        }
    }

    fn add_application(&self, application: &Arc<str>, share: &mut Share) {
        if share.topics.insert(Topic::Application(Arc::clone(application))) {
            share
                .keys
                .extend(self.groups.of_application(application).cloned().map(ResourceKey::Group));
        }
    }
}
