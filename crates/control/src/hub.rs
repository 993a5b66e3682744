//! Where changes become distribution: the picture, the data planes, the generation, and make before break.
//!
//! Everything here is pure in the sense that time is an argument and nothing blocks; [`crate::Control`] wraps it
//! in one lock that is never on a request's path, and drives it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use api::{
    discovery::v1::{self, data_plane_message::Message},
    resource::{CertificateFiles, Key, Kind, LaneVerdict, Object, Status},
    rest::Event,
    validate::{Finding, Reported, Severity, spread::ForeignRule},
};
use foldhash::{HashMap, HashSet};
use lanes::{Fault, Problem, ServiceId};
use routes::tls::Certificate;
use tokio::sync::Notify;

use crate::{
    distribute::{Connection, DataPlane, Distribution, NAME_BYTES_MAX, Told},
    events::Events,
    hello,
    key::{Application, ResourceKey, Touch, Way},
    keyring::Keyring,
    manifest,
    objects::{ObjectChange, Objects},
    picture::{Picture, policies_naming},
    sources::Standing,
    status::{Findings, Sight, Statuses},
    store::{self, Change, Revision, Unreadable},
};

mod correlation;

/// How long a new or newly enabled lane waits for the data planes behind its entrances before requests may enter
/// it all the same (semantics §7): one that does not answer must not keep everyone waiting.
pub(crate) const ADMISSION_WAIT: Duration = Duration::from_millis(500);

/// Objects changed at once of which events say what of them changed: as many as a person reads.
const TOLD_BY_FIELD_MAX: usize = 16;

/// Reasons of conditions that do not hold as somebody wanted it, or do not hold yet.
const AWAITED: [&str; 3] = ["Admitting", "Disabled", "Syncing"];

/// How long changes of the digest gather before every sidecar is told: they concern all of them, while an instance's
/// address is one of a service that its callers are told of at once.
const DIGEST_PAUSE: Duration = Duration::from_millis(250);

/// Everything distribution knows.
#[derive(Debug)]
pub(crate) struct Hub {
    picture: Picture,
    distribution: Distribution,
    statuses: Statuses,
    events: Events,
    generation: v1::Generation,
    /// Groups of which lanes are held back, and of which more may have been confirmed.
    to_admit: HashSet<Arc<str>>,
    progress: u64,
    digest_told: DigestTold,
}

/// Up to which change sidecars were woken for the digest, and when for the last time.
#[derive(Debug)]
struct DigestTold {
    number: u64,
    at: Instant,
}

impl Hub {
    /// Begins with the objects of the store. Lanes that were enabled before a restart were admitted before it.
    pub(crate) fn new(objects: Arc<Objects>, epoch: String, number: u64, now: Instant) -> Self {
        let mut statuses = Statuses::default();
        statuses.objects_changed(&objects.as_changes());
        Self {
            picture: Picture::new(objects, number, now),
            distribution: Distribution::default(),
            statuses,
            events: Events::restored(Vec::new(), now),
            generation: v1::Generation { epoch, number },
            to_admit: HashSet::default(),
            progress: 0,
            digest_told: DigestTold { number: 0, at: now },
        }
    }

    /// Nothing was ever applied to the store. `is_new`: nobody was told anything of it either. `is_doubted`: data
    /// planes came that held what another control plane had told them.
    pub(crate) fn begin_unused(&mut self, is_new: bool, is_doubted: bool) {
        self.picture.begin_unused(is_new, is_doubted);
    }

    /// Of the store some objects, or registrations, cannot be read.
    pub(crate) fn begin_without(&mut self, rows: Vec<Unreadable>, journal_is_short: bool) {
        self.picture.begin_without(rows, journal_is_short);
    }

    /// What applications called before a restart.
    pub(crate) fn restore_dependencies(&mut self, stored: &[store::Dependencies]) {
        self.picture.dependencies.restore(stored);
    }

