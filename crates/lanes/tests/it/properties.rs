//! Rules 1, 5, 7 – 11 of the semantics over random worlds, against the oracle and on their own.

use std::collections::{BTreeMap, BTreeSet};

use lanes::{
    Context, Entrance, GroupName, GroupSpec, LaneSpec, Member, NoEndpoint, Tag,
    choose::Choice,
    condition::Parameter,
    group::{EntranceSpec, Entry, Fallback},
    service::{Health, Port},
};
use proptest::prelude::*;
use testkit::Call;

use crate::{
    oracle::{self, Hop},
    world::{APPLICATIONS, Draw, World, alike, baggage, bytes_of, call, entrance, tag},
};

/// Bytes that a world of average size uses up; beyond them everything is the first choice.
const WORLD_BYTES: usize = 3000;

/// Tickets per hop: enough that an endpoint with one share in 22 is missed once in 10⁸ hops.
const TICKETS: u64 = 400;

fn tickets(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A context as it arrives at a hop, disabled lanes and unknown tags included.
fn carried(world: &World, draw: &mut Draw<'_>) -> Context {
    Context::read(&world.snapshot, std::iter::once(baggage(draw).as_bytes()))
}

proptest! {

    #[test]
    fn an_entrance_decides_as_the_oracle_says(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let calls: Vec<Call> = (0..4).map(|_| call(&mut draw)).collect();
        let world = World::draw(&mut draw);
        for request in &calls {
            let at = entrance(&mut draw);
            let random = [draw.below(256) as u8; 16];
            let mut context = carried(&world, &mut draw);
            let wanted = oracle::enter(&world.groups, at, request, random, &world.membership(&context));
            world.snapshot.enter(at, request, &mut || random, &mut context, &mut ());
            prop_assert_eq!(world.membership(&context), wanted, "{:?} {:?} {:#?}", at, request, world.groups);
        }
    }

    #[test]
    fn lanes_that_have_much_in_common_are_told_apart(bytes in prop::collection::vec(any::<u8>(), WORLD_BYTES)) {
        let (spec, calls) = alike(&mut Draw::new(&bytes));
        let world = World::new(vec![spec], Vec::new(), BTreeSet::new());
        let at = Entrance::Gateway { gateway: "edge", route: None };
        for request in &calls {
            let wanted = oracle::enter(&world.groups, at, request, [0; 16], &BTreeMap::new());
            let mut context = Context::default();
            world.snapshot.enter(at, request, &mut || [0; 16], &mut context, &mut ());
            prop_assert_eq!(world.membership(&context), wanted, "{:?} {:#?}", request, world.groups);
        }
    }

    #[test]
    fn a_hop_is_served_as_the_oracle_says(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let world = World::draw(&mut draw);
        let context = carried(&world, &mut draw);
        let membership = world.membership(&context);
        for service in &world.services {
            let wanted = oracle::hop(
                &world.groups, &membership, service.application(), service.endpoints(), &world.ejected,
            );
            let mut seen = BTreeSet::new();
            for ticket in tickets(TICKETS) {
                let choice = world.snapshot.choose(&context, service, None, &world, ticket, &mut ());
                match (&wanted, choice) {
                    (Hop::Served { outcome, .. }, Ok(choice)) => {
                        prop_assert_eq!(&format!("{:?}", choice.outcome), outcome);
                        let subset = &service.endpoints()[choice.subset.range()];
                        prop_assert!(subset.iter().all(|peer| peer.tag == choice.endpoint.tag));
                        seen.insert(choice.endpoint.address);
                    }
                    (Hop::Refused { strict }, Err(refused)) => {
                        prop_assert_eq!(*strict, matches!(refused, NoEndpoint::Strict { .. }));
                    }
                    (wanted, choice) => prop_assert!(false, "{choice:?} instead of {wanted:?}"),
                }
            }
            if let Hop::Served { by, .. } = wanted {
                prop_assert_eq!(seen, by);
            }
        }
    }

    #[test]
    fn who_is_allowed_is_as_the_oracle_says(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let world = World::draw(&mut draw);
        let context = carried(&world, &mut draw);
        let membership = world.membership(&context);
        for application in APPLICATIONS {
            for text in [None, Some("t1"), Some("t2"), Some("t5"), Some("none")] {
                let wanted = oracle::allows(&world.groups, &membership, application, text);
                let allowed = world.snapshot.allows(&context, application, text.map(tag).as_ref());
                prop_assert_eq!(allowed, wanted, "{} {:?} {:?}", application, text, membership);
            }
        }
    }

    #[test]
    fn a_right_pick_is_kept_and_a_wrong_one_replaced(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let world = World::draw(&mut draw);
        let context = carried(&world, &mut draw);
        for service in &world.services {
            let Ok(alone) = world.snapshot.choose(&context, service, None, &world, 1, &mut ()) else { continue };
            for picked in service.endpoints() {
                let address = picked.application_address.unwrap_or(picked.address);
                let choose = |address| world.snapshot.choose(&context, service, Some(address), &world, 1, &mut ());
                let choice = choose(address).expect("served without a pick");
                let is_right = picked.tag == alone.endpoint.tag
                    && picked.health == Health::Usable
                    && !world.ejected.contains(&picked.address);
                let wanted = if is_right { picked } else { alone.endpoint };
                prop_assert_eq!(choice.endpoint, wanted);
                prop_assert_eq!(choose(picked.address).expect("the same").endpoint, wanted);
                prop_assert_eq!((choice.outcome, choice.subset), (alone.outcome, alone.subset));
            }
        }
    }

    #[test]
    fn a_retry_stays_in_the_lane(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let world = World::draw(&mut draw);
        let context = carried(&world, &mut draw);
        for service in &world.services {
            let Ok(first) = world.snapshot.choose(&context, service, None, &world, 1, &mut ()) else { continue };
            let mut tried = vec![first.endpoint.address];
            let again = |tried: &[_]| -> Option<Choice<'_>> {
                world.snapshot.choose_again(&first, service, tried, &world, 2)
            };
            while let Some(next) = again(&tried) {
                prop_assert_eq!(&next.endpoint.tag, &first.endpoint.tag);
                prop_assert_eq!(next.endpoint.health, Health::Usable);
                prop_assert!(!tried.contains(&next.endpoint.address));
                prop_assert!(!world.ejected.contains(&next.endpoint.address));
                prop_assert_eq!((next.outcome, next.member), (first.outcome, first.member));
                tried.push(next.endpoint.address);
            }
            let left = service.endpoints().iter().filter(|peer| {
                peer.tag == first.endpoint.tag
                    && peer.health == Health::Usable
                    && !world.ejected.contains(&peer.address)
                    && !tried.contains(&peer.address)
            });
            prop_assert_eq!(left.count(), 0, "someone was not tried");
        }
    }

    /// Rule 1, said once more without the oracle: who may serve is a matter of tags alone.
    #[test]
    fn nobody_leaves_their_lane(bytes in prop::collection::vec(any::<u8>(), 0..WORLD_BYTES)) {
        let mut draw = Draw::new(&bytes);
        let world = World::draw(&mut draw);
        for spec in &world.groups {
            let index = world.snapshot.group(spec.name.as_str()).expect("its own group");
            let group = &world.snapshot.groups()[usize::from(index)];
            let lanes = group.spec().lanes.iter().zip(0..).map(|(lane, number)| (Some(number), Some(lane)));
            for (lane, lane_spec) in lanes.chain([(None, None)]) {
                let mut context = Context::default();
                context.add(Member { group: index, lane });
                for service in &world.services {
                    let is_member = spec.applications.iter().any(|name| **name == **service.application());
                    let governs = lane_spec.filter(|lane| lane.enabled && is_member);
                    for ticket in tickets(10) {
                        let choice = world.snapshot.choose(&context, service, None, &world, ticket, &mut ());
                        let Ok(choice) = choice else { continue };
                        let tag = choice.endpoint.tag.as_ref();
                        prop_assert!(may_serve(governs, tag), "{:?} served {:?}", tag, lane_spec);
                    }
                }
            }
        }
    }

    /// Rule 5: raising a lane moves keys only into it, or into lanes after it from base or still later ones.
    #[test]
    fn raising_a_lane_moves_keys_forward_only(
        percents in prop::collection::vec(0_u16..2500, 1..5),
        raised in any::<prop::sample::Index>(),
        by in 0_u16..2500,
        keys in prop::collection::vec("[a-z0-9]{1,12}", 50),
    ) {
        let raised = raised.index(percents.len());
        let sum: u16 = percents.iter().sum();
        let mut more = percents.clone();
        more[raised] += by.min(10_000 - sum);
        let (before, after) = (ratio_world(&percents), ratio_world(&more));
        for key in keys {
            let (old, new) = (lane_of(&before, &key), lane_of(&after, &key));
            let is_right = new == old || (new < old && new >= raised);
            prop_assert!(is_right, "key {} went from lane {} to {} when {} rose", key, old, new, raised);
        }
    }

    /// Rule 7: pausing a lane sends its keys to base, and moves nobody else; resuming brings back the same.
    #[test]
    fn pausing_a_lane_moves_its_own_keys_to_base_and_no_others(
        percents in prop::collection::vec(0_u16..2500, 1..5),
        paused in any::<prop::sample::Index>(),
        admitting in any::<bool>(),
        keys in prop::collection::vec("[a-z0-9]{1,12}", 50),
    ) {
        let paused = paused.index(percents.len());
        let before = ratio_world(&percents);
        let mut spec = before.groups[0].clone();
        (spec.lanes[paused].paused, spec.lanes[paused].admitting) = (true, admitting);
        let meanwhile = World::new(vec![spec], Vec::new(), BTreeSet::new());
        for key in keys {
            let (old, new) = (lane_of(&before, &key), lane_of(&meanwhile, &key));
            let expected = if old == paused { percents.len() } else { old };
            prop_assert_eq!(new, expected, "key {} of lane {} while {} is paused", key, old, paused);
        }
    }
}

