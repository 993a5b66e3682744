//! Source of truth: store, validation, REST, discovery, distribution.
//!
//! [`Control::open`] reads the store and starts the one thread that writes it. From then on
//! - operators write objects over [`Control::rest`] or a watched directory ([`Control::sync_directory`]): a
//!   transaction is validated whole, made durable, and only then shown and distributed ([`ledger`]);
//! - whoever knows instances tells them ([`Control::update_services`], [`Control::source_stands`]); which sources
//!   there should be is in [`Control::sources`];
//! - both become one [`picture`], kept up to date change by change;
//! - who may do that, and who did, is in [`people`] and [`audit`];
//! - data planes ask for their share of it over [`Control::discovery`] and confirm what they got
//!   ([`distribute`]); [`hub`] decides what is told when: make before break.
//!
//! Nothing here is on the path of a request.

use std::{
    io, mem,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use api::{
    discovery::v1::{self, discovery_server::DiscoveryServer},
    resource::{EMBEDDED_SOURCE, Key, Kind, Object, ServiceSource, Set},
    rest::Event,
    validate::{Finding, spread::ForeignRule},
};
use lanes::ServiceId;
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};

mod arrived;
mod audit;
mod authority;
mod certificate_files;
mod discovery;
mod distribute;
mod events;
mod explain;
mod hello;
mod hub;
mod judging;
mod key;
mod keyring;
mod ledger;
mod manifest;
mod metrics;
mod objects;
mod people;
mod picture;
mod promotion;
mod registrations;
mod rest;
mod sources;
mod statistics;
mod status;
mod store;
mod tap;
mod tokens;
mod undo;
mod written;

pub use arrived::Arrived;
pub use audit::Authorship;
pub(crate) use authority::RotateError;
pub use discovery::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
pub use keyring::Keyring;
pub use ledger::{Commit, Done, Edit, Ledger, Precondition, Rejection, Rules, Transaction};
pub use manifest::Manifest;
pub use objects::{DEFAULT_GATEWAY, Objects, default_gateway, provide_default_gateway};
pub use people::{
    Arrival, Caller, Shown, check_first_password, cookie_name, forgotten_cookie,
    says_which_page_asks, shown_by,
};
pub use registrations::Registrations;
pub use rest::openapi;
pub use sources::Standing;
pub use statistics::prometheus::PrometheusSettings;
pub use store::{
    Account, AccountId, AuditQuery, AuditReader, BaseBefore, Change, Contents, Dependencies,
    Restored, Revision, SqliteStore, Store, StoreError, StoredAuthority, StoredCredential,
    StoredObject, StoredPromotion, StoredToken, StoredUser, Unreadable,
};
pub(crate) use tokens::TokenError;

use authority::Authorities;
use hub::Hub;
use keyring::KeyringError;
use objects::ObjectChange;
use people::People;
use promotion::Promotions;
use registrations::{Leases, Refusals};
use statistics::{Statistics, prometheus::Prometheus, trials::Trials};
use status::Findings;
use tap::Taps;
use tokens::Tokens;

/// Generation numbers reserved at once; more are when half of them are used. A restart skips what is left: few
/// enough that people can still read the numbers, more than can be used while a reservation is written.
const GENERATIONS_RESERVED: u64 = 10_000;

/// What private keys are sealed under, beside the database, where no other file is named.
pub const KEY_FILE: &str = "laneway.key";

/// What a control plane runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database file. Its directory must exist, and be locked by the caller.
    pub database: PathBuf,
    /// Where the gateway `edge` listens that exists while there is no Gateway object of Laneway's.
    pub gateway_port: u16,
    /// What data planes must show. Required by whoever binds discovery off loopback.
    pub join_token: Option<String>,
    /// What private keys are sealed under: a file that is there, or one beside the database that is made when it is first
    /// needed.
    pub key_file: Option<PathBuf>,
    /// Where this process listens, and for what: addresses that no instance has.
    pub own_listeners: Vec<(&'static str, SocketAddr)>,
    /// Who is asked about long times, instead of what this control plane has kept.
    pub prometheus: Option<PrometheusSettings>,
    /// How long a certificate of a data plane is good.
    pub certificate_life: Duration,
    /// Tells of a connection within this machine whose it is, by its two ends: the peer's first.
    pub whose: fn(SocketAddr, SocketAddr) -> Whose,
}

