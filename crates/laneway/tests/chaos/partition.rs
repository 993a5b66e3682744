//! Half of the mesh, then all of it, is cut off from the control plane while instances are killed and others come, one at
//! the address of another: nothing is wrong meanwhile, and when it is over everybody knows everything.

use std::time::Duration;

use testkit::{Instance, Sandbox, http, load::Load, relay::Relay, wait};

use crate::fleet::{Fleet, SETTLED_WITHIN, Scale};

/// Seconds of load that must pass in each state.
const SECONDS_IN_EACH: usize = 3;

/// A switch every 100 ms, when the mesh is whole.
const SWITCH_EVERY: Duration = Duration::from_millis(100);

/// The gateway's host: its admin address is there.
const GATEWAY: u8 = 1;

/// The mesh, and the two ways by which its halves hear their control plane.
struct World {
    fleet: Fleet,
    /// Of instances on hosts of an even number.
    even: Relay,
    /// Of the others, and of the gateway.
    odd: Relay,
    ways: [String; 2],
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
        let control = sandbox.discovery_address();
        let ways = [7_601, 7_602].map(|port| sandbox.endpoint(9, port));
        let [even, odd] =
            [&ways[0], &ways[1]].map(|way| Relay::start(way, &control, None).unwrap());
        let fleet = Fleet::start(sandbox, &ways[1], |_, instance| {
            instance.control = Some(ways[usize::from(instance.host % 2)].clone());
        });
        Self { fleet, even, odd, ways }
    }

    fn pass(&self, load: &Load, scale: Scale) {
        let seen = load.answered() + SECONDS_IN_EACH * scale.rate as usize;
        wait::until_true(SETTLED_WITHIN, "load to pass", || load.answered() >= seen).unwrap();
    }

    /// Switches a lane off and on: everybody is told at once again.
    fn switch(&self) {
        let mut beat = wait::Beat::every(SWITCH_EVERY);
        for tag in ["gray", "blue"].iter().cycle().take(20) {
            beat.wait();
            self.fleet.toggle(tag);
        }
        assert!(self.fleet.lanes().values().all(|enabled| *enabled), "{:?}", self.fleet.lanes());
    }

    fn new_instance(&self, name: &'static str, tag: Option<&'static str>, host: u8) -> Instance {
        let mut instance = Instance::of_chain(name, tag, host);
        instance.control = Some(self.ways[usize::from(host % 2)].clone());
        instance
    }

    /// Waits until a request with this mark is answered by way of this host.
    fn is_called(&self, host: u8, mark: &str) {
        let address = format!("[{}]", self.fleet.sandbox.host(host));
        wait::until(SETTLED_WITHIN, &format!("an answer by way of {address}"), || {
            let mark = format!("canary: {mark}");
            let answer = http::get(&self.fleet.sandbox.gateway_address(), "/a", &[&mark])?;
            anyhow::ensure!(answer.body.contains(&address), "{} {}", answer.status, answer.body);
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn nothing_is_wrong_while_half_the_mesh_or_all_of_it_is_cut_off_and_instances_move() {
    let scale = Scale::of_faults(Scale { time: Duration::ZERO, rate: 1_000 });
    let world = World::new();
    let fleet = &world.fleet;
    let load = fleet.load(scale.rate);
    world.pass(&load, scale);

    world.even.freeze();
    // One that is not cut off dies and comes back; those that are cut off do not hear of it.
    fleet.kill(23);
    fleet.restart(23);
    for host in [12, 14, 16, 22, 24, 32] {
        fleet.wait_cut_off(host);
    }
    world.pass(&load, scale);
    world.even.heal();
    fleet.wait_all_in_contact();
    world.switch();
    // What was switched last is known everywhere before nobody can be told any more.
    world.pass(&load, scale);

    world.even.freeze();
    world.odd.freeze();
    let hosts: Vec<u8> = fleet.running().keys().copied().collect();
    for host in hosts.into_iter().chain([GATEWAY]) {
        fleet.wait_cut_off(host);
    }
    // Of C one stays; where the other was is gray now, and nobody can be told. Of B one stays, and another comes of which
    // nobody knows.
    fleet.kill(16);
    fleet.begin(&world.new_instance("C", Some("gray"), 16));
    fleet.kill(14);
    fleet.begin(&world.new_instance("B", None, 17));
    world.pass(&load, scale);
    world.even.heal();
    world.odd.heal();
    fleet.wait_all_in_contact();
    for (host, mark) in [(16, "gray"), (17, "none")] {
        fleet.ready(host);
        world.is_called(host, mark);
    }
    world.switch();
    world.pass(&load, scale);

    let verdict = fleet.judge(&load.stop().unwrap());
    eprintln!("{verdict}");
    verdict.assert_right();
}
