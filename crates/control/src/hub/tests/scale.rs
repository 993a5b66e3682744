//! What a lane's toggle costs the hub when everybody must be told: counted always, timed for people.
//!
//! `LANEWAY_SCALE=full` makes it as large as Laneway promises: 1 000 services with 10 instances each, 1 000 lanes,
//! 1 000 data planes that all have the lane's group.
#![allow(clippy::print_stderr, reason = "figures are for people")]

use super::*;

struct Size {
    services: usize,
    instances: usize,
    groups: usize,
    lanes_per_group: usize,
    data_planes: usize,
    toggles: usize,
}

impl Size {
    #[allow(clippy::disallowed_methods, reason = "the size is chosen by whoever runs the test")]
    fn asked() -> Self {
        let full = std::env::var("LANEWAY_SCALE").is_ok_and(|scale| scale == "full");
        let pick = |small, large| if full { large } else { small };
        Self {
            services: pick(50, 1_000),
            instances: pick(2, 10),
            groups: 8,
            lanes_per_group: pick(5, 125),
            data_planes: pick(50, 1_000),
            toggles: pick(2, 20),
        }
    }
}

/// Processor time of this thread: another test beside it does not count.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

fn large_group(index: usize, size: &Size) -> Value {
    let applications: Vec<String> = (0..size.services)
        .filter(|service| service % size.groups == index)
        .map(|service| format!("app-{service}"))
        .collect();
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": format!("group-{index}")},
        "spec": {"entrances": [{"gateway": "edge"}], "applications": applications},
    })
}

fn large_lane(group: usize, index: usize, enabled: bool) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": format!("lane-{group}-{index}")},
        "spec": {"group": format!("group-{group}"), "tag": format!("tag-{index}"), "enabled": enabled,
            "entry": {"content": {"conditions": [
                {"header": "canary", "operator": "in", "values": [format!("{group}-{index}"), "x", "y"]},
            ]}}},
    })
}

fn large_world(size: &Size) -> World {
    let mut world = World::with_services(&[]);
    for index in 0..size.services {
        let port = |instance| format!("127.0.0.1:{}", 1 + index * size.instances + instance);
        let addresses: Vec<String> = (0..size.instances).map(port).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        world.serve(&index.to_string(), &addresses);
    }
    for group in 0..size.groups {
        world.write(None, Some(&large_group(group, size)));
        for lane in 0..size.lanes_per_group {
            world.write(None, Some(&large_lane(group, lane, true)));
        }
    }
    world.pass(ADMISSION_WAIT);
    world
}

#[test]
fn a_toggle_tells_everybody_twice_and_costs_what_it_tells() {
    let size = Size::asked();
    let mut world = large_world(&size);
    let mut peers = Vec::new();
    for index in 0..size.data_planes {
        let (node, application) =
            (format!("node-{index}"), format!("app-{}", index % size.services));
        let mut peer = world.connect(v1::Role::Sidecar, &application, &node, Vec::new());
        // Everybody calls a service of the first group.
        world.subscribe(&peer, &["sc-0"], &[]);
        world.sync(&mut peer);
        peers.push(peer);
    }
    world.pass(Duration::from_millis(10));

    let mut costs = Vec::new();
    for _ in 0..size.toggles {
        world.write(Some(&large_lane(0, 1, true)), Some(&large_lane(0, 1, false)));
        let mut told = Vec::new();
        tell_all(&mut world, &peers, &mut told);
        told.clear();

        let looks = world.hub.statuses.looks();
        let begun = processor_time();
        world.write(Some(&large_lane(0, 1, false)), Some(&large_lane(0, 1, true)));
        tell_all(&mut world, &peers, &mut told);
        world.now += Duration::from_millis(10);
        world.hub.advance(world.now);
        tell_all(&mut world, &peers, &mut told);
        costs.push(processor_time() - begun);
        assert_eq!(
            told.len(),
            2 * size.data_planes,
            "told of the lane, and that requests may enter it"
        );
        assert!(world.hub.picture().groups.held_back().next().is_none());
        // Not for every acknowledgement, and of the toggled lane's group only.
        let of_group = 1 + size.lanes_per_group as u64;
        assert!(world.hub.statuses.looks() - looks <= 3 * of_group);
        world.pass(Duration::from_millis(200));
    }
    costs.sort();
    eprintln!(
        "toggle of a lane that {} data planes have: {:?} of the hub's time (median of {})",
        size.data_planes,
        costs[costs.len() / 2],
        costs.len()
    );
}

/// Everybody is told what there is to tell and confirms it; the driver looks after each, as it may at worst.
fn tell_all(world: &mut World, peers: &[Peer], told: &mut Vec<Told>) {
    for peer in peers {
        let Some(message) = world.hub.next_message(&peer.node, peer.connection) else { continue };
        let generation = v1::Generation { epoch: "epoch".to_owned(), number: message.number };
        let ack = v1::Ack { generation: Some(generation), refused: Vec::new() };
        assert!(world.say(peer, Message::Ack(ack)));
        told.push(message);
        world.hub.advance(world.now);
    }
}
