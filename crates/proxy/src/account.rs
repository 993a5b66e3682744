//! The only place that counts requests: each once, when its answer has been sent to the last byte, or is known never
//! to be.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use lanes::{Context, Member, Snapshot};
use telemetry::{
    CodeClass, Count, EnteredLane, LabelSet, Level, Outcome, Recorder, RequestLabels, Role,
};

use crate::{
    error::{Kind, Origin},
    h1::head::HeadError,
    picture::Picture,
    plan::{Chosen, Plan, Target},
};

/// What tells requests apart that are counted apart, without reading the texts that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CountedAs {
    /// Which picture the rest refers to.
    serial: u64,
    /// Where the service lies in memory; 0 without one.
    service: usize,
    /// Where the route's name lies in memory; 0 without one.
    route: usize,
    member: Option<(u16, u16)>,
    role: u8,
    outcome: u8,
    code_class: u8,
}

/// One thread's account of requests.
#[derive(Debug)]
pub(crate) struct Account {
    recorder: Rc<Recorder>,
    /// Of the current picture; the texts of labels are read once.
    label_sets: RefCell<HashMap<CountedAs, LabelSet>>,
    /// The latest of them: the next request is often counted alike.
    latest: Cell<Option<(CountedAs, LabelSet)>>,
    /// Of the current picture, by group and lane: where requests are counted that enter there.
    entered: RefCell<HashMap<Member, EnteredLane>>,
}

/// A request that is not done yet.
#[derive(Debug)]
pub(crate) struct InFlight<'w>(&'w Recorder, Level);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lower(self.1);
    }
}

/// A request whose answer is on its way: what is left is how it ends. It needs no picture any more.
#[derive(Debug)]
#[must_use = "a request is counted when its answer ends"]
pub(crate) struct Answering {
    set: LabelSet,
    outcome: Outcome,
    started: Instant,
}

/// How a request was counted.
#[derive(Debug, Clone, Copy)]
#[must_use = "whoever is told single requests is told how they end"]
pub(crate) struct Counted {
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

impl Account {
    pub(crate) fn new(recorder: Rc<Recorder>) -> Self {
        Self {
            recorder,
            label_sets: RefCell::default(),
            latest: Cell::default(),
            entered: RefCell::default(),
        }
    }

    /// There is a newer picture.
    pub(crate) fn forget_picture(&self) {
        self.label_sets.borrow_mut().clear();
        self.entered.borrow_mut().clear();
    }

    /// An entrance has decided: counts the members that `carried` did not have yet.
    pub(crate) fn entered(&self, lanes: &Snapshot, carried: &[Member], context: &Context) {
        for member in context.members() {
            if carried.iter().any(|it| it.group == member.group) {
                continue;
            }
            let lane = *self.entered.borrow_mut().entry(*member).or_insert_with(|| {
                let spec = lanes.groups()[usize::from(member.group)].spec();
                let lane = member.lane.and_then(|lane| spec.lanes.get(usize::from(lane)));
                self.recorder
                    .entered_lane(spec.name.as_str(), lane.map_or("", |lane| lane.tag.as_str()))
            });
            self.recorder.entered(lane);
        }
    }

    /// A request has arrived.
    pub(crate) fn begin(&self, role: Role) -> InFlight<'_> {
        let level = Level::in_flight(role);
        self.recorder.raise(level);
        InFlight(&self.recorder, level)
    }

    /// Counts what could not be read as a request.
    pub(crate) fn unread(&self, role: Role, kind: &Kind) {
        match kind {
            Kind::RequestTimeout => self.recorder.count(Count::TimedOutRequest),
            Kind::RequestHead(
                HeadError::TooLarge | HeadError::TooManyFields | HeadError::TargetTooLong,
            ) => self.recorder.count(Count::RejectedTooLarge),
            // Correct, and nothing that anybody here can do.
            Kind::StreamProtocol => {}
            _ => self.recorder.count(Count::RejectedMalformed),
        }
        let _ = self.unplanned(role, ("", ""), Some(kind), kind.status(), Duration::ZERO);
    }

    /// Counts a request that nobody was chosen for: refused, or redirected.
    pub(crate) fn unplanned(
        &self,
        role: Role,
        counted_as: (&str, &str),
        refused: Option<&Kind>,
        status: u16,
        duration: Duration,
    ) -> Counted {
        if let Some(kind) = refused {
            self.note(kind);
        }
        let outcome = outcome_without_plan(refused);
        let (application, service) = counted_as;
        let code_class = CodeClass::of(status);
        let (route, lane_group, lane) = ("", "", "");
        let labels = RequestLabels {
            role,
            application,
            service,
            route,
            lane_group,
            lane,
            outcome,
            code_class,
        };
        self.recorder.request(&labels, duration);
        Counted { outcome, duration }
    }

