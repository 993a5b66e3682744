//! Where an application loses the lane: requests that reached it in one, and what it called while it served them.
//!
//! A call that says nothing of lanes is only known to come from a request while that is in flight. When all that is in
//! flight is in one lane, the call has *lost* it; when other requests are in flight too, it *may* have. Calls that carry
//! a context, or an id that restores one, and calls to others than services of the mesh, lose nothing.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use lanes::Context;
use parking_lot::Mutex;
use smallvec::SmallVec;
use telemetry::{Samples, names};

use crate::published::Published;

/// Lanes that are told apart; an application is in far fewer.
const LANES_MAX: usize = 256;

/// What stands for all lanes beyond these, as group and as lane.
const OTHERS: &str = "others";

/// What passed an application in one lane, since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneCalls {
    pub group: String,
    /// The lane's tag.
    pub lane: String,
    /// Requests that reached the application in the lane.
    pub received: u64,
    /// Its calls to services in the lane.
    pub carried: u64,
    /// Its calls to services without a context while everything in flight was in the lane.
    pub lost: u64,
    /// Its calls to services without a context while something of the lane and something else was in flight.
    pub uncertain: u64,
}

/// What passed an application in all lanes, for whoever outlives or shares the proxy.
#[derive(Debug, Clone, Default)]
pub struct CallsInLanes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Requests in flight in no lane.
    outside: AtomicU64,
    /// Requests in flight in any lane: while there are none, nothing can be lost.
    inside: AtomicU64,
    /// Only grows: a lane is known by its place. Locked when a thread meets a lane that is new to it.
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// How many lanes there are: by this a thread sees that it knows them all.
    count: AtomicUsize,
}

/// One lane's counts, by all threads.
#[derive(Debug, Default)]
struct Lane {
    group: String,
    tag: String,
    in_flight: AtomicU64,
    received: AtomicU64,
    carried: AtomicU64,
    lost: AtomicU64,
    uncertain: AtomicU64,
}

/// What one thread counts by, without a lock unless there is a new lane.
#[derive(Debug)]
pub(crate) struct ThreadCalls {
    all: CallsInLanes,
    /// The lanes, as far as this thread has met them.
    known: RefCell<Vec<Arc<Lane>>>,
}

/// A request in flight; it is until this is dropped.
#[derive(Debug)]
pub(crate) struct Arrived {
    calls: Rc<ThreadCalls>,
    /// Its lane, by place.
    lane: Option<u32>,
}

impl CallsInLanes {
    /// All lanes in which anything passed.
    pub fn all(&self) -> Vec<LaneCalls> {
        let lanes = self.0.lanes.lock().clone();
        lanes.iter().map(|lane| lane.calls()).collect()
    }

    pub(crate) fn sample(&self, samples: &mut Samples) {
        for LaneCalls { group, lane, lost, uncertain, .. } in self.all() {
            for (certainty, calls) in [("certain", lost), ("uncertain", uncertain)] {
                let labels = [
                    (names::label::LANE_GROUP, group.as_str()),
                    (names::label::LANE, lane.as_str()),
                    (names::label::CERTAINTY, certainty),
                ];
                samples.add(names::CONTEXT_LOST, &labels, calls as f64);
            }
        }
    }

    /// Adds a lane, unless another thread did meanwhile or there are enough.
    fn add(&self, named: (&str, &str)) {
        let mut lanes = self.0.lanes.lock();
        let named = if lanes.len() < LANES_MAX { named } else { (OTHERS, OTHERS) };
        if lanes.iter().all(|lane| !lane.is_named(named)) {
            let (group, tag) = (named.0.to_owned(), named.1.to_owned());
            lanes.push(Arc::new(Lane { group, tag, ..Lane::default() }));
            self.0.count.store(lanes.len(), Release);
        }
    }
}

impl Lane {
    fn is_named(&self, (group, tag): (&str, &str)) -> bool {
        self.group == group && self.tag == tag
    }

    fn calls(&self) -> LaneCalls {
        LaneCalls {
            group: self.group.clone(),
            lane: self.tag.clone(),
            received: self.received.load(Relaxed),
            carried: self.carried.load(Relaxed),
            lost: self.lost.load(Relaxed),
            uncertain: self.uncertain.load(Relaxed),
        }
    }
}

impl ThreadCalls {
    pub(crate) fn new(all: CallsInLanes) -> Self {
        Self { all, known: RefCell::default() }
    }

    /// A request reached the application.
    pub(crate) fn arrived(self: &Rc<Self>, lane: Option<(&str, &str)>) -> Arrived {
        let lane = lane.map(|named| {
            let place = self.place_of(named);
            let lane = &self.known.borrow()[place];
            lane.in_flight.fetch_add(1, Relaxed);
            lane.received.fetch_add(1, Relaxed);
            place as u32
        });
        self.counter(lane).fetch_add(1, Relaxed);
        Arrived { calls: Rc::clone(self), lane }
    }

    /// The application called a service in this lane.
    pub(crate) fn carried(&self, lane: (&str, &str)) {
        let place = self.place_of(lane);
        self.known.borrow()[place].carried.fetch_add(1, Relaxed);
    }

