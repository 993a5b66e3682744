//! Small random worlds: rules, instances, requests. Drawn from bytes, so that a failing one shrinks with them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lanes::{
    Context, Directory, Ejections, Endpoint, Entrance, Group, GroupName, GroupSpec, LaneSpec,
    Member, Service, ServiceId, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{FurtherAddresses, Health, Port},
};
use testkit::{Call, Random};

use crate::oracle::Membership;

/// A lane that is on, and no more than that.
pub(crate) fn lane(name: &str, entry: Entry) -> LaneSpec {
    LaneSpec {
        tag: tag(name),
        enabled: true,
        admitting: true,
        paused: false,
        priority: 0,
        entry,
        fallback: Fallback::Then(Vec::new()),
        switched_off: Vec::new(),
    }
}

/// Where a world comes from: bytes, then zeros.
#[derive(Debug)]
pub(crate) struct Draw<'b> {
    bytes: &'b [u8],
}

impl<'b> Draw<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        usize::from(*first) % limit
    }

    /// Once in `of` times; never when the bytes have run out.
    pub(crate) fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        of.iter().filter(|_| self.below(2) == 1).cloned().collect()
    }
}

/// Bytes without end from one number, for runs without shrinking.
pub(crate) fn bytes_of(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed << 20);
    (0..count.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect()
}

pub(crate) const APPLICATIONS: [&str; 4] = ["a", "b", "c", "d"];
const TAGS: [&str; 5] = ["t1", "t2", "t3", "t4", "t5"];
const VALUES: [&str; 5] = ["u", "v", "w", "", "u v"];

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).expect("a valid tag").expect("not base")
}

/// Rules, services and what is ejected.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) groups: Vec<GroupSpec>,
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) ejected: BTreeSet<SocketAddr>,
    pub(crate) snapshot: Snapshot,
}

impl World {
    /// A world for every kind of look-up: few candidates, many, more than a word of bits.
    pub(crate) fn draw(draw: &mut Draw<'_>) -> Self {
        Self::with_lanes(draw, &[1, 2, 3, 5, 40, 80])
    }

    /// A world whose groups have one of these numbers of lanes.
    pub(crate) fn with_lanes(draw: &mut Draw<'_>, counts: &[usize]) -> Self {
        let names = ["g1", "g2", "g3"];
        let count = 1 + draw.below(names.len());
        let groups: Vec<GroupSpec> =
            names[..count].iter().rev().map(|name| group(draw, name, counts)).collect();
        let services: Vec<Arc<Service>> =
            (0..APPLICATIONS.len()).map(|number| Arc::new(service(draw, number))).collect();
        let ejected = services
            .iter()
            .flat_map(|service| service.endpoints())
            .filter(|_| draw.one_in(4))
            .map(|endpoint| endpoint.address)
            .collect();
        Self::new(groups, services, ejected)
    }

    pub(crate) fn new(
        groups: Vec<GroupSpec>,
        services: Vec<Arc<Service>>,
        ejected: BTreeSet<SocketAddr>,
    ) -> Self {
        let compiled = groups
            .iter()
            .map(|spec| Group::compile(spec.clone()).expect("a valid group").into())
            .collect();
        let mut directory = Directory::new(true);
        services.iter().for_each(|service| directory.insert(Arc::clone(service)));
        Self { groups, services, ejected, snapshot: Snapshot::new(compiled, directory) }
    }

    /// The members of a context by name.
    pub(crate) fn membership(&self, context: &Context) -> Membership {
        let member = |member: &Member| {
            let spec = self.snapshot.groups()[usize::from(member.group)].spec();
            let tag = member.lane.map(|lane| spec.lanes[usize::from(lane)].tag.to_string());
            (spec.name.to_string(), tag)
        };
        context.members().iter().map(member).collect()
    }
}

impl Ejections for World {
    fn is_ejected(&self, address: SocketAddr) -> bool {
        self.ejected.contains(&address)
    }
}

fn group(draw: &mut Draw<'_>, name: &str, counts: &[usize]) -> GroupSpec {
    let entrances = match draw.below(5) {
        0 | 1 => vec![gateway(None)],
        2 => vec![gateway(Some(vec!["r1".into()])), gateway(Some(vec!["r2".into()]))],
        3 => vec![gateway(None), application(draw)],
        _ => vec![application(draw)],
    };
    let is_ratio = draw.one_in(3);
    let count = draw.one(counts);
    let tags: Vec<String> = (0..count)
        .map(|number| TAGS.get(number).map_or(format!("x{number}"), |tag| (*tag).to_owned()))
        .collect();
    let shares = 10_000 / count as u16;
    let lanes = tags
        .iter()
        .map(|own| LaneSpec {
            tag: tag(own),
            enabled: !draw.one_in(5),
            admitting: !draw.one_in(6),
            paused: draw.one_in(6),
            priority: draw.one(&[0, 0, 1, -1]),
            entry: if is_ratio {
                let percent_hundredths = draw.one(&[0, shares / 2, shares]);
                Entry::Ratio { percent_hundredths, sticky_by: sticky_by(draw), issue: None }
            } else {
                let meet = draw.one(&[Meet::All, Meet::All, Meet::Any]);
                let count = 1 + draw.below(4);
                Entry::Content { meet, conditions: (0..count).map(|_| condition(draw)).collect() }
            },
            fallback: match draw.below(4) {
                0 => Fallback::Then(Vec::new()),
                1 => Fallback::Strict,
                _ => {
                    let others: Vec<Tag> = tags
                        .iter()
                        .filter(|other| *other != own)
                        .take(5)
                        .map(|other| tag(other))
                        .collect();
                    Fallback::Then(draw.some(&others))
                }
            },
            switched_off: if draw.one_in(3) {
                owned(&draw.some(&APPLICATIONS))
            } else {
                Vec::new()
            },
        })
        .collect();
    GroupSpec {
        name: GroupName::parse(name).expect("a valid name"),
        entrances,
        applications: owned(&draw.some(&APPLICATIONS)),
        lanes,
    }
}

