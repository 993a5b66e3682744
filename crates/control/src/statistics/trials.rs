//! Lanes on trial: feeds [`verdict`](super::verdict) with what is counted, for as long as a lane is enabled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use super::{
    Statistics,
    question::{Counted, Span},
    recent,
    series::{Labels, Outcome, Role, TIERS},
    verdict::{Effect, Side, State, Step, Trial, Verdict},
};

/// Seconds that are compared at once.
const STEP: u64 = 2;

/// Seconds after which all data planes have told of one.
const TOLD_WITHIN: u64 = 2;

/// Steps that are read at once; fewer where there are many applications and lanes.
const STEPS_AT_ONCE: u64 = 64;

/// The longest that may be looked back, in seconds: steps of ten seconds are kept as long.
pub(crate) const BACK_MAX: u64 = 24 * 3_600;

/// A lane group with lanes to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) applications: Vec<String>,
    /// Tags of its enabled lanes.
    pub(crate) lanes: Vec<String>,
}

/// A verdict, with of which time it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// What a lane's latest event said: how it stands, and because of whom.
type Told = (State, Option<Box<str>>);

#[derive(Debug)]
struct Running {
    trial: Trial,
    since: u64,
    told: Option<Told>,
}

/// Every enabled lane's trial.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    lanes: HashMap<(String, String), Running>,
    /// Up to which second what was counted is in them; `None` before the first time.
    until: Option<u64>,
}

/// What is told apart in what was counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    lane: Box<str>,
    role: Role,
    teller: Box<str>,
    application: Box<str>,
    is_fallback: bool,
}

/// What was counted of an application in a lane, as it and its callers see it.
#[derive(Debug, Default)]
struct Sides {
    by_itself: Side,
    by_callers: Side,
    failed_calls: u64,
}

impl Trials {
    /// Takes into account what was counted since the last time. A lane that was not enabled then begins now; at the first
    /// time, as far back as seconds are in memory.
    pub(crate) fn follow(
        &mut self,
        statistics: &Statistics,
        groups: &[Group],
        now: Instant,
    ) -> Result<(), rusqlite::Error> {
        let until = told_until(statistics, now, STEP);
        let oldest = until.saturating_sub(recent::SECONDS_MAX - 2 * STEP);
        let from = self.until.unwrap_or(oldest).max(oldest);
        let since = if self.until.is_some() { until } else { oldest };
        let enabled: HashSet<(&str, &str)> = groups
            .iter()
            .flat_map(|group| group.lanes.iter().map(|lane| (&*group.name, &**lane)))
            .collect();
        self.lanes.retain(|(group, lane), _| enabled.contains(&(&**group, &**lane)));
        for (group, lane) in enabled {
            let running = || Running { trial: Trial::default(), since, told: None };
            self.lanes.entry((group.to_owned(), lane.to_owned())).or_insert_with(running);
        }
        for group in groups {
            let mut trials: BTreeMap<&str, &mut Trial> = self
                .lanes
                .iter_mut()
                .filter(|((name, _), running)| *name == group.name && running.since <= from)
                .map(|((_, lane), running)| (&**lane, &mut running.trial))
                .collect();
            read(statistics, group, &mut trials, 0, (from, until))?;
        }
        self.until = Some(until);
        Ok(())
    }

    /// How a lane stands, as far as it was followed.
    pub(crate) fn judge(&self, group: &str, lane: &str, effect: &Effect) -> Option<Judgement> {
        let running = self.lanes.get(&(group.to_owned(), lane.to_owned()))?;
        let until = self.until?.max(running.since);
        Some(Judgement { verdict: running.trial.judge(effect), since: running.since, until })
    }

    /// Verdicts that are others than when this was last asked: of group and tag. That there is too little traffic again is no
    /// news.
    pub(crate) fn take_news(&mut self) -> Vec<(String, String, Judgement)> {
        let until = self.until.unwrap_or_default();
        let mut news = Vec::new();
        for ((group, lane), running) in &mut self.lanes {
            let verdict = running.trial.judge(&Effect::default());
            let told = (verdict.state, verdict.culprit.clone());
            if verdict.state != State::TooLittle && running.told.as_ref() != Some(&told) {
                running.told = Some(told);
                let judgement = Judgement { verdict, since: running.since, until };
                news.push((group.clone(), lane.clone(), judgement));
            }
        }
        news
    }
}

