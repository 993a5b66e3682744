//! What one thread counts, without locks and without sharing.

use std::{
    cell::{Cell, RefCell},
    hash::BuildHasher,
    sync::Arc,
    time::Duration,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;

use crate::{
    RequestLabels, Role,
    histogram::Histogram,
    labels::{OTHER, OwnedLabels},
    names::{self, Metric, label},
};

/// Things that happen and are counted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// A caller's connection was accepted.
    DownstreamAccepted,
    /// A connection to an instance was opened.
    UpstreamOpened,
    /// A caller's connection was closed at once because a limit was reached.
    DownstreamRefused,
    /// A connect to an instance failed.
    ConnectFailed,
    /// A connection to an instance was not made for want of something of our own.
    Shortage,
    /// Bytes received from callers.
    BytesReceived,
    /// Bytes sent to callers.
    BytesSent,
    /// A request was no correct HTTP.
    RejectedMalformed,
    /// A request, or part of it, was larger than allowed.
    RejectedTooLarge,
    /// A caller's request took too long to arrive.
    TimedOutRequest,
    /// An instance took too long to answer.
    TimedOutResponse,
    /// A connection was idle for too long.
    TimedOutIdle,
    /// A connect took too long.
    TimedOutConnect,
    /// A caller's connection agreed on TLS.
    TlsFull,
    /// A caller's connection went on with the keys of one of before.
    TlsResumed,
    /// A caller left in the midst of the handshake.
    TlsBrokenOff,
    /// A caller's handshake took too long.
    TlsTimedOut,
    /// A caller spoke HTTP in the clear where TLS is spoken.
    TlsPlainHttp,
    /// A caller asked for a name that no listener has.
    TlsUnknownName,
    /// A listener had no certificate that can be shown.
    TlsNoCertificate,
    /// Nobody was there to whom TLS is passed on.
    TlsNoInstance,
    /// A caller's certificate was missing, or did not verify.
    TlsClientCertificate,
    /// A caller spoke no version, cipher or protocol that is spoken here.
    TlsIncompatible,
    /// A caller did not like what it was shown.
    TlsRefused,
    /// What a caller sent was no TLS, or not in order.
    TlsMalformed,
    /// An instance's certificate did not verify.
    UpstreamTlsCertificate,
    /// An instance took too long to agree on TLS.
    UpstreamTlsTimedOut,
    /// Nothing could be agreed on with an instance.
    UpstreamTlsFailed,
    /// A connection was copied byte by byte.
    PassedThrough,
    /// A request used a connection from the pool.
    PoolReused,
    /// A request needed a new connection.
    PoolMissed,
    /// A pooled connection turned out to be closed.
    PoolStale,
    /// A request was tried again because the connect failed.
    RetriedConnect,
    /// A request was tried again because the pooled connection was closed.
    RetriedStale,
    /// A request was tried again because the instance refused it as misrouted.
    RetriedMisrouted,
    /// A request was tried again because the instance's sidecar could not connect to its application.
    RetriedUnreachable,
    /// A request was tried again because the instance had become unhealthy, or was lost.
    RetriedLost,
    /// A request was taken back from an instance that became unhealthy, or was lost, before it answered.
    Freed,
    /// A request that somebody watches was told.
    TapTold,
    /// A request that somebody watches was not told: there were too many.
    TapDropped,
    /// A request had come round too often.
    Loop,
    /// An instance was ejected.
    Ejected,
    /// A request arrived where its lane does not allow.
    Misrouted,
    /// A lane member had an unknown tag.
    UnknownTag,
    /// An address was shared by services and no Host told which.
    AmbiguousAddress,
    /// A context was restored by correlation id.
    CorrelationRestored,
    /// An id was seen with differing live contexts: base.
    CorrelationConflict,
    /// An id was not known: base.
    CorrelationUnknown,
    /// A look-up waited and was answered.
    LookupAnswered,
    /// A look-up waited in vain.
    LookupTimedOut,
    /// A request was counted under `other`.
    LabelSetsOverflowed,
}

/// Things that are open or waiting: up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Callers' connections.
    DownstreamOpen,
    /// Connections to instances.
    UpstreamOpen,
    /// Connections to instances that wait in a pool.
    PoolIdle,
    /// Requests being served by a gateway.
    InFlightGateway,
    /// Requests being handed to the own application.
    InFlightInbound,
    /// Requests of the own application being carried to others.
    InFlightOutbound,
}

