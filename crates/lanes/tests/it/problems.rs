//! Rules that are wrong are refused with every problem: where, what, and what would be right.

use lanes::{
    Group, GroupName, GroupSpec, LaneSpec,
    affinity::Issue,
    condition::{Condition, Operator, Parameter},
    group::{
        CONDITIONS_PER_LANE_MAX, EntranceSpec, Entry, Fallback, GroupProblem, LANES_PER_GROUP_MAX,
        Meet,
    },
};

use crate::world::{lane, tag};

fn content(conditions: Vec<Condition>) -> Entry {
    Entry::Content { meet: Meet::All, conditions }
}

fn header(operator: Operator) -> Condition {
    Condition { parameter: Parameter::Header("x".into()), operator }
}

fn ratio(percent_hundredths: u16) -> Entry {
    Entry::Ratio { percent_hundredths, sticky_by: None, issue: None }
}

fn group(lanes: Vec<LaneSpec>) -> GroupSpec {
    GroupSpec {
        name: GroupName::parse("trade").expect("a valid name"),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes: None }],
        applications: vec!["a".into()],
        lanes,
    }
}

/// `field: value` of every problem, in order. Every one must carry a remedy.
fn problems(spec: GroupSpec) -> Vec<String> {
    let problems = Group::compile(spec).err().unwrap_or_default();
    problems
        .iter()
        .map(|GroupProblem { lane, problem, .. }| {
            assert!(problem.remedy.len() > 5, "{problem:?}");
            let lane = lane.map(|lane| format!("lanes[{lane}].")).unwrap_or_default();
            format!("{lane}{}: {}", problem.field, problem.value)
        })
        .collect()
}

#[track_caller]
fn check(lanes: Vec<LaneSpec>, wanted: &[&str]) {
    assert_eq!(problems(group(lanes)), wanted);
}

#[track_caller]
fn check_condition(parameter: Parameter, operator: Operator, wanted: Option<&str>) {
    let entry = content(vec![header(Operator::Exists), Condition { parameter, operator }]);
    let wanted: Vec<String> = wanted
        .iter()
        .map(|wanted| format!("lanes[0].entry.content.conditions[1].{wanted}"))
        .collect();
    assert_eq!(problems(group(vec![lane("gray", entry)])), wanted);
}

#[test]
fn good_rules_have_no_problem() {
    check(vec![], &[]);
    check(vec![lane("gray", content(vec![header(Operator::Exists)]))], &[]);
    check(vec![lane("a", ratio(10_000)), lane("b", ratio(0))], &[]);
}

#[test]
fn every_problem_is_told_at_once() {
    let bad = vec![
        header(Operator::Regex("(".into())),
        header(Operator::Exists),
        header(Operator::Percentage(101)),
        header(Operator::In(vec![])),
    ];
    let mut spec = group(vec![lane("gray", content(bad)), lane("gray", content(vec![]))]);
    spec.lanes[1].fallback = Fallback::Then(vec![tag("gray"), tag("blue")]);
    spec.applications.push(String::new());
    spec.entrances.push(EntranceSpec::Application { name: String::new(), edge: true });
    assert_eq!(
        problems(spec),
        [
            "entrances[1].application: ",
            "applications[1]: ",
            "lanes[1].tag: gray",
            "lanes[1].fallback[0]: gray",
            "lanes[1].fallback[1]: blue",
            "lanes[0].entry.content.conditions[0].value: (",
            "lanes[0].entry.content.conditions[2].value: 101",
            "lanes[0].entry.content.conditions[3].values: []",
            "lanes[1].entry.content.conditions: []",
        ]
    );
}

#[test]
fn entrances_are_named() {
    let mut spec = group(vec![]);
    let gateway = |name: &str, routes| EntranceSpec::Gateway { name: name.into(), routes };
    spec.entrances =
        vec![gateway("", None), gateway("edge", Some(vec![])), gateway("", Some(vec!["r".into()]))];
    assert_eq!(
        problems(spec),
        ["entrances[0].gateway: ", "entrances[1].routes: []", "entrances[2].gateway: "]
    );
}

#[test]
fn conditions_have_parameters_that_exist() {
    let exists = || Operator::Exists;
    check_condition(Parameter::Header("x-!#$%&'*+-.^_`|~9".into()), exists(), None);
    check_condition(Parameter::Header(String::new()), exists(), Some("header: "));
    check_condition(Parameter::Header("a b".into()), exists(), Some("header: a b"));
    check_condition(Parameter::Header("a:".into()), exists(), Some("header: a:"));
    check_condition(Parameter::Cookie("a;".into()), exists(), Some("cookie: a;"));
    check_condition(Parameter::Cookie("a".into()), exists(), None);
    check_condition(Parameter::Query(String::new()), exists(), Some("query: "));
    check_condition(Parameter::Query("a b&=ä".into()), exists(), None);
    check_condition(Parameter::Claim(String::new()), exists(), Some("claim: "));
    for attribute in [Parameter::Path, Parameter::Method, Parameter::Host, Parameter::ClientIp] {
        check_condition(attribute, exists(), None);
    }
}

