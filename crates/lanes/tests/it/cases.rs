//! Runs `tests/cases/*.yaml`: rules, instances, requests, and what must become of them. The README there
//! says how to write one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use lanes::{
    Context, Endpoint, Entrance, Explanation, GroupName, GroupSpec, LaneSpec, Service, ServiceId,
    Tag,
    baggage::{self, Incoming},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{FurtherAddresses, Health, Port},
};
use serde::Deserialize;
use testkit::Call;

use crate::world::World;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<GroupCase>,
    #[serde(default)]
    services: Vec<ServiceCase>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupCase {
    name: String,
    #[serde(default)]
    entrances: Vec<EntranceCase>,
    #[serde(default)]
    applications: Vec<String>,
    lanes: Vec<LaneCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntranceCase {
    gateway: Option<String>,
    routes: Option<Vec<String>>,
    application: Option<String>,
    #[serde(default)]
    edge: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LaneCase {
    tag: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default = "yes")]
    admitting: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    priority: i32,
    content: Option<ContentCase>,
    ratio: Option<RatioCase>,
    #[serde(default)]
    fallback: FallbackCase,
    #[serde(default)]
    switched_off: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentCase {
    #[serde(default)]
    meet: MeetCase,
    conditions: Vec<ConditionCase>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum MeetCase {
    #[default]
    All,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RatioCase {
    percent: f64,
    sticky_by: Option<ConditionCase>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FallbackCase {
    Word(String),
    Tags(Vec<String>),
}

impl Default for FallbackCase {
    fn default() -> Self {
        Self::Tags(Vec::new())
    }
}

/// As in a Lane resource; without an operator it is only a parameter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionCase {
    header: Option<String>,
    query: Option<String>,
    cookie: Option<String>,
    claim: Option<String>,
    attribute: Option<String>,
    operator: Option<String>,
    value: Option<ValueCase>,
    values: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ValueCase {
    Number(u8),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCase {
    name: String,
    application: String,
    instances: Vec<InstanceCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceCase {
    address: SocketAddr,
    #[serde(default)]
    application: Option<SocketAddr>,
    /// Where else it is reached.
    #[serde(default)]
    addresses: Vec<SocketAddr>,
    /// Where else its application is.
    #[serde(default)]
    applications: Vec<SocketAddr>,
    #[serde(default)]
    tag: String,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    is: InstanceIs,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum InstanceIs {
    #[default]
    Usable,
    Unhealthy,
    Draining,
    InvalidTag,
    Ejected,
}

/// One request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    name: String,
    /// The route that matched at gateway `edge`.
    #[serde(default)]
    route: Option<String>,
    /// Another gateway than `edge`.
    #[serde(default)]
    gateway: Option<String>,
    /// The request arrives at this application instead of a gateway.
    #[serde(default)]
    application: Option<String>,
    /// It arrives at no entrance, only at hops.
    #[serde(default)]
    nowhere: bool,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "slash")]
    path: String,
    #[serde(default = "host")]
    host: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    client_ip: Option<IpAddr>,
    /// The `baggage` it carries, believed.
    #[serde(default)]
    carried: String,
    /// Group to tag; `base` where base was decided. Groups that are left out have no member.
    #[serde(default)]
    lanes: BTreeMap<String, String>,
    /// The `baggage` that is sent on.
    #[serde(default)]
    baggage: Option<String>,
    /// Service to the address that the caller picked itself.
    #[serde(default)]
    picked: BTreeMap<String, SocketAddr>,
    /// Service to what serves it.
    #[serde(default)]
    hops: BTreeMap<String, HopCase>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum HopCase {
    Lane(BTreeSet<SocketAddr>),
    Fallback(BTreeSet<SocketAddr>),
    Base(BTreeSet<SocketAddr>),
    Refused(String),
}

fn yes() -> bool {
    true
}
fn one() -> u32 {
    1
}
fn get() -> String {
    "GET".into()
}
fn slash() -> String {
    "/".into()
}
fn host() -> String {
    "shop.example".into()
}

/// Tickets per hop; every endpoint that may serve must turn up.
const TICKETS: u64 = 300;

#[test]
fn every_case_file_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut cases = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let file: File = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let world = world(&file);
        for case in &file.cases {
            cases += 1;
            check(&world, case, &format!("{}: {}", path.display(), case.name));
        }
    }
    assert!(cases > 50, "only {cases} cases were found in {}", folder.display());
}

fn check(world: &World, case: &Case, place: &str) {
    let headers = case.headers.iter().flatten();
    let request = Call {
        method: case.method.clone(),
        host: case.host.clone(),
        path: case.path.clone(),
        query: case.query.clone(),
        client_ip: case.client_ip.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        headers: headers.map(|(name, value)| (name.clone(), value.clone().into())).collect(),
        claims: case.claims.clone().into_iter().collect(),
    };
    let entrance = match &case.application {
        Some(application) => Entrance::Application(application),
        None => Entrance::Gateway {
            gateway: case.gateway.as_deref().unwrap_or("edge"),
            route: case.route.as_deref(),
        },
    };
    let carried = || std::iter::once(case.carried.as_bytes());
    let mut context = Context::read(&world.snapshot, carried());
    let mut told = Explanation::default();
    if !case.nowhere {
        world.snapshot.enter(entrance, &request, &mut || [0; 16], &mut context, &mut told);
    }
    let lanes: BTreeMap<String, String> = world
        .membership(&context)
        .into_iter()
        .map(|(group, tag)| (group, tag.unwrap_or_else(|| "base".into())))
        .collect();
    assert_eq!(lanes, case.lanes, "{place}\n{told:#?}");

    if let Some(wanted) = &case.baggage {
        let mut out = Vec::new();
        baggage::write(&world.snapshot, &context, carried(), Incoming::Keep, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), *wanted, "{place}");
    }
    for (name, wanted) in &case.hops {
        let picked = case.picked.get(name).copied();
        assert_eq!(hop(world, &context, name, picked), *wanted, "{place}: {name}");
    }
}

fn hop(world: &World, context: &Context, name: &str, picked: Option<SocketAddr>) -> HopCase {
    let service = world.services.iter().find(|service| **service.name() == *name);
    let service = service.unwrap_or_else(|| panic!("no service {name}"));
    let mut by = BTreeSet::new();
    let mut outcome = String::new();
    for number in 1..=TICKETS {
        let ticket = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match world.snapshot.choose(context, service, picked, world, ticket, &mut ()) {
            Ok(choice) => {
                by.insert(choice.endpoint.address);
                outcome = format!("{:?}", choice.outcome);
            }
            Err(refused) => return HopCase::Refused(refused.to_string()),
        }
    }
    match outcome.as_str() {
        "Lane" => HopCase::Lane(by),
        "Fallback" => HopCase::Fallback(by),
        _ => HopCase::Base(by),
    }
}

fn world(file: &File) -> World {
    let services = file.services.iter().map(|service| Arc::new(service_of(service))).collect();
    let ejected = file
        .services
        .iter()
        .flat_map(|service| &service.instances)
        .filter(|instance| instance.is == InstanceIs::Ejected)
        .map(|instance| instance.address)
        .collect();
    World::new(file.groups.iter().map(group_of).collect(), services, ejected)
}

fn service_of(case: &ServiceCase) -> Service {
    let endpoints = case
        .instances
        .iter()
        .map(|instance| Endpoint {
            address: instance.address,
            application_address: instance.application,
            further: FurtherAddresses::beside(
                (instance.address, instance.application),
                &instance.addresses,
                &instance.applications,
            ),
            tag: Tag::parse(&instance.tag).expect("a valid tag"),
            weight: instance.weight,
            health: match instance.is {
                InstanceIs::Usable | InstanceIs::Ejected => Health::Usable,
                InstanceIs::Unhealthy => Health::Unhealthy,
                InstanceIs::Draining => Health::Draining,
                InstanceIs::InvalidTag => Health::InvalidTag,
            },
            port: Port::default(),
        })
        .collect();
    let id = ServiceId::new("s", "default", "", &case.name);
    Service::new(id, &case.name, &case.application, endpoints)
}

fn tag_of(text: &str) -> Tag {
    Tag::parse(text).expect("a valid tag").expect("not base")
}

fn group_of(case: &GroupCase) -> GroupSpec {
    let entrances = case
        .entrances
        .iter()
        .map(|entrance| match (&entrance.gateway, &entrance.application) {
            (Some(name), None) => {
                EntranceSpec::Gateway { name: name.clone(), routes: entrance.routes.clone() }
            }
            (None, Some(name)) => {
                EntranceSpec::Application { name: name.clone(), edge: entrance.edge }
            }
            _ => panic!("an entrance is a gateway or an application"),
        })
        .collect();
    GroupSpec {
        name: GroupName::parse(&case.name).expect("a valid name"),
        entrances,
        applications: case.applications.clone(),
        lanes: case.lanes.iter().map(lane_of).collect(),
    }
}

fn lane_of(case: &LaneCase) -> LaneSpec {
    let entry = match (&case.content, &case.ratio) {
        (Some(content), None) => Entry::Content {
            meet: match content.meet {
                MeetCase::All => Meet::All,
                MeetCase::Any => Meet::Any,
            },
            conditions: content.conditions.iter().map(condition_of).collect(),
        },
        (None, Some(ratio)) => Entry::Ratio {
            percent_hundredths: (ratio.percent * 100.0).round() as u16,
            sticky_by: ratio.sticky_by.as_ref().map(parameter_of),
            issue: None,
        },
        _ => panic!("a lane has content or ratio"),
    };
    LaneSpec {
        tag: tag_of(&case.tag),
        enabled: case.enabled,
        admitting: case.admitting,
        paused: case.paused,
        priority: case.priority,
        entry,
        fallback: match &case.fallback {
            FallbackCase::Word(word) if word == "none" => Fallback::Strict,
            FallbackCase::Word(word) => panic!("fallback: {word}"),
            FallbackCase::Tags(tags) => {
                Fallback::Then(tags.iter().map(|tag| tag_of(tag)).collect())
            }
        },
        switched_off: case.switched_off.clone(),
    }
}

fn parameter_of(case: &ConditionCase) -> Parameter {
    let named = [
        case.header.clone().map(Parameter::Header),
        case.query.clone().map(Parameter::Query),
        case.cookie.clone().map(Parameter::Cookie),
        case.claim.clone().map(Parameter::Claim),
        case.attribute.as_deref().map(|name| match name {
            "path" => Parameter::Path,
            "method" => Parameter::Method,
            "host" => Parameter::Host,
            "clientIp" => Parameter::ClientIp,
            other => panic!("attribute {other}"),
        }),
    ];
    named.into_iter().flatten().next().expect("a parameter")
}

fn condition_of(case: &ConditionCase) -> Condition {
    let text = || match &case.value {
        Some(ValueCase::Text(text)) => text.clone(),
        Some(ValueCase::Number(number)) => number.to_string(),
        None => panic!("a value"),
    };
    let list = || case.values.clone().expect("values");
    let operator = match case.operator.as_deref().expect("an operator") {
        "==" => Operator::Equal(text()),
        "!=" => Operator::NotEqual(text()),
        "in" => Operator::In(list()),
        "notIn" => Operator::NotIn(list()),
        "percentage" => Operator::Percentage(text().parse().expect("a number")),
        "regex" => Operator::Regex(text()),
        "prefix" => Operator::Prefix(text()),
        "exists" => Operator::Exists,
        "notExists" => Operator::NotExists,
        "cidr" => Operator::Cidr(text()),
        other => panic!("operator {other}"),
    };
    Condition { parameter: parameter_of(case), operator }
}