    /// Counts a request that no instance answered as it should.
    pub(crate) fn failed(
        &self,
        plan: &Plan<'_>,
        picture: &Picture,
        chosen: Option<&Chosen>,
        kind: &Kind,
        started: Instant,
    ) -> Counted {
        self.note(kind);
        let outcome = match kind {
            Kind::ClientGone | Kind::DeadlineExceeded | Kind::ApplicationLate { .. } => {
                Outcome::Failed
            }
            kind if kind.origin() == Origin::Client => Outcome::Denied,
            _ => Outcome::Failed,
        };
        let set = self.label_set(plan, picture, chosen, outcome, kind.status());
        self.count(set, outcome, started)
    }

    /// Counts what went wrong, beside the request it went wrong for.
    pub(crate) fn note(&self, kind: &Kind) {
        match kind {
            Kind::AnswerTimeout => self.recorder.count(Count::TimedOutResponse),
            Kind::Loop => self.recorder.count(Count::Loop),
            _ => {}
        }
    }

    /// An instance has answered; the request is counted when the answer's body ends.
    pub(crate) fn answering(
        &self,
        plan: &Plan<'_>,
        picture: &Picture,
        chosen: Option<&Chosen>,
        status: u16,
        started: Instant,
    ) -> Answering {
        let outcome = match plan.outcome.or(chosen.map(|chosen| chosen.outcome)) {
            Some(lanes::Outcome::Lane) => Outcome::Lane,
            Some(lanes::Outcome::Fallback) => Outcome::Fallback,
            Some(lanes::Outcome::Base) | None => Outcome::Base,
        };
        let set = self.label_set(plan, picture, chosen, outcome, status);
        Answering { set, outcome, started }
    }

    /// Counts a request whose answer was sent to its end.
    pub(crate) fn answered(&self, answering: Answering) -> Counted {
        self.count(answering.set, answering.outcome, answering.started)
    }

    /// Counts a request that is known only now to count as `status` of HTTP, and as `outcome` where that is another than that
    /// of the one who was chosen.
    pub(crate) fn ended_as(
        &self,
        answering: Answering,
        outcome: Option<Outcome>,
        status: u16,
    ) -> Counted {
        let code_class = CodeClass::of(status);
        if outcome.is_none() && code_class == CodeClass::of(200) {
            return self.answered(answering);
        }
        let outcome = outcome.unwrap_or(answering.outcome);
        let set = self.recorder.ended_as(answering.set, outcome, code_class);
        self.count(set, outcome, answering.started)
    }

    /// Counts a request whose answer began and broke off.
    pub(crate) fn broken_off(&self, answering: Answering) -> Counted {
        let set = self.recorder.ended_otherwise(answering.set, Outcome::Cut);
        self.count(set, Outcome::Cut, answering.started)
    }

    fn count(&self, set: LabelSet, outcome: Outcome, started: Instant) -> Counted {
        let duration = started.elapsed();
        self.recorder.observe(set, duration);
        Counted { outcome, duration }
    }

    fn label_set(
        &self,
        plan: &Plan<'_>,
        picture: &Picture,
        chosen: Option<&Chosen>,
        outcome: Outcome,
        status: u16,
    ) -> LabelSet {
        let member = chosen.and_then(|chosen| chosen.member).or(plan.member);
        let service = match &plan.target {
            Target::Service { service, .. } => Some(*service),
            Target::Address(_) => None,
        };
        let (role, code_class) = (plan.role, CodeClass::of(status));
        let counted_as = CountedAs {
            serial: picture.serial(),
            service: service.map_or(0, |service| Arc::as_ptr(service).addr()),
            route: plan.route.map_or(0, |route| route.as_ptr().addr()),
            member,
            role: role as u8,
            outcome: outcome as u8,
            code_class: code_class as u8,
        };
        if let Some((latest, set)) = self.latest.get()
            && latest == counted_as
        {
            return set;
        }
        let set = *self.label_sets.borrow_mut().entry(counted_as).or_insert_with(|| {
            let (application, service) =
                service.map_or(plan.counted_as, |service| (service.application(), service.name()));
            let (lane_group, lane) = member.map_or(("", ""), |(group, lane)| {
                let spec = picture.lanes.groups()[usize::from(group)].spec();
                let lane = spec.lanes.get(usize::from(lane));
                (spec.name.as_str(), lane.map_or("", |lane| lane.tag.as_str()))
            });
            self.recorder.label_set(&RequestLabels {
                role,
                application,
                service,
                route: plan.route.unwrap_or_default(),
                lane_group,
                lane,
                outcome,
                code_class,
            })
        });
        self.latest.set(Some((counted_as, set)));
        set
    }
}

/// How a request counts that nobody was chosen for.
pub(crate) fn outcome_without_plan(refused: Option<&Kind>) -> Outcome {
    match refused.map(Kind::origin) {
        None => Outcome::Base,
        Some(Origin::Client) => Outcome::Denied,
        Some(Origin::Proxy | Origin::Upstream) => Outcome::Failed,
    }
}