#[test]
fn a_condition_may_be_wrong_twice() {
    let condition = Condition {
        parameter: Parameter::Header("a b".into()),
        operator: Operator::Percentage(200),
    };
    check(
        vec![lane("gray", content(vec![condition]))],
        &[
            "lanes[0].entry.content.conditions[0].header: a b",
            "lanes[0].entry.content.conditions[0].value: 200",
        ],
    );
}

#[test]
fn operands_fit_their_operators() {
    let x = || Parameter::Header("x".into());
    let value = |text: &str| format!("value: {text}");
    check_condition(x(), Operator::Percentage(0), None);
    check_condition(x(), Operator::Percentage(100), None);
    check_condition(x(), Operator::Percentage(101), Some("value: 101"));
    check_condition(x(), Operator::Equal(String::new()), None);
    check_condition(x(), Operator::Equal("a b".into()), None);
    check_condition(x(), Operator::Equal(" a".into()), Some(&value(" a")));
    check_condition(x(), Operator::NotEqual("a\t".into()), Some(&value("a\t")));
    check_condition(x(), Operator::In(vec![]), Some("values: []"));
    check_condition(x(), Operator::NotIn(vec![]), Some("values: []"));
    check_condition(x(), Operator::In(vec!["a".into(), "b ".into()]), Some("values[1]: b "));
    check_condition(x(), Operator::Prefix(" a".into()), Some(&value(" a")));
    check_condition(x(), Operator::Prefix("a ".into()), None);
    for network in
        ["10.0.0.0/8", "10.1.2.3/8", "10.0.0.1", "2001:db8::/32", "::1", "0.0.0.0/0", "::/0"]
    {
        check_condition(Parameter::ClientIp, Operator::Cidr(network.into()), None);
    }
    for network in
        ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "x/8"]
    {
        check_condition(Parameter::ClientIp, Operator::Cidr(network.into()), Some(&value(network)));
    }
    check_condition(x(), Operator::Cidr("10.0.0.0/8".into()), Some("operator: cidr"));
    check_condition(Parameter::ClientIp, Operator::Equal("10.0.0.1".into()), None);
    check_condition(
        Parameter::ClientIp,
        Operator::Equal("10.0.0.0/8".into()),
        Some("value: 10.0.0.0/8"),
    );
    check_condition(
        Parameter::ClientIp,
        Operator::NotIn(vec!["::1".into(), "y".into()]),
        Some("values[1]: y"),
    );
}

#[test]
fn regular_expressions_are_linear_and_small() {
    let x = || Parameter::Header("x".into());
    let bad = ["(", "a)|(b", "(?=a)", r"(a)\1", "[b-a]", r"(\w{99}){99}", "*"];
    for text in bad {
        check_condition(x(), Operator::Regex(text.into()), Some(&format!("value: {text}")));
    }
    for text in ["", "a|b", "(?i)a", r"\w{1,20}", "(?x) a # a comment", "^a$"] {
        check_condition(x(), Operator::Regex(text.into()), None);
    }
}

#[test]
fn all_lanes_enter_as_the_first_one_does() {
    let conditions = || content(vec![header(Operator::Exists)]);
    let mut first = lane("a", conditions());
    // The first created, whatever is tried first and whether it is enabled.
    first.priority = 9;
    first.enabled = false;
    check(vec![first, lane("b", ratio(10)), lane("c", conditions())], &["lanes[1].entry: ratio"]);
    check(vec![lane("a", ratio(1)), lane("b", conditions())], &["lanes[1].entry: content"]);
}

#[test]
fn enabled_ratios_are_parts_of_a_hundred() {
    check(vec![lane("a", ratio(10_001))], &["lanes[0].entry.ratio.percent: 100.01"]);
    let mut lanes = vec![lane("a", ratio(6_000)), lane("b", ratio(4_050)), lane("c", ratio(1))];
    check(
        lanes.clone(),
        &["lanes[1].entry.ratio.percent: 40.5", "lanes[2].entry.ratio.percent: 0.01"],
    );
    lanes[0].enabled = false;
    check(lanes.clone(), &[]);
    // What is enabled counts, whether or not it is told to entrances yet.
    lanes[0].enabled = true;
    lanes[0].admitting = false;
    check(lanes, &["lanes[1].entry.ratio.percent: 40.5", "lanes[2].entry.ratio.percent: 0.01"]);
}

#[test]
fn a_remedy_says_how_much_is_left() {
    let lanes = vec![lane("a", ratio(6_000)), lane("b", ratio(4_050))];
    let problems = Group::compile(group(lanes)).expect_err("more than the whole");
    assert!(problems[0].problem.remedy.contains("at most 40:"), "{}", problems[0]);
    assert!(problems[0].problem.remedy.contains("take 60 of 100"), "{}", problems[0]);
}