/// Whose the other end of a connection within this machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the user that runs this process, or of root: they could read its files in any case.
    Ours,
    /// Of another user, or it is not known.
    Unknown,
    /// Of a proxy, which asks for somebody else.
    Relayed,
}

/// Why a control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened or read.
    #[error("open the store")]
    Store(#[from] StoreError),
    /// The authorities that sign for Prometheus cannot be read.
    #[error("read the authorities that sign for Prometheus")]
    Prometheus(#[source] io::Error),
    /// The writer's thread cannot be started.
    #[error("start the store's thread")]
    Thread(#[from] io::Error),
}

/// The control plane.
#[derive(Debug)]
pub struct Control {
    hub: Arc<Mutex<Hub>>,
    ledger: Ledger,
    keyring: Arc<Keyring>,
    leases: Mutex<Leases>,
    refusals: Mutex<Refusals>,
    /// What of this process listens where, and is no instance.
    own_listeners: Vec<(&'static str, SocketAddr)>,
    whose: fn(SocketAddr, SocketAddr) -> Whose,
    restored: Mutex<Vec<v1::Instance>>,
    /// Nodes of registrations that were spoilt at the start.
    spoilt_registrations: Vec<String>,
    files: Mutex<Vec<(String, lanes::Problem)>>,
    sources: watch::Receiver<Vec<ServiceSource>>,
    statistics: Arc<Statistics>,
    prometheus: Option<Prometheus>,
    trials: Mutex<Trials>,
    taps: Arc<Taps>,
    join_token: Option<String>,
    tokens: Mutex<Tokens>,
    authorities: Arc<Authorities>,
    people: Mutex<People>,
    promotions: Mutex<Promotions>,
    /// Held by whoever starts, goes on with, ends a promotion, or looks whether one has ended: one at a time.
    promoting: tokio::sync::Mutex<()>,
    /// Wakes the driver: something changed that time alone would notice too late.
    nudge: Arc<Notify>,
    /// What passed before this process was there, and after the one before it, nobody counted.
    opened: Instant,
    /// How far the hub has got, for those who wait for a condition of it.
    progress: watch::Sender<u64>,
    /// The number of the latest change of a status.
    status_changes: watch::Sender<u64>,
    /// Generation numbers up to this one are reserved.
    ceiling: AtomicU64,
    reserving: AtomicBool,
    closing: watch::Sender<bool>,
}

impl Control {
    /// Opens the store and starts. Must be called inside a tokio runtime.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, OpenError> {
        let prometheus = prometheus(&settings)?;
        let mut store = SqliteStore::open(&settings.database)?;
        let contents = store.load()?;
        let first = contents.generation_ceiling + 1;
        let ceiling = first + GENERATIONS_RESERVED;
        store.commit(&[Change::ReserveGenerations { ceiling }])?;

        let now = Instant::now();
        let stored = contents.objects.iter().cloned().map(Arc::new);
        let objects = Arc::new(Objects::new(default_gateway(settings.gateway_port), stored));
        let (restored, spoilt_registrations) = read_registrations(&contents);
        tell_unreadable(&contents.unreadable);
        let keyring = Arc::new(keyring(&settings));
        let mut hub = Hub::new(Arc::clone(&objects), contents.epoch.clone(), first, now);
        begin(&mut hub, &contents, !spoilt_registrations.is_empty(), &keyring, now);
        let hub = Arc::new(Mutex::new(hub));

        let nudge = Arc::new(Notify::new());
        let (announce_sources, sources) = watch::channel(sources_in(&objects));
        let on_commit = distribute_commits(Arc::clone(&hub), Arc::clone(&nudge), announce_sources);
        let of_check = Arc::clone(&hub);
        let own = settings.own_listeners.clone();
        let check = Box::new(move |changes: &[ObjectChange], set: &Set| {
            let own_listener = |address| own_listener(&own, address);
            written::look_at(changes, set, &of_check, own_listener)
        });
        let of_reports = Arc::clone(&hub);
        let reported = Box::new(move || of_reports.lock().reported());
        let rules = Rules { objects, keyring: Arc::clone(&keyring), check, reported, on_commit };
        let ledger = Ledger::start(store, &contents, rules)?;
        tell_findings(&hub, ledger.view().findings());
        let (stored, life) = (&contents.authorities, settings.certificate_life);
        let authorities = authority::begin(stored, life, &keyring, &ledger).await;

        let control = Arc::new(Self {
            statistics: Arc::new(Statistics::beside(&settings.database)),
            prometheus,
            trials: Mutex::default(),
            taps: Arc::default(),
            hub,
            ledger,
            authorities,
            keyring,
            leases: Mutex::new(Leases::restored(restored.iter(), now)),
            refusals: Mutex::default(),
            own_listeners: settings.own_listeners,
            whose: settings.whose,
            restored: Mutex::new(restored),
            spoilt_registrations,
            files: Mutex::default(),
            sources,
            join_token: settings.join_token,
            tokens: Mutex::new(Tokens::new(contents.tokens)),
            people: Mutex::new(People::new(contents.accounts)),
            promotions: Mutex::new(Promotions::new(contents.promotions)),
            promoting: tokio::sync::Mutex::default(),
            nudge,
            opened: now,
            progress: watch::Sender::new(0),
            status_changes: watch::Sender::new(0),
            ceiling: AtomicU64::new(ceiling),
            reserving: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        });
        control.start();
        Ok(control)
    }

    /// Starts what goes on for as long as the control plane is there.
    fn start(self: &Arc<Self>) {
        tokio::spawn(certificate_files::follow(Arc::downgrade(self)));
        tokio::spawn(drive(Arc::downgrade(self), Arc::clone(&self.nudge)));
        tokio::spawn(count_seconds(Arc::downgrade(&self.statistics)));
        tokio::spawn(judging::judge(Arc::downgrade(self)));
        tokio::spawn(promotion::follow(Arc::downgrade(self)));
        tokio::spawn(people::tell_refused(Arc::downgrade(self)));
    }

    /// The discovery service. Hands the registrations of before a restart to `registrations` first; called once,
    /// before serving. The server should send HTTP/2 keep-alive pings
    /// ([`KEEPALIVE_INTERVAL`]), so that a data plane whose machine vanished is noticed.
    pub fn discovery<R: Registrations>(
        self: &Arc<Self>,
        registrations: Arc<R>,
    ) -> DiscoveryServer<discovery::DiscoveryService<R>> {
        let restored = std::mem::take(&mut *self.restored.lock());
        registrations.restore(restored);
        let service = discovery::DiscoveryService::new(Arc::clone(self), registrations);
        DiscoveryServer::new(service).max_decoding_message_size(discovery::MESSAGE_BYTES_MAX)
    }

    /// TLS of the discovery listener; none where nobody signs for it.
    pub fn discovery_tls(&self) -> Option<rustls::ServerConfig> {
        self.authorities.newest()?;
        authority::config(&self.authorities)
            .inspect_err(|error| tracing::error!(%error, "discovery is served without TLS"))
            .ok()
    }

    /// Services of a source changed; `None` is one that disappeared. In force when it returns.
    pub fn update_services(
        &self,
        source: &str,
        changes: Vec<(ServiceId, Option<Arc<lanes::Service>>)>,
    ) {
        self.hub().update_services(source, changes, Instant::now());
        self.nudge();
    }

    /// A source stands otherwise than before.
    pub fn source_stands(&self, source: &str, standing: Standing) {
        self.hub().source_stands(source, standing, Instant::now());
        self.nudge();
    }

    /// A source knows these rules of others, and no others: where lane groups have their applications, that is a conflict.
    pub fn source_ruled(&self, source: &str, rules: Vec<ForeignRule>) {
        self.hub().source_ruled(source, rules);
        self.nudge();
    }

    /// The sources there should be, beside [`EMBEDDED_SOURCE`], in order of creation.
    pub fn sources(&self) -> watch::Receiver<Vec<ServiceSource>> {
        self.sources.clone()
    }

    /// Does a transaction: validated whole, all of it or nothing, durable when it returns.
    pub async fn transact(&self, transaction: Transaction) -> Result<Done, Rejection> {
        self.ledger.transact(transaction, SystemTime::now()).await
    }

    /// Enabled lanes that no application of their group has an instance of.
    pub fn lanes_without_instances(&self) -> Vec<Key> {
        let lanes = self.ledger.view().list(Kind::Lane, None);
        let enabled = lanes
            .iter()
            .filter(|stored| matches!(&*stored.object, Object::Lane(lane) if lane.spec.enabled));
        let keys: Vec<Key> = enabled.map(|stored| stored.object.key()).collect();
        let mut hub = self.hub();
        let mut is_empty = |key: &Key| {
            let matched = hub.status(key).matched;
            !matched.is_empty() && matched.iter().all(|matched| matched.tagged == 0)
        };
        keys.into_iter().filter(|key| is_empty(key)).collect()
    }

    /// Ends all streams of data planes, so that a graceful shutdown of the server need not wait for them.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Files of a resources directory of which something else counts than what they say, each with the reason.
    pub fn files_stand(&self, files: Vec<(String, lanes::Problem)>) {
        *self.files.lock() = files;
    }

    /// Stops writing, after everything asked before, and closes the store.
    pub async fn stop(&self) {
        self.close();
        let events = self.hub().events_mut().take_all();
        self.keep_events(events).await;
        self.keep_refused().await;
        let statistics = Arc::clone(&self.statistics);
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || statistics.stop()).await;
        if let Ok(Err(error)) = self.ledger.stop().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the store is not closed");
        }
    }

    /// What of the store cannot be read or written, or will not be read after a restart, and files whose objects are not
    /// what they say.
    pub(crate) fn troubles(&self) -> Vec<(String, lanes::Problem)> {
        let leases = self.leases();
        let away = self.spoilt_registrations.iter().filter(|node| !leases.is_known(node));
        let spoilt = away.map(|node| {
            let problem =
                lanes::Problem::new("", "", "is spoilt: it is there again when the node is");
            (format!("registration of node {node}"), problem)
        });
        let mut unreadable: Vec<(String, lanes::Problem)> = spoilt.collect();
        drop(leases);
        let of_row = |row: &Unreadable| (row.name.clone(), row.problem.clone());
        unreadable.extend(self.hub().picture().unknown().rows().iter().map(of_row));
        unreadable.extend(self.files.lock().iter().cloned());
        let of_key_file = |error: KeyringError| {
            ("private keys".to_owned(), lanes::Problem::new("", "", error.to_string()))
        };
        unreadable.extend(self.keyring.stays().err().map(of_key_file));
        let unwritable = self.ledger.view().unwritable().map(|why| {
            let remedy = format!("{why}: nothing can be changed until that is mended");
            ("store".to_owned(), lanes::Problem::new("", "", remedy))
        });
        unreadable.extend(unwritable);
        unreadable
    }

    /// Stored objects as the last commit left them.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The picture and the data planes. Held briefly, never across an await.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock()
    }

    /// Whether a lane waits to be let in until the data planes know it.
    pub fn holds_lanes_back(&self) -> bool {
        self.hub().picture().groups.held_back().next().is_some()
    }

    /// What passes through the data planes.
    pub(crate) fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Who is asked about long times, if anybody.
    pub(crate) fn prometheus(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref()
    }

    /// Lanes on trial. Held for as long as what was counted lately is read: by threads that may wait.
    pub(crate) fn trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock()
    }

    /// Who watches single requests.
    pub(crate) fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock()
    }

    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock()
    }

    /// Whose listener an address is, if it is one of Laneway's own: no instance is there.
    pub(crate) fn listener_at(&self, address: SocketAddr) -> Option<String> {
        own_listener(&self.own_listeners, address).or_else(|| self.hub().listener_at(address))
    }

    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Tells of every change of a status: the numbers that [`Hub::status_changes`] takes.
    pub(crate) fn status_changed(&self) -> watch::Receiver<u64> {
        self.status_changes.subscribe()
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Waits until something holds of the hub.
    pub(crate) async fn until(&self, holds: impl Fn(&Hub) -> bool) {
        let mut progress = self.progress.subscribe();
        while !holds(&self.hub()) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// One round of the driver; says when the next one is due at the latest.
    fn advance(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (hub_due, progress, status_number) = {
            let mut hub = self.hub();
            hub.look_at_certificates(SystemTime::now(), now);
            (hub.advance(now), hub.progress(), hub.status_number())
        };
        let (expired, journal_due) =
            self.leases().take_expired(now, |address| self.hub().has_instance_at(address));
        // The disk must not keep lanes waiting that could be let in.
        for node in expired {
            tokio::spawn(Arc::clone(self).forget_registration(node));
        }
        let changes = self.hub().take_dependency_changes();
        if !changes.is_empty() {
            tokio::spawn(Arc::clone(self).keep_dependencies(changes));
        }
        let (events, events_due) = self.hub().events_mut().take(now);
        if !events.is_empty() {
            let control = Arc::clone(self);
            tokio::spawn(async move { control.keep_events(events).await });
        }
        if self.hub().take_new_doubt() {
            tokio::spawn(Arc::clone(self).keep_doubt());
        }
        if self.generations_run_short() {
            tokio::spawn(Arc::clone(self).reserve_generations());
        }
        self.progress.send_if_modified(|known| mem::replace(known, progress) != progress);
        self.status_changes
            .send_if_modified(|known| mem::replace(known, status_number) != status_number);
        [hub_due, journal_due, events_due].into_iter().flatten().min()
    }
}

impl Control {
    /// Whether numbers must be reserved now; `true` once until that is done.
    fn generations_run_short(&self) -> bool {
        let half = self.ceiling.load(Ordering::Relaxed) - GENERATIONS_RESERVED / 2;
        self.hub().generation().number > half && !self.reserving.swap(true, Ordering::Relaxed)
    }

    /// Keeps the numbers of this process apart from those of the next one.
    async fn reserve_generations(self: Arc<Self>) {
        let ceiling = self.hub().generation().number + GENERATIONS_RESERVED;
        match self.ledger.journal(Change::ReserveGenerations { ceiling }).await {
            Ok(()) => self.ceiling.store(ceiling, Ordering::Relaxed),
            Err(rejection) => {
                tracing::error!(error = %rejection, "generation numbers could not be reserved");
            }
        }
        self.reserving.store(false, Ordering::Relaxed);
    }

    async fn keep_dependencies(self: Arc<Self>, changes: Vec<Change>) {
        for change in changes {
            if let Err(rejection) = self.ledger.journal(change).await {
                tracing::warn!(error = %rejection, "what applications call could not be kept");
            }
        }
    }

    /// What cannot be kept is still told until the process ends: that the store cannot write is logged where it fails.
    async fn keep_events(&self, events: Vec<Event>) {
        if !events.is_empty() {
            drop(self.ledger.journal(Change::Note(events)).await);
        }
    }

    /// A restart must not take from data planes what this run has not taken.
    async fn keep_doubt(self: Arc<Self>) {
        if let Err(rejection) = self.ledger.journal(Change::Doubt).await {
            tracing::error!(error = %rejection, "that data planes hold another control plane's configuration is not kept");
        }
    }

    async fn forget_registration(self: Arc<Self>, node: String) {
        if let Err(rejection) = self.ledger.journal(Change::Deregister { node }).await {
            tracing::error!(error = %rejection, "an expired registration stays in the journal");
        }
    }
}

/// The longest the driver sleeps. It is woken for everything; this is for clocks that jump.
const DRIVER_SLEEP_MAX: Duration = Duration::from_secs(1);

/// Lets time pass for the hub, for as long as the control plane is there.
async fn drive(control: Weak<Control>, nudge: Arc<Notify>) {
    loop {
        let latest = Instant::now() + DRIVER_SLEEP_MAX;
        let due = match control.upgrade() {
            Some(control) => control.advance(Instant::now()).unwrap_or(latest).min(latest),
            None => return,
        };
        tokio::select! {
            () = nudge.notified() => {}
            () = tokio::time::sleep_until(due.into()) => {}
        }
    }
}

/// Lets seconds pass for the statistics, for as long as they are there.
async fn count_seconds(statistics: Weak<Statistics>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        match statistics.upgrade() {
            Some(statistics) => statistics.tick(Instant::now()),
            None => return,
        }
    }
}