/// Whether an instance with `tag` may serve a request that `lane` governs (`None`: that is base).
fn may_serve(lane: Option<&LaneSpec>, tag: Option<&Tag>) -> bool {
    match (lane, tag) {
        (None, tag) => tag.is_none(),
        (Some(lane), None) => lane.fallback != Fallback::Strict,
        (Some(lane), Some(tag)) => {
            lane.tag == *tag || matches!(&lane.fallback, Fallback::Then(tags) if tags.contains(tag))
        }
    }
}

fn ratio_world(percents: &[u16]) -> World {
    let lanes = percents
        .iter()
        .enumerate()
        .map(|(number, percent)| LaneSpec {
            tag: tag(&format!("t{number}")),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry: Entry::Ratio {
                percent_hundredths: *percent,
                sticky_by: Some(Parameter::Header("uid".into())),
                issue: None,
            },
            fallback: Fallback::Then(Vec::new()),
            switched_off: Vec::new(),
        })
        .collect();
    let group = GroupSpec {
        name: GroupName::parse("shares").expect("a valid name"),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes: None }],
        applications: Vec::new(),
        lanes,
    };
    World::new(vec![group], Vec::new(), BTreeSet::new())
}

/// The lane a key falls into, base as one more.
fn lane_of(world: &World, key: &str) -> usize {
    let request = Call { headers: vec![("UID".into(), key.into())], ..Call::default() };
    let mut context = Context::default();
    let at = Entrance::Gateway { gateway: "edge", route: None };
    world.snapshot.enter(at, &request, &mut || panic!("the key is there"), &mut context, &mut ());
    let lanes = world.groups[0].lanes.len();
    context.member(0).and_then(|member| member.lane).map_or(lanes, usize::from)
}