#[test]
fn ratios_stick_to_what_identifies_a_caller() {
    let by = |parameter| Entry::Ratio {
        percent_hundredths: 100,
        sticky_by: Some(parameter),
        issue: None,
    };
    let good = [
        Parameter::Header("x".into()),
        Parameter::Query("x".into()),
        Parameter::Cookie("x".into()),
        Parameter::ClientIp,
    ];
    check(
        good.into_iter().zip(["a", "b", "c", "d"]).map(|(from, tag)| lane(tag, by(from))).collect(),
        &[],
    );
    check(vec![lane("a", by(Parameter::Path))], &["lanes[0].entry.ratio.stickyBy: path"]);
    check(vec![lane("a", by(Parameter::Method))], &["lanes[0].entry.ratio.stickyBy: method"]);
    check(vec![lane("a", by(Parameter::Host))], &["lanes[0].entry.ratio.stickyBy: host"]);
    check(
        vec![lane("a", by(Parameter::Claim("s".into())))],
        &["lanes[0].entry.ratio.stickyBy: claim `s`"],
    );
    check(
        vec![lane("a", by(Parameter::Header("".into())))],
        &["lanes[0].entry.ratio.stickyBy.header: "],
    );
}

#[test]
fn a_cookie_alone_can_be_issued() {
    let by = |sticky_by, issue| Entry::Ratio { percent_hundredths: 100, sticky_by, issue };
    let issue = || Some(Issue::default());
    let cookie = |name: &str| Some(Parameter::Cookie(name.into()));
    check(vec![lane("a", by(cookie("place"), issue()))], &[]);
    let header = Some(Parameter::Header("x".into()));
    check(
        vec![lane("a", by(header, issue()))],
        &["lanes[0].entry.ratio.stickyBy.issue: header `x`"],
    );
    check(vec![lane("a", by(None, issue()))], &["lanes[0].entry.ratio.stickyBy.issue: "]);
    check(
        vec![lane("a", by(cookie("__Host-place"), issue()))],
        &["lanes[0].entry.ratio.stickyBy.issue.secure: "],
    );
}

#[test]
fn lanes_by_one_cookie_issue_it_alike() {
    let by = |tag: &str, name: &str, issue| {
        let sticky_by = Some(Parameter::Cookie(name.into()));
        lane(tag, Entry::Ratio { percent_hundredths: 100, sticky_by, issue })
    };
    let issue = |max_age_seconds| Some(Issue { max_age_seconds, ..Issue::default() });
    let first = || by("a", "place", issue(None));
    check(vec![first(), by("b", "place", issue(None)), by("c", "other", None)], &[]);
    let wrong = ["lanes[1].entry.ratio.stickyBy.issue: "];
    check(vec![first(), by("b", "place", None)], &wrong);
    check(vec![by("a", "place", None), by("b", "place", issue(None))], &wrong);
    check(vec![first(), by("b", "place", issue(Some(60)))], &wrong);
    // How all are changed, one at a time.
    let disabled = LaneSpec { enabled: false, ..by("b", "place", issue(Some(60))) };
    check(vec![first(), disabled], &[]);
}

#[test]
fn fallbacks_are_other_lanes_of_the_group() {
    let falling = |name: &str, to: &[&str]| {
        let fallback = Fallback::Then(to.iter().map(|to| tag(to)).collect());
        LaneSpec { fallback, ..lane(name, ratio(0)) }
    };
    check(vec![falling("a", &["b"]), falling("b", &["a"])], &[]);
    check(vec![falling("a", &["a"])], &["lanes[0].fallback[0]: a"]);
    check(vec![falling("a", &["b", "c"]), falling("b", &[])], &["lanes[0].fallback[1]: c"]);
}

#[test]
fn groups_and_lanes_have_limits() {
    let lanes =
        |count: usize| (0..count).map(|number| lane(&format!("t{number}"), ratio(0))).collect();
    check(lanes(LANES_PER_GROUP_MAX), &[]);
    check(lanes(LANES_PER_GROUP_MAX + 1), &["lanes: 4097 lanes"]);
    let conditions = |count: usize| vec![lane("a", content(vec![header(Operator::Exists); count]))];
    check(conditions(CONDITIONS_PER_LANE_MAX), &[]);
    check(
        conditions(CONDITIONS_PER_LANE_MAX + 1),
        &["lanes[0].entry.content.conditions: 257 conditions"],
    );
}

#[test]
fn lanes_are_kept_in_the_order_they_are_tried() {
    let mut lanes =
        vec![lane("a", ratio(0)), lane("b", ratio(0)), lane("c", ratio(0)), lane("d", ratio(0))];
    lanes[0].priority = 1;
    lanes[3].priority = -1;
    let group = Group::compile(group(lanes)).expect("a valid group");
    let tags: Vec<&str> = group.spec().lanes.iter().map(|lane| lane.tag.as_str()).collect();
    assert_eq!(tags, ["d", "b", "c", "a"]);
    assert_eq!((group.lane(b"a"), group.lane(b"d"), group.lane(b"e")), (Some(3), Some(0), None));
}
