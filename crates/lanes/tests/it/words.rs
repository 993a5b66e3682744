//! Explanations word for word: what a person reads in `laneway explain`.

use std::{fmt::Write as _, sync::Arc};

use lanes::{
    Context, Endpoint, Entrance, Explanation, GroupName, GroupSpec, LaneSpec, Service, ServiceId,
    affinity::Issue,
    condition::{Condition, Operator, Parameter},
    explain::Step,
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{Health, Port},
};
use testkit::Call;

use crate::world::{World, lane, tag};

/// One line per step.
fn lines(told: &Explanation) -> String {
    let mut text = String::new();
    for step in &told.steps {
        let base = |tag: &Option<String>| tag.clone().unwrap_or_else(|| "base".to_owned());
        let _ = match step {
            Step::Lane { group, tag, matched, because } => {
                writeln!(
                    text,
                    "lane {group}/{tag} {}: {because}",
                    if *matched { "yes" } else { "no" }
                )
            }
            Step::Member { group, tag, because } => {
                writeln!(text, "member {group}/{}: {because}", base(tag))
            }
            Step::Subset { group, tag, chosen, because } => {
                let group = group.clone().unwrap_or_else(|| "no group".to_owned());
                let chosen = if *chosen { "yes" } else { "no" };
                writeln!(text, "subset {group}/{} {chosen}: {because}", base(tag))
            }
            Step::Instance { address, tag, candidate, because } => {
                let candidate = if *candidate { "yes" } else { "no" };
                writeln!(text, "instance {address} {} {candidate}: {because}", base(tag))
            }
        };
    }
    text
}

fn content(meet: Meet, conditions: &[(&str, Operator)]) -> Entry {
    let condition = |(name, operator): &(&str, Operator)| Condition {
        parameter: match *name {
            "path" => Parameter::Path,
            name => Parameter::Header(name.to_owned()),
        },
        operator: operator.clone(),
    };
    Entry::Content { meet, conditions: conditions.iter().map(condition).collect() }
}

fn equal(value: &str) -> Operator {
    Operator::Equal(value.into())
}

fn group(name: &str, routes: Option<Vec<String>>, lanes: Vec<LaneSpec>) -> GroupSpec {
    GroupSpec {
        name: GroupName::parse(name).expect("a valid name"),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes }],
        applications: vec!["a".into()],
        lanes,
    }
}

#[track_caller]
fn check_entrance(
    groups: Vec<GroupSpec>,
    route: Option<&str>,
    carried: &str,
    request: &Call,
    wanted: &str,
) {
    let world = World::new(groups, Vec::new(), [].into());
    let mut context = Context::read(&world.snapshot, std::iter::once(carried.as_bytes()));
    let mut told = Explanation::default();
    let at = Entrance::Gateway { gateway: "edge", route };
    world.snapshot.enter(at, request, &mut || [1; 16], &mut context, &mut told);
    assert_eq!(lines(&told), wanted.trim_start());
}

fn call(headers: &[(&str, &str)]) -> Call {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Call { headers: headers.collect(), ..Call::default() }
}

#[test]
fn content_lanes_name_the_condition_that_settled_it() {
    let mut disabled = lane("off", content(Meet::All, &[("x", Operator::Exists)]));
    disabled.enabled = false;
    let mut new = lane("new", content(Meet::All, &[("x", Operator::Exists)]));
    new.admitting = false;
    let lanes = vec![
        lane("all", content(Meet::All, &[("x", equal("1")), ("y", equal("2")), ("z", equal("3"))])),
        lane(
            "any",
            content(Meet::Any, &[("z", Operator::Exists), ("path", Operator::Prefix("/b".into()))]),
        ),
        disabled,
        new,
        lane("taken", content(Meet::All, &[("x", equal("1")), ("z", Operator::NotExists)])),
        lane("late", content(Meet::Any, &[("x", equal("1"))])),
    ];
    check_entrance(
        vec![group("g", None, lanes)],
        Some("r"),
        "",
        &call(&[("X", "1"), ("y", "7"), ("Y", "8")]),
        "
lane g/all no: does not hold: header `y` == `2` (seen: `7`, `8`)
lane g/any no: none holds: header `z` exists (seen: absent); path prefix `/b` (seen: `/`)
lane g/off no: the lane is disabled
lane g/new no: the lane is enabled but not yet admitting: data planes are still being told
lane g/taken yes: all hold: header `x` == `1` (seen: `1`); header `z` notExists (seen: absent)
lane g/late no: not tried: taken comes before it and took the request
member g/taken: g/taken took the request
",
    );
}

