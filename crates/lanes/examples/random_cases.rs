//! Prints random worlds as case files, one a line in JSON, with what this crate decides in them: for implementations in
//! other languages to be checked against. `cargo run -p lanes --example random_cases -- COUNT` prints at least so many
//! cases, the same ones every time. The README of `tests/cases` says how a case file reads.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints, for tests")]

#[allow(dead_code, reason = "shared with the crate's tests")]
#[path = "../tests/it/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "shared with the crate's tests")]
#[path = "../tests/it/world.rs"]
mod world;

use lanes::{
    Context, Endpoint, Entrance, GroupSpec, LaneSpec, Service,
    baggage::{self, Incoming},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::Health,
};
use serde_json::{Map, Value, json};
use testkit::Call;

use oracle::Hop;
use world::{Draw, World};

/// Requests in each world.
const CASES_PER_WORLD: usize = 10;

/// Bytes that a world and its requests use up.
const WORLD_BYTES: usize = 4_000;

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    for seed in 0..count.div_ceil(CASES_PER_WORLD) {
        let bytes = world::bytes_of(seed as u64, WORLD_BYTES);
        let mut draw = Draw::new(&bytes);
        let world = World::with_lanes(&mut draw, &[1, 2, 3, 5, 8]);
        let cases: Vec<Value> =
            (0..CASES_PER_WORLD).map(|number| case(&world, &mut draw, number)).collect();
        let groups: Vec<Value> = world.groups.iter().map(group).collect();
        let services: Vec<Value> = world.services.iter().map(|it| service(&world, it)).collect();
        println!("{}", json!({"groups": groups, "services": services, "cases": cases}));
    }
}

fn case(world: &World, draw: &mut Draw<'_>, number: usize) -> Value {
    let mut request = world::call(draw);
    for (_, value) in &mut request.headers {
        // JSON has no bytes that are no text.
        *value = String::from_utf8_lossy(value).into_owned().into_bytes();
    }
    let at = world::entrance(draw);
    let carried = first_of_each_group(&world::baggage(draw));
    let brought = || std::iter::once(carried.as_bytes());
    let mut context = Context::read(&world.snapshot, brought());
    world.snapshot.enter(at, &request, &mut || [0; 16], &mut context, &mut ());
    let membership = world.membership(&context);
    let lanes: Map<String, Value> = membership
        .iter()
        .map(|(group, tag)| (group.clone(), json!(tag.as_deref().unwrap_or("base"))))
        .collect();
    let mut sent = Vec::new();
    baggage::write(&world.snapshot, &context, brought(), Incoming::Keep, &mut sent);
    let hops: Map<String, Value> = world
        .services
        .iter()
        .map(|service| (service.name().to_string(), hop(world, &context, service)))
        .collect();
    let mut case = json!({
        "name": format!("random {number}"), "carried": carried, "lanes": lanes, "hops": hops,
        "baggage": String::from_utf8_lossy(&sent),
    });
    let fields = case.as_object_mut().unwrap();
    match at {
        Entrance::Gateway { gateway, route } => {
            fields.insert("gateway".into(), json!(gateway));
            fields.extend(route.map(|route| ("route".into(), json!(route))));
        }
        Entrance::Application(name) => {
            fields.insert("application".into(), json!(name));
        }
    }
    put_request(fields, &request);
    case
}

/// A group that comes twice is read otherwise by libraries of other languages, and sent by nobody.
fn first_of_each_group(baggage: &str) -> String {
    let mut members: Vec<&str> = Vec::new();
    for member in baggage.split(',') {
        let group = member.split('=').next();
        if members.iter().all(|earlier| earlier.split('=').next() != group) {
            members.push(member);
        }
    }
    members.join(",")
}

fn put_request(fields: &mut Map<String, Value>, request: &Call) {
    let header = |(name, value): &(String, Vec<u8>)| json!({name: String::from_utf8_lossy(value)});
    fields.insert("headers".into(), request.headers.iter().map(header).collect());
    for (name, value) in [
        ("method", &request.method),
        ("host", &request.host),
        ("path", &request.path),
        ("query", &request.query),
        ("clientIp", &request.client_ip.to_string()),
    ] {
        fields.insert(name.into(), json!(value));
    }
    let claims: Map<String, Value> =
        request.claims.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    fields.insert("claims".into(), claims.into());
}

