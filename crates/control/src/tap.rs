//! Who watches single requests, and what they are told: hop by hop what data planes tell, put together ([`table`], [`hops`]).
//!
//! Nothing is told, and data planes make nothing, while nobody watches. Data planes are told what is watched for a time
//! ([`LEASE`]) and again before that is over; so that neither a watcher that has gone nor this process's end leaves anything
//! behind. Where more passes than is asked for, the share of requests that all of them tell is made smaller, the same requests
//! everywhere: all hops of a request, or none, but for records that are dropped, which is counted and said. Requests that have no id
//! are told where all are, and in no smaller share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use api::{
    discovery::v1::{self, TrafficRole},
    resource::Key,
    rest::{TapEvent, TapKind, TapStatus},
};
use lanes::{GroupName, Tag};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

mod hops;
pub(crate) mod seen;
mod table;

use seen::Seen;
use table::{NoRoom, Table};

/// Who may watch at a time.
pub(crate) const WATCHERS_MAX: usize = 16;

/// As how many one user may watch: others have room beside him.
pub(crate) const WATCHERS_OF_ONE_MAX: usize = 4;

/// How long a watcher may leave lying what it is told: one that takes nothing for so long reads no more.
const UNTAKEN_MAX: Duration = Duration::from_secs(30);

/// Requests a second that a watcher may ask for: more than anybody reads.
pub(crate) const RATE_MAX: u32 = 100;

/// What is asked for where nothing is said.
pub(crate) const RATE_DEFAULT: u32 = 20;

/// How long a data plane taps unless it is told again: a few times that, so that nothing late ends it.
const LEASE: Duration = Duration::from_secs(30);

/// How often it is told again.
const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// How often requests are looked at that may be whole.
pub(crate) const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// How often the share is weighed anew.
const WEIGHED_EVERY: Duration = Duration::from_secs(1);

/// What a second counts one second later: by how many requests there were in some seconds the share is weighed, or else it would
/// follow chance where a watcher asks for few.
const KEPT_OF_A_SECOND: f64 = 0.75;

/// Room that is neither too little nor worth more: shares, and what is said of them, stand still where little changes.
const ROOM_ENOUGH: std::ops::RangeInclusive<f64> = 0.75..=2.0;

/// Records that one data plane tells in a second, for each request that is asked for: both sides of some calls.
const RECORDS_PER_REQUEST: u32 = 6;

/// Least and most records that one data plane tells in a second.
const RECORDS_PER_SECOND: (u32, u32) = (50, 500);

/// Records that all data planes together tell in a second, until the share fits; but each tells a few. The processor of a
/// control plane is busy with so many for some tenths.
const RECORDS_OF_ALL_PER_SECOND: u32 = 10_000;
const RECORDS_OF_EACH_PER_SECOND_MIN: u32 = 5;

/// Messages of one data plane that are heard in a second: twice as many as it sends.
pub(crate) const MESSAGES_PER_SECOND_MAX: u32 = 20;

/// Requests that one data plane may tell at once, and records that it may count: more than it is told.
const RECORDS_AT_ONCE_MAX: usize = 1_024;

/// Lines that wait for a watcher: seconds of what it asks for.
const LINES_WAITING_MAX: usize = 256;

/// What a data plane must say it can.
pub(crate) const CAPABILITY: &str = "tap";

/// Bytes of a path, and of each other text, that are kept of a record; data planes cut them shorter.
const PATH_BYTES_MAX: usize = 1_536;
const TEXT_BYTES_MAX: usize = 256;

/// Ids and lanes that are kept of a record.
const IDS_MAX: usize = 8;
const LANES_MAX: usize = 8;

/// Who tells of requests.
#[derive(Debug)]
pub(crate) struct Teller {
    pub(crate) is_gateway: bool,
    /// The gateway, or the application.
    pub(crate) name: Box<str>,
    /// Of its instance; empty: base.
    pub(crate) tag: Box<str>,
    pub(crate) node: Box<str>,
    /// Where callers find its instance, as far as that is known.
    pub(crate) addresses: Box<[Box<str>]>,
}

