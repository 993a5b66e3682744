//! What must hold before a promotion goes on. Pure: what is known is the argument.

use api::rest::{
    PromotionCheck, PromotionCheckKind as Kind, PromotionCheckState as State, VerdictState,
};

use crate::store::BaseBefore;

/// Requests of base from which on its errors say something.
const REQUESTS_MIN: u64 = 100;

/// How many more errors base may have than in the hour before, as a share of requests: what the verdict of a lane counts as
/// worse.
const MORE_ERRORS: f64 = 0.01;

/// Standard deviations of what may be by chance: one in a thousand.
const DEVIATIONS: f64 = 3.1;

/// An instance of base, or of the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// `ADDRESS PROCESS`: which process has registered it there.
    pub(super) identity: String,
    pub(super) is_usable: bool,
    /// It is on its way out.
    pub(super) is_leaving: bool,
}

impl Seen {
    fn address(&self) -> &str {
        address(&self.identity)
    }
}

fn address(identity: &str) -> &str {
    identity.split(' ').next().unwrap_or_default()
}

/// What is counted of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) all: u64,
    pub(super) errors: u64,
}

/// How far the closing of the entrances is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// The lane is paused, and what data planes have been told says so.
    pub(super) is_told: bool,
    pub(super) acknowledged: u64,
    pub(super) data_planes: u64,
    pub(super) disconnected: u64,
}

fn check(
    kind: Kind,
    state: State,
    confirmable: bool,
    n: u64,
    of: u64,
    message: String,
) -> PromotionCheck {
    let id = match kind {
        Kind::Verdict => "verdict",
        Kind::Instances => "instances",
        Kind::Version => "version",
        Kind::Errors => "errors",
        Kind::Closed => "closed",
        Kind::Idle => "idle",
        Kind::Reports => "reports",
        Kind::Fallback => "fallback",
        Kind::Removal => "removal",
        Kind::Scope => "scope",
        Kind::Files => "files",
    };
    PromotionCheck {
        id: id.to_owned(),
        kind,
        application: None,
        state,
        confirmable,
        n,
        of,
        message,
    }
}

fn of_application(mut check: PromotionCheck, application: &str) -> PromotionCheck {
    check.id = format!("{}/{application}", check.id);
    check.application = Some(application.to_owned());
    check
}

/// That the lane is no worse than base. Nobody enters one that is paused.
pub(super) fn verdict(
    state: VerdictState,
    culprit: Option<&str>,
    is_paused: bool,
) -> PromotionCheck {
    let (state, n, message) = match state {
        VerdictState::NoWorse => (State::Ok, 0, "no worse than base".to_owned()),
        VerdictState::TooLittle if is_paused => {
            let message = "the lane is paused: nobody enters it, so that too little is seen of it to say whether it is worse than base; confirm, or abandon, resume the lane and begin anew";
            (State::Unknown, 3, message.to_owned())
        }
        VerdictState::TooLittle => (
            State::Unknown,
            2,
            "too little traffic to say whether it is worse than base".to_owned(),
        ),
        VerdictState::Worse | VerdictState::PassedOn => {
            let because = culprit.map(|it| format!(", because of {it}")).unwrap_or_default();
            (State::Waiting, 1, format!("worse than base{because}"))
        }
    };
    check(Kind::Verdict, state, true, n, 0, message)
}

/// That base of an application was replaced since the start.
pub(super) fn instances(application: &str, before: &BaseBefore, now: &[Seen]) -> PromotionCheck {
    let staying = || now.iter().filter(|it| !it.is_leaving);
    let of = staying().count() as u64;
    // A process that registers anew at its address may be that of a sidecar alone: it tells nothing of the application.
    let was_there = |it: &&Seen| before.instances.iter().any(|was| address(was) == it.address());
    let old = staying().filter(was_there).count() as u64;
    let registered = |it: &&Seen| was_there(it) && !before.instances.contains(&it.identity);
    let anew = staying().filter(registered).count();
    let unusable = staying().filter(|it| !it.is_usable).count() as u64;
    let n = of - old;
    let (state, confirmable, message) = if of == unusable {
        let why = "base has no usable instance: its requests are answered 503";
        (State::Failed, false, why.to_owned())
    } else if unusable > 0 {
        (State::Waiting, false, format!("{unusable} of {of} instances of base are not usable"))
    } else if old > 0 {
        let anew = match anew {
            0 => String::new(),
            n => format!(", {n} of them registered anew, as with a sidecar that was restarted"),
        };
        let message = format!(
            "{old} of {of} instances of base were there at the start{anew}: replace them, or confirm that they were given the version in place"
        );
        (State::Waiting, true, message)
    } else {
        (State::Ok, false, format!("all {of} instances of base are new"))
    };
    of_application(check(Kind::Instances, state, confirmable, n, of, message), application)
}

/// That what is new in base is the lane's version: nobody but whoever deploys knows.
pub(super) fn version() -> PromotionCheck {
    let message =
        "no source tells the version of an instance: confirm that base runs the lane's".to_owned();
    check(Kind::Version, State::Unknown, true, 0, 0, message)
}

/// That base of an application that came into the lane after the start, and is not looked at, is new too.
pub(super) fn scope(application: &str) -> PromotionCheck {
    let message = "it came into the lane after the start, so that its base is not checked: abandon and begin again, or confirm that its base runs the lane's version";
    of_application(check(Kind::Scope, State::Waiting, true, 0, 0, message.to_owned()), application)
}