    /// The application called a service, and nothing says in which lane. `belongs_to_any`: nor that it is not caused by
    /// whatever request is in flight.
    pub(crate) fn left_out(&self, belongs_to_any: bool) {
        if self.all.0.inside.load(Relaxed) == 0 {
            return;
        }
        let is_certain = belongs_to_any && self.all.0.outside.load(Relaxed) == 0;
        let lanes = self.lanes();
        let concerned: SmallVec<[&Lane; 8]> = (lanes.iter().map(|lane| &**lane))
            .filter(|lane| lane.in_flight.load(Relaxed) > 0)
            .collect();
        match concerned.as_slice() {
            [only] if is_certain => drop(only.lost.fetch_add(1, Relaxed)),
            several => {
                for lane in several {
                    lane.uncertain.fetch_add(1, Relaxed);
                }
            }
        }
    }

    fn counter(&self, lane: Option<u32>) -> &AtomicU64 {
        if lane.is_some() { &self.all.0.inside } else { &self.all.0.outside }
    }

    /// All there are.
    fn lanes(&self) -> Ref<'_, Vec<Arc<Lane>>> {
        if self.known.borrow().len() < self.all.0.count.load(Acquire) {
            self.known.borrow_mut().clone_from(&self.all.0.lanes.lock());
        }
        self.known.borrow()
    }

    fn place_of(&self, named: (&str, &str)) -> usize {
        let find = |named| self.lanes().iter().position(|lane| lane.is_named(named));
        find(named).unwrap_or_else(|| {
            self.all.add(named);
            find(named).or_else(|| find((OTHERS, OTHERS))).unwrap_or_default()
        })
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.calls.counter(self.lane).fetch_sub(1, Relaxed);
        if let Some(place) = self.lane {
            self.calls.known.borrow()[place as usize].in_flight.fetch_sub(1, Relaxed);
        }
    }
}

/// The lane that a request counts in, by group and tag: that of a group with the application, else the first.
pub(crate) fn lane_of<'p>(
    picture: &'p Published,
    application: &str,
    context: &Context,
) -> Option<(&'p str, &'p str)> {
    let mut first = None;
    for member in context.members() {
        let Some(lane) = member.lane else { continue };
        let spec = picture.lanes.groups()[usize::from(member.group)].spec();
        let Some(lane) = spec.lanes.get(usize::from(lane)) else { continue };
        let named = (spec.name.as_str(), lane.tag.as_str());
        if spec.applications.iter().any(|it| it == application) {
            return Some(named);
        }
        first = first.or(Some(named));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAY: Option<(&str, &str)> = Some(("trade", "gray"));
    const BLUE: Option<(&str, &str)> = Some(("trade", "blue"));

    fn thread(all: &CallsInLanes) -> Rc<ThreadCalls> {
        Rc::new(ThreadCalls::new(all.clone()))
    }

    /// Received, carried, lost, uncertain of a lane.
    fn counted(calls: &ThreadCalls, lane: Option<(&str, &str)>) -> [u64; 4] {
        let of = |it: &LaneCalls| Some((it.group.as_str(), it.lane.as_str())) == lane;
        let calls = calls.all.all().into_iter().find(of).unwrap_or_default();
        [calls.received, calls.carried, calls.lost, calls.uncertain]
    }

    #[test]
    fn a_call_without_context_has_lost_the_only_lane_in_flight() {
        let calls = thread(&CallsInLanes::default());
        calls.left_out(true);
        let gray = calls.arrived(GRAY);
        calls.left_out(true);
        calls.carried(("trade", "gray"));
        assert_eq!(counted(&calls, GRAY), [1, 1, 1, 0]);
        drop(gray);
        calls.left_out(true);
        assert_eq!(counted(&calls, GRAY), [1, 1, 1, 0]);
    }

    #[test]
    fn it_may_have_lost_a_lane_while_others_are_in_flight() {
        let calls = thread(&CallsInLanes::default());
        let (gray, base) = (calls.arrived(GRAY), calls.arrived(None));
        calls.left_out(true);
        assert_eq!(counted(&calls, GRAY), [1, 0, 0, 1]);
        drop(base);
        calls.left_out(false);
        assert_eq!(counted(&calls, GRAY), [1, 0, 0, 2]);
        let _blue = calls.arrived(BLUE);
        calls.left_out(true);
        assert_eq!(counted(&calls, GRAY), [1, 0, 0, 3]);
        drop(gray);
        calls.left_out(true);
        assert_eq!(counted(&calls, BLUE), [1, 0, 1, 1]);
    }

    #[test]
    fn what_arrived_on_one_thread_may_be_lost_on_another() {
        let all = CallsInLanes::default();
        let (one, other) = (thread(&all), thread(&all));
        let blue = one.arrived(BLUE);
        let gray = other.arrived(GRAY);
        one.left_out(true);
        drop(blue);
        one.left_out(true);
        one.carried(("trade", "gray"));
        assert_eq!(counted(&one, GRAY), [1, 1, 1, 1]);
        drop(gray);
        other.left_out(true);
        assert_eq!(counted(&other, GRAY), [1, 1, 1, 1]);
        assert_eq!(counted(&other, BLUE), [1, 0, 0, 1]);
    }

    #[test]
    fn lanes_are_told_apart_as_far_as_there_is_room() {
        let calls = thread(&CallsInLanes::default());
        for number in 0..2 * LANES_MAX {
            drop(calls.arrived(Some(("trade", &number.to_string()))));
        }
        assert_eq!(calls.all.all().len(), LANES_MAX + 1);
        let others = Some((OTHERS, OTHERS));
        assert_eq!(counted(&calls, others)[0], LANES_MAX as u64);
    }
}
