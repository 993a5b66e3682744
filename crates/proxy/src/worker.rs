//! What one thread works with. Nothing here is shared with other threads but what is published.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    ops::Deref,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use telemetry::{CodeClass, Count, LabelSet, Level, Outcome, Recorder, RequestLabels, Role};
use tokio::{
    net::TcpSocket,
    sync::{mpsc, watch},
};

use crate::{
    buffers::Buffers,
    deadlines::Deadlines,
    ejection::Ejections,
    error::{Kind, ProxyError},
    h1::{request::RequestHead, response::ResponseHead},
    limits::{LOOKUP_WAIT, Timeouts},
    passthrough::BufferPool,
    published::{Feed, Published, Query},
    socket::Connection,
    upstream_pool::UpstreamPool,
};

/// Heads kept for reuse per thread; as many as buffers.
const HEADS_KEPT_MAX: usize = 256;

/// The picture of the moment. A counted pointer of this thread around the one that threads share, so that taking
/// it for a request touches no memory of other cores.
#[derive(Debug, Clone)]
pub(crate) struct Picture(Rc<Taken>);

#[derive(Debug)]
struct Taken {
    published: Arc<Published>,
    /// Counts the pictures this thread has taken: never the same for two.
    serial: u64,
}

impl Picture {
    fn new(published: Arc<Published>, serial: u64) -> Self {
        Self(Rc::new(Taken { published, serial }))
    }
}

impl Deref for Picture {
    type Target = Published;

    fn deref(&self) -> &Published {
        &self.0.published
    }
}

/// What tells requests apart that are counted apart, without reading the texts that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CountedAs {
    /// Which picture the rest refers to.
    serial: u64,
    /// Where the service lies in memory; 0 without one.
    service: usize,
    member: Option<(u16, u16)>,
    role: u8,
    outcome: u8,
    code_class: u8,
}

/// One thread's belongings.
#[derive(Debug)]
#[expect(
    clippy::vec_box,
    reason = "heads are handed around by pointer, so that waiting connections stay small"
)]
pub(crate) struct Worker {
    pub(crate) timeouts: Timeouts,
    pub(crate) deadlines: Rc<Deadlines<Connection>>,
    pub(crate) buffers: Buffers,
    pub(crate) tunnel_buffers: BufferPool,
    pub(crate) upstreams: UpstreamPool,
    pub(crate) ejections: RefCell<Ejections>,
    pub(crate) recorder: Recorder,
    pub(crate) draining: Cell<bool>,
    /// `SO_MARK` of connections to instances, so that redirect rules leave them alone.
    mark: Option<u32>,
    random: RefCell<SmallRng>,
    published: RefCell<watch::Receiver<Arc<Published>>>,
    demand: mpsc::Sender<Query>,
    picture: RefCell<Picture>,
    /// Of the current picture; the texts of labels are read once.
    label_sets: RefCell<HashMap<CountedAs, LabelSet>>,
    request_heads: RefCell<Vec<Box<RequestHead>>>,
    response_heads: RefCell<Vec<Box<ResponseHead>>>,
}

impl Worker {
    pub(crate) fn new(
        feed: Feed,
        timeouts: Timeouts,
        mark: Option<u32>,
        ejections: Ejections,
        recorder: Recorder,
    ) -> Self {
        let Feed { mut published, demand } = feed;
        let picture = Picture::new(Arc::clone(&published.borrow_and_update()), 0);
        Self {
            timeouts,
            deadlines: Rc::new(Deadlines::new(Instant::now())),
            buffers: Buffers::default(),
            tunnel_buffers: BufferPool::default(),
            upstreams: UpstreamPool::default(),
            ejections: RefCell::new(ejections),
            recorder,
            draining: Cell::new(false),
            mark,
            random: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
            published: RefCell::new(published),
            demand,
            picture: RefCell::new(picture),
            label_sets: RefCell::default(),
            request_heads: RefCell::default(),
            response_heads: RefCell::default(),
        }
    }

    /// The latest picture.
    pub(crate) fn picture(&self) -> Picture {
        let mut published = self.published.borrow_mut();
        // An error says that nobody publishes any more: the last picture stays good.
        if published.has_changed().unwrap_or(false) {
            let latest = Arc::clone(&published.borrow_and_update());
            let mut picture = self.picture.borrow_mut();
            *picture = Picture::new(latest, picture.0.serial + 1);
            self.label_sets.borrow_mut().clear();
        }
        self.picture.borrow().clone()
    }