impl Count {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Self; 51] = [
        Self::DownstreamAccepted,
        Self::UpstreamOpened,
        Self::DownstreamRefused,
        Self::ConnectFailed,
        Self::Shortage,
        Self::BytesReceived,
        Self::BytesSent,
        Self::RejectedMalformed,
        Self::RejectedTooLarge,
        Self::TimedOutRequest,
        Self::TimedOutResponse,
        Self::TimedOutIdle,
        Self::TimedOutConnect,
        Self::TlsFull,
        Self::TlsResumed,
        Self::TlsBrokenOff,
        Self::TlsTimedOut,
        Self::TlsPlainHttp,
        Self::TlsUnknownName,
        Self::TlsNoCertificate,
        Self::TlsNoInstance,
        Self::TlsClientCertificate,
        Self::TlsIncompatible,
        Self::TlsRefused,
        Self::TlsMalformed,
        Self::UpstreamTlsCertificate,
        Self::UpstreamTlsTimedOut,
        Self::UpstreamTlsFailed,
        Self::PassedThrough,
        Self::PoolReused,
        Self::PoolMissed,
        Self::PoolStale,
        Self::RetriedConnect,
        Self::RetriedStale,
        Self::RetriedMisrouted,
        Self::RetriedUnreachable,
        Self::RetriedLost,
        Self::Freed,
        Self::TapTold,
        Self::TapDropped,
        Self::Loop,
        Self::Ejected,
        Self::Misrouted,
        Self::UnknownTag,
        Self::AmbiguousAddress,
        Self::CorrelationRestored,
        Self::CorrelationConflict,
        Self::CorrelationUnknown,
        Self::LookupAnswered,
        Self::LookupTimedOut,
        Self::LabelSetsOverflowed,
    ];

    /// Its family and, where it shares one, the label that tells it apart.
    pub(crate) fn series(self) -> (Metric, Option<(&'static str, &'static str)>) {
        match self {
            Self::DownstreamAccepted => (names::CONNECTIONS, Some((label::SIDE, "downstream"))),
            Self::UpstreamOpened => (names::CONNECTIONS, Some((label::SIDE, "upstream"))),
            Self::DownstreamRefused => (names::CONNECTIONS_REFUSED, None),
            Self::ConnectFailed => (names::CONNECT_FAILURES, None),
            Self::Shortage => (names::SHORTAGES, None),
            Self::BytesReceived => (names::BYTES, Some((label::DIRECTION, "received"))),
            Self::BytesSent => (names::BYTES, Some((label::DIRECTION, "sent"))),
            Self::RejectedMalformed => {
                (names::REJECTED_REQUESTS, Some((label::REASON, "malformed")))
            }
            Self::RejectedTooLarge => {
                (names::REJECTED_REQUESTS, Some((label::REASON, "too_large")))
            }
            Self::TimedOutRequest => (names::TIMEOUTS, Some((label::REASON, "request"))),
            Self::TimedOutResponse => (names::TIMEOUTS, Some((label::REASON, "response"))),
            Self::TimedOutIdle => (names::TIMEOUTS, Some((label::REASON, "idle"))),
            Self::TimedOutConnect => (names::TIMEOUTS, Some((label::REASON, "connect"))),
            Self::TlsFull => (names::TLS_HANDSHAKES, Some((label::RESULT, "full"))),
            Self::TlsResumed => (names::TLS_HANDSHAKES, Some((label::RESULT, "resumed"))),
            Self::TlsBrokenOff => (names::TLS_FAILURES, Some((label::REASON, "broken_off"))),
            Self::TlsTimedOut => (names::TLS_FAILURES, Some((label::REASON, "timed_out"))),
            Self::TlsPlainHttp => (names::TLS_FAILURES, Some((label::REASON, "plain_http"))),
            Self::TlsUnknownName => (names::TLS_FAILURES, Some((label::REASON, "unknown_name"))),
            Self::TlsNoCertificate => {
                (names::TLS_FAILURES, Some((label::REASON, "no_certificate")))
            }
            Self::TlsNoInstance => (names::TLS_FAILURES, Some((label::REASON, "no_instance"))),
            Self::TlsClientCertificate => {
                (names::TLS_FAILURES, Some((label::REASON, "client_certificate")))
            }
            Self::TlsIncompatible => (names::TLS_FAILURES, Some((label::REASON, "incompatible"))),
            Self::TlsRefused => (names::TLS_FAILURES, Some((label::REASON, "refused"))),
            Self::TlsMalformed => (names::TLS_FAILURES, Some((label::REASON, "malformed"))),
            Self::UpstreamTlsCertificate => {
                (names::UPSTREAM_TLS_FAILURES, Some((label::REASON, "certificate")))
            }
            Self::UpstreamTlsTimedOut => {
                (names::UPSTREAM_TLS_FAILURES, Some((label::REASON, "timed_out")))
            }
            Self::UpstreamTlsFailed => {
                (names::UPSTREAM_TLS_FAILURES, Some((label::REASON, "other")))
            }
            Self::PassedThrough => (names::PASSED_THROUGH, None),
            Self::PoolReused => (names::POOL_REQUESTS, Some((label::RESULT, "reused"))),
            Self::PoolMissed => (names::POOL_REQUESTS, Some((label::RESULT, "new"))),
            Self::PoolStale => (names::POOL_REQUESTS, Some((label::RESULT, "stale"))),
            Self::RetriedConnect => (names::RETRIES, Some((label::REASON, "connect"))),
            Self::RetriedStale => (names::RETRIES, Some((label::REASON, "stale"))),
            Self::RetriedMisrouted => (names::RETRIES, Some((label::REASON, "misrouted"))),
            Self::RetriedUnreachable => (names::RETRIES, Some((label::REASON, "unreachable"))),
            Self::RetriedLost => (names::RETRIES, Some((label::REASON, "lost"))),
            Self::Freed => (names::FREED, None),
            Self::TapTold => (names::TAPPED, Some((label::RESULT, "told"))),
            Self::TapDropped => (names::TAPPED, Some((label::RESULT, "dropped"))),
            Self::Loop => (names::LOOPS, None),
            Self::Ejected => (names::EJECTIONS, None),
            Self::Misrouted => (names::MISROUTED, None),
            Self::UnknownTag => (names::UNKNOWN_TAGS, None),
            Self::AmbiguousAddress => (names::AMBIGUOUS_ADDRESSES, None),
            Self::CorrelationRestored => (names::CORRELATION, Some((label::RESULT, "restored"))),
            Self::CorrelationConflict => (names::CORRELATION, Some((label::RESULT, "conflict"))),
            Self::CorrelationUnknown => (names::CORRELATION, Some((label::RESULT, "unknown"))),
            Self::LookupAnswered => (names::LOOKUPS_WAITED, Some((label::RESULT, "answered"))),
            Self::LookupTimedOut => (names::LOOKUPS_WAITED, Some((label::RESULT, "timed_out"))),
            Self::LabelSetsOverflowed => (names::LABEL_SETS_OVERFLOWED, None),
        }
    }
}

