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

/// How long ago, in seconds, steps of memory tell of.
pub(crate) const IN_MEMORY: u64 = recent::SECONDS_MAX - 2 * STEP;

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

/// How one lane stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) group: String,
    /// Its tag.
    pub(crate) lane: String,
    pub(crate) judgement: Judgement,
    /// Another verdict than when this was last asked.
    pub(crate) is_news: bool,
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
    end: End,
}

/// How requests ended, as far as it says who served them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// By whom their labels say.
    Served,
    /// By something else than the lane.
    Fallback,
    /// Nobody answered. Whether the lane or what it falls back to should have is not told.
    Failed,
    /// Cut, or refused. Who answered is not told either.
    Otherwise,
}

impl End {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Lane | Outcome::Base | Outcome::Unknown => Self::Served,
            Outcome::Fallback => Self::Fallback,
            Outcome::Failed => Self::Failed,
            Outcome::Cut | Outcome::Denied => Self::Otherwise,
        }
    }
}

/// What was counted of an application in a lane, as it and its callers see it.
#[derive(Debug, Default)]
struct Sides {
    by_itself: Seen,
    by_callers: Seen,
    /// Calls of its own that failed, or that it gave up.
    failed_calls: u64,
}

/// What was counted by one role, by who served as far as it is told.
#[derive(Debug, Default)]
struct Seen {
    served: Side,
    fallback: u64,
    failed: Side,
    otherwise: Side,
}

impl Seen {
    fn add(&mut self, end: End, counted: &Counted) {
        match end {
            End::Served => add(&mut self.served, counted),
            End::Fallback => self.fallback = self.fallback.saturating_add(counted.requests()),
            End::Failed => add(&mut self.failed, counted),
            End::Otherwise => add(&mut self.otherwise, counted),
        }
    }

    /// What the application itself has to answer for. Where a hop falls back, requests that were broken off or failed may be
    /// those of what served in the lane's place: they are no evidence against the lane, but leave in doubt that it is no worse.
    fn side(&self, falls_back: bool) -> Side {
        let mut side = self.served.clone();
        for ambiguous in [&self.failed, &self.otherwise] {
            if falls_back {
                side.doubtful = side.doubtful.saturating_add(ambiguous.errors);
            } else {
                side.add(ambiguous);
            }
        }
        side
    }
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
        let oldest = until.saturating_sub(IN_MEMORY);
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
        for ((name, _), running) in &mut self.lanes {
            if let Some(group) = groups.iter().find(|group| group.name == *name) {
                running.trial.keep(&group.applications, until);
            }
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
        Some(Judgement { verdict: running.trial.judge(effect, until), since: running.since, until })
    }

    /// How every lane stands.
    pub(crate) fn stand(&mut self) -> Vec<Standing> {
        let until = self.until.unwrap_or_default();
        let stands = |((group, lane), running): (&(String, String), &mut Running)| {
            let verdict = running.trial.judge(&Effect::default(), until);
            let told = (verdict.state, verdict.culprit.clone());
            // That there is too little traffic again is no news.
            let is_news = verdict.state != State::TooLittle && running.told.as_ref() != Some(&told);
            if is_news {
                running.told = Some(told);
            }
            let judgement = Judgement { verdict, since: running.since, until };
            Standing { group: group.clone(), lane: lane.clone(), judgement, is_news }
        };
        self.lanes.iter_mut().map(stands).collect()
    }
}