    /// What of what applications call the store must be told, since this was last asked.
    pub(crate) fn take_dependency_changes(&mut self) -> Vec<Change> {
        self.picture.dependencies.take_changes()
    }

    /// How many data planes brought what another control plane had told them, while nothing was ever applied to this
    /// one: nothing of it is taken from them before somebody has applied something here.
    pub(crate) fn doubted_by(&self) -> usize {
        self.picture.newness().doubted_by()
    }

    /// Whether doubt has come up since this was last asked.
    pub(crate) fn take_new_doubt(&mut self) -> bool {
        self.picture.take_new_doubt()
    }

    /// Whether the registry still has an instance at an address, heard or not.
    pub(crate) fn has_instance_at(&self, address: SocketAddr) -> bool {
        let mut services = self.picture.services.address(&address);
        services.any(|id| {
            let service = self.picture.services.get(id);
            service.is_some_and(|it| it.endpoints().iter().any(|at| at.address == address))
        })
    }

    /// A source exists without an object.
    pub(crate) fn add_source(&mut self, name: &str) {
        self.picture.add_source(name);
    }

    /// What happened before a restart.
    pub(crate) fn restore_events(&mut self, stored: Vec<Event>, now: Instant) {
        self.events = Events::restored(stored, now);
        self.events.of("control plane".to_owned(), false, "Started", String::new());
    }

