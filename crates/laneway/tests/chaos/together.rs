//! Everything at once: lanes are switched under load while instances are killed, stopped and frozen, and the control plane
//! is killed and comes back.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testkit::{Sandbox, http, wait};

use crate::fleet::{Fleet, Scale};

/// A switch every 100 ms, while there is a control plane to ask.
const SWITCH_EVERY: Duration = Duration::from_millis(100);

/// Longer than an instance is believed without a heartbeat: it is lost to everybody before it goes on.
const FROZEN_FOR: Duration = Duration::from_secs(8);

/// Longest until all data planes have found the control plane again.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// What is done, one after the other, so that of every application in every lane that had two one instance stays.
const STEPS: [fn(&Fleet); 9] = [
    |fleet| fleet.kill(23),
    |fleet| fleet.restart(23),
    |fleet| freeze(fleet, 24),
    |fleet| fleet.kill(14),
    |fleet| fleet.restart(14),
    restart_control_plane,
    |fleet| fleet.stop(12),
    |fleet| fleet.restart(12),
    |fleet| freeze(fleet, 16),
];

/// Stops an instance in the midst of what it does: its application and its sidecar.
fn freeze(fleet: &Fleet, host: u8) {
    let signal = |signal| {
        let running = fleet.running();
        let instance = &running[&host];
        instance.sidecar.signal(signal);
        instance.application.signal(signal);
    };
    signal(Signal::STOP);
    wait::Beat::every(FROZEN_FOR).wait();
    signal(Signal::CONT);
    wait::until(FOUND_WITHIN, "what was frozen to be back", || is_in_contact(fleet, host)).unwrap();
}

/// `kill -9` of the control plane. Nobody switches a lane before all data planes have found the new one.
fn restart_control_plane(fleet: &Fleet) {
    let mut control = fleet.control.lock();
    control.kill();
    *control = fleet.sandbox.control(&[]).unwrap();
    let mut hosts: Vec<u8> = fleet.running().keys().copied().collect();
    hosts.push(1);
    for host in hosts {
        wait::until(FOUND_WITHIN, "the control plane to be found", || is_in_contact(fleet, host))
            .unwrap();
    }
}

fn is_in_contact(fleet: &Fleet, host: u8) -> Result<()> {
    let ready = http::get(&fleet.sandbox.endpoint(host, 15020), "/readyz", &[])?;
    ensure!(ready.status == 200 && ready.body.contains(r#""stale":false"#), "{}", ready.body);
    Ok(())
}

/// Switches lanes in turn until it is over; how often.
fn switch(fleet: &Fleet, over: &AtomicBool, switches: &AtomicUsize) {
    let mut enabled = ["gray", "blue", "green"].map(|tag| (tag, true));
    let mut beat = wait::Beat::every(SWITCH_EVERY);
    while !over.load(Ordering::Relaxed) {
        let turn = beat.wait() as usize;
        // Each in turn for three seconds, and the others rest: that is when a late change would be seen.
        let (tag, is_enabled) = &mut enabled[turn / 30 % 3];
        *is_enabled = !*is_enabled;
        let _there_is_a_control_plane = fleet.control.lock();
        fleet.switch(tag, *is_enabled);
        switches.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_hop_is_right_while_everything_happens_together() {
    let scale = Scale::of(Scale { time: Duration::from_secs(100), rate: 2_000 });
    let answers_min = scale.rate as usize * scale.time.as_secs() as usize;
    let switches_min = (scale.time.as_millis() / SWITCH_EVERY.as_millis()) as usize;
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    let (over, switches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = fleet.load(scale.rate);
    let cycles = thread::scope(|scope| {
        scope.spawn(|| switch(&fleet, &over, &switches));
        let mut cycles = 0;
        while load.answered() < answers_min || switches.load(Ordering::Relaxed) < switches_min {
            for step in STEPS {
                step(&fleet);
            }
            cycles += 1;
        }
        over.store(true, Ordering::Relaxed);
        cycles
    });
    let verdict = fleet.judge(&load.stop().unwrap());
    let switches = switches.into_inner();
    eprintln!("{switches} switches, {cycles} times everything; {}", verdict.summary());
    verdict.assert_right();
}