fn distribute_commits(
    hub: Arc<Mutex<Hub>>,
    nudge: Arc<Notify>,
    announce_sources: watch::Sender<Vec<ServiceSource>>,
) -> ledger::OnCommit {
    let mut known = Findings::default();
    Box::new(move |Commit { changes, objects, findings }| {
        // Compared before the hub is locked: there may be as many as objects.
        let findings = by_object(findings);
        let all = findings.keys().chain(known.keys());
        let differ = |object: &&Key| findings.get(*object) != known.get(*object);
        let changed = all.filter(differ).cloned().collect();
        known.clone_from(&findings);
        let mut hub = hub.lock();
        hub.apply_objects(changes, Arc::clone(objects), Instant::now());
        hub.findings_changed(findings, changed);
        drop(hub);
        nudge.notify_one();
        if changes.iter().any(|change| change.key.kind == Kind::ServiceSource) {
            announce_sources.send_replace(sources_in(objects));
        }
    })
}

fn tell_findings(hub: &Mutex<Hub>, findings: &[Finding]) {
    let findings = by_object(findings);
    let changed = findings.keys().cloned().collect();
    hub.lock().findings_changed(findings, changed);
}

fn by_object(findings: &[Finding]) -> Findings {
    let mut by_object = Findings::default();
    for finding in findings {
        by_object.entry(finding.object.clone()).or_default().push(finding.clone());
    }
    by_object
}