#[test]
fn an_any_lane_names_the_condition_that_held() {
    let lanes = vec![lane("any", content(Meet::Any, &[("x", equal("0")), ("x", equal("1"))]))];
    check_entrance(
        vec![group("g", None, lanes)],
        None,
        "",
        &call(&[("x", "1")]),
        "
lane g/any yes: holds: header `x` == `1` (seen: `1`)
member g/any: g/any took the request
",
    );
}

#[test]
fn groups_say_why_they_did_not_decide() {
    let exists = || vec![lane("t", content(Meet::All, &[("x", Operator::Exists)]))];
    let groups = || {
        vec![
            group("carried", None, exists()),
            group("elsewhere", Some(vec!["other".into()]), exists()),
            group("empty", None, Vec::new()),
            group("none", None, exists()),
        ]
    };
    check_entrance(
        groups(),
        Some("r"),
        "lane.carried=t,lane.elsewhere=t",
        &call(&[]),
        "
member carried/t: the request carries it already
member elsewhere/t: route `r` is not among the routes that are an entrance of this group
member empty/base: the group has no lanes: base
lane none/t no: does not hold: header `x` exists (seen: absent)
member none/base: no lane took the request: base
",
    );
    check_entrance(
        groups(),
        None,
        "lane.carried=-,lane.empty=-,lane.none=t",
        &call(&[]),
        "
member carried/base: the request carries it already
member elsewhere/base: no route matched, and only some routes are an entrance of this group
member empty/base: the request carries it already
member none/t: the request carries it already
",
    );
}

#[test]
fn ratio_lanes_tell_where_the_key_fell() {
    let ratio = |percent_hundredths, header: Option<&str>| Entry::Ratio {
        percent_hundredths,
        sticky_by: header.map(|name| Parameter::Header(name.into())),
        issue: None,
    };
    let mut disabled = lane("off", ratio(10, None));
    disabled.enabled = false;
    let lanes = vec![
        lane("few", ratio(25, Some("uid"))),
        disabled,
        lane("random", ratio(50, None)),
        lane("rest", ratio(9_915, Some("uid"))),
        lane("late", ratio(0, None)),
    ];
    check_entrance(
        vec![group("g", None, lanes)],
        None,
        "",
        &call(&[("uid", "ann")]),
        "
lane g/few no: header `uid` is `ann`: its hash falls on 3886 of 0..10000, not below 25 (0.25 %)
lane g/off no: the lane is disabled
lane g/random no: no sticky key, so a random one: its hash falls on 6145 of 0..9975, not below 50 (0.5 %)
lane g/rest yes: header `uid` is `ann`: its hash falls on 6727 of 0..9925, below 9915 (99.15 %)
lane g/late no: not tried: rest comes before it and took the request
member g/rest: g/rest took the request
",
    );
}

#[test]
fn what_is_paused_says_so() {
    let ratio = |percent_hundredths| Entry::Ratio {
        percent_hundredths,
        sticky_by: Some(Parameter::Header("uid".into())),
        issue: None,
    };
    let paused = |name, entry| {
        let mut lane = lane(name, entry);
        lane.paused = true;
        lane
    };
    let few = || paused("few", ratio(25));
    let told = |rest, words: &str| {
        let lanes = vec![few(), rest, lane("late", ratio(0))];
        check_entrance(vec![group("g", None, lanes)], None, "", &call(&[("uid", "ann")]), words);
    };
    told(
        paused("rest", ratio(9_915)),
        "
lane g/few no: header `uid` is `ann`: its hash falls on 3886 of 0..10000, not below 25 (0.25 %); paused at the entrance
lane g/rest no: header `uid` is `ann`: its hash falls on 6761 of 0..9975, below 9915 (99.15 %); paused at the entrance: its share is base
lane g/late no: not tried: rest comes before it and has it in its share, which is base while that lane is paused at the entrance
member g/base: g/rest is paused at the entrance: base
",
    );
    let condition = || content(Meet::All, &[("uid", Operator::Exists)]);
    check_entrance(
        vec![group("g", None, vec![paused("x", condition()), lane("y", condition())])],
        None,
        "",
        &call(&[("uid", "ann")]),
        "
lane g/x no: not tried: paused at the entrance; requests that carry the lane already keep it
lane g/y yes: all hold: header `uid` exists (seen: `ann`)
member g/y: g/y took the request
",
    );
}

#[test]
fn a_cookie_that_is_issued_is_told() {
    let issued = Entry::Ratio {
        percent_hundredths: 10_000,
        sticky_by: Some(Parameter::Cookie("place".into())),
        issue: Some(Issue::default()),
    };
    check_entrance(
        vec![group("g", None, vec![lane("t", issued)])],
        None,
        "",
        &call(&[]),
        "
lane g/t yes: no cookie `place` that can be a key, so one is drawn and issued with the answer: its hash falls on 5341 of 0..10000, below 10000 (100 %)
member g/t: g/t took the request
",
    );
}