/// How a lane has stood since a second, whether it is enabled or not. Reads the disk where that is longer ago
/// than seconds are kept.
pub(crate) fn look_back(
    statistics: &Statistics,
    group: &Group,
    lane: &str,
    since: u64,
    effect: &Effect,
    now: Instant,
) -> Result<Judgement, rusqlite::Error> {
    let seconds = statistics.second(now).saturating_sub(since);
    let tier = usize::from(seconds > IN_MEMORY);
    let step = u64::max(TIERS[tier], STEP);
    let until = told_until(statistics, now, step);
    // Whole steps: none in which anything from before may be.
    let since = since.next_multiple_of(step);
    let mut trial = Trial::default();
    trial.keep(&group.applications, since);
    let group = Group { lanes: vec![lane.to_owned()], ..group.clone() };
    read(statistics, &group, &mut BTreeMap::from([(lane, &mut trial)]), tier, (since, until))?;
    Ok(Judgement { verdict: trial.judge(effect, until), since, until: until.max(since) })
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
    if trials.is_empty() || from + step > until {
        return Ok(());
    }
    let whole = Span::steps_from(tier, from, step, (until - from) / step);
    let reading = statistics.reading(whole, |labels| key(group, labels))?;
    while from + step <= until {
        let span = Span::steps_from(tier, from, step, steps.min((until - from) / step));
        let answer = reading.answer(span)?;
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
        end: End::of(labels.outcome),
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
        let of = sides.entry((&key.lane, &key.application)).or_default();
        let is_inbound = key.role == Role::Inbound;
        let seen = if is_inbound { &mut of.by_itself } else { &mut of.by_callers };
        seen.add(key.end, counted);
        if key.role == Role::Outbound {
            let of = sides.entry((&key.lane, &key.teller)).or_default();
            // A call that its caller gave up may be why the caller's own caller gave up.
            let failed = counted.errors().max(counted.failed);
            of.failed_calls = of.failed_calls.saturating_add(failed);
            if let Some(trial) = trials.get_mut(&*key.lane) {
                trial.calls(second, &key.teller, &key.application);
            }
        }
    }
    let nothing = Sides::default();
    for (lane, trial) in trials {
        for application in &group.applications {
            let of = |lane| sides.get(&(lane, &**application)).unwrap_or(&nothing);
            let (lane, base) = (of(lane), of(""));
            let sum = |count: fn(&Seen) -> u64| count(&lane.by_itself) + count(&lane.by_callers);
            let (served, fallback) = (sum(|it| it.served.requests), sum(|it| it.fallback));
            let falls_back = trial.falls_back(application, served, fallback);
            trial.observe(second, application, &fairly(lane, base, falls_back));
        }
    }
}

/// A lane and base by the same: what callers see takes longer than what the application does.
fn fairly(lane: &Sides, base: &Sides, falls_back: bool) -> Step {
    let has_both = |lane: &Side, base: &Side| lane.requests > 0 && base.requests > 0;
    let by_itself = (lane.by_itself.side(falls_back), base.by_itself.side(false));
    let by_callers = (lane.by_callers.side(falls_back), base.by_callers.side(false));
    let is_by_callers =
        !has_both(&by_itself.0, &by_itself.1) && has_both(&by_callers.0, &by_callers.1);
    let side = |of: &Sides, side: Side, falls_back: bool| {
        let mut side = Side { failed_calls: of.failed_calls, ..side };
        if !is_by_callers {
            // What nobody answered only callers know to have failed.
            let unserved = of.by_callers.failed.errors;
            if falls_back {
                side.doubtful = side.doubtful.saturating_add(unserved);
            } else {
                side.requests = side.requests.saturating_add(unserved);
                side.errors = side.errors.saturating_add(unserved);
            }
        }
        side
    };
    let (of_lane, of_base) = if is_by_callers { by_callers } else { by_itself };
    Step { lane: side(lane, of_lane, falls_back), base: side(base, of_base, false) }
}