    /// What happened lately.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// The same, to be kept.
    pub(crate) fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }

    fn note_events(&mut self, changes: &[ObjectChange]) {
        for change in changes {
            let (reason, message) = match (&change.old, &change.new) {
                (None, Some(_)) => ("Created", String::new()),
                (Some(_), None) => ("Deleted", String::new()),
                (Some(old), Some(new)) if changes.len() <= TOLD_BY_FIELD_MAX => {
                    let fields = manifest::changes(&old.object, &new.object, None);
                    let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
                    ("Changed", fields.join("; "))
                }
                _ => ("Changed", String::new()),
            };
            self.events.of_object(&change.key, false, reason, message);
        }
    }

    /// What is distributed now.
    pub(crate) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// The number of the latest change.
    pub(crate) fn generation(&self) -> &v1::Generation {
        &self.generation
    }

    /// The nodes of all data planes, those lately disconnected included.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.distribution.nodes()
    }

    /// One data plane.
    pub(crate) fn data_plane(&self, node: &str) -> Option<&DataPlane> {
        self.distribution.data_plane(node)
    }

    /// What entrances tell of themselves.
    pub(crate) fn reported(&self) -> Arc<Reported> {
        self.distribution.reported()
    }

    /// How many data planes have an open stream.
    pub(crate) fn connected(&self) -> usize {
        self.distribution.connected()
    }

    /// How many data planes refuse some of what they were sent.
    pub(crate) fn refusers(&self) -> usize {
        self.distribution.refusers()
    }

    /// Stored objects changed, all of them at once.
    pub(crate) fn apply_objects(
        &mut self,
        changes: &[ObjectChange],
        objects: Arc<Objects>,
        now: Instant,
    ) {
        self.note_events(changes);
        let mut touches = Vec::new();
        // Data planes that hold the lanes of another store let requests into them: to hold those back would take them
        // away for a moment. What the first objects say is taken as it is at a start.
        let is_as_at_a_start = self.picture.newness().is_doubted();
        let admit_at = (!is_as_at_a_start).then(|| now + ADMISSION_WAIT);
        if self.picture.believe(changes) {
            self.distribution.touch_all(now);
        }
        self.picture.apply_objects(changes, objects, admit_at, &mut touches);
        self.statuses.objects_changed(changes);
        for change in changes.iter().filter(|change| change.key.kind == Kind::ServiceSource) {
            self.statuses.source_changed(&change.key.name, &self.picture);
        }
        self.publish(touches, now);
    }

    /// Something else is wrong or doubtful with `changed` objects than before.
    pub(crate) fn findings_changed(&mut self, findings: Findings, changed: Vec<Key>) {
        self.statuses.findings_changed(findings, changed);
    }

    /// Lanes stand beside base so now, those that are judged; says whether any stands otherwise than before.
    pub(crate) fn judged(&mut self, verdicts: HashMap<Key, LaneVerdict>) -> bool {
        self.statuses.judged(verdicts)
    }

    /// Private keys can be opened from now on.
    pub(crate) fn open_certificates(&mut self, keyring: Arc<Keyring>) {
        self.picture.open_certificates(keyring);
    }

    /// Files of a certificate were read.
    pub(crate) fn certificate_read(
        &mut self,
        certificate: &Key,
        files: &CertificateFiles,
        read: Result<Certificate, String>,
        now: Instant,
    ) {
        let mut touches = Vec::new();
        self.picture.certificate_read(certificate, files, read, &mut touches);
        self.publish(touches, now);
    }

    /// Certificates expire, and open when their key file is there.
    pub(crate) fn look_at_certificates(&mut self, calendar: SystemTime, now: Instant) {
        let mut touches = Vec::new();
        self.picture.look_at_certificates(calendar, &mut touches);
        self.publish(touches, now);
    }

    /// Certificates that have expired, or do so soon, or are not good yet.
    pub(crate) fn expiries(&self, now: SystemTime) -> Vec<Finding> {
        let certificates = &self.picture.certificates;
        let all = certificates.all().filter_map(|(object, name)| {
            let (described, _) = certificates.described(name)?;
            let problem = described.doubt("status.certificate.notAfter", now)?;
            Some(Finding { object: object.clone(), problem, severity: Severity::Warning })
        });
        all.collect()
    }

    /// Services of a source changed.
    pub(crate) fn update_services(
        &mut self,
        source: &str,
        changes: Vec<(ServiceId, Option<Arc<lanes::Service>>)>,
        now: Instant,
    ) {
        let mut touches = Vec::new();
        self.picture.update_services(source, changes, now, &mut touches);
        self.publish(touches, now);
    }

    /// A source stands otherwise than before.
    pub(crate) fn source_stands(&mut self, source: &str, standing: Standing, now: Instant) {
        let word = |picture: &Picture| picture.sources().get(source).map(Standing::word);
        let before = word(&self.picture);
        let problem = standing.problem().unwrap_or_default().to_owned();
        let is_first = self.picture.source_stands(source, standing);
        if let Some(now) = word(&self.picture).filter(|now| Some(*now) != before) {
            let reason = if now == "stale" { "Stale" } else { "Synced" };
            self.events.of(format!("source {source}"), now == "stale", reason, problem);
        }
        self.statuses.source_changed(source, &self.picture);
        if is_first {
            self.generation.number += 1;
            self.distribution.touch_all(now);
        }
    }

    /// A source knows these rules of others, which may contradict lanes.
    pub(crate) fn source_ruled(&mut self, source: &str, rules: Vec<ForeignRule>) {
        self.picture.source_ruled(source, rules);
        self.note_progress();
    }

    /// Lets time pass and lets lanes in whose data planes are ready; says when to call again at the latest.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Instant> {
        let mut touches = Vec::new();
        let mut all = false;
        let picture_due = self.picture.advance(now, &mut touches, &mut all);
        self.note_progress();
        let admission_due = self.admit_what_is_ready(now, &mut touches);
        self.publish(touches, now);
        if all {
            self.generation.number += 1;
            self.distribution.touch_all(now);
        }
        let digest_due = self.tell_digest(now);
        let forget_due = self.distribution.forget_disconnected(now);
        self.note_progress();
        let (statuses, sight) = self.statuses();
        let look_due = statuses.look_at_marked(now, sight);
        for (object, condition) in statuses.take_news() {
            let warning = condition.is_bad() && !AWAITED.contains(&condition.reason.as_str());
            let (reason, message) = (condition.reason, condition.message);
            self.events.of_object(&object, warning, &reason, message);
        }
        [picture_due, admission_due, digest_due, forget_due, look_due].into_iter().flatten().min()
    }

    /// Has sidecars told which names and addresses mean something; says when to look again.
    fn tell_digest(&mut self, now: Instant) -> Option<Instant> {
        let number = self.picture.services.digest().number();
        if number == self.digest_told.number {
            return None;
        }
        let due = self.digest_told.at + DIGEST_PAUSE;
        if now < due {
            return Some(due);
        }
        self.digest_told = DigestTold { number, at: now };
        self.distribution.wake_sidecars();
        None
    }

    /// The status of an object as it is now.
    pub(crate) fn status(&mut self, object: &Key) -> Status {
        self.note_progress();
        let (statuses, sight) = self.statuses();
        statuses.of(object, sight)
    }

    /// An object that is in force without being stored: the gateway that serves while there is no other.
    pub(crate) fn provided(&mut self, key: &Key) -> Option<Object> {
        self.note_progress();
        let mut object = self.picture.set().get(key)?.clone();
        let (statuses, sight) = self.statuses();
        let status = statuses.of_unstored(&object, sight);
        object.set_status(Some(status));
        Some(object)
    }

    /// The status of this state of an object; `None` where another state of it is in force: what is said of that one
    /// is not said of this.
    pub(crate) fn status_of(&mut self, object: &Object) -> Option<Status> {
        let key = object.key();
        let in_force = self.picture.set().get(&key)?.metadata();
        let is_this = in_force.resource_version == object.metadata().resource_version;
        is_this.then(|| self.status(&key))
    }

    /// The number of the latest change of a status.
    pub(crate) fn status_number(&self) -> u64 {
        self.statuses.number()
    }

    /// A number from which on nobody has missed a change of a status who knows the objects of a revision.
    pub(crate) fn status_number_at(&self, revision: Revision) -> u64 {
        self.statuses.number_at(revision)
    }

    /// Objects whose status changed after that number, in order.
    pub(crate) fn status_changes(&self, after: u64) -> impl Iterator<Item = &Key> {
        self.statuses.changed_after(after)
    }

    /// Usable instances of a group's applications in its lanes: application, tag, count.
    pub(crate) fn instances_in_lanes(&mut self, group: &str) -> Vec<(String, String, usize)> {
        self.note_progress();
        let Some(spec) = self.picture.groups.spec(group) else { return Vec::new() };
        self.statuses.instances_in_lanes(spec, &self.picture)
    }

    fn statuses(&mut self) -> (&mut Statuses, Sight<'_>) {
        let sight = Sight { picture: &self.picture, distribution: &self.distribution };
        (&mut self.statuses, sight)
    }

    /// Groups of which applications lose the context.
    pub(crate) fn losses(&self) -> impl Iterator<Item = Finding> {
        let losses = self.distribution.losses();
        let named = |group| Some((self.picture.groups.object(group)?, losses.of(group)));
        losses.groups().filter_map(named).flat_map(|(object, losses)| {
            losses.map(|loss| Finding {
                object: object.clone(),
                problem: Problem::new("", "", loss.message).of(Fault::ContextLost),
                severity: Severity::Warning,
            })
        })
    }

    /// Gateways that let strangers choose a lane by an id.
    pub(crate) fn correlation_differences(&self) -> Vec<Finding> {
        correlation::differences(&self.reported(), &self.picture).collect()
    }

    /// Whether no data plane would send a new request to this address any more.
    pub(crate) fn nobody_calls(&self, address: SocketAddr) -> bool {
        self.picture.services.address(&address).all(|id| {
            let key = ResourceKey::Service(id.clone());
            let usable = |service: &Arc<lanes::Service>| {
                let mut endpoints = service.endpoints().iter();
                endpoints.any(|at| at.address == address && at.health.takes_requests())
            };
            !self.picture.services.get(id).is_some_and(usable)
                && self
                    .picture
                    .services
                    .wire(id)
                    .is_none_or(|wire| self.distribution.settled(&key, wire.version))
        })
    }

    /// Counts how often something got further: whoever waits for that need not ask while it stays the same.
    pub(crate) fn progress(&self) -> u64 {
        self.progress
    }

    /// Takes note of what got further since the last time.
    fn note_progress(&mut self) {
        for application in self.picture.services.take_changed_applications() {
            self.statuses.application_changed(&application, &self.picture);
        }
        for object in self.picture.conflicts.take_changed() {
            self.statuses.conflicts_changed(object);
        }
        for certificate in self.picture.certificates.take_changed() {
            let name = format!("{}/{}", certificate.namespace, certificate.name);
            for gateway in self.picture.routing.naming_certificate(&name) {
                self.statuses.mark(gateway.clone());
            }
            for policy in policies_naming(self.picture.set(), &name) {
                self.statuses.mark(policy);
            }
            for route in self.picture.routing.routes_naming_certificate(&name) {
                self.statuses.resource_changed(ResourceKey::Route(Arc::clone(route)));
            }
            self.statuses.mark(certificate);
        }
        for key in self.distribution.take_changed() {
            self.progress += 1;
            if let ResourceKey::Group(group) = &key
                && self.picture.groups.is_held_back(group)
            {
                self.to_admit.insert(Arc::clone(group));
            }
            self.statuses.resource_changed(key);
        }
    }

    /// Lets lanes in whose data planes are ready, or were waited for long enough; says when to look again.
    fn admit_what_is_ready(&mut self, now: Instant, touches: &mut Vec<Touch>) -> Option<Instant> {
        let Self { picture, distribution, to_admit, .. } = self;
        let groups = &mut picture.groups;
        // While it is not known what some data plane gets, nothing is ready: what may be remains to be looked at.
        if !distribution.has_open_shares() {
            for group in to_admit.drain() {
                let key = ResourceKey::Group(Arc::clone(&group));
                let is_settled = |version| distribution.settled(&key, version);
                if groups.wire(&group).is_none_or(|wire| is_settled(wire.version)) {
                    groups.admit(&group, touches);
                }
            }
        }
        groups.admit_due(now, touches)
    }

    fn publish(&mut self, touches: Vec<Touch>, now: Instant) {
        if touches.is_empty() {
            return;
        }
        self.progress += 1;
        for touch in &touches {
            let Touch::Content(key) = touch else { continue };
            if let ResourceKey::Group(group) = key
                && self.picture.groups.is_held_back(group)
            {
                self.to_admit.insert(Arc::clone(group));
            }
            self.statuses.resource_changed(key.clone());
        }
        self.generation.number += 1;
        self.picture.note_generation(&touches, self.generation.number);
        self.distribution.touch(&touches, now);
    }
}