#[test]
fn long_values_are_cut() {
    let lanes = vec![lane("t", content(Meet::All, &[("x", equal("1"))]))];
    for (length, shown) in [(120, "x".repeat(120)), (121, format!("{}…", "x".repeat(120)))] {
        check_entrance(
            vec![group("g", None, lanes.clone())],
            None,
            "",
            &call(&[("x", &"x".repeat(length))]),
            &format!(
                "lane g/t no: does not hold: header `x` == `1` (seen: `{shown}`)\n\
                 member g/base: no lane took the request: base\n"
            ),
        );
    }
}

#[test]
fn conditions_are_told_as_they_are_written() {
    let words = |parameter, operator| Condition { parameter, operator }.to_string();
    let list = || vec!["7".to_owned(), "8".to_owned()];
    let header = || Parameter::Header("x".into());
    assert_eq!(
        words(Parameter::Query("q".into()), Operator::In(list())),
        r#"query `q` in ["7", "8"]"#
    );
    assert_eq!(
        words(Parameter::Cookie("c".into()), Operator::NotIn(list())),
        r#"cookie `c` notIn ["7", "8"]"#
    );
    assert_eq!(
        words(Parameter::Claim("s".into()), Operator::Percentage(20)),
        "claim `s` percentage 20"
    );
    assert_eq!(words(Parameter::ClientIp, Operator::Cidr("::/0".into())), "clientIp cidr `::/0`");
    assert_eq!(words(Parameter::Method, equal("GET")), "method == `GET`");
    assert_eq!(words(Parameter::Host, Operator::NotEqual("h".into())), "host != `h`");
    assert_eq!(words(header(), Operator::Regex("a+".into())), "header `x` regex `a+`");
    assert_eq!(words(header(), Operator::NotExists), "header `x` notExists");
}

/// Lanes `own` (falls back to `off`, `switched`, `next`), `strict`, and those it lists.
fn hop_group() -> GroupSpec {
    let entry = || content(Meet::All, &[("x", Operator::Exists)]);
    let mut own = lane("own", entry());
    own.fallback = Fallback::Then(vec![tag("off"), tag("switched"), tag("next")]);
    let mut off = lane("off", entry());
    off.enabled = false;
    let mut switched = lane("switched", entry());
    switched.switched_off = vec!["a".into()];
    let mut strict = lane("strict", entry());
    strict.fallback = Fallback::Strict;
    group("g", None, vec![own, off, switched, lane("next", entry()), strict])
}

#[track_caller]
fn check_hop(
    application: &str,
    instances: &[(&str, Health, bool)],
    carried: &str,
    pick: Option<usize>,
    wanted: &str,
) {
    let at = |number: usize| ([10, 0, 0, number as u8], 80).into();
    let inner = |number: usize| ([10, 1, 0, number as u8], 80).into();
    let endpoints = instances
        .iter()
        .enumerate()
        .map(|(number, (name, health, _))| Endpoint {
            address: at(number),
            application_address: Some(inner(number)),
            further: None,
            tag: (!name.is_empty()).then(|| tag(name)),
            weight: 1,
            health: *health,
            port: Port::default(),
        })
        .collect();
    let ejected = instances.iter().enumerate().filter(|(_, (_, _, ejected))| *ejected);
    let ejected = ejected.map(|(number, _)| at(number)).collect();
    let service = Service::new(ServiceId::new("s", "n", "", "sc"), "sc", application, endpoints);
    let world = World::new(vec![hop_group()], vec![Arc::new(service)], ejected);
    let context = Context::read(&world.snapshot, std::iter::once(carried.as_bytes()));
    let mut told = Explanation::default();
    let service = &world.services[0];
    let result = world.snapshot.choose(&context, service, pick.map(inner), &world, 1, &mut told);
    let result = match result {
        Ok(choice) => choice.endpoint.address.to_string(),
        Err(refused) => refused.to_string(),
    };
    assert_eq!(format!("{}{result}\n", lines(&told)), wanted.trim_start());
}

const USABLE: Health = Health::Usable;

