//! The judge judged: one row per kind of right and wrong answer.

use super::*;

/// Seconds after the start of the story.
fn at(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

/// Lane gray enabled at 10 s, disabled at 20 s; lane blue always enabled. A and C have a gray instance, C's comes at
/// 15 s and is killed at 17 s; B has none.
fn story(start: Instant) -> Timeline {
    let mut timeline = Timeline::default();
    timeline.lane_switched("gray", true, at(start, 10.0), at(start, 10.1));
    timeline.lane_switched("gray", false, at(start, 20.0), at(start, 20.1));
    timeline.lane_switched("blue", true, at(start, 0.0), at(start, 0.1));
    for (name, tag, address, from) in [
        ("A", None, "a", 0.0),
        ("B", None, "b", 0.0),
        ("C", None, "c", 0.0),
        ("A", Some("gray"), "ag", 0.0),
        ("C", Some("gray"), "cg", 15.0),
    ] {
        timeline.instance_started(name, tag, address, at(start, from));
        timeline.instance_certain(address, at(start, from + 0.5));
    }
    timeline.instance_doubtful("cg", at(start, 17.0));
    timeline.instance_gone("cg", at(start, 17.1));
    timeline.killed(at(start, 17.0), at(start, 17.1));
    timeline
}

#[track_caller]
fn check(mark: Option<&str>, seconds: f64, answer: &str, expected: Result<Judgement, &str>) {
    let start = Instant::now();
    let outcome = match answer.strip_prefix("FAILED ") {
        Some(reason) => Err(reason.to_owned()),
        None => Ok((200, answer.to_owned())),
    };
    let judged = story(start).judge(mark, at(start, seconds), at(start, seconds + 0.01), &outcome);
    match (&judged, expected) {
        (Ok(judgement), Ok(expected)) => assert_eq!(*judgement, expected),
        (Err(wrong), Err(words)) => assert!(wrong.contains(words), "`{wrong}` lacks `{words}`"),
        _ => panic!("{judged:?}, expected {expected:?}"),
    }
}

const BASE: &str = "A[a] -> B[b] -> C[c]";
const GRAY: &str = "Agray[ag] -> B[b] -> Cgray[cg]";
const HALF: &str = "Agray[ag] -> B[b] -> C[c]";

#[test]
fn an_unmarked_request_is_base_always() {
    for seconds in [5.0, 15.8, 19.0, 25.0] {
        check(None, seconds, BASE, Ok(Judgement::Base));
        check(None, seconds, HALF, Err("Agray[ag] got an unmarked request"));
    }
}

#[test]
fn a_marked_request_is_in_the_lane_while_it_is_enabled_and_a_second_longer() {
    check(Some("gray"), 9.0, BASE, Ok(Judgement::Base));
    check(Some("gray"), 9.0, HALF, Err("disabled for a second"));
    check(Some("gray"), 10.05, HALF, Ok(Judgement::Lane));
    check(Some("gray"), 10.05, BASE, Ok(Judgement::Base));
    check(Some("gray"), 11.05, BASE, Ok(Judgement::Base));
    check(Some("gray"), 12.0, BASE, Err("enabled and had instances for a second"));
    check(Some("gray"), 12.0, HALF, Ok(Judgement::Lane));
    check(Some("gray"), 21.0, HALF, Ok(Judgement::Lane));
    check(Some("gray"), 21.2, HALF, Err("disabled for a second"));
}

#[test]
fn a_hop_without_a_certain_instance_may_fall_back() {
    check(Some("gray"), 15.2, GRAY, Ok(Judgement::Lane));
    check(Some("gray"), 15.2, HALF, Ok(Judgement::Lane));
    check(Some("gray"), 16.6, GRAY, Ok(Judgement::Lane));
    check(Some("gray"), 16.6, HALF, Err("C[c] got a request of the lane"));
    check(Some("gray"), 17.2, HALF, Ok(Judgement::Lane));
    check(Some("gray"), 17.2, GRAY, Err("Cgray[cg] was not alive"));
    check(Some("gray"), 14.0, GRAY, Err("Cgray[cg] was not alive"));
}

#[test]
fn a_request_that_entered_as_base_stays_base() {
    check(Some("gray"), 20.5, "A[a] -> B[b] -> Cgray[cg]", Err("was not alive"));
    let start = Instant::now();
    let mut timeline = story(start);
    timeline.instance_started("C", Some("gray"), "cg2", at(start, 0.0));
    let outcome = Ok((200, "A[a] -> B[b] -> Cgray[cg2]".to_owned()));
    let judged = timeline.judge(Some("gray"), at(start, 20.5), at(start, 20.6), &outcome);
    assert!(judged.unwrap_err().contains("entered as base"));
}

#[test]
fn another_lane_is_wrong_whatever_its_state() {
    check(Some("blue"), 15.8, GRAY, Err("Agray[ag] got a request of lane blue"));
    check(Some("blue"), 15.8, BASE, Ok(Judgement::Base));
}

#[test]
fn an_instance_that_lies_about_its_tag_is_found() {
    check(None, 15.0, "A[ag] -> B[b] -> C[c]", Err("is not what was started at this address"));
    check(None, 15.0, "A[nowhere] -> B[b]", Err("is nobody"));
}

#[test]
fn an_address_may_be_one_instances_and_then_anothers() {
    let start = Instant::now();
    let mut timeline = story(start);
    timeline.instance_started("C", None, "cg", at(start, 30.0));
    let judge = |seconds: f64, answer: &str| {
        let outcome = Ok((200, answer.to_owned()));
        timeline.judge(None, at(start, seconds), at(start, seconds + 0.01), &outcome)
    };
    assert_eq!(judge(31.0, "A[a] -> B[b] -> C[cg]"), Ok(Judgement::Base));
    assert!(judge(29.0, "A[a] -> B[b] -> C[cg]").unwrap_err().contains("was not alive"));
    assert!(judge(31.0, "A[a] -> B[b] -> Cgray[cg]").unwrap_err().contains("was not alive"));
}

#[test]
fn a_failure_is_right_only_during_a_kill() {
    check(None, 17.05, "FAILED closed", Ok(Judgement::LostToKill));
    check(None, 16.0, "FAILED closed", Err("failed though nothing was killed"));
    check(None, 17.2, "FAILED closed", Err("failed though nothing was killed"));
}
