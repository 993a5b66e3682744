//! What a decision costs.
//!
//! `cargo bench -p lanes` prints nanoseconds per decision for every shape of rules. `decide SHAPE COUNT` makes
//! just COUNT decisions, so that `valgrind` or `perf stat` can count instructions and allocations: the
//! difference between two counts is what a decision costs, whatever the machine does at the moment.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::{hint::black_box, net::IpAddr, process::ExitCode, sync::Arc, time::Instant};

use lanes::{
    Context, Directory, Endpoint, Entrance, Group, GroupName, GroupSpec, LaneSpec, Member, Service,
    ServiceId, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{Health, Port},
};
use testkit::Call;

/// Lanes, and conditions per lane, of the target.
const LANES: usize = 1000;
const CONDITIONS: usize = 10;

/// Distinct regular expressions of the target.
const REGEXES: usize = 20;

/// Rounds of the timing, of which the fastest counts, and decisions per round: few enough to fit into one time
/// slice of a busy machine.
const ROUNDS: usize = 400;
const DECISIONS_PER_ROUND: usize = 500;

type Shape = (&'static str, &'static str, fn() -> Case);

const SHAPES: &[Shape] = &[
    ("distinct", "1000 lanes, 9 `==`/`in` of values of their own, 1 of 20 regexes", distinct),
    ("binary", "1000 lanes, 9 `==` of one of 2 values each: no value tells much", binary),
    ("alike", "1000 lanes, 9 equal `==`, 1 of 20 regexes: only the regex tells", alike),
    ("any", "1000 lanes that meet any of 9 `==`/`in` and 1 of 20 regexes", any),
    ("negative", "1000 lanes, 5 `==` shared by all, 5 `!=` of their own", negative),
    ("one", "1 lane, 1 condition: what most people have", one),
    ("ratio", "10 ratio lanes, sticky by a cookie", ratio),
    ("base", "1000 lanes as in `distinct`, a request that says nothing", base),
    ("hop", "choose: lane and base of 5 endpoints each, request in a lane of 1 of 8 groups", hop),
];

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|text| text != "--bench").collect();
    match arguments.as_slice() {
        [] => {
            for (name, what, case) in SHAPES {
                println!("{name:9} {:8.1} ns   {what}", nanoseconds(&mut case()));
            }
            ExitCode::SUCCESS
        }
        [name, count] => {
            let shape = SHAPES.iter().find(|(have, _, _)| have == name);
            let (Some((_, _, case)), Ok(count)) = (shape, count.parse::<usize>()) else {
                return usage();
            };
            let mut case = case();
            for _ in 0..count {
                (case.decide)();
            }
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: decide [SHAPE COUNT]; shapes: {:?}",
        SHAPES.iter().map(|(name, _, _)| *name).collect::<Vec<_>>()
    );
    ExitCode::from(2)
}

fn nanoseconds(case: &mut Case) -> f64 {
    let round = |case: &mut Case| {
        let start = Instant::now();
        for _ in 0..DECISIONS_PER_ROUND {
            (case.decide)();
        }
        start.elapsed().as_nanos() as f64 / DECISIONS_PER_ROUND as f64
    };
    (0..ROUNDS).map(|_| round(case)).fold(f64::INFINITY, f64::min)
}

/// One decision, ready to be repeated.
struct Case {
    decide: Box<dyn FnMut()>,
}

/// What browsers and proxies send anyway, and `more`.
fn call(more: impl IntoIterator<Item = (String, String)>) -> Call {
    let usual = [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "1d6a6a7e-5b5c-4f5a-9c3a-2f5e0a3b8c11"),
        ("cookie", "uid=4711; session=d41d8cd98f00b204e9800998ecf8427e; theme=dark"),
    ];
    let usual = usual.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = usual.into_iter().chain(more).map(|(name, value)| (name, value.into_bytes()));
    Call {
        path: "/orders/17".to_owned(),
        query: "page=2&size=50".to_owned(),
        client_ip: IpAddr::from([192, 0, 2, 7]),
        headers: headers.collect(),
        ..Call::default()
    }
}

fn header(name: impl Into<String>, operator: Operator) -> Condition {
    Condition { parameter: Parameter::Header(name.into()), operator }
}

fn equal(value: impl Into<String>) -> Operator {
    Operator::Equal(value.into())
}

/// The last lane's is the only one to match `beta-19`.
fn regex(lane: usize) -> Operator {
    let number = if lane == LANES - 1 { REGEXES - 1 } else { lane % (REGEXES - 1) };
    Operator::Regex(format!("(alpha|beta)-{number}[a-z]?"))
}

fn lane(index: usize, entry: Entry) -> LaneSpec {
    LaneSpec {
        tag: tag(&format!("lane-{index}")),
        enabled: true,
        admitting: true,
        paused: false,
        priority: 0,
        entry,
        fallback: Fallback::Then(Vec::new()),
        switched_off: Vec::new(),
    }
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).expect("a valid tag").expect("not base")
}

fn group(name: &str, lanes: Vec<LaneSpec>) -> Arc<Group> {
    let spec = GroupSpec {
        name: GroupName::parse(name).expect("a valid name"),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes: None }],
        applications: vec!["shop".into()],
        lanes,
    };
    Group::compile(spec).expect("a valid group").into()
}

