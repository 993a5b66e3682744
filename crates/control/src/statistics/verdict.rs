//! Whether a lane is worse than base, and because of which application.
//!
//! Pure: what was counted comes step by step; there is no clock here, nor chance. See [`evidence`] for why it may be looked
//! at as often as one likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use telemetry::sketch::BUCKETS;

mod evidence;
#[cfg(test)]
mod tests;

use evidence::Evidence;
pub(crate) use evidence::Tally;

/// The chance that a healthy lane is ever accused, over all of its applications and for as long as it is looked at.
const ALPHA: f64 = 0.01;

/// The chance that one of the ranges that "no worse" rests on is ever wrong.
const RANGE_ALPHA: f64 = 0.05;

/// Kinds of hits that are tested for each application.
const TESTS: f64 = 3.0;

/// The logarithm of the evidence from which on an application may be why its callers are slow.
const SUSPICION: f64 = 2.0;

/// Requests of base from which its 95th percentile is taken.
const REFERENCE_MIN: u64 = 20;

/// Seconds without a request of the lane beside one of base after which what was seen says nothing of how things are.
const IDLE: u64 = 300;

/// Seconds after which a caller that does not call is none any more.
const CALLS_FOR: u64 = 900;

/// Steps in which a call that failed may become an error of the request it was made for.
const AHEAD: usize = 15;

/// Requests of the lane that are needed, about, where nothing has been seen yet.
const NEEDED_FIRST: u64 = 400;

/// What matters: differences below are not told as worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effect {
    /// More errors, as a share of requests.
    pub(crate) errors: f64,
    /// More answers that are slower than 95 % of base's, as a share of requests.
    pub(crate) slow: f64,
}

impl Default for Effect {
    fn default() -> Self {
        Self { errors: 0.01, slow: 0.1 }
    }
}

/// What one side of an application has answered in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// Calls of its own that failed: errors that are not its own.
    pub(crate) failed_calls: u64,
    /// Errors, not among the others, of which it is not told whose they are.
    pub(crate) doubtful: u64,
    /// Durations, in the buckets of a [`telemetry::sketch`].
    pub(crate) durations: [u32; BUCKETS],
}

impl Default for Side {
    fn default() -> Self {
        Self { requests: 0, errors: 0, failed_calls: 0, doubtful: 0, durations: [0; BUCKETS] }
    }
}

impl Side {
    /// Adds requests with their errors and durations.
    pub(crate) fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.errors = self.errors.saturating_add(more.errors);
        for (sum, more) in self.durations.iter_mut().zip(more.durations) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a lane and base have answered in a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) lane: Side,
    pub(crate) base: Side,
}

/// How a lane, or an application in it, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    NoWorse,
    /// Its own answers are.
    Worse,
    /// It passes up what others, whom it calls, cause.
    PassedOn,
    TooLittle,
}

/// What got worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Errors,
    Slow,
}

/// One application, judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) application: Box<str>,
    pub(crate) state: State,
    /// Where it is worse: in what, since which second, and what was seen since.
    pub(crate) worse: Option<(What, u64, Tally)>,
    /// Between what the difference of errors is.
    pub(crate) errors: Option<[f64; 2]>,
    /// Between what the difference of slow answers is.
    pub(crate) slow: Option<[f64; 2]>,
    pub(crate) requests: u64,
    pub(crate) base_requests: u64,
    /// Requests of the lane that are needed, about, until something can be said; `None`: it is.
    pub(crate) needed: Option<u64>,
    /// No request of the lane beside one of base for [`IDLE`] seconds.
    pub(crate) is_idle: bool,
    worth: f64,
}

/// A lane, judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    /// The application whose own answers got worse.
    pub(crate) culprit: Option<Box<str>>,
    /// Those that have answered anything in the lane, by name.
    pub(crate) applications: Vec<Judged>,
}

impl Verdict {
    /// The application that the verdict is about: the culprit, one that passes on, or the one that has the least to go by.
    pub(crate) fn about(&self) -> Option<&Judged> {
        match self.state {
            State::Worse => self
                .applications
                .iter()
                .find(|it| self.culprit.as_ref() == Some(&it.application))
                .or_else(|| self.applications.iter().find(|it| it.state == State::PassedOn)),
            State::TooLittle => self
                .applications
                .iter()
                .filter(|it| it.state == State::TooLittle)
                .max_by_key(|it| it.needed.unwrap_or_default().saturating_sub(it.requests)),
            State::NoWorse | State::PassedOn => {
                self.applications.iter().min_by_key(|it| it.requests)
            }
        }
    }
}

/// A lane on trial.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    applications: BTreeMap<Box<str>, Application>,
    /// Who calls whom for the lane, and when last.
    calls: BTreeMap<(Box<str>, Box<str>), u64>,
    /// Applications whose hops fell back when it was last told who served.
    fallen_back: BTreeMap<Box<str>, bool>,
    /// Applications of the group.
    members: usize,
}

