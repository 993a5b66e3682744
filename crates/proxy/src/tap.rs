//! Single requests that somebody watches, of those that [`observed`](crate::observed) tells: which they are is known where they
//! are decided, and where they are counted they are handed to whoever runs the proxy.
//!
//! While nobody watches a request costs one relaxed load. While somebody does, what is told of requests is bounded: how much
//! of each, how many in a second, how many wait. What is not told is counted.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use lanes::hash::hash;
use routes::entrance::{CorrelationHeaders, CorrelationId, Head, Written};
use smallvec::SmallVec;
use telemetry::{Count, Outcome, Recorder, RequestRecord, Role};
use tokio::sync::{mpsc, watch};

use crate::published::Published;

pub(crate) mod redacted;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The lane group.
    pub group: String,
    /// The lane's tag; empty is the base: requests of the group's applications that are in none of its lanes.
    pub lane: String,
    /// Of the requests those whose id hashes to at most this (`discovery.proto`); all: [`u32::MAX`].
    pub share: u32,
}

/// One request, as this proxy saw it. Nothing that may be a secret is in it: neither fields of its head nor bodies, and of
/// its query the names alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    pub role: Role,
    /// By the wall clock.
    pub started: SystemTime,
    /// Until the last byte of its answer was sent, or was known never to be.
    pub duration: Duration,
    pub method: String,
    pub host: String,
    pub path: String,
    pub outcome: Outcome,
    /// 499: its caller had gone before.
    pub status: u16,
    /// Why this proxy itself answered; empty: it did not.
    pub reason: String,
    /// Who was to serve it; empty: nobody that is known.
    pub application: String,
    pub service: String,
    /// A gateway's.
    pub route: String,
    pub instance: Option<SocketAddr>,
    /// Of that instance; empty: base.
    pub tag: String,
    /// Groups and tags it goes on with; an empty tag is base, said so.
    pub lanes: Vec<(String, String)>,
    /// Of the trace and the request, as they go on.
    pub ids: Vec<String>,
}

/// How many requests of one that is watched there were since this was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapCount {
    pub group: String,
    pub lane: String,
    /// Told or not.
    pub matched: u32,
    /// Not told, of these.
    pub dropped: u32,
}

/// What of a proxy's requests is watched, for whoever outlives or shares it.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_watched: AtomicBool,
    watches: watch::Sender<Arc<Watches>>,
}

/// What is watched at a time.
#[derive(Debug)]
struct Watches {
    watched: Vec<Counted>,
    /// Requests told in a second, of all together.
    per_second_max: u32,
    /// Since when.
    began: Instant,
    /// In the upper half the second after that, in the lower how many requests were taken in it.
    taken: AtomicU64,
    /// Where they are told; none while nothing is watched.
    tell: Option<mpsc::Sender<Tapped>>,
}

#[derive(Debug)]
struct Counted {
    watched: Watched,
    matched: AtomicU32,
    dropped: AtomicU32,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            watched: Vec::new(),
            per_second_max: 0,
            began: Instant::now(),
            taken: AtomicU64::new(0),
            tell: None,
        }
    }
}

impl Tap {
    /// From now on these are watched instead, none where there are none: at most so many requests a second are told there.
    pub fn watch(&self, watched: Vec<Watched>, per_second_max: u32, tell: mpsc::Sender<Tapped>) {
        let is_watched = !watched.is_empty();
        let counted =
            |watched| Counted { watched, matched: AtomicU32::new(0), dropped: AtomicU32::new(0) };
        let watches = match is_watched {
            true => Watches {
                watched: watched.into_iter().map(counted).collect(),
                per_second_max,
                tell: Some(tell),
                ..Watches::default()
            },
            false => Watches::default(),
        };
        self.0.watches.send_replace(Arc::new(watches));
        self.0.is_watched.store(is_watched, Relaxed);
    }

    /// What there was of each since it is watched, or this was asked last.
    pub fn take_counts(&self) -> Vec<TapCount> {
        let watches = Arc::clone(&self.0.watches.borrow());
        let counts = watches.watched.iter().map(|counted| TapCount {
            group: counted.watched.group.clone(),
            lane: counted.watched.lane.clone(),
            matched: counted.matched.swap(0, Relaxed),
            dropped: counted.dropped.swap(0, Relaxed),
        });
        counts.collect()
    }
}

impl Watches {
    /// Whether one more request may be told in this second.
    fn takes(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.began).as_secs() << 32;
        let one_more = |taken: u64| match taken & !u64::from(u32::MAX) {
            // Threads read their clocks apart: a second that is over is not begun again.
            current if current < second => Some(second | 1),
            _ if (taken as u32) < self.per_second_max => Some(taken + 1),
            _ => None,
        };
        self.taken.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }
}

/// One thread's view of what is watched.
#[derive(Debug)]
pub(crate) struct OfThread {
    shared: Arc<Shared>,
    changes: RefCell<watch::Receiver<Arc<Watches>>>,
    latest: RefCell<Arc<Watches>>,
    recorder: Rc<Recorder>,
}

/// What is told of a request that is watched, besides its record.
#[derive(Debug)]
pub(crate) struct Begun {
    /// As it may be shown.
    path: String,
    ids: Vec<String>,
    /// By what it is watched, and which of these are it.
    watches: Arc<Watches>,
    of: SmallVec<[u8; 8]>,
    /// It counts when it ends: it is begun anew once what it waits for is known, if that will be.
    is_uncounted: bool,
}