/// What the streams of data planes do.
impl Hub {
    /// A data plane said hello.
    pub(crate) fn connect(
        &mut self,
        hello: v1::Hello,
        way: Way,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Option<Connection> {
        if !hello.held.is_empty() {
            let is_of_another = !hello.held_of.is_empty() && hello.held_of != self.generation.epoch;
            self.picture.brings_along(&hello.node, is_of_another);
        }
        let about = hello::shown(&hello);
        // Whether it is told its certificates is up to it.
        let gateway = (hello.role() == v1::Role::Gateway).then(|| hello.name.as_str().into());
        let connection = self.distribution.connect(hello, way, wake, now);
        if connection.is_some() {
            self.events.of(about, false, "Connected", String::new());
            gateway
                .into_iter()
                .for_each(|it| self.statuses.resource_changed(ResourceKey::Gateway(it)));
        }
        connection
    }

    /// What of a connected data plane listens at an address, beside instances: in words.
    pub(crate) fn listener_at(&self, address: SocketAddr) -> Option<String> {
        self.distribution.listener_at(address)
    }

    /// Whether a connected gateway takes requests at an address.
    pub(crate) fn is_gateway_at(&self, address: SocketAddr) -> bool {
        self.distribution.is_gateway_at(address)
    }

    /// Its stream ended.
    pub(crate) fn disconnect(&mut self, node: &str, connection: Connection, now: Instant) {
        let about = self.distribution.data_plane(node).map(DataPlane::shown);
        if let Some(about) = about.filter(|_| self.distribution.is_current(node, connection)) {
            self.events.of(about, true, "Disconnected", String::new());
        }
        self.distribution.disconnect(node, connection, now);
    }

    /// It said something more. `false` when another stream speaks for it now.
    pub(crate) fn receive(
        &mut self,
        node: &str,
        connection: Connection,
        message: Message,
        now: Instant,
    ) -> bool {
        let is_report = matches!(message, Message::Report(_));
        let [asked, forgotten] = asked_in(&message);
        let taken =
            self.distribution.receive(node, connection, message, &self.generation.epoch, now);
        if taken && !(asked.is_empty() && forgotten.is_empty()) {
            self.note_dependencies(node, asked, &forgotten, now);
        }
        if taken
            && is_report
            && let Some(data_plane) = self.distribution.data_plane(node)
        {
            let gateway = data_plane.hello().name.as_str().into();
            self.statuses.resource_changed(ResourceKey::Gateway(gateway));
        }
        taken
    }

    fn note_dependencies(
        &mut self,
        node: &str,
        asked: Vec<ResourceKey>,
        forgotten: &[ResourceKey],
        now: Instant,
    ) {
        let Some(data_plane) = self.distribution.data_plane(node) else { return };
        if data_plane.hello().role() == v1::Role::Gateway {
            return;
        }
        let (application, mut touches) = (Application::of(data_plane.hello()), Vec::new());
        self.picture.dependencies.forget(&application, forgotten, now, &mut touches);
        self.picture.dependencies.note(&application, asked, now, &mut touches);
        self.publish(touches, now);
    }

    /// How many connected data planes that have a group can tell single requests of it, and how many cannot.
    pub(crate) fn tapping(&self, group: &str) -> (u32, u32) {
        self.distribution.tapping(group)
    }

    /// Whether `connection` still speaks for the data plane.
    pub(crate) fn is_current(&self, node: &str, connection: Connection) -> bool {
        self.distribution.is_current(node, connection)
    }

    /// What it must be told now, if anything. Built when its stream can take it and not when something changes: a
    /// slow data plane gets the latest of everything once. Even where there is nothing to tell it becomes known
    /// what this data plane gets, so lanes may be ready to be let in: [`advance`](Self::advance) next.
    pub(crate) fn next_message(&mut self, node: &str, connection: Connection) -> Option<Told> {
        self.distribution.next_message(node, connection, &self.picture, &mut self.generation)
    }
}

/// What a message asks for, and what it no longer asks for.
fn asked_in(message: &Message) -> [Vec<ResourceKey>; 2] {
    let Message::Subscribe(subscribe) = message else { return Default::default() };
    let v1::Subscribe { names, addresses, forget_names, forget_addresses } = subscribe;
    [(names, addresses), (forget_names, forget_addresses)].map(|(names, addresses)| {
        let names = names.iter().filter(|name| name.len() <= NAME_BYTES_MAX);
        let names = names.map(|name| ResourceKey::Name(name.to_lowercase().into()));
        let addresses = addresses.iter().filter_map(|text| text.parse().ok());
        names.chain(addresses.map(ResourceKey::Address)).collect()
    })
}

#[cfg(test)]
impl Hub {
    /// That what is kept up change by change is what one would find by looking at everything.
    fn assert_kept_up(&mut self, objects: &Objects) {
        self.distribution.assert_counted();
        self.picture.services.assert_counted();
        self.note_progress();
        let changes = objects.as_changes();
        let mut anew = Statuses::default();
        anew.objects_changed(&changes);
        for change in &changes {
            let (statuses, sight) = self.statuses();
            let status = statuses.of(&change.key, sight);
            assert_eq!(status, anew.of(&change.key, sight), "{}", change.key);
        }
    }
}

#[cfg(test)]
mod tests;