fn tell_unreadable(unreadable: &[Unreadable]) {
    for Unreadable { name, problem, .. } in unreadable {
        tracing::error!(object = name, %problem, "a stored object cannot be read; data planes keep what they hold of it");
    }
}

fn prometheus(settings: &Settings) -> Result<Option<Prometheus>, OpenError> {
    settings.prometheus.clone().map(Prometheus::new).transpose().map_err(OpenError::Prometheus)
}

/// Gives a new hub what the store knows.
fn begin(
    hub: &mut Hub,
    contents: &Contents,
    has_spoilt_registrations: bool,
    keyring: &Arc<Keyring>,
    now: Instant,
) {
    hub.add_source(EMBEDDED_SOURCE);
    if contents.is_unused() {
        hub.begin_unused(contents.is_new(), contents.doubted);
    }
    hub.restore_dependencies(&contents.dependencies);
    hub.restore_events(contents.events.clone(), now);
    hub.begin_without(contents.unreadable.clone(), has_spoilt_registrations);
    hub.open_certificates(Arc::clone(keyring));
    hub.look_at_certificates(SystemTime::now(), now);
}

/// What private keys are sealed under, by the settings.
fn keyring(settings: &Settings) -> Keyring {
    match &settings.key_file {
        Some(named) => Keyring::new(named.clone(), false),
        None => Keyring::new(settings.database.with_file_name(KEY_FILE), true),
    }
}