/// All who may serve, by the oracle; how, and why nobody may, by the crate: they agree.
fn hop(world: &World, context: &Context, service: &Service) -> Value {
    let all = oracle::hop(
        &world.groups,
        &world.membership(context),
        service.application(),
        service.endpoints(),
        &world.ejected,
    );
    match (world.snapshot.choose(context, service, None, world, 7, &mut ()), all) {
        (Ok(choice), Hop::Served { outcome, by }) => {
            assert_eq!(outcome, format!("{:?}", choice.outcome));
            assert!(by.contains(&choice.endpoint.address));
            json!({outcome.to_lowercase(): by})
        }
        (Err(refused), Hop::Refused { .. }) => json!({"refused": refused.to_string()}),
        (choice, all) => panic!("{choice:?} is not {all:?}"),
    }
}

fn group(spec: &GroupSpec) -> Value {
    let entrance = |entrance: &EntranceSpec| match entrance {
        EntranceSpec::Gateway { name, routes: None } => json!({"gateway": name}),
        EntranceSpec::Gateway { name, routes } => json!({"gateway": name, "routes": routes}),
        EntranceSpec::Application { name, edge } => json!({"application": name, "edge": edge}),
    };
    let entrances: Vec<Value> = spec.entrances.iter().map(entrance).collect();
    let lanes: Vec<Value> = spec.lanes.iter().map(lane).collect();
    json!({
        "name": spec.name.as_str(), "entrances": entrances, "applications": spec.applications, "lanes": lanes,
    })
}

fn lane(spec: &LaneSpec) -> Value {
    let (mode, entry) = match &spec.entry {
        Entry::Content { meet, conditions } => {
            let meet = if *meet == Meet::Any { "any" } else { "all" };
            let conditions: Vec<Value> = conditions.iter().map(condition).collect();
            ("content", json!({"meet": meet, "conditions": conditions}))
        }
        Entry::Ratio { percent_hundredths, sticky_by, issue: _ } => {
            let percent = f64::from(*percent_hundredths) / 100.0;
            let sticky_by = sticky_by.as_ref().map(|it| Value::Object(parameter(it)));
            (
                "ratio",
                match sticky_by {
                    Some(sticky_by) => json!({"percent": percent, "stickyBy": sticky_by}),
                    None => json!({"percent": percent}),
                },
            )
        }
    };
    let fallback = match &spec.fallback {
        Fallback::Strict => json!("none"),
        Fallback::Then(tags) => tags.iter().map(|tag| json!(tag.as_str())).collect(),
    };
    json!({
        "tag": spec.tag.as_str(), "enabled": spec.enabled, "admitting": spec.admitting, "paused": spec.paused,
        "priority": spec.priority, mode: entry, "fallback": fallback, "switchedOff": spec.switched_off,
    })
}

fn parameter(parameter: &Parameter) -> Map<String, Value> {
    let (place, name) = match parameter {
        Parameter::Header(name) => ("header", name.as_str()),
        Parameter::Query(name) => ("query", name.as_str()),
        Parameter::Cookie(name) => ("cookie", name.as_str()),
        Parameter::Claim(name) => ("claim", name.as_str()),
        Parameter::Path => ("attribute", "path"),
        Parameter::Method => ("attribute", "method"),
        Parameter::Host => ("attribute", "host"),
        Parameter::ClientIp => ("attribute", "clientIp"),
    };
    Map::from_iter([(place.to_owned(), json!(name))])
}

fn condition(condition: &Condition) -> Value {
    let mut fields = parameter(&condition.parameter);
    fields.insert("operator".into(), json!(condition.operator.name()));
    match &condition.operator {
        Operator::Equal(text)
        | Operator::NotEqual(text)
        | Operator::Regex(text)
        | Operator::Prefix(text)
        | Operator::Cidr(text) => drop(fields.insert("value".into(), json!(text))),
        Operator::Percentage(percent) => drop(fields.insert("value".into(), json!(percent))),
        Operator::In(list) | Operator::NotIn(list) => {
            fields.insert("values".into(), json!(list));
        }
        Operator::Exists | Operator::NotExists => {}
    }
    fields.into()
}

fn service(world: &World, service: &Service) -> Value {
    let instance = |endpoint: &Endpoint| {
        let is = match endpoint.health {
            Health::Unhealthy => "unhealthy",
            Health::Draining => "draining",
            Health::InvalidTag => "invalid-tag",
            _ if world.ejected.contains(&endpoint.address) => "ejected",
            Health::Usable | Health::Silent => "usable",
        };
        let tag = endpoint.tag.as_ref().map_or("", |tag| tag.as_str());
        json!({"address": endpoint.address, "tag": tag, "weight": endpoint.weight, "is": is})
    };
    let instances: Vec<Value> = service.endpoints().iter().map(instance).collect();
    json!({"name": &**service.name(), "application": &**service.application(), "instances": instances})
}