impl Teller {
    /// By its own words, which its token was good for.
    pub(crate) fn of(hello: &v1::Hello, addresses: Box<[Box<str>]>) -> Option<Self> {
        let can = hello.capabilities.iter().any(|it| it == CAPABILITY);
        can.then(|| Self {
            is_gateway: hello.role() == v1::Role::Gateway,
            name: hello.name.as_str().into(),
            tag: hello.tag.as_str().into(),
            node: hello.node.as_str().into(),
            addresses,
        })
    }

    /// The same one, where its instance is found there.
    pub(crate) fn at(this: &Arc<Self>, addresses: Box<[Box<str>]>) -> Arc<Self> {
        if this.addresses == addresses {
            return Arc::clone(this);
        }
        let Self { is_gateway, name, tag, node, .. } = &**this;
        let (name, tag, node) = (name.clone(), tag.clone(), node.clone());
        Arc::new(Self { is_gateway: *is_gateway, name, tag, node, addresses })
    }
}

/// One record, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) teller: Arc<Teller>,
    /// What its teller was told to tap: of anything else its words do not count.
    pub(crate) taps: Arc<[Lane]>,
    pub(crate) request: v1::TappedRequest,
}

/// A lane, or a group's base by an empty tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane {
    group: String,
    tag: String,
}

impl Lane {
    /// Those that a data plane is told to tap.
    pub(crate) fn all_of(taps: &v1::Taps) -> Arc<[Self]> {
        let lane = |tap: &v1::Tap| Self { group: tap.group.clone(), tag: tap.lane.clone() };
        taps.taps.iter().map(lane).collect()
    }

    /// Whether a record may be of it: of base whatever is in no lane of the group.
    fn may_have(&self, record: &v1::TappedRequest) -> bool {
        let mut tags = record.lanes.iter().filter(|it| it.group == self.group).map(|it| &it.lane);
        match self.tag.is_empty() {
            true => tags.all(String::is_empty),
            false => tags.any(|tag| *tag == self.tag),
        }
    }
}

/// What somebody wants to watch.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) group: String,
    /// The group that had that name when it began.
    pub(crate) key: Key,
    /// Empty: base.
    pub(crate) tag: String,
    /// The uid of the lane that had that tag when it began.
    pub(crate) lane: Option<String>,
    /// Applications of the group: base of it is what these serve outside its lanes.
    pub(crate) members: Vec<String>,
    /// Only requests that reach this application.
    pub(crate) application: Option<String>,
    /// Requests a second.
    pub(crate) rate: u32,
    /// The user who watches; `None`: nobody is asked who he is, or whoever it is may do everything.
    pub(crate) user: Option<String>,
}

/// Why nobody more may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// As many as may do.
    All,
    /// This user does as often as one may.
    OfOne,
}

/// What data planes are to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Orders {
    taps: Vec<v1::Tap>,
    per_second_max: u32,
}

impl Orders {
    /// Those for a data plane that has these groups.
    pub(crate) fn of(&self, has: impl Fn(&str) -> bool) -> v1::Taps {
        let taps: Vec<v1::Tap> = self.taps.iter().filter(|tap| has(&tap.group)).cloned().collect();
        if taps.is_empty() {
            return v1::Taps::default();
        }
        let lease_ms = LEASE.as_millis() as u32;
        v1::Taps { taps, lease_ms, per_second_max: self.per_second_max }
    }
}

/// All that is watched.
#[derive(Debug)]
pub(crate) struct Taps {
    state: Mutex<State>,
    orders: watch::Sender<Arc<Orders>>,
    /// Requests that watchers were not told, since the process started.
    missed: AtomicU64,
    seen: Seen,
}

#[derive(Debug, Default)]
struct State {
    watchers: HashMap<u64, Watcher>,
    next: u64,
    lanes: BTreeMap<Lane, Watched>,
    table: Table,
    /// Somebody lets time pass.
    passes: bool,
    /// Data planes that can tell of what is watched, as far as it is known: those of the group that has most.
    data_planes: u32,
    weighed_at: Option<Instant>,
    renewed_at: Option<Instant>,
}