/// That base of an application has no more errors with the new version than before.
pub(super) fn errors(application: &str, before: &BaseBefore, now: Requests) -> PromotionCheck {
    let share = |errors: u64, all: u64| errors as f64 / all.max(1) as f64;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let (was, is) = (share(before.errors, before.requests), share(now.errors, now.all));
    let allowed = was + MORE_ERRORS;
    // What so many requests may have by chance alone.
    let chance = DEVIATIONS * (allowed * (1.0 - allowed).max(0.0) / now.all.max(1) as f64).sqrt();
    let counted = format!("errors {} of {} requests", percent(is), now.all);
    let (state, message) = if now.all < REQUESTS_MIN {
        (
            State::Unknown,
            format!("too little traffic to say: {} of {REQUESTS_MIN} requests", now.all),
        )
    } else if is > allowed + chance {
        let before = percent(was);
        (State::Waiting, format!("{counted}, against {before} in the hour before the promotion"))
    } else {
        (State::Ok, counted)
    };
    of_application(check(Kind::Errors, state, true, now.errors, now.all, message), application)
}

/// That no entrance puts anybody into the lane.
pub(super) fn closed(reached: Reached) -> PromotionCheck {
    let Reached { is_told, acknowledged, data_planes, disconnected } = reached;
    let (state, confirmable, message) = if !is_told {
        let message = "the lane is not paused yet: go on, to close its entrances".to_owned();
        (State::Waiting, false, message)
    } else if data_planes == 0 {
        // After a restart those that are cut off are not known either.
        let message = "no data plane is known: those that are cut off let requests in all the same, if there are any";
        (State::Unknown, true, message.to_owned())
    } else if acknowledged + disconnected < data_planes {
        let message = format!("paused on {acknowledged} of {data_planes} data planes");
        (State::Waiting, false, message)
    } else if disconnected > 0 {
        let message = format!(
            "paused on {acknowledged} of {data_planes} data planes; {disconnected} are disconnected, and where they are entrances let requests in"
        );
        (State::Unknown, true, message)
    } else {
        (State::Ok, false, format!("paused on all {data_planes} data planes"))
    };
    check(Kind::Closed, state, confirmable, acknowledged, data_planes, message)
}

/// That no request is in the lane any more. `passed`: seconds since the entrances were closed.
pub(super) fn idle(requests: u64, seconds: u64, passed: u64) -> PromotionCheck {
    let (state, message) = if requests > 0 {
        (State::Waiting, format!("{requests} requests in the lane in the last {seconds} s"))
    } else if passed < seconds {
        let message = format!("no request in the lane for {passed} s; {seconds} s are waited for");
        (State::Waiting, message)
    } else {
        (State::Ok, format!("no request in the lane for {seconds} s"))
    };
    check(Kind::Idle, state, true, requests, seconds, message)
}

/// That all who could see a request in the lane tell of it.
pub(super) fn reports(silent: u64) -> PromotionCheck {
    let (state, message) = match silent {
        0 => (State::Ok, "all data planes report what passes".to_owned()),
        _ => (
            State::Unknown,
            format!(
                "{silent} data planes do not report what passes: requests in the lane there are not seen"
            ),
        ),
    };
    check(Kind::Reports, state, true, silent, 0, message)
}

/// That no other lane falls back to this one.
pub(super) fn fallback(lanes: &[&str]) -> PromotionCheck {
    let (state, message) = if lanes.is_empty() {
        (State::Ok, "no other lane falls back to it".to_owned())
    } else {
        let names = lanes.join(", ");
        (State::Failed, format!("{names} falls back to it: take it out of `fallback` there first"))
    };
    check(Kind::Fallback, state, false, lanes.len() as u64, 0, message)
}

/// That no file brings the lane back.
pub(super) fn files(is_said: bool) -> PromotionCheck {
    let (state, message) = if is_said {
        let message = "a file has said the lane, and brings it back when it is applied again: take it out there, and confirm";
        (State::Unknown, message)
    } else {
        (State::Ok, "no file has said the lane")
    };
    check(Kind::Files, state, true, is_said.into(), 0, message.to_owned())
}

/// That whoever promotes wants the lane to go. `shared`: instances that lanes of other groups use, apart from those `left`.
pub(super) fn removal(left: u64, shared: u64) -> PromotionCheck {
    let mut message = match left {
        0 => "confirm that the lane is deleted; it has no instance to stop".to_owned(),
        1 => "confirm that the lane is deleted; 1 tagged instance is left, stop it afterwards"
            .to_owned(),
        _ => format!(
            "confirm that the lane is deleted; {left} tagged instances are left, stop them afterwards"
        ),
    };
    if shared > 0 {
        message.push_str(&format!("; {shared} more are used by lanes of other groups, keep them"));
    }
    check(Kind::Removal, State::Unknown, true, left, shared, message)
}

/// Checks that stand in the way of the next step, where `confirmed` (ids, or `all`) are vouched for.
pub(super) fn in_the_way<'c>(
    checks: &'c [PromotionCheck],
    confirmed: &[String],
) -> Vec<&'c PromotionCheck> {
    // What is sent twice by mistake must not delete a lane: that is named.
    let by_all =
        |it: &PromotionCheck| it.kind != Kind::Removal && confirmed.iter().any(|id| id == ALL);
    let by_name = |it: &PromotionCheck| confirmed.contains(&it.id);
    let is_vouched_for = |it: &PromotionCheck| it.confirmable && (by_all(it) || by_name(it));
    checks.iter().filter(|it| it.state != State::Ok && !is_vouched_for(it)).collect()
}

/// Stands for all checks that may be confirmed, the removal apart.
pub(super) const ALL: &str = "all";
