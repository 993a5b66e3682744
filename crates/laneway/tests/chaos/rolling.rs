//! Everything is restarted in turn, as for an update: every instance, the gateways, the control plane in between. No
//! request fails.

use std::time::Duration;

use testkit::{Sandbox, load::Load, wait};

use crate::fleet::{Fleet, SETTLED_WITHIN, Scale, is_full};

/// Load that must pass after each restart, so that each is seen under load.
const ANSWERS_BETWEEN: usize = 100;

/// One of each kind: base with another, of a lane with another, the only one of its lane.
const SOME: [u8; 4] = [12, 14, 23, 33];
const ALL: [u8; 14] = [11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 31, 32, 33, 43];

fn pass(load: &Load) {
    let seen = load.answered() + ANSWERS_BETWEEN;
    wait::until_true(SETTLED_WITHIN, "load to pass", || load.answered() >= seen).unwrap();
}

fn restart_control_plane(fleet: &Fleet) {
    let mut control = fleet.control.lock();
    control.ask_to_stop();
    control.wait_for_end(SETTLED_WITHIN).unwrap();
    *control = fleet.sandbox.control(&[]).unwrap();
    fleet.wait_all_in_contact();
}

/// Another gateway takes over the address, then the first one does again.
fn restart_gateway(fleet: &Fleet) {
    let control = fleet.sandbox.discovery_address();
    for (name, host) in [("gateway-2", 2), ("gateway", 1)] {
        let next = fleet.sandbox.start_gateway(name, host, &control).unwrap();
        fleet.wait_contact(host);
        let mut gateways = fleet.gateways.lock();
        let mut before = std::mem::replace(&mut gateways[0], next);
        before.ask_to_stop();
        before.wait_for_end(SETTLED_WITHIN).unwrap();
    }
}

#[test]
fn no_request_fails_while_everything_is_restarted_in_turn() {
    let scale = Scale::of_faults(Scale { time: Duration::ZERO, rate: 500 });
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    let load = fleet.load(scale.rate);
    let hosts = if is_full() { &ALL[..] } else { &SOME };
    for (turn, host) in hosts.iter().enumerate() {
        fleet.stop(*host);
        fleet.restart(*host);
        pass(&load);
        if turn % 4 == 1 {
            restart_control_plane(&fleet);
            pass(&load);
        }
    }
    restart_gateway(&fleet);
    pass(&load);

    let verdict = fleet.judge(&load.stop().unwrap());
    eprintln!("{} instances, gateways and control plane; {verdict}", hosts.len());
    verdict.assert_right();
    assert_eq!(verdict.lost, 0, "{verdict}");
}
