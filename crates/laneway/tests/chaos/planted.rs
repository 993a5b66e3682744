//! The toggle test itself tested: with a routing bug planted from outside, it must find it.
//!
//! Nothing in the product can be switched to misbehave. The bugs are planted between its parts: an instance that is
//! registered as what it is not, a relay that changes the lane on its way, a relay that holds changes back.

use std::time::Duration;

use testkit::{Instance, Sandbox, relay::Relay};

use crate::{
    fleet::{Fleet, Scale, Verdict},
    together::{FEW_STEPS, Together},
    toggle,
};

/// Long enough to cross a whole rest of the gray lane.
const SHORT: Scale = Scale { time: Duration::from_secs(8), rate: 200 };

#[track_caller]
fn assert_found(verdict: &Verdict, words: &str) {
    assert!(
        verdict.wrong.iter().any(|wrong| wrong.contains(words)),
        "nothing with `{words}` in {:?}",
        verdict.wrong.iter().take(5).collect::<Vec<_>>()
    );
}

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap()
}

#[test]
fn unmarked_requests_on_a_gray_program_are_found() {
    let sandbox = sandbox();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, instance: &mut Instance| {
        // A gray program whose sidecar was started without the tag: base requests reach it.
        if instance.host == 22 {
            instance.announced = None;
        }
    });
    assert_found(&toggle::run(&fleet, SHORT), "got an unmarked request");
}

#[test]
fn a_lane_changed_on_its_way_is_found() {
    let sandbox = sandbox();
    let control = sandbox.discovery_address();
    // What B sends to its sidecar says blue where it said gray.
    let address = sandbox.endpoint(13, 15_099);
    Relay::start(&address, &sandbox.endpoint(13, 15_001), Some(("=gray", "=blue"))).unwrap();
    let fleet = Fleet::start(sandbox, &control, |_, instance: &mut Instance| {
        if instance.host == 13 {
            instance.proxy = Some(address.clone());
        }
    });
    assert_found(&toggle::run(&fleet, SHORT), "Cblue");
}

#[test]
fn a_gateway_that_learns_too_late_is_found() {
    let sandbox = sandbox();
    let address = sandbox.endpoint(1, 15_099);
    let relay = Relay::start(&address, &sandbox.discovery_address(), None).unwrap();
    let fleet = Fleet::start(sandbox, &address, |_, _| ());
    relay.freeze();
    assert_found(&toggle::run(&fleet, SHORT), "though lane gray was disabled for a second");
}

#[test]
fn what_is_wrong_while_everything_happens_is_found() {
    let all = Together::start(|_, instance| {
        if instance.host == 22 {
            instance.announced = None;
        }
    });
    let verdict = all.run(&FEW_STEPS, SHORT);
    assert_found(&verdict, "got an unmarked request");
    assert!(verdict.base_on_tagged > 0, "{verdict}");
}