#[test]
fn an_application_entrance_is_an_edge_if_one_group_says_so() {
    let group = |name: &str, edges: &[(&str, bool)]| {
        let entrance = |(name, edge): &(&str, bool)| EntranceSpec::Application {
            name: (*name).to_owned(),
            edge: *edge,
        };
        GroupSpec {
            name: GroupName::parse(name).expect("a valid name"),
            entrances: edges.iter().map(entrance).collect(),
            applications: Vec::new(),
            lanes: Vec::new(),
        }
    };
    let groups = vec![
        group("g", &[("front", false), ("web", false)]),
        group("h", &[("web", true), ("web", false)]),
    ];
    let world = World::new(groups, Vec::new(), BTreeSet::new());
    let edge = |name| world.snapshot.application_entrance(name).map(|entrance| entrance.edge);
    assert_eq!((edge("front"), edge("web"), edge("other")), (Some(false), Some(true), None));
}

#[test]
fn to_explain_nothing_is_ejected() {
    let address = ([10, 0, 0, 1], 80).into();
    let other = ([10, 0, 0, 2], 80).into();
    let endpoint = |address, weight| lanes::Endpoint {
        address,
        application_address: None,
        further: None,
        tag: None,
        weight,
        health: Health::Usable,
        port: Port::default(),
    };
    let id = lanes::ServiceId::new("s", "n", "", "a");
    let service = lanes::Service::new(id, "a", "a", vec![endpoint(address, 0), endpoint(other, 1)]);
    let snapshot = lanes::Snapshot::default();
    let context = Context::default();
    let choice = snapshot.choose(&context, &service, Some(address), &(), 1, &mut ());
    let choice = choice.expect("two are usable");
    assert_eq!(choice.endpoint.address, address, "kept, though it weighs nothing");
    let again = snapshot.choose_again(&choice, &service, &[address], &(), 1);
    assert_eq!(again.expect("one is left").endpoint.address, other);
    assert!(snapshot.choose_again(&choice, &service, &[address, other], &(), 1).is_none());
}