#[derive(Debug, Clone, Default)]
struct Application {
    errors: Evidence,
    own: Evidence,
    slow: Evidence,
    /// Failed calls of the lane in excess of base's: what may be passed on.
    calls: Evidence,
    /// Failed calls that were more than the errors of their step, of each side: of errors that are told later.
    ahead: [VecDeque<u64>; 2],
    /// The latest second with requests of both.
    latest: u64,
    /// Errors of which it is not told whose they are.
    doubtful: u64,
    /// Durations of base of before, older ones fading.
    reference: Vec<u64>,
}

impl Trial {
    /// Somebody calls somebody else for the lane.
    pub(crate) fn calls(&mut self, second: u64, caller: &str, callee: &str) {
        if caller != callee {
            self.calls.insert((caller.into(), callee.into()), second);
        }
    }

    /// Forgets applications that are no members of the group, and calls of long before a second.
    pub(crate) fn keep(&mut self, members: &[String], until: u64) {
        let is_member = |name: &str| members.iter().any(|it| **it == *name);
        self.applications.retain(|name, _| is_member(name));
        self.fallen_back.retain(|name, _| is_member(name));
        self.calls.retain(|_, latest| *latest + CALLS_FOR >= until);
        self.members = members.len();
    }

    /// Whether requests of the lane for an application, that it is not told of who served them, may be of what it falls back
    /// to: where any fell back now or when it was last told, and where it never was.
    pub(crate) fn falls_back(&mut self, application: &str, served: u64, fallback: u64) -> bool {
        if served > 0 || fallback > 0 {
            self.fallen_back.insert(application.into(), fallback > 0);
        }
        self.fallen_back.get(application).copied().unwrap_or(true)
    }

    /// Takes one step of an application into account.
    pub(crate) fn observe(&mut self, second: u64, application: &str, step: &Step) {
        if step.lane.requests == 0 && step.base.requests == 0 {
            return;
        }
        if !self.applications.contains_key(application) {
            self.applications.insert(application.into(), Application::default());
        }
        if let Some(known) = self.applications.get_mut(application) {
            known.observe(second, step);
        }
    }

    /// How the lane stands at a second.
    pub(crate) fn judge(&self, effect: &Effect, until: u64) -> Verdict {
        let all = self.applications.iter().map(|(name, it)| (&**name, it));
        let served: Vec<(&str, &Application)> =
            all.filter(|(_, it)| it.errors.all().lane > 0).collect();
        let tried = served.len().max(self.members).max(1);
        let threshold = (TESTS * tried as f64 / ALPHA).ln();
        let is_idle = |it: &Application| it.latest + IDLE < until;
        let slow = |enough: f64| -> BTreeSet<&str> {
            let all = served.iter().filter(|(_, it)| !is_idle(it));
            let all = all.filter(|(_, it)| is_worse(&it.slow, enough, effect.slow));
            all.map(|(name, _)| *name).collect()
        };
        let (certain, suspected) = (slow(threshold), slow(SUSPICION));
        let slowed: BTreeSet<&str> =
            certain.iter().flat_map(|name| self.reached_from(name)).collect();
        let judged = |&(name, it): &(&str, &Application)| {
            // A caller may be certain a moment before the one who keeps it waiting.
            let is_slow =
                certain.contains(name) || (slowed.contains(name) && suspected.contains(name));
            let slower = is_slow.then(|| {
                let is_passing = self.reached_from(name).iter().any(|it| suspected.contains(it));
                if is_passing { State::PassedOn } else { State::Worse }
            });
            it.judge(name, threshold, effect, slower, is_idle(it))
        };
        let applications: Vec<Judged> = served.iter().map(judged).collect();
        let of_state = |state| applications.iter().filter(move |it| it.state == state);
        let culprit = of_state(State::Worse)
            .max_by(|a, b| a.worth.total_cmp(&b.worth))
            .map(|it| it.application.clone());
        let state = if culprit.is_some() || of_state(State::PassedOn).next().is_some() {
            State::Worse
        } else if applications.is_empty() || of_state(State::TooLittle).next().is_some() {
            State::TooLittle
        } else {
            State::NoWorse
        };
        Verdict { state, culprit, applications }
    }

    /// Whom an application calls, and whom these call, without itself: their time is in its own.
    fn reached_from<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(caller) = next.pop() {
            let first = (Box::from(caller), Box::default());
            let own = self.calls.range(first..).take_while(|((by, _), _)| **by == *caller);
            for ((_, callee), _) in own {
                if seen.insert(callee) {
                    next.push(callee);
                }
            }
        }
        seen.remove(from);
        seen
    }
}

