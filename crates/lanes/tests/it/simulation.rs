//! Many requests through whole call chains while lanes are toggled and instances come, go and fail: nobody
//! ever reaches an instance of another lane.

use std::{collections::BTreeSet, sync::Arc};

use lanes::{
    Context, Entrance, Group, GroupName, GroupSpec, LaneSpec, Outcome, Service, ServiceId,
    Snapshot,
    baggage::{self, Incoming},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{Health, Port},
};
use testkit::Call;

use crate::world::{Draw, World, bytes_of, tag};

/// Requests of the run: few in every test, all in `cargo test --release -p lanes simulation`. Worlds are drawn from
/// numbers, so none repeats.
const REQUESTS: u64 = if cfg!(debug_assertions) { 100_000 } else { 10_000_000 };

/// Requests before the world changes.
const REQUESTS_PER_WORLD: u64 = 20;

/// The call chain, and what each application's service is called.
const CHAIN: [&str; 3] = ["a", "b", "c"];

#[test]
fn no_request_reaches_a_wrong_lane_under_chaos() {
    let mut in_lane = 0_u64;
    let mut refused = 0_u64;
    for number in 0..REQUESTS / REQUESTS_PER_WORLD {
        let bytes = bytes_of(number, 512);
        let mut draw = Draw::new(&bytes);
        let before = chaos(&mut draw);
        // The chain runs into a change half-way: what was carried is read with another picture.
        let after = chaos(&mut draw);
        for request in 0..REQUESTS_PER_WORLD {
            let mark = ["", "gray", "blue", "red"][(request % 4) as usize];
            let seed = number * REQUESTS_PER_WORLD + request;
            let (lanes, errors) = walk(&before, &after, mark, seed);
            in_lane += lanes;
            refused += errors;
        }
    }
    // The run is worth something only if much of it was in lanes, and some of it was refused.
    assert!(in_lane > REQUESTS / 4, "only {in_lane} hops were in a lane");
    assert!(refused > REQUESTS / 100, "only {refused} requests were refused");
}

/// One request through the chain. Returns hops served by its own lane, and whether it was refused.
fn walk(before: &World, after: &World, mark: &str, seed: u64) -> (u64, u64) {
    let headers = vec![("mark".to_owned(), mark.into())];
    let request = Call { headers, ..Call::default() };
    let mut context = Context::default();
    let at = Entrance::Gateway { gateway: "edge", route: None };
    before.snapshot.enter(at, &request, &mut || [seed as u8; 16], &mut context, &mut ());
    let mut wire = Vec::new();
    let nothing = std::iter::empty::<&[u8]>();
    baggage::write(&before.snapshot, &context, nothing, Incoming::Strip, &mut wire);

    let mut in_lane = 0;
    for (hop, service) in CHAIN.iter().enumerate() {
        let world = if hop < 2 { before } else { after };
        let carried = Context::read(&world.snapshot, std::iter::once(&wire[..]));
        let service = world
            .services
            .iter()
            .find(|have| **have.application() == **service)
            .expect("a service for every application");
        let ticket = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Ok(choice) = world.snapshot.choose(&carried, service, None, world, ticket, &mut ())
        else {
            return (in_lane, 1);
        };
        check(world, mark, choice.endpoint.tag.as_ref().map(|tag| tag.as_str()), &wire);
        assert!(world.snapshot.allows(
            &carried,
            service.application(),
            choice.endpoint.tag.as_ref()
        ));
        in_lane += u64::from(choice.outcome == Outcome::Lane);
        let mut next = Vec::new();
        baggage::write(
            &world.snapshot,
            &carried,
            std::iter::once(&wire[..]),
            Incoming::Keep,
            &mut next,
        );
        assert_eq!(next, wire, "the context travels unchanged");
    }
    (in_lane, 0)
}