#[test]
fn shares_are_what_was_asked_for() {
    const KEYS: usize = 40_000;
    let percents = [1000, 3000, 25, 1975];
    let world = ratio_world(&percents);
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for key in 0..KEYS {
        *counts.entry(lane_of(&world, &format!("user-{key}"))).or_default() += 1;
    }
    let rest = 10_000 - percents.iter().sum::<u16>();
    for (lane, percent) in percents.into_iter().chain([rest]).enumerate() {
        let share = f64::from(percent) / 10_000.0;
        let expected = share * KEYS as f64;
        let deviation = (KEYS as f64 * share * (1.0 - share)).sqrt();
        let found = counts.get(&lane).copied().unwrap_or_default() as f64;
        assert!((found - expected).abs() < 4.0 * deviation, "lane {lane}: {found} of {expected}");
    }
}

#[test]
fn shares_of_endpoints_follow_their_weights_whoever_is_ejected() {
    const HOPS: u64 = 30_000;
    let world = World::draw(&mut Draw::new(&bytes_of(7, WORLD_BYTES)));
    let endpoint = |number: u8, weight| lanes::Endpoint {
        address: ([10, 9, 9, number], 80).into(),
        application_address: None,
        further: None,
        tag: None,
        weight,
        health: Health::Usable,
        port: Port::default(),
    };
    let endpoints =
        vec![endpoint(0, 1), endpoint(1, 0), endpoint(2, 3), endpoint(3, 6), endpoint(4, 90)];
    let id = lanes::ServiceId::new("s", "n", "", "weighed");
    let service = lanes::Service::new(id, "weighed", "none", endpoints);
    // With the heavy one out nearly every draw misses at first; the rest keep their shares all the same.
    for out in [None, Some(4), Some(0)] {
        let ejected: BTreeSet<_> =
            out.iter().map(|number| ([10, 9, 9, *number], 80).into()).collect();
        let ejections = World { ejected, ..World::new(Vec::new(), Vec::new(), BTreeSet::new()) };
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for ticket in tickets(HOPS) {
            let context = Context::default();
            let choice =
                world.snapshot.choose(&context, &service, None, &ejections, ticket, &mut ());
            *counts.entry(choice.expect("usable").endpoint.address).or_default() += 1;
        }
        let usable =
            || service.endpoints().iter().filter(|peer| !ejections.ejected.contains(&peer.address));
        let sum: u32 = usable().map(|peer| peer.weight).sum();
        for peer in usable() {
            let share = f64::from(peer.weight) / f64::from(sum);
            let expected = share * HOPS as f64;
            let deviation = (HOPS as f64 * share * (1.0 - share)).sqrt();
            let found = counts.get(&peer.address).copied().unwrap_or_default() as f64;
            assert!(
                (found - expected).abs() <= 4.0 * deviation,
                "{out:?} {peer:?}: {found} of {expected}"
            );
        }
    }
}