/// How a lane has stood since a number of seconds ago, whether it is enabled or not. Reads the disk where that is longer ago
/// than seconds are kept.
pub(crate) fn look_back(
    statistics: &Statistics,
    group: &Group,
    lane: &str,
    seconds: u64,
    effect: &Effect,
    now: Instant,
) -> Result<Judgement, rusqlite::Error> {
    let tier = usize::from(seconds > recent::SECONDS_MAX - 2 * STEP);
    let step = u64::max(TIERS[tier], STEP);
    let until = told_until(statistics, now, step);
    let since = until.saturating_sub(seconds.next_multiple_of(step));
    let mut trial = Trial::default();
    let group = Group { lanes: vec![lane.to_owned()], ..group.clone() };
    read(statistics, &group, &mut BTreeMap::from([(lane, &mut trial)]), tier, (since, until))?;
    Ok(Judgement { verdict: trial.judge(effect), since, until })
}

/// The second up to which whole steps were told.
fn told_until(statistics: &Statistics, now: Instant, step: u64) -> u64 {
    statistics.tick(now);
    let told = statistics.second(now).saturating_sub(TOLD_WITHIN);
    told - told % step
}

/// Gives trials what was counted between two seconds.
fn read(
    statistics: &Statistics,
    group: &Group,
    trials: &mut BTreeMap<&str, &mut Trial>,
    tier: usize,
    (mut from, until): (u64, u64),
) -> Result<(), rusqlite::Error> {
    let step = u64::max(TIERS[tier], STEP);
    let mut steps = STEPS_AT_ONCE;
    while !trials.is_empty() && from + step <= until {
        let span = Span::steps_from(tier, from, step, steps.min((until - from) / step));
        let answer = statistics.answer_of(span, |labels| key(group, labels))?;
        if answer.is_cut && span.steps() > 1 {
            steps = (span.steps() / 2) as u64;
            continue;
        }
        for number in 0..span.steps() {
            let counted = answer.lines.iter();
            let counted = counted.filter_map(|(key, line)| Some((key, line[number].as_deref()?)));
            observe(group, trials, from + number as u64 * step, counted);
        }
        from = span.until;
    }
    Ok(())
}

fn key(group: &Group, labels: &Labels) -> Option<Key> {
    let is_member = |name: &str| group.applications.iter().any(|it| **it == *name);
    let is_lane = labels.lane.is_empty()
        || (*labels.group == *group.name && group.lanes.iter().any(|it| **it == *labels.lane));
    let is_seen = match labels.role {
        Role::Inbound | Role::Gateway => is_member(&labels.application),
        Role::Outbound => is_member(&labels.application) || is_member(&labels.teller),
        Role::Entered | Role::Process => false,
    };
    let is_outbound = labels.role == Role::Outbound;
    let key = || Key {
        lane: labels.lane.clone(),
        role: labels.role,
        teller: if is_outbound { labels.teller.clone() } else { Box::default() },
        application: labels.application.clone(),
        is_fallback: labels.outcome == Outcome::Fallback,
    };
    (is_lane && is_seen).then(key)
}

/// Gives trials one step.
fn observe<'a>(
    group: &Group,
    trials: &mut BTreeMap<&str, &mut Trial>,
    second: u64,
    counted: impl Iterator<Item = (&'a Key, &'a Counted)>,
) {
    let mut sides: HashMap<(&str, &str), Sides> = HashMap::new();
    for (key, counted) in counted {
        if !key.is_fallback {
            let of = sides.entry((&key.lane, &key.application)).or_default();
            let is_inbound = key.role == Role::Inbound;
            add(if is_inbound { &mut of.by_itself } else { &mut of.by_callers }, counted);
        }
        if key.role == Role::Outbound {
            let of = sides.entry((&key.lane, &key.teller)).or_default();
            of.failed_calls = of.failed_calls.saturating_add(counted.errors());
            if let Some(trial) = trials.get_mut(&*key.lane) {
                trial.calls(&key.teller, &key.application);
            }
        }
    }
    let nothing = Sides::default();
    for (lane, trial) in trials {
        for application in &group.applications {
            let of = |lane| sides.get(&(lane, &**application)).unwrap_or(&nothing);
            trial.observe(second, application, &fairly(of(lane), of("")));
        }
    }
}

/// A lane and base by the same: what callers see takes longer than what the application does.
fn fairly(lane: &Sides, base: &Sides) -> Step {
    let has_both = |lane: &Side, base: &Side| lane.requests > 0 && base.requests > 0;
    let is_by_callers =
        !has_both(&lane.by_itself, &base.by_itself) && has_both(&lane.by_callers, &base.by_callers);
    let side = |of: &Sides| {
        let side = if is_by_callers { &of.by_callers } else { &of.by_itself };
        Side { failed_calls: of.failed_calls, ..side.clone() }
    };
    Step { lane: side(lane), base: side(base) }
}

fn add(side: &mut Side, counted: &Counted) {
    side.requests = side.requests.saturating_add(counted.requests());
    side.errors = side.errors.saturating_add(counted.errors());
    for (sum, more) in side.durations.iter_mut().zip(counted.cell.sketch) {
        *sum = sum.saturating_add(more);
    }
}