fn add(side: &mut Side, counted: &Counted) {
    side.requests = side.requests.saturating_add(counted.requests());
    side.errors = side.errors.saturating_add(counted.errors());
    for (sum, more) in side.durations.iter_mut().zip(counted.cell.sketch) {
        *sum = sum.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::verdict::State;

    /// Requests of a step: lane, role, teller, application, outcome, class of code, how many.
    type Told<'a> = (&'a str, Role, &'a str, &'a str, Outcome, usize, u64);

    /// Five minutes, step by step as told by a function of the step's number.
    fn judged<'a>(told: impl Fn(u64) -> Vec<Told<'a>>) -> Verdict {
        let group = Group {
            name: "trade".to_owned(),
            applications: ["a", "b"].map(str::to_owned).to_vec(),
            lanes: vec!["gray".to_owned()],
        };
        let mut trial = Trial::default();
        for step in 0..150 {
            let told = told(step);
            let counted: Vec<(Key, Counted)> = told
                .into_iter()
                .map(|it| {
                    let (lane, role, teller, application, outcome, class, requests) = it;
                    let mut cell = crate::statistics::cell::Cell::default();
                    cell.classes[class] = requests;
                    cell.sketch[20] = requests as u32;
                    let mut counted = Counted::default();
                    counted.add(outcome, &cell);
                    let (lane, teller, application) =
                        (lane.into(), teller.into(), application.into());
                    (Key { lane, role, teller, application, end: End::of(outcome) }, counted)
                })
                .collect();
            let mut trials = BTreeMap::from([("gray", &mut trial)]);
            observe(&group, &mut trials, step * STEP, counted.iter().map(|(key, it)| (key, it)));
        }
        trial.judge(&Effect::default(), 300)
    }

    #[test]
    fn what_is_cut_where_a_hop_falls_back_accuses_no_lane() {
        // Of b only base has instances; of both sides one request of 50 is left by its client in mid-answer.
        let verdict = judged(|step| {
            let cut = |lane, served, role, all: u64| {
                let cut = if step % 5 == 0 { all / 10 } else { 0 };
                let teller = if role == Role::Outbound { "a" } else { "" };
                [
                    (lane, role, teller, "b", served, 2, all - cut),
                    (lane, role, teller, "b", Outcome::Cut, 2, cut),
                ]
            };
            let mut all = vec![
                ("gray", Role::Inbound, "", "a", Outcome::Lane, 2, 10),
                ("", Role::Inbound, "", "a", Outcome::Base, 2, 100),
            ];
            for role in [Role::Inbound, Role::Outbound] {
                all.extend(cut("gray", Outcome::Fallback, role, 10));
                all.extend(cut("", Outcome::Base, role, 100));
            }
            all
        });
        assert!(verdict.applications.iter().all(|it| &*it.application == "a"), "{verdict:#?}");
        assert_ne!(verdict.state, State::Worse, "{verdict:#?}");
    }

    #[test]
    fn a_lane_that_falls_back_for_what_failed_is_not_told_as_no_worse() {
        let verdict = judged(|_| {
            vec![
                ("gray", Role::Inbound, "", "a", Outcome::Lane, 2, 200),
                ("gray", Role::Gateway, "", "a", Outcome::Fallback, 2, 10),
                ("gray", Role::Gateway, "", "a", Outcome::Failed, 5, 10),
                ("", Role::Inbound, "", "a", Outcome::Base, 2, 200),
            ]
        });
        assert_eq!(verdict.state, State::TooLittle, "{verdict:#?}");
    }

    #[test]
    fn what_only_callers_see_fail_is_worse() {
        let told = |failed: u64| {
            judged(move |_| {
                vec![
                    ("gray", Role::Inbound, "", "a", Outcome::Lane, 2, 100 - failed),
                    // The gateway waited for them in vain: the sidecar saw the client go.
                    ("gray", Role::Inbound, "", "a", Outcome::Failed, 4, failed),
                    ("gray", Role::Gateway, "", "a", Outcome::Lane, 2, 100 - failed),
                    ("gray", Role::Gateway, "", "a", Outcome::Failed, 5, failed),
                    ("", Role::Inbound, "", "a", Outcome::Base, 2, 100),
                    ("", Role::Gateway, "", "a", Outcome::Base, 2, 100),
                ]
            })
        };
        assert_eq!(told(0).state, State::NoWorse);
        let verdict = told(5);
        assert_eq!(
            (verdict.state, verdict.culprit.as_deref()),
            (State::Worse, Some("a")),
            "{verdict:#?}"
        );
    }

    #[test]
    fn who_waits_in_vain_for_another_is_no_culprit() {
        let verdict = judged(|_| {
            vec![
                ("gray", Role::Inbound, "", "a", Outcome::Lane, 2, 95),
                ("gray", Role::Gateway, "", "a", Outcome::Failed, 5, 5),
                ("gray", Role::Gateway, "", "a", Outcome::Lane, 2, 95),
                // Given up by a as the gateway gives it up.
                ("gray", Role::Outbound, "a", "b", Outcome::Failed, 4, 5),
                ("gray", Role::Outbound, "a", "b", Outcome::Lane, 2, 95),
                ("", Role::Inbound, "", "a", Outcome::Base, 2, 100),
                ("", Role::Gateway, "", "a", Outcome::Base, 2, 100),
                ("", Role::Outbound, "a", "b", Outcome::Base, 2, 100),
            ]
        });
        assert_eq!(
            (verdict.state, verdict.culprit.as_deref()),
            (State::Worse, None),
            "{verdict:#?}"
        );
    }
}
