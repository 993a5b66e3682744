//! Where an application loses the lane: requests that reached it in one, and what it called while it served them.
//!
//! A call that says nothing of lanes is only known to come from a request while that is in flight. When all that is in
//! flight is in one lane, the call has *lost* it; when other requests are in flight too, it *may* have. Calls that carry
//! a context, or an id that restores one, and calls to others than services of the mesh, lose nothing.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
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
    /// Only grows: a lane is known by its place.
    lanes: Mutex<Vec<Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: u64,
    calls: LaneCalls,
}

/// A request in flight; it is until this is dropped.
#[derive(Debug)]
pub(crate) struct Arrived {
    calls: Rc<CallsInLanes>,
    /// Its lane, by place.
    lane: Option<usize>,
}

impl CallsInLanes {
    /// All lanes in which anything passed.
    pub fn all(&self) -> Vec<LaneCalls> {
        self.0.lanes.lock().iter().map(|lane| lane.calls.clone()).collect()
    }

    /// A request reached the application.
    pub(crate) fn arrived(self: &Rc<Self>, lane: Option<(&str, &str)>) -> Arrived {
        let lane = lane.map(|named| {
            let mut lanes = self.0.lanes.lock();
            let place = place_of(&mut lanes, named);
            lanes[place].in_flight += 1;
            lanes[place].calls.received += 1;
            place
        });
        self.counter(lane).fetch_add(1, Relaxed);
        Arrived { calls: Rc::clone(self), lane }
    }

    /// The application called a service in this lane.
    pub(crate) fn carried(&self, lane: (&str, &str)) {
        let mut lanes = self.0.lanes.lock();
        let place = place_of(&mut lanes, lane);
        lanes[place].calls.carried += 1;
    }

    /// The application called a service, and nothing says in which lane. `belongs_to_any`: nor that it is not caused by
    /// whatever request is in flight.
    pub(crate) fn left_out(&self, belongs_to_any: bool) {
        if self.0.inside.load(Relaxed) == 0 {
            return;
        }
        let is_certain = belongs_to_any && self.0.outside.load(Relaxed) == 0;
        let mut lanes = self.0.lanes.lock();
        let mut concerned: SmallVec<[&mut Lane; 8]> =
            lanes.iter_mut().filter(|lane| lane.in_flight > 0).collect();
        match concerned.as_mut_slice() {
            [only] if is_certain => only.calls.lost += 1,
            several => several.iter_mut().for_each(|lane| lane.calls.uncertain += 1),
        }
    }

    fn counter(&self, lane: Option<usize>) -> &AtomicU64 {
        if lane.is_some() { &self.0.inside } else { &self.0.outside }
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
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.calls.counter(self.lane).fetch_sub(1, Relaxed);
        if let Some(place) = self.lane {
            self.calls.0.lanes.lock()[place].in_flight -= 1;
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

fn place_of(lanes: &mut Vec<Lane>, named: (&str, &str)) -> usize {
    let position = |lanes: &[Lane], (group, tag): (&str, &str)| {
        lanes.iter().position(|lane| lane.calls.group == group && lane.calls.lane == tag)
    };
    let is_known = |lanes: &[Lane], named| position(lanes, named).is_some();
    let named =
        if lanes.len() < LANES_MAX || is_known(lanes, named) { named } else { (OTHERS, OTHERS) };
    position(lanes, named).unwrap_or_else(|| {
        let calls =
            LaneCalls { group: named.0.to_owned(), lane: named.1.to_owned(), ..Default::default() };
        lanes.push(Lane { in_flight: 0, calls });
        lanes.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAY: Option<(&str, &str)> = Some(("trade", "gray"));
    const BLUE: Option<(&str, &str)> = Some(("trade", "blue"));

    /// Received, carried, lost, uncertain of a lane.
    fn counted(calls: &CallsInLanes, lane: Option<(&str, &str)>) -> [u64; 4] {
        let of = |it: &LaneCalls| Some((it.group.as_str(), it.lane.as_str())) == lane;
        let calls = calls.all().into_iter().find(of).unwrap_or_default();
        [calls.received, calls.carried, calls.lost, calls.uncertain]
    }

    #[test]
    fn a_call_without_context_has_lost_the_only_lane_in_flight() {
        let calls = Rc::new(CallsInLanes::default());
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
        let calls = Rc::new(CallsInLanes::default());
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
    fn lanes_are_told_apart_as_far_as_there_is_room() {
        let calls = Rc::new(CallsInLanes::default());
        for number in 0..2 * LANES_MAX {
            drop(calls.arrived(Some(("trade", &number.to_string()))));
        }
        assert_eq!(calls.all().len(), LANES_MAX + 1);
        let others = Some((OTHERS, OTHERS));
        assert_eq!(counted(&calls, others)[0], LANES_MAX as u64);
    }
}