#[test]
fn a_hop_tells_of_every_set_and_every_instance() {
    check_hop(
        "a",
        &[
            ("", USABLE, false),
            ("own", Health::Unhealthy, false),
            ("own", Health::Draining, false),
            ("own", USABLE, true),
            ("off", USABLE, false),
            ("next", USABLE, false),
            ("next", USABLE, true),
            ("next", Health::Draining, false),
            ("", Health::InvalidTag, false),
        ],
        "lane.g=own",
        None,
        "
subset g/off no: in the fallback list, but disabled
subset g/switched no: in the fallback list, but the application is switched off in it
subset g/own no: no usable instance: 1 unhealthy, 1 draining, 1 ejected
subset g/next yes: the first with a usable instance
subset g/base no: not needed
instance 10.0.0.0:80 base no: base: not the set that serves this hop
instance 10.0.0.8:80 base no: its tag is not valid, or not known yet: unusable, never base
instance 10.0.0.5:80 next yes: chosen
instance 10.0.0.6:80 next no: ejected: connects fail
instance 10.0.0.7:80 next no: draining: it takes no new requests
instance 10.0.0.4:80 off no: tagged `off`: not the set that serves this hop
instance 10.0.0.1:80 own no: tagged `own`: not the set that serves this hop
instance 10.0.0.2:80 own no: tagged `own`: not the set that serves this hop
instance 10.0.0.3:80 own no: tagged `own`: not the set that serves this hop
10.0.0.5:80
",
    );
}

#[test]
fn lanes_that_do_not_govern_say_why() {
    check_hop(
        "stranger",
        &[("", USABLE, false), ("own", USABLE, false)],
        "lane.g=own",
        None,
        "
subset g/own no: application `stranger` is not in group `g`
subset no group/base yes: the first with a usable instance
instance 10.0.0.0:80 base yes: chosen
instance 10.0.0.1:80 own no: tagged `own`: not the set that serves this hop
10.0.0.0:80
",
    );
    check_hop(
        "a",
        &[("", USABLE, false)],
        "lane.g=off",
        None,
        "
subset g/off no: the lane is disabled: who carries it is base
subset no group/base yes: the first with a usable instance
instance 10.0.0.0:80 base yes: chosen
10.0.0.0:80
",
    );
    check_hop(
        "a",
        &[("switched", USABLE, false), ("", USABLE, false)],
        "lane.g=switched",
        None,
        "
subset g/switched no: the application is switched off in this lane
subset g/base yes: the first with a usable instance
instance 10.0.0.1:80 base yes: chosen
instance 10.0.0.0:80 switched no: tagged `switched`: not the set that serves this hop
10.0.0.1:80
",
    );
}

#[test]
fn a_refusal_says_what_was_there() {
    check_hop(
        "a",
        &[("", USABLE, false), ("strict", Health::Unhealthy, false)],
        "lane.g=strict",
        None,
        "
subset g/strict no: no usable instance: 1 unhealthy
subset g/base no: not allowed: g/strict is strict
instance 10.0.0.0:80 base no: base: not allowed, or not usable
instance 10.0.0.1:80 strict no: tagged `strict`: not the set that serves this hop
no usable instance of sc in strict lane g/strict
",
    );
    check_hop(
        "a",
        &[("", Health::InvalidTag, false), ("own", USABLE, false)],
        "",
        None,
        "
subset no group/base no: no usable instance: 1 without a valid tag
instance 10.0.0.0:80 base no: its tag is not valid, or not known yet: unusable, never base
instance 10.0.0.1:80 own no: tagged `own`: not the set that serves this hop
no usable base instance of sc
",
    );
    check_hop(
        "a",
        &[],
        "",
        None,
        "
subset no group/base no: no instance
no usable base instance of sc
",
    );
}

#[test]
fn a_pick_that_is_kept_says_so() {
    let three = [("", USABLE, false), ("", USABLE, false), ("own", USABLE, false)];
    check_hop(
        "a",
        &three,
        "",
        Some(1),
        "
subset no group/base yes: the first with a usable instance
instance 10.0.0.0:80 base yes: could have been chosen
instance 10.0.0.1:80 base yes: kept: the application chose it itself
instance 10.0.0.2:80 own no: tagged `own`: not the set that serves this hop
10.0.0.1:80
",
    );
    // A wrong pick is replaced.
    check_hop(
        "a",
        &three[1..],
        "",
        Some(1),
        "
subset no group/base yes: the first with a usable instance
instance 10.0.0.0:80 base yes: chosen
instance 10.0.0.1:80 own no: tagged `own`: not the set that serves this hop
10.0.0.0:80
",
    );
}

#[test]
fn all_ejected_are_tried_and_say_so() {
    check_hop(
        "a",
        &[("", USABLE, true), ("own", USABLE, true)],
        "lane.g=own",
        None,
        "
subset g/off no: in the fallback list, but disabled
subset g/switched no: in the fallback list, but the application is switched off in it
subset g/own yes: the first with a usable instance
subset g/next no: not needed
subset g/base no: not needed
instance 10.0.0.0:80 base no: base: not the set that serves this hop
instance 10.0.0.1:80 own yes: chosen, though ejected: all that are allowed are
10.0.0.1:80
",
    );
}
