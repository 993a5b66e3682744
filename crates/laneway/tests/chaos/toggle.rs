//! The toggle test: a lane is switched every 100 ms under load while instances come, go and are killed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use testkit::{Sandbox, wait};

use crate::fleet::{Fleet, Scale, Verdict, is_full};

/// A switch every 100 ms.
const SWITCH_EVERY: Duration = Duration::from_millis(100);

/// The share of answers that must really have been in a lane, or the test would prove nothing.
const IN_LANE_PERCENT_MIN: usize = 20;

/// One cycle of switches, a lane's tag each. Gray is switched 29 times in a row, then rests disabled for 1.6 s while
/// blue is switched, is enabled, and rests for 1.5 s while green is: the rests are when a late change would be seen.
fn lane_to_switch(beat: u32) -> &'static str {
    match beat % 61 {
        0..29 => "gray",
        29..45 => "blue",
        45 => "gray",
        _ => "green",
    }
}

/// Runs the test on a fleet; what was planted in it is the caller's business.
pub(crate) fn run(fleet: &Fleet, scale: Scale) -> Verdict {
    let over = AtomicBool::new(false);
    let load = fleet.load(scale.rate);
    let switches = thread::scope(|scope| {
        scope.spawn(|| come_go_and_die(fleet, &over));
        let mut beat = wait::Beat::every(SWITCH_EVERY);
        let mut switches = 0;
        while beat.elapsed() < scale.time {
            fleet.toggle(lane_to_switch(beat.wait() - 1));
            switches += 1;
        }
        over.store(true, Ordering::Relaxed);
        switches
    });
    let sent = load.stop().unwrap();
    let verdict = fleet.judge(&sent);
    eprintln!("{switches} switches; {verdict}");
    verdict
}

/// Kills, stops and starts instances in turn until it is over. One base instance of each application stays, and one
/// gray A; C's gray instances are sometimes all gone.
fn come_go_and_die(fleet: &Fleet, over: &AtomicBool) {
    type Step = fn(&Fleet, u8);
    const KILL: Step = Fleet::kill;
    const STOP: Step = Fleet::stop;
    const START: Step = Fleet::restart;
    let steps = [
        (KILL, 23),
        (STOP, 24),
        (START, 23),
        (KILL, 14),
        (START, 24),
        (STOP, 12),
        (START, 14),
        (KILL, 22),
        (START, 12),
        (KILL, 16),
        (START, 22),
        (START, 16),
    ];
    let mut beat = wait::Beat::every(Duration::from_millis(900));
    for (step, host) in steps.iter().cycle() {
        beat.wait();
        if over.load(Ordering::Relaxed) {
            return;
        }
        step(fleet, *host);
    }
}

#[test]
fn every_hop_is_right_while_lanes_are_switched_and_instances_come_and_go() {
    // The experiment in full is of 1 000 switches.
    let scale = if is_full() {
        Scale { time: Duration::from_secs(100), rate: 300 }
    } else {
        Scale::of(Scale { time: Duration::from_secs(60), rate: 2_000 })
    };
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    let verdict = run(&fleet, scale);
    verdict.assert_right();
    let expected = u64::from(scale.rate) * scale.time.as_secs();
    assert!(
        verdict.answers as u64 * 10 >= expected * 9,
        "only {} of {expected} requests were sent in time",
        verdict.answers
    );
    assert!(
        verdict.lane * 100 >= verdict.answers * IN_LANE_PERCENT_MIN,
        "too few in a lane: {verdict}"
    );
}