impl Level {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] = [
        Self::DownstreamOpen,
        Self::UpstreamOpen,
        Self::PoolIdle,
        Self::InFlightGateway,
        Self::InFlightInbound,
        Self::InFlightOutbound,
    ];

    /// Requests being served, by what is done with them.
    pub const fn in_flight(role: Role) -> Self {
        match role {
            Role::Gateway => Self::InFlightGateway,
            Role::SidecarInbound => Self::InFlightInbound,
            Role::SidecarOutbound => Self::InFlightOutbound,
        }
    }

    /// Its family and, where it shares one, the label that tells it apart.
    pub(crate) fn series(self) -> (Metric, Option<(&'static str, &'static str)>) {
        match self {
            Self::DownstreamOpen => (names::CONNECTIONS_OPEN, Some((label::SIDE, "downstream"))),
            Self::UpstreamOpen => (names::CONNECTIONS_OPEN, Some((label::SIDE, "upstream"))),
            Self::PoolIdle => (names::POOL_IDLE, None),
            Self::InFlightGateway => in_flight(Role::Gateway),
            Self::InFlightInbound => in_flight(Role::SidecarInbound),
            Self::InFlightOutbound => in_flight(Role::SidecarOutbound),
        }
    }
}

fn in_flight(role: Role) -> (Metric, Option<(&'static str, &'static str)>) {
    (names::REQUESTS_IN_FLIGHT, Some((label::ROLE, role.as_str())))
}

/// Label sets with a route that one thread of a gateway keeps apart, beside all others. What comes later is counted without.
const ROUTED_MAX: usize = 2048;

/// Lanes that one entrance counts apart: a gateway is one for at most 8 groups, of some tens of lanes each. What comes later
/// is counted as `other`.
const ENTERED_MAX: usize = 1024;

/// The counters of one thread. Not `Sync`: counting is an addition to a plain number.
///
/// Others see what [`Recorder::publish`] last told; dropping the recorder publishes once more. What a thread that
/// has ended counted stays counted.
#[derive(Debug)]
pub struct Recorder {
    requests: RefCell<Requests>,
    entered: RefCell<Vec<(Arc<Lane>, u64)>>,
    counts: [Cell<u64>; Count::ALL.len()],
    levels: [Cell<i64>; Level::ALL.len()],
    published: Arc<Mutex<ThreadTotals>>,
}

