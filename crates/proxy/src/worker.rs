//! What one thread works with. Nothing here is shared with other threads but what is published.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use lanes::{
    AddressLookup, Directory, EMBEDDED_SOURCE, Endpoint, Lookup, Service, service::Health,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use telemetry::{Count, Level, Recorder, shortage};
use tokio::sync::{mpsc, watch};

use crate::{
    account::Account,
    buffers::Buffers,
    date::{self, Date},
    deadlines::{Deadlines, HasDeadline as _},
    dubbo,
    ejection::{Ejections, Trouble},
    error::{Kind, Lost, ProxyError},
    h1::{request::RequestHead, response::ResponseHead},
    limits::{EXISTING_LOOKUP_WAIT, LOOKUP_WAIT, SILENT_WAITED_FOR, Timeouts},
    listen,
    observed::Observers,
    passthrough::BufferPool,
    peers::Via,
    picture::Picture,
    published::{Feed, Published, Query},
    resolve::Resolver,
    settings::Settings,
    source::Source,
    starting::Starting,
    tls,
    transport::Connection,
    upstream::{
        pool::{Place, Pool},
        sessions::Sessions,
    },
    websocket::open::WebSockets,
};

/// Heads kept for reuse per thread; as many as buffers.
const HEADS_KEPT_MAX: usize = 256;

/// One thread's belongings.
#[derive(Debug)]
#[expect(
    clippy::vec_box,
    reason = "heads are handed around by pointer, so that waiting connections stay small"
)]
pub(crate) struct Worker {
    /// Itself, for tasks that outlive whoever begins them.
    shared: Weak<Self>,
    pub(crate) timeouts: Timeouts,
    pub(crate) deadlines: Rc<Deadlines<Connection>>,
    pub(crate) buffers: Buffers,
    pub(crate) tunnel_buffers: BufferPool,
    pub(crate) websockets: WebSockets,
    pub(crate) resolver: Resolver,
    pub(crate) upstreams: Pool,
    pub(crate) sessions: Sessions,
    pub(crate) dubbo: dubbo::Sessions,
    pub(crate) ejections: RefCell<Ejections>,
    pub(crate) starting: Starting,
    pub(crate) tls: tls::OfThread,
    pub(crate) recorder: Rc<Recorder>,
    pub(crate) account: Account,
    /// Who is told single requests.
    pub(crate) observers: Observers,
    pub(crate) draining: Cell<bool>,
    date: Date,
    /// What the other proxies know this process by.
    pub(crate) via: Via,
    source: Source,
    random: RefCell<SmallRng>,
    published: RefCell<watch::Receiver<Arc<Published>>>,
    demand: mpsc::Sender<Query>,
    picture: RefCell<Picture>,
    /// Which of an instance's several addresses did not answer, or later than another, and until when they come last.
    pub(crate) slow_addresses: RefCell<HashMap<SocketAddr, Instant>>,
    request_heads: RefCell<Vec<Box<RequestHead>>>,
    response_heads: RefCell<Vec<Box<ResponseHead>>>,
}

impl Worker {
    pub(crate) fn new(
        feed: Feed,
        settings: Settings,
        ejections: Ejections,
        recorder: Recorder,
        via: Via,
    ) -> Rc<Self> {
        let Feed { mut published, demand, comes_back } = feed;
        let Settings { timeouts, source, observers, tap, .. } = settings;
        let recorder = Rc::new(recorder);
        let observers = Observers::new(observers, &tap, Rc::clone(&recorder));
        let picture = Picture::new(Arc::clone(&published.borrow_and_update()), 0);
        Rc::new_cyclic(|shared| Self {
            shared: Weak::clone(shared),
            timeouts,
            deadlines: Rc::new(Deadlines::new(Instant::now())),
            buffers: Buffers::default(),
            tunnel_buffers: BufferPool::default(),
            websockets: WebSockets::default(),
            resolver: Resolver::default(),
            upstreams: Pool::default(),
            sessions: Sessions::default(),
            dubbo: dubbo::Sessions::default(),
            ejections: RefCell::new(ejections),
            starting: Starting::new(comes_back, Instant::now()),
            tls: tls::OfThread::default(),
            account: Account::new(Rc::clone(&recorder)),
            recorder,
            observers,
            draining: Cell::new(false),
            date: Date::default(),
            via,
            source,
            random: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
            published: RefCell::new(published),
            demand,
            picture: RefCell::new(picture),
            slow_addresses: RefCell::default(),
            request_heads: RefCell::default(),
            response_heads: RefCell::default(),
        })
    }

    /// Itself, for a task of its own; `None` while it is made.
    pub(crate) fn shared(&self) -> Option<Rc<Self>> {
        self.shared.upgrade()
    }

