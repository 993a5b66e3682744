//! What a lane's toggle costs the hub when everybody must be told: counted always, judged in full
//! (`cargo xtask scale`).

use testkit::large::{self, GROUPS, Large};

use super::*;

/// Processor time of the hub for one toggle: its lock is held for no longer, by everyone together.
const TOGGLE_PROMISED: Duration = Duration::from_millis(5);

/// Processor time of this thread: another test beside it does not count.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

fn large_world(size: &Large) -> World {
    let mut world = World::new();
    for index in 0..size.services {
        let addresses = size.ports(index).map(|port| format!("127.0.0.1:{port}"));
        let id = ServiceId::new("embedded", "default", "", &format!("service-{index}"));
        let endpoints = addresses.map(|address| endpoint(&address)).collect();
        let service =
            Service::new(id.clone(), id.name(), size.application(index).as_str(), endpoints);
        world.hub.update_services("embedded", vec![(id, Some(Arc::new(service)))], world.now);
    }
    world.hub.source_stands("embedded", Standing::Synced, world.now);
    for object in size.objects() {
        world.write(None, Some(&object));
    }
    world.pass(ADMISSION_WAIT);
    world
}

#[test]
fn a_toggle_tells_everybody_twice_and_costs_what_it_tells() {
    let size = Large::asked();
    let mut world = large_world(&size);
    let mut peers = Vec::new();
    for index in 0..size.data_planes {
        let (node, application) = (format!("node-{index}"), size.application(index));
        let mut peer = world.connect(v1::Role::Sidecar, &application, &node, Vec::new());
        // Everybody calls a service of the first group.
        world.subscribe(&peer, &["service-0"], &[]);
        world.sync(&mut peer);
        peers.push(peer);
    }
    world.pass(Duration::from_millis(10));

    let (disabled, enabled) = (large::lane(0, 1, false), large::lane(0, 1, true));
    let mut costs = Vec::new();
    for _ in 0..size.toggles {
        world.write(Some(&enabled), Some(&disabled));
        let mut told = Vec::new();
        tell_all(&mut world, &peers, &mut told);
        told.clear();

        let looks = world.hub.statuses.looks();
        let change = world.change(Some(&disabled), Some(&enabled));
        // Whoever reads keeps the objects of before until after.
        let _before = Arc::clone(world.hub.picture().objects());
        let objects = world.objects_after(&change);
        let begun = processor_time();
        world.hub.apply_objects(&[change], objects, world.now);
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
    let what = format!(
        "hub: processor time of a toggle, {} data planes, {} lanes (lowest of {})",
        size.data_planes,
        GROUPS * size.lanes_per_group,
        costs.len()
    );
    // What others do beside it empties caches, and so only ever adds.
    size.judge(&what, costs.into_iter().min().unwrap(), TOGGLE_PROMISED);
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