/// Enters again and again; the request must end in `wanted`.
fn entering(lanes: Vec<LaneSpec>, request: Call, wanted: Option<u16>) -> Case {
    let snapshot = Snapshot::new(vec![group("trade", lanes)], Directory::new(true));
    let decide = move || {
        let mut context = Context::default();
        let entrance = Entrance::Gateway { gateway: "edge", route: Some("shop") };
        let request = black_box(&request);
        snapshot.enter(entrance, request, &mut || [7; 16], &mut context, &mut ());
        assert_eq!(context.members(), [Member { group: 0, lane: wanted }]);
    };
    Case { decide: Box::new(decide) }
}

fn content(meet: Meet, conditions: impl Fn(usize) -> Vec<Condition>) -> Vec<LaneSpec> {
    (0..LANES)
        .map(|index| lane(index, Entry::Content { meet, conditions: conditions(index) }))
        .collect()
}

fn own_values(index: usize) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = (0..CONDITIONS - 1)
        .map(|number| {
            let own = format!("value-{number}-{index}");
            let operator = match number % 3 {
                0 => Operator::In(vec![own.clone(), format!("other-{number}-{index}")]),
                _ => equal(own),
            };
            header(format!("x-parameter-{number}"), operator)
        })
        .collect();
    conditions.push(header("x-stage", regex(index)));
    conditions
}

fn own_call(index: usize) -> Call {
    let own = (0..CONDITIONS - 1)
        .map(|number| (format!("X-Parameter-{number}"), format!("value-{number}-{index}")));
    call(own.chain([("X-Stage".to_owned(), "beta-19".to_owned())]))
}

const LAST: Option<u16> = Some(LANES as u16 - 1);

fn distinct() -> Case {
    entering(content(Meet::All, own_values), own_call(LANES - 1), LAST)
}

fn any() -> Case {
    // Only the last lane's expression matches.
    let request = call([("X-Stage".to_owned(), "beta-19".to_owned())]);
    entering(content(Meet::Any, own_values), request, LAST)
}

fn base() -> Case {
    entering(content(Meet::All, own_values), call([]), None)
}

fn binary() -> Case {
    let bit = |index: usize, number: usize| format!("value-{}", (index >> number) & 1);
    let lanes = content(Meet::All, |index| {
        (0..CONDITIONS)
            .map(|number| header(format!("x-parameter-{number}"), equal(bit(index, number))))
            .collect()
    });
    let last =
        (0..CONDITIONS).map(|number| (format!("x-parameter-{number}"), bit(LANES - 1, number)));
    entering(lanes, call(last), LAST)
}

fn alike() -> Case {
    let lanes = content(Meet::All, |index| {
        (0..CONDITIONS - 1)
            .map(|number| header(format!("x-parameter-{number}"), equal("same")))
            .chain([header("x-stage", regex(index))])
            .collect()
    });
    let same =
        (0..CONDITIONS - 1).map(|number| (format!("x-parameter-{number}"), "same".to_owned()));
    entering(lanes, call(same.chain([("x-stage".to_owned(), "beta-19".to_owned())])), LAST)
}

fn negative() -> Case {
    let lanes = content(Meet::All, |index| {
        let shared = (0..5).map(|number| header(format!("x-parameter-{number}"), equal("same")));
        let own = (5..10).map(|number| {
            // All but the last lane exclude what the request has, one of them each.
            let is_out = index != LANES - 1 && number == 5 + index % 5;
            let value = if is_out { "seen".to_owned() } else { format!("value-{index}") };
            header(format!("x-parameter-{number}"), Operator::NotEqual(value))
        });
        shared.chain(own).collect()
    });
    let value = |number| if number < 5 { "same" } else { "seen" };
    let more = (0..10).map(|number| (format!("x-parameter-{number}"), value(number).to_owned()));
    entering(lanes, call(more), LAST)
}

fn one() -> Case {
    let conditions = vec![header("canary", equal("gray"))];
    let lanes = vec![lane(0, Entry::Content { meet: Meet::All, conditions })];
    entering(lanes, call([("canary".to_owned(), "gray".to_owned())]), Some(0))
}

fn ratio() -> Case {
    let lanes = (0..10)
        .map(|index| {
            let sticky_by = Some(Parameter::Cookie("uid".into()));
            lane(index, Entry::Ratio { percent_hundredths: 1, sticky_by, issue: None })
        })
        .collect();
    entering(lanes, call([]), None)
}

fn hop() -> Case {
    let groups: Vec<_> = (0..8)
        .map(|number| {
            let conditions = vec![header("canary", equal("gray"))];
            group(
                &format!("group-{number}"),
                vec![lane(0, Entry::Content { meet: Meet::All, conditions })],
            )
        })
        .collect();
    let endpoint = |number: u8, tag: Option<Tag>| Endpoint {
        address: ([10, 0, 0, number], 8080).into(),
        application_address: None,
        further: None,
        tag,
        weight: 100,
        health: Health::Usable,
        port: Port::default(),
    };
    let endpoints = (0..5)
        .map(|number| endpoint(number, None))
        .chain((5..10).map(|number| endpoint(number, Some(tag("lane-0")))))
        .collect();
    let service = Service::new(ServiceId::new("s", "n", "", "shop"), "shop", "shop", endpoints);
    let snapshot = Snapshot::new(groups, Directory::new(true));
    let mut context = Context::default();
    context.add(Member { group: 3, lane: Some(0) });
    let mut ticket = 0_u64;
    let decide = move || {
        ticket = ticket.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let choice = snapshot.choose(black_box(&context), &service, None, &(), ticket, &mut ());
        assert!(choice.is_ok_and(|choice| choice.endpoint.tag.is_some()));
    };
    Case { decide: Box::new(decide) }
}
