//! What must hold, what is somebody else's change, and what is kept.

use api::{
    resource::Kind,
    rest::{
        Author, AuthorKind, PromotionCheckState as State, PromotionEnd, PromotionOutcome,
        VerdictState,
    },
};
use serde_json::json;

use super::{
    checks::{Reached, Requests, Seen},
    *,
};
use crate::store::BaseBefore;

fn lane(patch: &Value) -> Lane {
    let mut value = json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": "trade-gray", "uid": "u"},
        "spec": {"group": "trade", "tag": "gray", "entry": {"ratio": {"percent": 30}}},
    });
    json_patch::merge(&mut value, patch);
    match Object::from_value(value).unwrap() {
        Object::Lane(lane) => lane,
        other => panic!("{other:?}"),
    }
}

fn promotion(step: PromotionStep) -> StoredPromotion {
    StoredPromotion {
        lane: Key::new(Kind::Lane, "default", "trade-gray"),
        uid: "u".to_owned(),
        group: "trade".to_owned(),
        tag: "gray".to_owned(),
        spec: fixed(&lane(&json!({}))),
        was_paused: false,
        started: 0,
        started_by: Author { kind: AuthorKind::User, name: "li".to_owned() },
        idle_seconds: 30,
        applications: BTreeMap::from([("a".to_owned(), BaseBefore::default())]),
        step,
        since: 0,
        pending: false,
        confirmed: Vec::new(),
        end: None,
    }
}

/// `PROCESS` usable, `PROCESS!` not, `PROCESS-` leaving.
fn seen(text: &str) -> Vec<Seen> {
    let one = |word: &str| Seen {
        identity: word.trim_end_matches(['!', '-']).to_owned(),
        is_usable: !word.ends_with(['!', '-']),
        is_leaving: word.ends_with('-'),
    };
    text.split_whitespace().map(one).collect()
}

#[test]
fn base_is_new_when_nobody_of_before_is_left_and_all_can_be_used() {
    let before = BaseBefore { instances: vec!["x1".into(), "x2".into()], ..BaseBefore::default() };
    for (now, state, confirmable, n, of) in [
        ("x1 x2", State::Waiting, true, 0, 2),
        ("x1 y2", State::Waiting, true, 1, 2),
        // What leaves is on its way, and nobody waits for it.
        ("x1- y1 y2", State::Ok, false, 2, 2),
        ("y1", State::Ok, false, 1, 1),
        ("y1 y2!", State::Waiting, false, 2, 2),
        ("x1 y2!", State::Waiting, false, 1, 2),
        // Whoever says so cannot make requests of base be served.
        ("y1!", State::Failed, false, 1, 1),
        ("x1-", State::Failed, false, 0, 0),
        ("", State::Failed, false, 0, 0),
    ] {
        let check = checks::instances("a", &before, &seen(now));
        assert_eq!(
            (check.state, check.confirmable, check.n, check.of),
            (state, confirmable, n, of),
            "{now}: {}",
            check.message
        );
        assert_eq!((check.id.as_str(), check.application.as_deref()), ("instances/a", Some("a")));
    }
}

#[test]
fn an_instance_that_registers_anew_at_its_address_is_not_new() {
    let at =
        |identity: &str| Seen { identity: identity.to_owned(), is_usable: true, is_leaving: false };
    let instances = vec!["10.0.0.1:80 p1".to_owned(), "10.0.0.2:80 p2".to_owned()];
    let before = BaseBefore { instances, ..BaseBefore::default() };
    let now = [at("10.0.0.1:80 p3"), at("10.0.0.2:80 p2"), at("10.0.0.3:80 p4")];
    let check = checks::instances("a", &before, &now);
    assert_eq!((check.state, check.confirmable), (State::Waiting, true));
    assert_eq!((check.n, check.of), (1, 3));
    assert!(check.message.starts_with("2 of 3 instances"), "{}", check.message);
    assert!(check.message.contains("1 of them registered anew"), "{}", check.message);
}