#[derive(Debug)]
struct Requests {
    rows: Vec<Row>,
    by_labels: HashTable<u32>,
    hasher: DefaultHashBuilder,
    changed: Vec<u32>,
    label_sets_max: usize,
    /// Rows that have a route.
    routed: usize,
}

#[derive(Debug)]
struct Row {
    labels: Arc<OwnedLabels>,
    durations: Histogram,
    changed: bool,
}

/// Where one recorder counts requests with the same labels. Means nothing to another recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelSet(u32);

/// Where one recorder counts the requests that an entrance put into the same lane. Means nothing to another recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnteredLane(u32);

/// A lane, by group and tag; the tag of base is empty.
pub(crate) type Lane = (Box<str>, Box<str>);

/// What a thread has told so far.
#[derive(Debug)]
pub(crate) struct ThreadTotals {
    /// How often requests were told.
    pub(crate) version: u64,
    pub(crate) requests: Vec<(Arc<OwnedLabels>, Histogram)>,
    pub(crate) entered: Vec<(Arc<Lane>, u64)>,
    pub(crate) counts: [u64; Count::ALL.len()],
    pub(crate) levels: [i64; Level::ALL.len()],
}

impl Default for ThreadTotals {
    fn default() -> Self {
        let (counts, levels) = ([0; Count::ALL.len()], [0; Level::ALL.len()]);
        Self { version: 0, requests: Vec::new(), entered: Vec::new(), counts, levels }
    }
}

impl Recorder {
    pub(crate) fn new(published: Arc<Mutex<ThreadTotals>>, label_sets_max: usize) -> Self {
        Self {
            requests: RefCell::new(Requests {
                rows: Vec::new(),
                by_labels: HashTable::new(),
                hasher: DefaultHashBuilder::default(),
                changed: Vec::new(),
                label_sets_max,
                routed: 0,
            }),
            entered: RefCell::default(),
            counts: [const { Cell::new(0) }; Count::ALL.len()],
            levels: [const { Cell::new(0) }; Level::ALL.len()],
            published,
        }
    }

    /// Counts one finished request. Allocates only when its labels are new to this thread.
    pub fn request(&self, labels: &RequestLabels<'_>, duration: Duration) {
        self.observe(self.label_set(labels), duration);
    }

    /// Where requests with these labels are counted: for callers that meet the same labels again and again and
    /// remember the answer. Allocates only when the labels are new to this thread.
    pub fn label_set(&self, labels: &RequestLabels<'_>) -> LabelSet {
        let mut requests = self.requests.borrow_mut();
        LabelSet(requests.find(labels).unwrap_or_else(|| {
            // Routes have room of their own: what Prometheus is told has as much as without them.
            let has_route = !labels.route.is_empty();
            if has_route && requests.routed < ROUTED_MAX {
                requests.routed += 1;
                return requests.insert(labels);
            }
            let labels = &RequestLabels { route: if has_route { OTHER } else { "" }, ..*labels };
            if let Some(known) = requests.find(labels) {
                return known;
            }
            if requests.rows.len() - requests.routed < requests.label_sets_max {
                return requests.insert(labels);
            }
            self.count(Count::LabelSetsOverflowed);
            // Role, outcome and class are enumerations: at most 90 rows come on top of the limit.
            let other = RequestLabels {
                application: OTHER,
                service: OTHER,
                route: OTHER,
                lane_group: OTHER,
                lane: OTHER,
                ..*labels
            };
            requests.find(&other).unwrap_or_else(|| requests.insert(&other))
        }))
    }

    /// Where requests like those of `set` are counted that ended otherwise: only at its end is known how a request ends.
    pub fn ended_otherwise(&self, set: LabelSet, outcome: crate::Outcome) -> LabelSet {
        let labels = Arc::clone(&self.requests.borrow().rows[set.0 as usize].labels);
        self.label_set(&RequestLabels { outcome, ..labels.borrow() })
    }

    /// The same of requests whose answer said something else, too.
    pub fn ended_as(
        &self,
        set: LabelSet,
        outcome: crate::Outcome,
        code_class: crate::CodeClass,
    ) -> LabelSet {
        let labels = Arc::clone(&self.requests.borrow().rows[set.0 as usize].labels);
        self.label_set(&RequestLabels { outcome, code_class, ..labels.borrow() })
    }

    /// Counts one finished request where this recorder has said it belongs.
    #[inline]
    pub fn observe(&self, set: LabelSet, duration: Duration) {
        self.requests.borrow_mut().observe(set.0, duration);
    }