/// What says whether a request is watched.
pub(crate) struct Seen<'d> {
    /// Who is to serve it.
    pub(crate) application: &'d str,
    /// Groups and tags it goes on with; an empty tag is base, said so.
    pub(crate) lanes: &'d [(&'d str, &'d str)],
    pub(crate) picture: &'d Published,
    pub(crate) correlation: &'d CorrelationHeaders,
    /// It is seen anew once what it waits for is known, if that will be.
    pub(crate) waits: bool,
    pub(crate) started: Instant,
}

impl OfThread {
    pub(crate) fn new(tap: &Tap, recorder: Rc<Recorder>) -> Self {
        let mut changes = tap.0.watches.subscribe();
        let latest = RefCell::new(Arc::clone(&changes.borrow_and_update()));
        let (shared, changes) = (Arc::clone(&tap.0), RefCell::new(changes));
        Self { shared, changes, latest, recorder }
    }

    /// Whether anybody watches anything.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.shared.is_watched.load(Relaxed)
    }

    /// A request was decided: what of it is to be told, if it is watched.
    #[cold]
    pub(crate) fn begin<'b>(
        &self,
        seen: &Seen<'_>,
        head: &impl Head<'b>,
        written: &Written,
    ) -> Option<Begun> {
        let watches = self.watches();
        let ids = seen.correlation.ids(head, written);
        let place = ids.first().map_or(u32::MAX, place_of);
        let of: SmallVec<[u8; 8]> = (watches.watched.iter().zip(0..))
            .filter(|(it, _)| place <= it.watched.share && is_of(&it.watched, seen))
            .map(|(_, place)| place)
            .collect();
        if of.is_empty() || !seen.waits && !self.takes(&watches, &of, seen.started) {
            return None;
        }
        let path = redacted::target(head.path(), head.query());
        let ids = ids.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect();
        Some(Begun { path, ids, watches, of, is_uncounted: seen.waits })
    }

    /// Tells a request: it has ended, and this is its record.
    #[cold]
    pub(crate) fn end(&self, begun: Begun, record: &RequestRecord) {
        let Begun { path, ids, watches, of, is_uncounted } = begun;
        if is_uncounted && !self.takes(&watches, &of, Instant::now()) {
            return;
        }
        // Nobody watches any more.
        let Some(tell) = &watches.tell else { return };
        match tell.try_send(Tapped::of(record, path, ids)) {
            Ok(()) => self.recorder.count(Count::TapTold),
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.dropped(&watches, &of),
        }
    }

    /// Counts a request that is watched; whether it may be told.
    fn takes(&self, watches: &Watches, of: &[u8], now: Instant) -> bool {
        count(watches, of, |it| &it.matched);
        let takes = watches.takes(now);
        if !takes {
            self.dropped(watches, of);
        }
        takes
    }

    fn dropped(&self, watches: &Watches, of: &[u8]) {
        self.recorder.count(Count::TapDropped);
        count(watches, of, |it| &it.dropped);
    }

    fn watches(&self) -> Arc<Watches> {
        let mut changes = self.changes.borrow_mut();
        if changes.has_changed().unwrap_or(false) {
            *self.latest.borrow_mut() = Arc::clone(&changes.borrow_and_update());
        }
        Arc::clone(&self.latest.borrow())
    }
}

impl Tapped {
    fn of(record: &RequestRecord, path: String, ids: Vec<String>) -> Self {
        let of = record.clone();
        Self {
            role: of.role,
            started: of.started,
            duration: of.duration,
            method: of.method,
            host: of.host,
            path,
            outcome: of.outcome,
            status: of.status,
            reason: of.reason,
            application: of.application,
            service: of.service,
            route: of.route,
            instance: of.instance,
            tag: of.instance_tag,
            lanes: of.lanes,
            ids,
        }
    }
}

fn count(watches: &Watches, of: &[u8], which: impl Fn(&Counted) -> &AtomicU32) {
    for place in of {
        which(&watches.watched[usize::from(*place)]).fetch_add(1, Relaxed);
    }
}

/// Whether a request is one of those: in the lane, or of the group's base where its application is one of the group.
fn is_of(watched: &Watched, seen: &Seen<'_>) -> bool {
    let lane = seen.lanes.iter().find(|(group, _)| *group == watched.group).map(|(_, tag)| *tag);
    if !watched.lane.is_empty() {
        return lane == Some(watched.lane.as_str());
    }
    let group = seen.picture.lanes.group(&watched.group);
    let spec = group.map(|group| seen.picture.lanes.groups()[usize::from(group)].spec());
    lane.is_none_or(str::is_empty)
        && spec.is_some_and(|spec| spec.applications.iter().any(|it| it == seen.application))
}

/// Where a request is among all: the same by any of the ids that an entrance gave it, whichever of them goes on.
fn place_of(id: &CorrelationId) -> u32 {
    let digits = || id.iter().filter(|byte| **byte != b'-');
    let is_number = digits().count() == 32 && digits().all(u8::is_ascii_hexdigit);
    let place = |hash: u64| (hash >> 32) as u32;
    if !is_number {
        return place(hash(id));
    }
    // A UUID has its version and its variant there.
    let told: SmallVec<[u8; 32]> = (digits().enumerate())
        .filter(|(at, _)| !matches!(at, 12 | 16))
        .map(|(_, byte)| byte.to_ascii_lowercase())
        .collect();
    place(hash(&told))
}