impl Application {
    fn observe(&mut self, second: u64, step: &Step) {
        let (lane, base) = (&step.lane, &step.base);
        let errors = Tally {
            lane: lane.requests,
            lane_hits: lane.errors,
            base: base.requests,
            base_hits: base.errors,
        };
        self.errors.observe(second, errors);
        self.doubtful = self.doubtful.saturating_add(lane.doubtful);
        if lane.requests > 0 && base.requests > 0 {
            self.latest = second;
        }
        let calls = |side: &Side| side.failed_calls.min(side.requests);
        let calls = Tally { lane_hits: calls(lane), base_hits: calls(base), ..errors };
        self.calls.observe(second, calls);
        let lane_hits = own(lane, &mut self.ahead[0]);
        let base_hits = own(base, &mut self.ahead[1]);
        self.own.observe(second, Tally { lane_hits, base_hits, ..errors });
        // Where slow begins is known before the step: what is in it does not choose how it is measured.
        if let Some(slow) = self.slow_from() {
            let [lane, base] = [lane, base].map(|side| {
                let all: u64 = side.durations.iter().copied().map(u64::from).sum();
                (all, side.durations[slow..].iter().copied().map(u64::from).sum())
            });
            let seen = Tally { lane: lane.0, lane_hits: lane.1, base: base.0, base_hits: base.1 };
            self.slow.observe(second, seen);
        }
        if base.requests > 0 {
            self.reference.resize(BUCKETS, 0);
            for (sum, more) in self.reference.iter_mut().zip(base.durations) {
                // Fixed point: a request counts 1 024 at first, and half of it some 20 steps later.
                *sum = (*sum - *sum / 32).saturating_add(u64::from(more) << 10);
            }
        }
    }

    /// The first bucket of what is slower than 95 % of base's answers.
    fn slow_from(&self) -> Option<usize> {
        let all: u64 = self.reference.iter().sum();
        if all < REFERENCE_MIN << 10 {
            return None;
        }
        let mut below = 0;
        self.reference
            .iter()
            .position(|count| {
                below += count;
                below * 100 >= all * 95
            })
            .map(|bucket| bucket + 1)
            .filter(|bucket| *bucket < BUCKETS)
    }

    /// Whether failed calls are more than base's by so much that errors may be theirs.
    fn is_explained_by_calls(&self, errors: Tally) -> bool {
        let more = |tally: Tally| {
            let [lane, base] = tally.ratios();
            lane - base
        };
        let calls = self.calls.since().map_or(0.0, |(_, tally)| more(tally));
        calls * 2.0 >= more(errors)
    }

    /// The share of the lane's requests that failed for whom is not told.
    fn share_in_doubt(&self) -> f64 {
        let all = self.errors.all().lane.saturating_add(self.doubtful).max(1);
        self.doubtful as f64 / all as f64
    }

    /// `slower`: whether its answers are, by itself or by whom it calls.
    fn judge(
        &self,
        name: &str,
        threshold: f64,
        effect: &Effect,
        slower: Option<State>,
        is_idle: bool,
    ) -> Judged {
        let alpha = RANGE_ALPHA / 2.0;
        let (errors, slow) = (self.errors.range(alpha), self.slow.range(alpha));
        let worse = |evidence: &Evidence, effect| {
            let (second, tally) = evidence.since()?;
            let is_worse = !is_idle && is_worse(evidence, threshold, effect);
            is_worse.then_some((What::Errors, second, tally))
        };
        let passed = worse(&self.errors, effect.errors);
        // Calls that fail as often for base explain nothing.
        let own = worse(&self.own, effect.errors)
            .or(passed.filter(|(.., tally)| !self.is_explained_by_calls(*tally)));
        let is_cause = slower == Some(State::Worse);
        let slower = slower.and(self.slow.since()).map(|(second, it)| (What::Slow, second, it));
        let is_within =
            |range: Option<[f64; 2]>, effect| range.is_some_and(|[_, high]| high <= effect);
        let state = if own.is_some() || (slower.is_some() && is_cause) {
            State::Worse
        } else if passed.is_some() || slower.is_some() {
            State::PassedOn
        } else if !is_idle
            && is_within(errors, effect.errors - self.share_in_doubt())
            && is_within(slow, effect.slow)
        {
            State::NoWorse
        } else {
            State::TooLittle
        };
        let all = self.errors.all();
        let needed = (state == State::TooLittle).then(|| {
            let all = [(&self.errors, effect.errors), (&self.slow, effect.slow)];
            all.into_iter().filter_map(|(it, effect)| it.needed(alpha, effect)).max()
        });
        Judged {
            application: name.into(),
            state,
            worse: own.or(if is_cause { slower } else { None }).or(passed).or(slower),
            errors,
            slow,
            requests: all.lane,
            base_requests: all.base,
            needed: needed.map(|it| it.unwrap_or(NEEDED_FIRST).max(all.lane + 1)),
            is_idle,
            worth: self.own.worth().max(if is_cause { self.slow.worth() } else { f64::MIN }),
        }
    }
}

/// Errors that no failed call of this step or of those shortly before it explains.
fn own(side: &Side, ahead: &mut VecDeque<u64>) -> u64 {
    if ahead.len() > AHEAD {
        ahead.pop_front();
    }
    ahead.push_back(side.failed_calls);
    let mut errors = side.errors;
    for calls in ahead {
        let explained = errors.min(*calls);
        *calls -= explained;
        errors -= explained;
    }
    errors
}

/// Enough evidence, of a difference that matters.
fn is_worse(evidence: &Evidence, threshold: f64, effect: f64) -> bool {
    evidence.since().is_some_and(|(_, tally)| {
        let [lane, base] = tally.ratios();
        evidence.worth() >= threshold && lane - base >= effect
    })
}