/// A group of many lanes that share most of what they ask, and a request: where few values tell little, lanes
/// are told apart by what they have in common.
pub(crate) fn alike(draw: &mut Draw<'_>) -> (GroupSpec, Vec<Call>) {
    let names = ["h0", "h1", "h2", "h3"];
    let header = |name: &str| Parameter::Header(name.to_owned());
    let count = draw.one(&[20, 70, 150]);
    let lanes = (0..count)
        .map(|number| {
            let mut conditions: Vec<Condition> = (0..1 + draw.below(6))
                .map(|_| {
                    let value = draw.one(&["0", "1"]).to_owned();
                    let operator = match draw.below(8) {
                        0 => Operator::In(vec![value, draw.one(&["0", "1", "2"]).to_owned()]),
                        1 => Operator::NotEqual(value),
                        2 => Operator::Regex(
                            draw.one(&["0|2", "[12]", "2+", "1", "[^1]", "00?"]).to_owned(),
                        ),
                        _ => Operator::Equal(value),
                    };
                    Condition { parameter: header(draw.one(&names)), operator }
                })
                .collect();
            // Now and then a lane says the same twice.
            if draw.one_in(6) {
                conditions.push(conditions[0].clone());
            }
            LaneSpec {
                tag: tag(&format!("t{number}")),
                enabled: true,
                admitting: true,
                paused: false,
                priority: 0,
                entry: Entry::Content {
                    meet: if draw.one_in(12) { Meet::Any } else { Meet::All },
                    conditions,
                },
                fallback: Fallback::Then(Vec::new()),
                switched_off: Vec::new(),
            }
        })
        .collect();
    let calls = (0..12)
        .map(|_| {
            let headers = (0..2 + draw.below(5))
                .map(|_| (draw.one(&names).to_owned(), draw.one(&["0", "1", "1", "2"]).into()));
            Call { headers: headers.collect(), ..Call::default() }
        })
        .collect();
    let group = GroupSpec {
        name: GroupName::parse("alike").expect("a valid name"),
        entrances: vec![gateway(None)],
        applications: Vec::new(),
        lanes,
    };
    (group, calls)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn gateway(routes: Option<Vec<String>>) -> EntranceSpec {
    EntranceSpec::Gateway { name: "edge".into(), routes }
}

fn application(draw: &mut Draw<'_>) -> EntranceSpec {
    EntranceSpec::Application { name: draw.one(&APPLICATIONS).into(), edge: draw.one_in(2) }
}

fn sticky_by(draw: &mut Draw<'_>) -> Option<Parameter> {
    draw.one(&[
        None,
        Some(Parameter::Header("x".into())),
        Some(Parameter::Header("x".into())),
        Some(Parameter::Query("q".into())),
        Some(Parameter::Cookie("k".into())),
        Some(Parameter::ClientIp),
    ])
}

fn condition(draw: &mut Draw<'_>) -> Condition {
    let parameter = draw.one(&[
        Parameter::Header("x".into()),
        Parameter::Header("X".into()),
        Parameter::Header("y-longer-name".into()),
        Parameter::Query("q".into()),
        Parameter::Query("q r".into()),
        Parameter::Cookie("k".into()),
        Parameter::Claim("sub".into()),
        Parameter::Path,
        Parameter::Method,
        Parameter::Host,
        Parameter::ClientIp,
    ]);
    let words: &[&str] = match parameter {
        Parameter::Path => &["/", "/u", "/u/v"],
        Parameter::Method => &["GET", "POST", "get"],
        Parameter::Host => &["shop.example", "u"],
        Parameter::ClientIp => &["127.0.0.1", "2001:DB8::1", "::ffff:10.1.2.3"],
        _ => &VALUES,
    };
    let word = draw.one(words).to_owned();
    let list = || words.iter().map(|word| (*word).to_owned());
    let operator = match draw.below(14) {
        0..=3 => Operator::Equal(word),
        4 | 5 => Operator::In(list().take(1 + draw.below(3)).collect()),
        6 => Operator::NotEqual(word),
        7 => Operator::NotIn(list().take(1 + draw.below(3)).collect()),
        8 => Operator::Percentage(draw.one(&[0, 30, 70, 100])),
        9 => Operator::Regex(
            draw.one(&["u", "u|v", "(?i)U", "[uv ]+", ".*w", "", "w?", "/.*"]).into(),
        ),
        10 => Operator::Prefix(word.trim_start().into()),
        11 => Operator::Exists,
        12 => Operator::NotExists,
        _ if parameter == Parameter::ClientIp => Operator::Cidr(
            draw.one(&[
                "127.0.0.0/8",
                "10.1.0.0/16",
                "2001:db8::/32",
                "0.0.0.0/0",
                "::/0",
                "127.0.0.1/32",
            ])
            .into(),
        ),
        _ => Operator::Equal(word),
    };
    Condition { parameter, operator }
}

fn service(draw: &mut Draw<'_>, number: usize) -> Service {
    let count = draw.below(9) as u8;
    let tags: Vec<Option<Tag>> =
        [None, None].into_iter().chain(TAGS.iter().map(|text| Some(tag(text)))).collect();
    let endpoints = (0..count)
        .map(|endpoint| {
            let at = |third| SocketAddr::from(([10, number as u8, third, endpoint], 80));
            Endpoint {
                address: at(0),
                application_address: draw.one_in(3).then(|| at(1)),
                further: FurtherAddresses::beside(
                    (at(0), None),
                    &[at(2)][..usize::from(draw.one_in(4))],
                    &[at(3)][..usize::from(draw.one_in(4))],
                ),
                tag: draw.one(&tags),
                weight: draw.one(&[1, 1, 3, 0]),
                health: draw.one(&[
                    Health::Usable,
                    Health::Usable,
                    Health::Usable,
                    Health::Unhealthy,
                    Health::Draining,
                    Health::InvalidTag,
                ]),
                port: Port::default(),
            }
        })
        .collect();
    let name = format!("sc-{}", APPLICATIONS[number]);
    Service::new(ServiceId::new("s", "n", "", &name), &name, APPLICATIONS[number], endpoints)
}

pub(crate) fn call(draw: &mut Draw<'_>) -> Call {
    let names = ["x", "X", "y-longer-name", "Y-Longer-Name", "z"];
    let mut headers: Vec<(String, Vec<u8>)> =
        (0..draw.below(4)).map(|_| (draw.one(&names).to_owned(), value(draw))).collect();
    let cookies: Vec<String> = (0..draw.below(3))
        .map(|_| {
            format!(
                "{}={}",
                draw.one(&["k", "k", "K", " k"]),
                draw.one(&["u", "v", "%75", "", "u%20v", "+u"])
            )
        })
        .collect();
    if !cookies.is_empty() {
        headers.push(("Cookie".into(), cookies.join("; ").into_bytes()));
    }
    let query: Vec<String> = (0..draw.below(3))
        .map(|_| {
            format!(
                "{}={}",
                draw.one(&["q", "q", "%71", "q+r", "s"]),
                draw.one(&["u", "w", "u+v", "%75", "", "%2", "+v+"])
            )
        })
        .collect();
    let addresses: [IpAddr; 5] = [
        [127, 0, 0, 1].into(),
        [10, 1, 2, 3].into(),
        "2001:db8::1".parse().expect("an address"),
        "::ffff:10.1.2.3".parse().expect("an address"),
        "::1".parse().expect("an address"),
    ];
    Call {
        method: draw.one(&["GET", "POST"]).into(),
        host: draw.one(&["shop.example", "u"]).into(),
        path: draw.one(&["/", "/u", "/u/v", "/w"]).into(),
        query: query.join("&"),
        client_ip: draw.one(&addresses),
        headers,
        claims: if draw.one_in(2) {
            vec![("sub".into(), draw.one(&VALUES).into())]
        } else {
            Vec::new()
        },
    }
}

fn value(draw: &mut Draw<'_>) -> Vec<u8> {
    let text = draw.one(&VALUES);
    match draw.below(8) {
        6 => format!(" \t{text} ").into_bytes(),
        7 => vec![0xff, b'u'],
        _ => text.into(),
    }
}

pub(crate) fn entrance(draw: &mut Draw<'_>) -> Entrance<'static> {
    match draw.below(6) {
        0 | 1 => Entrance::Gateway { gateway: "edge", route: Some("r1") },
        2 => Entrance::Gateway { gateway: "edge", route: Some("r3") },
        3 => Entrance::Gateway { gateway: "edge", route: None },
        4 => Entrance::Gateway { gateway: "other", route: Some("r1") },
        _ => Entrance::Application(draw.one(&APPLICATIONS)),
    }
}

/// What a request may carry: tags known and unknown, base, groups known and unknown.
pub(crate) fn baggage(draw: &mut Draw<'_>) -> String {
    let members: Vec<String> = (0..draw.below(4))
        .map(|_| {
            let group = draw.one(&["g1", "g2", "g3", "g4"]);
            format!("lane.{group}={}", draw.one(&["t1", "t2", "t3", "t4", "t5", "gone", "-"]))
        })
        .collect();
    members.join(",")
}