    /// Another receiver of pictures, for tasks that wait for the next.
    pub(crate) fn pictures(&self) -> watch::Receiver<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// Asks what a name or address means, and waits for an answer that `settles` it, at most [`LOOKUP_WAIT`].
    pub(crate) async fn learn(
        &self,
        query: Query,
        settles: impl Fn(&Published) -> bool,
    ) -> Option<Picture> {
        let mut pictures = self.pictures();
        pictures.mark_unchanged();
        // A full queue is answered as if nobody knew.
        self.demand.try_send(query).ok()?;
        let answered = tokio::time::timeout(LOOKUP_WAIT, async {
            while !settles(&self.picture()) {
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

    /// Counts a request; `labels` are looked at when nothing like it was counted in this picture.
    pub(crate) fn count_request<'l>(
        &self,
        picture: &Picture,
        service: Option<&Arc<lanes::Service>>,
        member: Option<(u16, u16)>,
        kind: (Role, Outcome, CodeClass),
        duration: Duration,
        labels: impl FnOnce() -> RequestLabels<'l>,
    ) {
        let (role, outcome, code_class) = kind;
        let counted_as = CountedAs {
            serial: picture.0.serial,
            service: service.map_or(0, |service| Arc::as_ptr(service).addr()),
            member,
            role: role as u8,
            outcome: outcome as u8,
            code_class: code_class as u8,
        };
        let mut label_sets = self.label_sets.borrow_mut();
        let set =
            *label_sets.entry(counted_as).or_insert_with(|| self.recorder.label_set(&labels()));
        self.recorder.observe(set, duration);
    }

    /// 64 random bits.
    pub(crate) fn ticket(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// Random bytes for ids and draws.
    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }

    /// A connection to an instance from the pool, or a new one; whether it was used before.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        fresh: bool,
    ) -> Result<(Rc<Connection>, bool), ProxyError> {
        if !fresh {
            if let Some(connection) = self.upstreams.take(address) {
                self.recorder.count(Count::PoolReused);
                return Ok((connection, true));
            }
            self.recorder.count(Count::PoolMissed);
        }
        // Boxed, as everything that is rare and large: it would make every waiting connection larger.
        let opened =
            Box::pin(tokio::time::timeout(self.timeouts.connect, self.open(address))).await;
        let stream = opened.unwrap_or_else(|_| {
            self.recorder.count(Count::TimedOutConnect);
            Err(std::io::ErrorKind::TimedOut.into())
        });
        match stream {
            Ok(stream) => {
                self.recorder.count(Count::UpstreamOpened);
                self.ejections.borrow_mut().succeeded(address);
                Ok((Connection::new(stream, address, &self.deadlines), false))
            }
            Err(error) => {
                self.recorder.count(Count::ConnectFailed);
                Err(ProxyError::unsent(Kind::Connect(error)))
            }
        }
    }

    async fn open(&self, address: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let socket = match address.ip() {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(mark) = self.mark {
            socket2::SockRef::from(&socket).set_mark(mark)?;
        }
        socket.connect(address).await
    }

    /// Puts an instance aside: connecting to it failed.
    pub(crate) fn eject(&self, address: SocketAddr, now: Instant) {
        if self.ejections.borrow_mut().failed(address, now) {
            self.recorder.count(Count::Ejected);
            tracing::warn!(%address, "cannot connect to an instance; it is put aside for a while");
        }
        self.upstreams.forget(address);
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

    /// What must be done now and then: sweep deadlines, pools and ejections, tell the counters.
    pub(crate) fn tick(&self, now: Instant) {
        self.deadlines.sweep(now);
        self.upstreams.sweep(self.deadlines.now_ms());
        self.ejections.borrow_mut().tick(now);
        self.recorder.set(Level::PoolIdle, self.upstreams.idle() as i64);
        let downstream = self.recorder.level(Level::DownstreamOpen);
        self.recorder.set(Level::UpstreamOpen, self.deadlines.len() as i64 - downstream);
        self.recorder.publish();
    }

    /// Milliseconds of this thread's clock in `after`.
    pub(crate) fn at_ms(&self, after: Duration) -> u64 {
        self.deadlines.now_ms() + after.as_millis() as u64
    }
}