#[derive(Debug)]
struct Watcher {
    wanted: Wanted,
    lane: Lane,
    lines: mpsc::Sender<TapEvent>,
    /// Requests told in the current second, and since the beginning not told.
    told: u32,
    missed: u64,
    /// Records since then that were not taken of data planes that told too much, and which did so last.
    excess: u64,
    excess_of: String,
    /// What was dropped before it came.
    dropped_before: u64,
    status: TapStatus,
    /// Lines that it was sent, those of them that it had taken when that was looked at last, and since when these are as many.
    sent: u64,
    taken: u64,
    taken_at: Instant,
}

/// How much passes of one lane.
#[derive(Debug)]
struct Watched {
    /// Of 2³² requests less one.
    share: u32,
    /// Requests put together since it was weighed.
    requests: u32,
    /// Of the seconds before, as many as there would have been at this share, and for how many seconds they stand.
    requests_before: f64,
    seconds_before: f64,
    /// Records counted since then, by data plane.
    records: HashMap<Box<str>, u32>,
    dropped: u64,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            share: u32::MAX,
            requests: 0,
            requests_before: 0.0,
            seconds_before: 0.0,
            records: HashMap::new(),
            dropped: 0,
        }
    }
}

/// Somebody who watches, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Watching {
    taps: Arc<Taps>,
    number: u64,
    pub(crate) lines: mpsc::Receiver<TapEvent>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.taps.leave(self.number);
    }
}

impl Default for Taps {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            orders: watch::Sender::default(),
            missed: AtomicU64::new(0),
            seen: Seen::default(),
        }
    }
}

impl Taps {
    /// What data planes are to be told, and whenever they are to be told again.
    pub(crate) fn orders(&self) -> watch::Receiver<Arc<Orders>> {
        self.orders.subscribe()
    }

    /// Who taps what, as others are to see it.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Who watches, and how many requests they were not told.
    pub(crate) fn counted(&self) -> (usize, u64) {
        (self.state.lock().watchers.len(), self.missed.load(Relaxed))
    }

    /// Begins to watch what so many data planes can tell of. And whether nobody lets time pass, as somebody must from now on.
    pub(crate) fn watch(
        self: &Arc<Self>,
        wanted: Wanted,
        data_planes: u32,
        now: Instant,
    ) -> Result<(Watching, bool), Crowded> {
        let mut state = self.state.lock();
        if state.watchers.len() >= WATCHERS_MAX {
            return Err(Crowded::All);
        }
        let is_his = |it: &&Watcher| wanted.user.is_some() && it.wanted.user == wanted.user;
        if state.watchers.values().filter(is_his).count() >= WATCHERS_OF_ONE_MAX {
            return Err(Crowded::OfOne);
        }
        state.data_planes = state.data_planes.max(data_planes);
        if state.watchers.is_empty() {
            (state.weighed_at, state.renewed_at) = (Some(now), Some(now));
        }
        state.next += 1;
        let number = state.next;
        let lane = Lane { group: wanted.group.clone(), tag: wanted.tag.clone() };
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
        let dropped_before = state.lanes.entry(lane.clone()).or_default().dropped;
        let status = TapStatus::default();
        let watcher = Watcher {
            wanted,
            lane,
            lines: sender,
            told: 0,
            missed: 0,
            excess: 0,
            excess_of: String::new(),
            dropped_before,
            status,
            sent: 0,
            taken: 0,
            taken_at: now,
        };
        state.watchers.insert(number, watcher);
        self.order(&state);
        let passes = std::mem::replace(&mut state.passes, true);
        Ok((Watching { taps: Arc::clone(self), number, lines }, !passes))
    }

    fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        if state.watchers.remove(&number).is_some() {
            self.left(&mut state);
        }
    }

    /// Somebody is gone.
    fn left(&self, state: &mut State) {
        let State { watchers, lanes, table, .. } = &mut *state;
        lanes.retain(|lane, _| watchers.values().any(|watcher| watcher.lane == *lane));
        if watchers.is_empty() {
            table.clear();
        }
        self.order(state);
    }

    /// Has data planes told what is watched, if that is something else than before.
    fn order(&self, state: &State) {
        let taps = state.lanes.iter().map(|(lane, watched)| v1::Tap {
            group: lane.group.clone(),
            lane: lane.tag.clone(),
            share: watched.share,
        });
        let rates = state.watchers.values().map(|watcher| watcher.wanted.rate);
        let (least, most) = RECORDS_PER_SECOND;
        let of_each = RECORDS_OF_ALL_PER_SECOND / state.data_planes.max(1);
        let wanted = (rates.sum::<u32>() * RECORDS_PER_REQUEST).clamp(least, most);
        let per_second_max = wanted.min(of_each.max(RECORDS_OF_EACH_PER_SECOND_MIN));
        let orders = Orders { taps: taps.collect(), per_second_max };
        self.orders.send_if_modified(|known| {
            let is_other = **known != orders;
            *known = Arc::new(orders);
            is_other
        });
    }

    /// Takes what a data plane tells that was told to tap these, as far as it is of these.
    pub(crate) fn take(
        &self,
        teller: &Arc<Teller>,
        taps: &Arc<[Lane]>,
        tapped: v1::Tapped,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        if state.watchers.is_empty() {
            return;
        }
        for count in tapped.counts.into_iter().take(RECORDS_AT_ONCE_MAX) {
            let lane = Lane { group: count.group, tag: count.lane };
            if !taps.contains(&lane) {
                continue;
            }
            let Some(watched) = state.lanes.get_mut(&lane) else { continue };
            let records = watched.records.entry(teller.node.clone()).or_default();
            *records = records.saturating_add(count.matched);
            watched.dropped = watched.dropped.saturating_add(count.dropped.into());
        }
        let (mut unheard, mut excess) = (0, 0);
        for request in tapped.requests.into_iter().take(RECORDS_AT_ONCE_MAX) {
            let Some(request) = believed(teller, request) else { continue };
            if !taps.iter().any(|lane| lane.may_have(&request)) {
                continue;
            }
            let told = Told { teller: Arc::clone(teller), taps: Arc::clone(taps), request };
            match state.table.add(told, now) {
                Ok(()) => {}
                Err(NoRoom::ForAnybody) => unheard += 1,
                Err(NoRoom::ForIt) => excess += 1,
            }
        }
        if unheard + excess > 0 {
            self.missed.fetch_add(unheard + excess, Relaxed);
            for watcher in state.watchers.values_mut() {
                watcher.missed += unheard;
                watcher.exceeds(teller, excess);
            }
        }
    }

    /// Ends taps of what is no longer what they were begun for. `look` says which applications are in the group by now, or why it
    /// is over.
    pub(crate) fn review(&self, look: impl Fn(&Wanted) -> Result<Vec<String>, String>) {
        let wanted = |(number, watcher): (&u64, &Watcher)| (*number, watcher.wanted.clone());
        let all: Vec<(u64, Wanted)> = self.state.lock().watchers.iter().map(wanted).collect();
        // Whoever looks has a lock of his own.
        let looked: Vec<_> = all.iter().map(|(number, wanted)| (*number, look(wanted))).collect();
        let mut state = self.state.lock();
        let watchers = state.watchers.len();
        for (number, found) in looked {
            match (found, state.watchers.get_mut(&number)) {
                (Ok(members), Some(watcher)) => watcher.wanted.members = members,
                (Err(ended), Some(watcher)) => {
                    // One whose lines wait for him sees that there are no more.
                    let kind = TapKind::Ended;
                    watcher.send(TapEvent { kind, ended, ..TapEvent::default() });
                    state.watchers.remove(&number);
                }
                (_, None) => {}
            }
        }
        if state.watchers.len() < watchers {
            self.left(&mut state);
        }
    }

    /// Lets time pass; `false`: nobody watches any more. `can_tell` says of a group how many data planes can tell of it, and
    /// how many cannot.
    pub(crate) fn advance(&self, now: Instant, can_tell: impl Fn(&str) -> (u32, u32)) -> bool {
        let mut state = self.state.lock();
        let watchers = state.watchers.len();
        state.watchers.retain(|_, watcher| watcher.takes(now));
        if state.watchers.len() < watchers {
            self.left(&mut state);
        }
        state.passes = !state.watchers.is_empty();
        if !state.passes {
            return false;
        }
        for records in state.table.take_due(now) {
            self.tell(&mut state, &records);
        }
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let is_weighed = since(state.weighed_at).is_none_or(|since| since >= WEIGHED_EVERY);
        if is_weighed {
            state.weighed_at = Some(now);
            self.weigh(&mut state);
            state.watchers.values_mut().for_each(|watcher| watcher.told = 0);
        }
        if since(state.renewed_at).is_none_or(|since| since >= RENEWED_EVERY) {
            state.renewed_at = Some(now);
            self.orders.send_modify(|_| {});
        }
        let asked = state.watchers.values().filter(|watcher| is_weighed || watcher.is_new());
        let groups: BTreeSet<String> = asked.map(|watcher| watcher.lane.group.clone()).collect();
        // Whoever is asked has a lock of his own, under which he may ask this one.
        drop(state);
        let able: BTreeMap<String, (u32, u32)> = (groups.into_iter())
            .map(|group| (can_tell(&group), group))
            .map(|(able, group)| (group, able))
            .collect();
        let mut state = self.state.lock();
        if is_weighed {
            state.data_planes = able.values().map(|(can, _)| *can).max().unwrap_or_default();
        }
        let State { watchers, lanes, .. } = &mut *state;
        for watcher in watchers.values_mut() {
            if let Some(able) = able.get(&watcher.lane.group) {
                watcher.stands(lanes, *able);
            }
        }
        true
    }

    /// Tells a request to those who watch it.
    fn tell(&self, state: &mut State, records: &[Told]) {
        for (lane, watched) in &mut state.lanes {
            // Of whoever was not told to tap the lane nothing is shown in it.
            let records = records.iter().filter(|told| told.taps.contains(lane));
            let mut of_lane = state.watchers.values_mut().filter(|it| it.lane == *lane).peekable();
            if !of_lane.peek().is_some_and(|watcher| watcher.concerns(records.clone())) {
                continue;
            }
            watched.requests += 1;
            let mut request = None;
            for watcher in of_lane.filter(|watcher| watcher.reaches(records.clone())) {
                let request = request.get_or_insert_with(|| hops::together(records.clone()));
                let line = TapEvent {
                    kind: TapKind::Request,
                    request: Some(request.clone()),
                    ..TapEvent::default()
                };
                if watcher.told < watcher.wanted.rate && watcher.send(line) {
                    watcher.told += 1;
                } else {
                    watcher.missed += 1;
                    self.missed.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Makes shares smaller where more is told than is asked for, and larger where less.
    fn weigh(&self, state: &mut State) {
        let per_second_max = self.orders.borrow().per_second_max;
        for (lane, watched) in &mut state.lanes {
            let rates = state.watchers.values().filter(|it| it.lane == *lane);
            let rate = rates.map(|watcher| watcher.wanted.rate).max().unwrap_or(RATE_DEFAULT);
            let busiest = watched.records.values().copied().max().unwrap_or_default();
            watched.weigh(rate, (busiest, per_second_max));
        }
        self.order(state);
    }
}

/// The share of requests of the next second, by what there were and what there may be: requests, and records of the busiest
/// data plane.
fn weighed(share: u32, requests: (f64, u32), records: (u32, u32)) -> u32 {
    // Where there was nothing there is room for whatever comes.
    let room = |(were, may): (f64, u32)| f64::from(may) / were;
    let room = room(requests).min(room((records.0.into(), records.1)));
    let factor = match room {
        room if room < *ROOM_ENOUGH.start() => room,
        // Little by little, and not for what varies from second to second.
        room if room > *ROOM_ENOUGH.end() => f64::min(room / 2.0, 4.0),
        _ => 1.0,
    };
    // As `u32::MAX` is all of them, so is whatever would be more.
    (f64::from(share) * factor).max(1.0) as u32
}

impl Watched {
    /// Weighs its share anew, a second after it was weighed last.
    fn weigh(&mut self, rate: u32, records: (u32, u32)) {
        let requests = self.requests_before.mul_add(KEPT_OF_A_SECOND, self.requests.into());
        let seconds = self.seconds_before.mul_add(KEPT_OF_A_SECOND, 1.0);
        let before = self.share;
        self.share = weighed(before, (requests / seconds, rate), records);
        self.requests_before = requests * f64::from(self.share) / f64::from(before);
        self.seconds_before = seconds;
        self.requests = 0;
        self.records.clear();
    }
}

impl Watcher {
    /// Sends it a line, if it has room.
    fn send(&mut self, line: TapEvent) -> bool {
        let is_sent = self.lines.try_send(line).is_ok();
        self.sent += u64::from(is_sent);
        is_sent
    }

    /// Whether it takes what it is sent, as far as that can be known.
    fn takes(&mut self, now: Instant) -> bool {
        let waiting = (self.lines.max_capacity() - self.lines.capacity()) as u64;
        let taken = self.sent.saturating_sub(waiting);
        if waiting == 0 || taken != self.taken {
            (self.taken, self.taken_at) = (taken, now);
        }
        now.saturating_duration_since(self.taken_at) < UNTAKEN_MAX
    }

    /// So much that a data plane told was too much of one.
    fn exceeds(&mut self, teller: &Teller, excess: u64) {
        if excess > 0 {
            self.excess += excess;
            self.excess_of = format!("{} ({})", teller.name, teller.node);
        }
    }

    /// It was told nothing yet.
    fn is_new(&self) -> bool {
        self.status == TapStatus::default()
    }

    /// Whether a request is in what is watched, by records of those that were told to tap it.
    fn concerns<'t>(&self, mut records: impl Iterator<Item = &'t Told> + Clone) -> bool {
        if !self.lane.tag.is_empty() {
            return records.any(|told| self.lane.may_have(&told.request));
        }
        let is_member = |told: &Told| self.wanted.members.contains(&told.request.application);
        records.clone().any(is_member) && records.all(|told| self.lane.may_have(&told.request))
    }

    /// Whether it reaches the application that is asked for.
    fn reaches<'t>(&self, mut records: impl Iterator<Item = &'t Told>) -> bool {
        let application = self.wanted.application.as_ref();
        application.is_none_or(|it| records.any(|told| told.request.application == *it))
    }

    /// Tells how much is told, if that is otherwise than before.
    fn stands(&mut self, lanes: &BTreeMap<Lane, Watched>, (can, cannot): (u32, u32)) {
        let Some(watched) = lanes.get(&self.lane) else { return };
        let status = TapStatus {
            share: f64::from(watched.share) / f64::from(u32::MAX),
            data_planes: can,
            silent_data_planes: cannot,
            dropped: watched.dropped.saturating_sub(self.dropped_before),
            missed: self.missed,
            excess: self.excess,
            excess_of: self.excess_of.clone(),
        };
        if status == self.status {
            return;
        }
        let line = TapEvent { status: Some(status.clone()), ..TapEvent::default() };
        if self.send(line) {
            self.status = status;
        }
    }
}

/// What of a record is believed of its teller: what it says of itself; `None`: it says what it is not.
fn believed(teller: &Teller, mut request: v1::TappedRequest) -> Option<v1::TappedRequest> {
    match (teller.is_gateway, request.role()) {
        (true, TrafficRole::Gateway) | (false, TrafficRole::Outbound) => {}
        (false, TrafficRole::Inbound) => {
            request.application = teller.name.to_string();
            request.tag = teller.tag.to_string();
        }
        _ => return None,
    }
    request.ids.truncate(IDS_MAX);
    request.lanes.truncate(LANES_MAX);
    // Base, said so, has no tag.
    request.lanes.retain(|it| GroupName::parse(&it.group).is_ok() && Tag::parse(&it.lane).is_ok());
    let v1::TappedRequest {
        method,
        host,
        path,
        reason,
        application,
        service,
        route,
        instance,
        tag,
        ids,
        ..
    } = &mut request;
    path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
    let texts = [method, host, reason, application, service, route, instance, tag];
    for text in texts.into_iter().chain(ids) {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
    Some(request)
}

#[cfg(test)]
mod tests;
