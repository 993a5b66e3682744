//! Judges lanes while they run: looks at each enabled lane every few seconds, and tells of a verdict that changes, as an
//! event and in the lane's status.

use std::{
    sync::Weak,
    time::{Duration, Instant, UNIX_EPOCH},
};

use api::{
    resource::{Key, Lane, LaneGroup, LaneVerdict, Set},
    rest::{StatisticsVerdict, VerdictApplication, VerdictState, VerdictWhat, VerdictWorse},
    time::rfc3339,
};
use foldhash::HashMap;
use tokio::time::MissedTickBehavior;

use crate::{
    Control,
    statistics::{
        trials::{Group, Judgement, Standing},
        verdict::{Judged, State, Verdict, What},
    },
};

/// How often lanes are looked at.
const JUDGED_EVERY: Duration = Duration::from_secs(2);

/// Judges for as long as the control plane is there.
pub(crate) async fn judge(control: Weak<Control>) {
    let mut ticks = tokio::time::interval(JUDGED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(control) = control.upgrade() else { return };
        // It counts for a while, and may read the disk.
        let _ = tokio::task::spawn_blocking(move || look(&control)).await;
    }
}

/// Follows all enabled lanes until now.
pub(crate) fn follow(control: &Control) -> Result<(), rusqlite::Error> {
    let groups = groups(control);
    control.trials().follow(control.statistics(), &groups, Instant::now())
}

fn look(control: &Control) {
    if let Err(error) = follow(control) {
        tracing::warn!(%error, "lanes cannot be judged: the history of statistics cannot be read");
        return;
    }
    let standing = control.trials().stand();
    let objects = control.ledger().view().objects();
    let lanes = objects.set().lanes();
    let keys: HashMap<(&str, &str), Key> =
        lanes.map(|lane| ((&*lane.spec.group, lane.tag_text()), lane.key())).collect();
    let mut verdicts = HashMap::default();
    let mut is_any_news = false;
    let mut hub = control.hub();
    for Standing { group, lane, judgement, is_news } in standing {
        let Some(key) = keys.get(&(&*group, &*lane)) else { continue };
        let Verdict { state: stands, culprit, .. } = &judgement.verdict;
        if is_news {
            let is_worse = *stands == State::Worse;
            let reason = if is_worse { "Worse" } else { "NoWorse" };
            hub.events_mut().of_object(key, is_worse, reason, words(&judgement));
            is_any_news = true;
        }
        // That nothing can be said yet is no change of a lane that somebody has just made or enabled.
        if *stands != State::TooLittle {
            let culprit = culprit.as_deref().map(str::to_owned);
            verdicts.insert(key.clone(), LaneVerdict { state: state(*stands), culprit });
        }
    }
    let is_any_other = hub.judged(verdicts);
    drop(hub);
    if is_any_news || is_any_other {
        control.nudge();
    }
}

/// The lane of a group that has a tag.
pub(crate) fn lane_of<'s>(set: &'s Set, group: &str, tag: &str) -> Option<&'s Lane> {
    set.lanes().find(|lane| lane.spec.group == group && lane.tag_text() == tag)
}

/// Groups with enabled lanes.
fn groups(control: &Control) -> Vec<Group> {
    let objects = control.ledger().view().objects();
    let set = objects.set();
    let of = |group: &LaneGroup| {
        let enabled = set.lanes_of(group).filter(|lane| lane.spec.enabled);
        let lanes: Vec<String> = enabled.map(|lane| lane.tag_text().to_owned()).collect();
        let (name, applications) = (group.metadata.name.clone(), group.spec.applications.clone());
        (!lanes.is_empty()).then_some(Group { name, applications, lanes })
    };
    set.lane_groups().filter_map(of).collect()
}

/// A verdict as it is told, applications in the order of the group.
pub(crate) fn told(group: &Group, lane: &str, judgement: &Judgement) -> StatisticsVerdict {
    let verdict = &judgement.verdict;
    let of = |name: &String| verdict.applications.iter().find(|it| *it.application == **name);
    StatisticsVerdict {
        group: group.name.clone(),
        lane: lane.to_owned(),
        state: state(verdict.state),
        culprit: verdict.culprit.as_deref().map(str::to_owned),
        reason: words(judgement),
        since: judgement.since,
        until: judgement.until,
        about: verdict.about().map(application),
        applications: group.applications.iter().filter_map(of).map(application).collect(),
    }
}

fn application(it: &Judged) -> VerdictApplication {
    VerdictApplication {
        application: it.application.to_string(),
        state: state(it.state),
        requests: it.requests,
        base_requests: it.base_requests,
        needed: it.needed,
        errors_range: it.errors,
        slow_range: it.slow,
        worse: it.worse.map(|(what, since, tally)| {
            let [ratio, base_ratio] = tally.ratios();
            VerdictWorse {
                what: match what {
                    What::Errors => VerdictWhat::Errors,
                    What::Slow => VerdictWhat::Slow,
                },
                since,
                requests: tally.lane,
                ratio,
                base_requests: tally.base,
                base_ratio,
            }
        }),
    }
}

fn state(of: State) -> VerdictState {
    match of {
        State::NoWorse => VerdictState::NoWorse,
        State::Worse => VerdictState::Worse,
        State::PassedOn => VerdictState::PassedOn,
        State::TooLittle => VerdictState::TooLittle,
    }
}

/// A verdict in words: `worse: app-c errors 3.1 % against 0.2 %, from 1240 requests, since 14:02 UTC`.
fn words(judgement: &Judgement) -> String {
    let verdict = &judgement.verdict;
    let Some(about) = verdict.about() else {
        return "too little traffic to say: no request in the lane".to_owned();
    };
    let name = &about.application;
    match (verdict.state, about.worse) {
        (State::Worse, Some((what, since, tally))) => {
            let what = match what {
                What::Errors => "errors",
                What::Slow => "slower than 95 % of base",
            };
            let [lane, base] = tally.ratios().map(|it| format!("{:.1} %", it * 100.0));
            let passed = match verdict.culprit {
                Some(_) => "",
                None => ", passed on from what it calls",
            };
            let (requests, time) = (tally.lane, hour(since));
            format!(
                "worse: {name} {what} {lane} against {base}{passed}, from {requests} requests, since {time} UTC"
            )
        }
        (State::TooLittle, _) if about.base_requests == 0 => {
            format!("too little traffic to say: no request of base to compare {name} with")
        }
        (State::TooLittle, _) if about.is_idle => format!(
            "too little traffic to say: for five minutes no request in the lane beside one of base, for {name}"
        ),
        (State::TooLittle, _) => format!(
            "too little traffic to say: {} of about {} needed, for {name}",
            about.requests,
            about.needed.unwrap_or_default()
        ),
        _ => format!("no worse: {name} from {} requests, the fewest", about.requests),
    }
}

/// Hour and minute.
fn hour(second: u64) -> String {
    let text = rfc3339(UNIX_EPOCH + Duration::from_secs(second));
    text.get(11..16).unwrap_or_default().to_owned()
}