    /// The latest picture.
    pub(crate) fn picture(&self) -> Picture {
        let mut published = self.published.borrow_mut();
        // An error says that nobody publishes any more: the last picture stays good.
        if published.has_changed().unwrap_or(false) {
            let latest = Arc::clone(&published.borrow_and_update());
            let mut picture = self.picture.borrow_mut();
            *picture = Picture::new(latest, picture.serial() + 1);
            self.account.forget_picture();
        }
        self.picture.borrow().clone()
    }

    /// Another receiver of pictures, for tasks that wait for the next.
    pub(crate) fn pictures(&self) -> watch::Receiver<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// Asks what a name or address means, and waits for a picture that knows, at most [`LOOKUP_WAIT`], or
    /// [`EXISTING_LOOKUP_WAIT`] where it means something; not at all while there is nobody who could answer.
    pub(crate) async fn learn(&self, query: &Query) -> Option<Picture> {
        let mut pictures = self.pictures();
        pictures.mark_unchanged();
        // A full queue is answered as if nobody knew.
        self.demand.try_send(query.clone()).ok()?;
        let wait = match self.picture().lanes.directory() {
            directory if directory.nobody_answers() => Duration::ZERO,
            directory if directory.digest().is_some() => EXISTING_LOOKUP_WAIT,
            _ => LOOKUP_WAIT,
        };
        let answered = tokio::time::timeout(wait, async {
            while !is_settled(query, &self.picture()) {
                pictures.changed().await.ok()?;
            }
            Some(())
        });
        let answered = answered.await.ok().flatten();
        self.recorder.count(if answered.is_some() {
            Count::LookupAnswered
        } else {
            Count::LookupTimedOut
        });
        answered.map(|()| self.picture())
    }

    /// 64 random bits.
    pub(crate) fn ticket(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// The time, for answers that do not say it.
    pub(crate) fn date(&self) -> date::Text {
        self.date.text(self.deadlines.now_ms())
    }

    /// Random bytes for ids and draws.
    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }

    /// A connection to an instance that waits in the pool.
    pub(crate) fn pooled(&self, place: impl Into<Place>) -> Option<Rc<Connection>> {
        let pooled = self.upstreams.take(place.into());
        self.recorder.count(match pooled {
            Some(_) => Count::PoolReused,
            None => Count::PoolMissed,
        });
        pooled
    }

    /// A new connection to an instance.
    pub(crate) async fn open(&self, address: SocketAddr) -> Result<Rc<Connection>, ProxyError> {
        let opened = tokio::time::timeout(self.timeouts.connect, self.open_stream(address)).await;
        let stream = opened.unwrap_or_else(|_| {
            self.recorder.count(Count::TimedOutConnect);
            Err(std::io::ErrorKind::TimedOut.into())
        });
        match stream {
            Ok(stream) => {
                self.recorder.count(Count::UpstreamOpened);
                self.ejections.borrow_mut().connected(address, Trouble::Unreachable);
                self.starting.reached(address);
                Ok(Connection::new(stream, address, &self.deadlines))
            }
            Err(error) if shortage::is_ours(&error) => {
                self.recorder.count(Count::Shortage);
                tracing::warn!(%address, %error, "cannot open a connection for want of something of our own");
                Err(ProxyError::unsent(Kind::Shortage(error)))
            }
            Err(error) => {
                self.recorder.count(Count::ConnectFailed);
                Err(ProxyError::unsent(Kind::Connect(error)))
            }
        }
    }

    async fn open_stream(&self, address: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let (socket, address) = self.source.socket(address)?;
        // A socket that cannot is one that no byte passes: the connect says why.
        let _ = listen::notice_vanished(&socket2::SockRef::from(&socket), self.timeouts.backend);
        socket.connect(address).await
    }