/// Marked `gray` may be served by gray, by blue (its fallback list) and by base; `blue` by blue and base;
/// `red` is strict; the rest by base alone.
fn check(world: &World, mark: &str, served_by: Option<&str>, wire: &[u8]) {
    let allowed: &[Option<&str>] = match mark {
        "gray" => &[Some("gray"), Some("blue"), None],
        "blue" => &[Some("blue"), None],
        // Disabled, it is base.
        "red" => &[Some("red"), None],
        _ => &[None],
    };
    let wire = String::from_utf8_lossy(wire);
    assert!(allowed.contains(&served_by), "{mark} ({wire}) was served by {served_by:?}");
    let lane = |tag: &str| world.groups[0].lanes.iter().find(|lane| lane.tag.as_str() == tag);
    if let Some(lane) = served_by.and_then(lane) {
        assert!(lane.enabled, "a disabled lane served {mark} ({wire})");
    }
    let is_strict =
        mark == "red" && wire == "lane.trade=red" && lane("red").is_some_and(|red| red.enabled);
    assert!(!is_strict || served_by.is_some(), "strict, and served by base");
}

/// The scenario with lanes on or off, instances alive or not, connects failing or not.
fn chaos(draw: &mut Draw<'_>) -> World {
    let lane = |name: &str, fallback, enabled, admitting| LaneSpec {
        tag: tag(name),
        enabled,
        admitting,
        paused: false,
        priority: 0,
        entry: Entry::Content {
            meet: Meet::All,
            conditions: vec![Condition {
                parameter: Parameter::Header("mark".into()),
                operator: Operator::Equal(name.into()),
            }],
        },
        fallback,
        switched_off: Vec::new(),
    };
    let mut on = || (!draw.one_in(4), !draw.one_in(8));
    let (gray, blue, red) = (on(), on(), on());
    let group = GroupSpec {
        name: GroupName::parse("trade").expect("a valid name"),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes: None }],
        applications: CHAIN.iter().map(|name| (*name).to_owned()).collect(),
        lanes: vec![
            lane("gray", Fallback::Then(vec![tag("blue")]), gray.0, gray.1),
            lane("blue", Fallback::Then(Vec::new()), blue.0, blue.1),
            lane("red", Fallback::Strict, red.0, red.1),
        ],
    };
    let mut ejected = BTreeSet::new();
    let services = CHAIN
        .iter()
        .zip(0..)
        .map(|(name, number)| {
            let mut endpoints = Vec::new();
            for (tagged, tag_number) in
                [None, Some("gray"), Some("blue"), Some("red")].iter().zip(0..)
            {
                for instance in 0..3_u8 {
                    let address = ([10, number, tag_number, instance], 80).into();
                    if draw.one_in(3) {
                        continue;
                    }
                    if draw.one_in(4) {
                        ejected.insert(address);
                    }
                    endpoints.push(lanes::Endpoint {
                        address,
                        application_address: None,
                        further: None,
                        tag: tagged.map(tag),
                        weight: 1,
                        health: draw.one(&[
                            Health::Usable,
                            Health::Usable,
                            Health::Unhealthy,
                            Health::Draining,
                        ]),
                        port: Port::default(),
                    });
                }
            }
            Arc::new(Service::new(ServiceId::new("s", "n", "", name), name, name, endpoints))
        })
        .collect();
    World::new(vec![group], services, ejected)
}

/// A group that compiles anew while requests run is another picture, not a change of the old one.
#[test]
fn a_request_keeps_the_picture_it_began_with() {
    let bytes = bytes_of(3, 512);
    let old = chaos(&mut Draw::new(&bytes));
    let mut changed = old.groups[0].clone();
    changed.lanes.reverse();
    let group = Group::compile(changed).expect("a valid group");
    let new = Snapshot::new(vec![Arc::new(group)], old.snapshot.directory().clone());
    let read = |snapshot| Context::read(snapshot, std::iter::once(&b"lane.trade=red"[..]));
    assert_ne!(read(&old.snapshot), read(&new));
    let mut wires = [Vec::new(), Vec::new()];
    for (snapshot, wire) in [&old.snapshot, &new].into_iter().zip(&mut wires) {
        let nothing = std::iter::empty::<&[u8]>();
        baggage::write(snapshot, &read(snapshot), nothing, Incoming::Keep, wire);
    }
    assert_eq!(wires[0], wires[1]);
}