#[test]
fn base_is_judged_by_the_hour_before_and_by_enough_requests() {
    let state = |before: (u64, u64), all, errors| {
        let before = BaseBefore { requests: before.0, errors: before.1, ..BaseBefore::default() };
        checks::errors("a", &before, Requests { all, errors }).state
    };
    assert_eq!(state((10_000, 10), 0, 0), State::Unknown);
    assert_eq!(state((10_000, 10), 99, 99), State::Unknown);
    assert_eq!(state((10_000, 10), 100, 0), State::Ok);
    // Three of a hundred may be chance, not three hundred of ten thousand.
    assert_eq!(state((10_000, 10), 100, 3), State::Ok);
    assert_eq!(state((10_000, 10), 10_000, 300), State::Waiting);
    // What had errors before may have them now.
    assert_eq!(state((10_000, 1_000), 10_000, 1_000), State::Ok);
    assert_eq!(state((10_000, 1_000), 10_000, 1_500), State::Waiting);
    assert_eq!(state((0, 0), 1_000, 1_000), State::Waiting);
}

#[test]
fn a_lane_is_empty_once_it_is_closed_everywhere_and_nobody_was_in_it_for_long_enough() {
    let reached = |acknowledged, disconnected| Reached {
        is_told: true,
        acknowledged,
        data_planes: 3,
        disconnected,
    };
    let closed = |of| {
        let check = checks::closed(of);
        (check.state, check.confirmable)
    };
    assert_eq!(closed(Reached { is_told: false, ..reached(3, 0) }), (State::Waiting, false));
    assert_eq!(closed(reached(2, 0)), (State::Waiting, false));
    assert_eq!(closed(reached(2, 1)), (State::Unknown, true));
    assert_eq!(closed(reached(3, 0)), (State::Ok, false));
    let nobody = Reached { is_told: true, ..Reached::default() };
    assert_eq!(closed(nobody), (State::Unknown, true), "that nobody is known says nothing");
    let idle = |requests, passed| checks::idle(requests, 30, passed).state;
    assert_eq!(
        (idle(0, 29), idle(1, 300), idle(0, 30)),
        (State::Waiting, State::Waiting, State::Ok)
    );
    assert_eq!((checks::reports(0).state, checks::reports(1).state), (State::Ok, State::Unknown));
}

#[test]
fn what_can_be_vouched_for_is_and_nothing_else() {
    let before = BaseBefore { instances: vec!["x".into()], ..BaseBefore::default() };
    let [old, none] = [seen("x"), Vec::new()];
    let all = [
        checks::verdict(VerdictState::NoWorse, None, false),
        checks::instances("a", &before, &old),
        checks::instances("b", &before, &none),
        checks::version(),
        checks::fallback(&["trade/dev"]),
    ];
    let left = |confirmed: &[&str]| -> Vec<String> {
        let confirmed: Vec<String> = confirmed.iter().map(|it| (*it).to_owned()).collect();
        checks::in_the_way(&all, &confirmed).iter().map(|it| it.id.clone()).collect()
    };
    assert_eq!(left(&[]), ["instances/a", "instances/b", "version", "fallback"]);
    assert_eq!(left(&["version", "instances/b"]), ["instances/a", "instances/b", "fallback"]);
    assert_eq!(left(&["all"]), ["instances/b", "fallback"]);
    let last = [checks::removal(1, 0)];
    let left = |id: &str| checks::in_the_way(&last, &[id.to_owned()]).len();
    assert_eq!((left("all"), left("removal")), (1, 0), "a lane is deleted by name alone");
    assert_eq!(
        (checks::files(false).state, checks::files(true).state),
        (State::Ok, State::Unknown)
    );
}