    /// Where requests are counted that an entrance puts into this lane; an empty tag is base. For callers that remember the
    /// answer. Allocates only when the lane is new to this thread.
    pub fn entered_lane(&self, group: &str, tag: &str) -> EnteredLane {
        let mut lanes = self.entered.borrow_mut();
        let place_of = |lanes: &[(Arc<Lane>, u64)], group: &str, tag: &str| {
            lanes.iter().position(|(lane, _)| (&*lane.0, &*lane.1) == (group, tag))
        };
        let is_full = lanes.len() >= ENTERED_MAX;
        let known = place_of(&lanes, group, tag);
        let known = known.or_else(|| is_full.then(|| place_of(&lanes, OTHER, OTHER)).flatten());
        let (group, tag) = if is_full { (OTHER, OTHER) } else { (group, tag) };
        EnteredLane(known.unwrap_or_else(|| {
            lanes.push((Arc::new((group.into(), tag.into())), 0));
            lanes.len() - 1
        }) as u32)
    }

    /// An entrance has put a request into a lane.
    #[inline]
    pub fn entered(&self, lane: EnteredLane) {
        self.entered.borrow_mut()[lane.0 as usize].1 += 1;
    }

    /// Counts one.
    #[inline]
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// Counts several.
    #[inline]
    pub fn add(&self, what: Count, how_many: u64) {
        let count = &self.counts[what as usize];
        count.set(count.get().wrapping_add(how_many));
    }

    /// One more is open.
    #[inline]
    pub fn raise(&self, what: Level) {
        let level = &self.levels[what as usize];
        level.set(level.get() + 1);
    }

    /// One less is open.
    #[inline]
    pub fn lower(&self, what: Level) {
        let level = &self.levels[what as usize];
        level.set(level.get() - 1);
    }

    /// So many are open, for what is looked at now and then instead of followed.
    pub fn set(&self, what: Level, how_many: i64) {
        self.levels[what as usize].set(how_many);
    }

    /// How many are open on this thread.
    pub fn level(&self, what: Level) -> i64 {
        self.levels[what as usize].get()
    }

    /// Tells the others: what changed since the last time. For the thread's tick, once a second. Never waits: when
    /// somebody is reading, the next tick tells it.
    pub fn publish(&self) {
        if let Some(mut totals) = self.published.try_lock() {
            self.publish_to(&mut totals);
        }
    }

    fn publish_to(&self, totals: &mut ThreadTotals) {
        let requests = &mut *self.requests.borrow_mut();
        totals.version += u64::from(!requests.changed.is_empty());
        for index in requests.changed.drain(..) {
            let row = &mut requests.rows[index as usize];
            row.changed = false;
            match totals.requests.get_mut(index as usize) {
                Some((_, durations)) => *durations = row.durations,
                None => totals.requests.push((Arc::clone(&row.labels), row.durations)),
            }
        }
        let entered = self.entered.borrow();
        for (total, counted) in totals.entered.iter_mut().zip(&*entered) {
            total.1 = counted.1;
        }
        let told = totals.entered.len();
        totals.entered.extend_from_slice(&entered[told..]);
        for (total, count) in totals.counts.iter_mut().zip(&self.counts) {
            *total = count.get();
        }
        for (total, level) in totals.levels.iter_mut().zip(&self.levels) {
            *total = level.get();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let published = Arc::clone(&self.published);
        self.publish_to(&mut published.lock());
    }
}

impl Requests {
    fn find(&self, labels: &RequestLabels<'_>) -> Option<u32> {
        let hash = self.hasher.hash_one(labels);
        self.by_labels
            .find(hash, |index| self.rows[*index as usize].labels.borrow() == *labels)
            .copied()
    }

    fn insert(&mut self, labels: &RequestLabels<'_>) -> u32 {
        let index = u32::try_from(self.rows.len()).unwrap_or(u32::MAX); // bounded by the limit on label sets
        let hash = self.hasher.hash_one(labels);
        self.rows.push(Row {
            labels: Arc::new(OwnedLabels::from(*labels)),
            durations: Histogram::default(),
            changed: true,
        });
        // Told also when nothing is counted before the next tick: the totals hold rows in this order, without gaps.
        self.changed.push(index);
        let (rows, hasher) = (&self.rows, &self.hasher);
        self.by_labels.insert_unique(hash, index, |index| {
            hasher.hash_one(rows[*index as usize].labels.borrow())
        });
        index
    }

    fn observe(&mut self, index: u32, duration: Duration) {
        let row = &mut self.rows[index as usize];
        row.durations.observe(duration);
        if !row.changed {
            row.changed = true;
            self.changed.push(index);
        }
    }
}
