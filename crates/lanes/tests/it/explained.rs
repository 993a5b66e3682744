//! What is explained is what is decided: the same functions, watched.

use lanes::{Context, Explanation, explain::Step, service::Health};

use crate::world::{Draw, World, baggage, bytes_of, call, entrance};

/// The number of random cases.
const CASES: u64 = 10_000;

/// Bytes a case may use. Worlds are small; larger ones are the properties' matter.
const CASE_BYTES: usize = 400;

#[test]
fn an_explanation_says_what_is_decided() {
    for seed in 0..CASES {
        let bytes = bytes_of(seed, CASE_BYTES);
        let mut draw = Draw::new(&bytes);
        let (request, at) = (call(&mut draw), entrance(&mut draw));
        let random = [draw.below(256) as u8; 16];
        let carried = baggage(&mut draw);
        let world = World::with_lanes(&mut draw, &[1, 2, 3, 5]);

        let read = || Context::read(&world.snapshot, std::iter::once(carried.as_bytes()));
        let (mut quiet, mut watched) = (read(), read());
        let mut told = Explanation::default();
        world.snapshot.enter(at, &request, &mut || random, &mut quiet, &mut ());
        world.snapshot.enter(at, &request, &mut || random, &mut watched, &mut told);
        assert_eq!(quiet, watched, "case {seed}");
        check_entrance(&world, &read(), &watched, &told, seed);
        for service in &world.services {
            let pick = draw.one_in(2).then(|| service.endpoints().first()).flatten();
            let pick = pick.map(|picked| picked.address);
            let ticket = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let quiet = world.snapshot.choose(&watched, service, pick, &world, ticket, &mut ());
            let mut told = Explanation::default();
            let choice = world.snapshot.choose(&watched, service, pick, &world, ticket, &mut told);
            assert_eq!(format!("{quiet:?}"), format!("{choice:?}"), "case {seed}");
            check_hop(&world, service, choice.ok(), &told, seed);
        }
    }
}

/// Each group decided here says so once, and names exactly the lane that was taken among all its lanes.
fn check_entrance(world: &World, before: &Context, after: &Context, told: &Explanation, seed: u64) {
    for (group, index) in world.snapshot.groups().iter().zip(0..) {
        let name = group.name().as_str();
        let lanes: Vec<(&str, bool)> = told
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Lane { group, tag, matched, because } if group == name => {
                    assert!(!because.is_empty(), "case {seed}: no reason for {tag}");
                    Some((tag.as_str(), *matched))
                }
                _ => None,
            })
            .collect();
        let is_decided_here = before.member(index).is_none() && after.member(index).is_some();
        let wanted: Vec<(&str, bool)> = group
            .spec()
            .lanes
            .iter()
            .zip(0..)
            .filter(|_| is_decided_here)
            .map(|(lane, number)| {
                let taken = after.member(index).and_then(|member| member.lane);
                (lane.tag.as_str(), taken == Some(number))
            })
            .collect();
        assert_eq!(lanes, wanted, "case {seed}: {told:#?}");
        let result = told.steps.iter().find_map(|step| match step {
            Step::Member { group, tag, .. } if group == name => Some(tag.clone()),
            _ => None,
        });
        if let (Some(told), Some(member)) = (result, after.member(index)) {
            let tag = member.lane.map(|lane| group.spec().lanes[usize::from(lane)].tag.to_string());
            assert_eq!(told, tag, "case {seed}");
        }
    }
}

/// Exactly the set that serves is told to be chosen, exactly those that could have been are candidates.
fn check_hop(
    world: &World,
    service: &lanes::Service,
    choice: Option<lanes::Choice<'_>>,
    told: &Explanation,
    seed: u64,
) {
    let chosen: Vec<Option<String>> = told
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Subset { chosen: true, tag, .. } => Some(tag.clone()),
            _ => None,
        })
        .collect();
    let wanted: Vec<Option<String>> =
        choice.iter().map(|choice| choice.endpoint.tag.as_ref().map(ToString::to_string)).collect();
    assert_eq!(chosen, wanted, "case {seed}: {told:#?}");

    let is_ejected = |endpoint: &lanes::Endpoint| world.ejected.contains(&endpoint.address);
    let are_all_out = choice.is_some_and(|choice| is_ejected(choice.endpoint));
    let told_instances: Vec<(String, bool)> = told
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Instance { address, candidate, because, .. } => {
                let is_picked =
                    choice.is_some_and(|choice| choice.endpoint.address.to_string() == *address);
                let is_told = because.starts_with("chosen") || because.starts_with("kept");
                assert_eq!(is_picked, is_told, "case {seed}: {address} {because}");
                Some((address.clone(), *candidate))
            }
            _ => None,
        })
        .collect();
    let wanted: Vec<(String, bool)> = service
        .endpoints()
        .iter()
        .map(|endpoint| {
            let is_candidate = choice.is_some_and(|choice| choice.endpoint.tag == endpoint.tag)
                && endpoint.health == Health::Usable
                && (are_all_out || !is_ejected(endpoint));
            (endpoint.address.to_string(), is_candidate)
        })
        .collect();
    assert_eq!(told_instances, wanted, "case {seed}: {told:#?}");
}