#[test]
fn what_others_change_of_the_lane_is_noticed() {
    use PromotionStep::{Base, Drain, Remove, Verdict};
    let at = |step, pending, was_paused| StoredPromotion { pending, was_paused, ..promotion(step) };
    let paused = || lane(&json!({"spec": {"entry": {"paused": true}}}));
    let open = || lane(&json!({}));
    let check = |promotion: &StoredPromotion, lane: Option<Lane>, expected: Option<&str>| {
        assert_eq!(strange(promotion, lane.as_ref()).as_deref(), expected, "{promotion:?}");
    };
    for step in [Verdict, Base] {
        check(&at(step, false, false), Some(open()), None);
        check(&at(step, false, false), Some(paused()), Some("the lane was paused"));
        check(&at(step, false, true), Some(paused()), None);
        check(&at(step, false, true), Some(open()), Some("the lane was resumed"));
    }
    check(&at(Drain, false, false), Some(paused()), None);
    check(&at(Drain, false, false), Some(open()), Some("the lane was resumed"));
    // A restart between what is kept and what is changed.
    check(&at(Drain, true, false), Some(open()), None);
    check(&at(Drain, true, false), Some(paused()), None);
    check(&at(Remove, true, false), None, None);
    check(&at(Remove, false, false), None, Some("the lane was deleted"));
    check(&at(Base, false, false), None, Some("the lane was deleted"));
    let another = lane(&json!({"metadata": {"uid": "v"}}));
    check(&at(Base, false, false), Some(another), Some("the lane was deleted"));
    let disabled = lane(&json!({"spec": {"enabled": false}}));
    check(&at(Base, false, false), Some(disabled), Some("spec.enabled of the lane was changed"));
    let more = lane(&json!({"spec": {"priority": 7, "entry": {"ratio": {"percent": 50}}}}));
    let what = "spec.entry, spec.priority of the lane was changed";
    check(&at(Base, false, false), Some(more), Some(what));
    // What a release before did not write is no change.
    let mut older = at(Base, false, false);
    older.spec.as_object_mut().unwrap().remove("priority").unwrap();
    check(&older, Some(open()), None);
    // Labels and the like mean nothing to requests.
    let labelled = lane(&json!({"metadata": {"labels": {"team": "a"}}}));
    check(&at(Base, false, false), Some(labelled), None);
}

#[test]
fn steps_are_told_as_behind_current_and_ahead() {
    let states = |promotion: &StoredPromotion| -> Vec<PromotionStepState> {
        let told = told(promotion, vec![checks::version()]);
        assert_eq!(told.checks().len(), usize::from(promotion.end.is_none()));
        told.steps.iter().map(|it| it.state).collect()
    };
    use PromotionStepState::{Current, Done, Later};
    let mut it = promotion(PromotionStep::Health);
    assert_eq!(states(&it), [Done, Done, Current, Later, Later]);
    let end = |outcome| {
        Some(PromotionEnd {
            outcome,
            time: "t".into(),
            message: String::new(),
            left: Vec::new(),
            shared: Vec::new(),
        })
    };
    it.end = end(PromotionOutcome::Abandoned);
    assert_eq!(states(&it), [Done, Done, Later, Later, Later]);
    it.end = end(PromotionOutcome::Promoted);
    assert_eq!(states(&it), [Done; 5]);
}

#[test]
fn of_those_that_have_ended_the_oldest_are_forgotten() {
    let at = |number: usize, is_ended: bool| {
        let mut it = promotion(PromotionStep::Base);
        it.lane.name = format!("lane-{number}");
        let time = format!("{number:04}");
        let outcome = PromotionOutcome::Stopped;
        it.end = is_ended.then(|| PromotionEnd {
            outcome,
            time,
            message: String::new(),
            left: Vec::new(),
            shared: Vec::new(),
        });
        it
    };
    let mut all = Promotions::new((0..ENDED_MAX).map(|number| at(number, true)).collect());
    all.put(at(9_999, false));
    let forgotten = all.forgotten();
    assert_eq!(forgotten.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["lane-0"]);
    all.forget(&forgotten);
    assert!(all.forgotten().is_empty());
    assert_eq!(all.active().count(), 1, "what goes on stays");
}