fn sources_in(objects: &Objects) -> Vec<ServiceSource> {
    objects.set().service_sources().cloned().collect()
}

/// Instances that were registered, and the nodes of those that cannot be read.
fn read_registrations(contents: &Contents) -> (Vec<v1::Instance>, Vec<String>) {
    let mut spoilt = contents.spoilt_registrations.clone();
    let mut instances = Vec::new();
    for (node, bytes) in &contents.registrations {
        match v1::Instance::decode(bytes.as_slice()) {
            Ok(instance) => instances.push(instance),
            Err(_) => spoilt.push(node.clone()),
        }
    }
    for node in &spoilt {
        tracing::error!(node, "a journalled registration cannot be read");
    }
    (instances, spoilt)
}

/// Which of this process's own listeners an address is.
fn own_listener(own: &[(&'static str, SocketAddr)], address: SocketAddr) -> Option<String> {
    let own = own.iter().find(|(_, own)| is_at(*own, address));
    own.map(|(what, _)| format!("the control plane's own {what} listener"))
}

/// Whether a connection to `address` from this machine would meet a listener.
fn is_at(listener: SocketAddr, address: SocketAddr) -> bool {
    let is_everywhere = listener.ip().is_unspecified() && address.ip().is_loopback();
    listener.port() == address.port() && (listener.ip() == address.ip() || is_everywhere)
}