    /// Puts an instance aside: connecting to it failed.
    pub(crate) fn eject(&self, address: SocketAddr, now: Instant) {
        if self.ejections.borrow_mut().failed(address, now) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(%address, "cannot connect to an instance; it is put aside for a while");
        }
        self.forget(address);
    }

    /// Puts an instance aside that was chosen for a connection which passes unread.
    pub(crate) fn eject_unread(&self, address: SocketAddr, trouble: Trouble, now: Instant) {
        if self.ejections.borrow_mut().failed_unread(address, trouble, now) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(%address, "cannot pass a connection on to an instance; it is put aside for a while");
        }
        if trouble == Trouble::Unreachable {
            self.forget(address);
        }
    }

    /// No connection to an instance that waits, or is shared, is used for another request any more.
    pub(crate) fn forget(&self, address: SocketAddr) {
        self.upstreams.forget(address);
        self.sessions.forget(address);
    }

    /// A request is about to go to an instance.
    #[inline]
    pub(crate) fn tries(&self, address: SocketAddr) {
        if self.ejections.borrow().has_any() {
            self.ejections.borrow_mut().try_again(address, Instant::now());
        }
    }

    /// An instance has answered: whatever it did before, it is there.
    #[inline]
    pub(crate) fn answered(&self, address: SocketAddr) {
        if self.ejections.borrow().has_any() {
            self.ejections.borrow_mut().succeeded(address);
        }
    }

    /// An instance took a request and did not answer. Several in a row put it aside: says whether they have.
    #[cold]
    pub(crate) fn unanswered(&self, address: SocketAddr, now: Instant) -> bool {
        let is_put_aside = self.ejections.borrow_mut().unanswered(address, now);
        if is_put_aside {
            self.recorder.count(Count::Ejected);
            tracing::warn!(%address, "an instance does not answer; it is put aside for a while");
            self.forget(address);
        }
        is_put_aside
    }

    /// The application beside this sidecar took a request, did not answer, and gives no sign of life. Several in a row,
    /// and for a moment nobody's request is handed to it: their callers, who hear from this sidecar all the time, choose
    /// somebody else.
    #[cold]
    pub(crate) fn mute(&self, application: SocketAddr, now: Instant) {
        if self.ejections.borrow_mut().mute(application, now) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(address = %application, "the application gives no sign of life; requests are refused for a moment");
            self.forget(application);
        }
    }

    /// An instance gives no sign of life for long, though it was asked for one.
    #[cold]
    pub(crate) fn frozen(&self, address: SocketAddr, now: Instant) {
        if self.ejections.borrow_mut().frozen(address, now, Trouble::Hung) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(%address, "an instance gives no sign of life; it is put aside for a while");
            self.forget(address);
        }
    }

    /// The same of the application beside this sidecar: nobody's request is handed to it for a moment.
    #[cold]
    pub(crate) fn application_frozen(&self, application: SocketAddr, now: Instant) {
        if self.ejections.borrow_mut().frozen(application, now, Trouble::Mute) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(address = %application, "the application gives no sign of life; requests are refused for a moment");
            self.forget(application);
        }
    }

    /// Something has come from an address: it is not mute.
    #[inline]
    pub(crate) fn heard_of(&self, address: SocketAddr) {
        if self.ejections.borrow().has_any() {
            self.ejections.borrow_mut().connected(address, Trouble::Mute);
        }
    }

    /// Whether no request is handed to the application beside this sidecar at present.
    #[inline]
    pub(crate) fn is_mute(&self, application: SocketAddr) -> bool {
        let ejections = self.ejections.borrow();
        ejections.has_any() && ejections.is_mute(application, Instant::now())
    }

    pub(crate) fn take_request_head(&self) -> Box<RequestHead> {
        self.request_heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_request_head(&self, mut head: Box<RequestHead>) {
        let mut shelf = self.request_heads.borrow_mut();
        if shelf.len() < HEADS_KEPT_MAX {
            head.reset();
            shelf.push(head);
        }
    }

    pub(crate) fn take_response_head(&self) -> Box<ResponseHead> {
        self.response_heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_response_head(&self, mut head: Box<ResponseHead>) {
        let mut shelf = self.response_heads.borrow_mut();
        if shelf.len() < HEADS_KEPT_MAX {
            head.reset();
            shelf.push(head);
        }
    }

    /// Takes back the requests that wait for instances of which nothing is to be expected by the latest picture, all
    /// of them or those of a picture that has just come.
    pub(crate) fn free_waiting(&self) {
        let picture = self.picture();
        let directory = picture.lanes.directory();
        let is_heard =
            |address| instances_at(directory, address).any(|it| it.health == Health::Usable);
        self.ejections.borrow_mut().heard(is_heard);
        self.deadlines.for_each(|connection| {
            let Some(service) = connection.awaits().and_then(|id| directory.service(id)) else {
                return;
            };
            let lost = match instance_of(service, connection.peer) {
                Some(endpoint) => match endpoint.health {
                    Health::Unhealthy => Lost::Unhealthy,
                    // What has taken its leave answers what it has, and is registered no more before it has.
                    Health::Draining => return connection.is_leaving.set(true),
                    Health::Usable | Health::Silent | Health::InvalidTag => return,
                },
                // Of other sources nobody knows how their instances leave.
                None if connection.is_leaving.get() || service.id().source() != EMBEDDED_SOURCE => {
                    return;
                }
                None => Lost::Vanished,
            };
            self.recorder.count(Count::Freed);
            connection.lose(lost);
        });
    }

    /// Takes back the requests that have waited for long enough for an instance that its source does not hear from either.
    fn free_from_silent(&self, now: Instant) {
        let picture = self.picture();
        if !picture.lanes.directory().has_silent() {
            return;
        }
        self.deadlines.for_each(|connection| {
            if connection.awaits().is_none() || connection.awaited_for() < SILENT_WAITED_FOR {
                return;
            }
            let mut instances = instances_at(picture.lanes.directory(), connection.peer);
            let Some(instance) = instances.next() else { return };
            if instance.health != Health::Silent || instances.any(|it| it.health != Health::Silent)
            {
                return;
            }
            let address = instance.address;
            if self.ejections.borrow_mut().silent(address, now) {
                self.recorder.count(Count::Ejected);
                tracing::warn!(%address, "an instance is not heard and does not answer; it is put aside until it is");
                instance.addresses().for_each(|address| self.forget(address));
            }
            self.recorder.count(Count::Freed);
            connection.lose(Lost::Silent);
        });
    }

    /// Takes back the requests that wait on a connection on which nothing has come for long, though a sign of life was asked
    /// for. Whose it is, is put aside by whoever has lost one.
    #[cold]
    pub(crate) fn free_from_mute(&self, connection: &Connection) {
        // Others who wait on it may have noticed in the same moment.
        if connection.lost.get().is_none() {
            self.recorder.count(Count::Freed);
            connection.lose(Lost::Mute);
        }
    }

    /// Holds it against instances that they have not answered for long, though their callers wait on.
    #[cold]
    fn hold_hung(&self, now: Instant) {
        self.deadlines.for_each(|connection| {
            if connection.deadline().take_noted() && connection.awaits().is_some() {
                self.hangs(connection, now);
            }
        });
    }

    /// Holds it against the instance at the other end that it has not answered for long.
    #[cold]
    pub(crate) fn hangs(&self, connection: &Connection, now: Instant) {
        let picture = self.picture();
        let service = connection.awaits().and_then(|id| picture.lanes.directory().service(id));
        let instance = service.and_then(|service| service.reached_at(connection.peer));
        self.unanswered(instance.map_or(connection.peer, |it| it.address), now);
    }

    /// What must be done now and then: sweep deadlines, pools and ejections, tell the counters, and let go of a
    /// picture that has been replaced, which a thread without requests would keep for ever.
    pub(crate) fn tick(&self, now: Instant) {
        self.picture();
        if self.deadlines.sweep(now) {
            self.hold_hung(now);
        }
        self.free_from_silent(now);
        self.upstreams.sweep(self.deadlines.now_ms());
        self.sessions.sweep(self.deadlines.now_ms());
        self.ejections.borrow_mut().tick(now);
        self.starting.tick(now);
        self.slow_addresses.borrow_mut().retain(|_, until| now < *until);
        self.recorder.set(Level::PoolIdle, self.upstreams.idle() as i64);
        let downstream = self.recorder.level(Level::DownstreamOpen);
        self.recorder.set(Level::UpstreamOpen, self.deadlines.len() as i64 - downstream);
        self.recorder.publish();
    }

    /// Milliseconds of this thread's clock in `after`.
    pub(crate) fn at_ms(&self, after: Duration) -> u64 {
        self.deadlines.at_ms(after)
    }
}

#[cfg(test)]
impl Worker {
    /// One that knows of nothing and asks nobody, for tests of what works with one.
    pub(crate) fn alone(metrics: &telemetry::Metrics) -> Rc<Self> {
        let (_, published) = watch::channel(Arc::default());
        let (demand, _) = mpsc::channel(1);
        let inherited = crate::Inherited::default();
        let settings = Settings {
            name: "alone",
            timeouts: Timeouts::default(),
            connections_max: None,
            source: Source::default(),
            metrics: Arc::default(),
            observers: telemetry::RequestObservers::default(),
            tap: crate::Tap::default(),
            accepts: true,
            inherited,
        };
        let feed = Feed { published, demand, comes_back: false };
        Self::new(feed, settings, Ejections::default(), metrics.recorder(), Via::new(0))
    }
}

/// The instance of a service that a connection leads to, be it past its sidecar.
fn instance_of(service: &Service, peer: SocketAddr) -> Option<&Endpoint> {
    let of_application =
        || service.endpoints().iter().find(|it| it.all_addresses().any(|it| it == peer));
    service.reached_at(peer).or_else(of_application)
}

/// What is reached at an address: an instance, once for each of its services.
fn instances_at(directory: &Directory, address: SocketAddr) -> impl Iterator<Item = &Endpoint> {
    let ids = match directory.by_address(address) {
        AddressLookup::Known(ids) => ids,
        _ => &[],
    };
    ids.iter().filter_map(move |id| directory.service(id)?.reached_at(address))
}

/// Whether a picture answers a query.
fn is_settled(query: &Query, picture: &Published) -> bool {
    let directory = picture.lanes.directory();
    match query {
        Query::Name(name) => !matches!(directory.by_name(name), Lookup::Unsubscribed),
        Query::Address(address) => {
            !matches!(directory.by_address(*address), AddressLookup::Unsubscribed)
        }
    }
}
