//! Everything at once: lanes are switched under load while instances are killed, stopped and frozen, part of the mesh loses
//! its control plane, packets come late, and the control plane is killed, comes back, and comes back as it was before.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testkit::{Instance, Sandbox, relay::Relay, wait};

use crate::fleet::{Fleet, LANES, SETTLED_WITHIN, Scale, Verdict};

/// A switch every 100 ms, while there is a control plane to ask.
const SWITCH_EVERY: Duration = Duration::from_millis(100);

/// Longer than an instance is believed without a heartbeat: it is lost to everybody before it goes on.
const FROZEN_FOR: Duration = Duration::from_secs(8);

/// How long packets are lost, how many, and how late their second copies are: within the second in which a change
/// must be effective.
const LOSSY_FOR: Duration = Duration::from_secs(4);
const ONE_OF: u64 = 10;
const LATE_BY: Duration = Duration::from_millis(200);

/// Switches between a backup and its restore: there is something to go back to.
const SWITCHES_SINCE_BACKUP: usize = 10;

/// Instances that hear the control plane by way of a relay: of each application and lane another one does not.
const BEHIND: [u8; 3] = [11, 13, 24];

/// An instance whose calls go to its sidecar by way of a relay.
const CALLING: u8 = 12;

/// The fleet, and what stands between its parts.
#[derive(Debug)]
pub(crate) struct Together {
    pub(crate) fleet: Fleet,
    to_control: Relay,
    calls: Relay,
    switches: AtomicUsize,
}

/// One thing that is done to them.
pub(crate) type Step = fn(&Together);

/// What is done, one after the other, so that of every application in every lane that had two one instance stays.
const STEPS: [Step; 12] = [
    |all| all.fleet.kill(23),
    |all| all.fleet.restart(23),
    |all| freeze(&all.fleet, 24),
    |all| all.fleet.kill(14),
    |all| all.fleet.restart(14),
    restart_control_plane,
    |all| all.fleet.stop(12),
    |all| all.fleet.restart(12),
    |all| freeze(&all.fleet, 16),
    half_open,
    lose_packets,
    restore,
];

/// Steps that take seconds only.
pub(crate) const FEW_STEPS: [Step; 3] =
    [lose_packets, |all| all.fleet.kill(16), |all| all.fleet.restart(16)];

/// Ends what goes on beside the steps, when one of them panics too.
struct Ends<'flag>(&'flag AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Together {
    pub(crate) fn start(change: impl Fn(&Sandbox, &mut Instance)) -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
        let control = sandbox.discovery_address();
        let between = sandbox.endpoint(9, 7601);
        let to_control = Relay::start(&between, &control, None).unwrap();
        let calling = sandbox.endpoint(CALLING, 15_099);
        let calls = Relay::start(&calling, &sandbox.endpoint(CALLING, 15_001), None).unwrap();
        let fleet = Fleet::start(sandbox, &control, |sandbox, instance| {
            if BEHIND.contains(&instance.host) {
                instance.control = Some(between.clone());
            }
            if instance.host == CALLING {
                instance.proxy = Some(calling.clone());
            }
            change(sandbox, instance);
        });
        Self { fleet, to_control, calls, switches: AtomicUsize::new(0) }
    }

    /// Does all steps again and again until there were so many answers and switches.
    pub(crate) fn run(&self, steps: &[Step], scale: Scale) -> Verdict {
        let answers_min = scale.rate as usize * scale.time.as_secs() as usize;
        let switches_min = (scale.time.as_millis() / SWITCH_EVERY.as_millis()) as usize;
        let over = AtomicBool::new(false);
        let load = self.fleet.load(scale.rate);
        let cycles = thread::scope(|scope| {
            scope.spawn(|| self.switch(&over));
            let _ends = Ends(&over);
            let mut cycles = 0;
            while load.answered() < answers_min
                || self.switches.load(Ordering::Relaxed) < switches_min
            {
                for step in steps {
                    step(self);
                }
                cycles += 1;
            }
            cycles
        });
        let verdict = self.fleet.judge(&load.stop().unwrap());
        let switches = self.switches.load(Ordering::Relaxed);
        eprintln!("{switches} switches, {cycles} times everything; {verdict}");
        verdict
    }

    /// Switches lanes in turn until it is over.
    fn switch(&self, over: &AtomicBool) {
        let mut beat = wait::Beat::every(SWITCH_EVERY);
        while !over.load(Ordering::Relaxed) {
            let turn = beat.wait() as usize;
            let _there_is_a_control_plane = self.fleet.control.lock();
            // Each in turn for three seconds, and the others rest: that is when a late change would be seen.
            self.fleet.toggle(LANES[turn / 30 % LANES.len()]);
            self.switches.fetch_add(1, Ordering::Relaxed);
        }
    }
}

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
    fleet.wait_contact(host);
}

/// `kill -9` of the control plane. Nobody switches a lane before all data planes have found the new one.
fn restart_control_plane(all: &Together) {
    let mut control = all.fleet.control.lock();
    control.kill();
    *control = all.fleet.sandbox.control(&[]).unwrap();
    all.fleet.wait_all_in_contact();
}

/// The connections of some to their control plane are open at both ends and carry nothing, until both ends have
/// noticed; an instance comes and goes meanwhile. No lane is switched, of which they could not know.
fn half_open(all: &Together) {
    let _nobody_switches = all.fleet.control.lock();
    all.to_control.freeze();
    all.fleet.kill(22);
    all.fleet.restart(22);
    for host in BEHIND {
        all.fleet.wait_cut_off(host);
    }
    all.to_control.heal();
    for host in BEHIND {
        all.fleet.wait_contact(host);
    }
}

/// Some of what the control plane says, and of what an application calls, comes late.
fn lose_packets(all: &Together) {
    all.to_control.delay(ONE_OF, LATE_BY);
    all.calls.delay(ONE_OF, LATE_BY);
    wait::Beat::every(LOSSY_FOR).wait();
    all.to_control.heal();
    all.calls.heal();
}

/// The control plane is stopped, and comes back with what it had some switches ago.
fn restore(all: &Together) {
    let Together { fleet, switches, .. } = all;
    let copy = fleet.sandbox.path("copy.db");
    let _of_the_last_time = fs::remove_file(&copy);
    let copy = copy.to_string_lossy();
    let (lanes, switched) = {
        let _nobody_switches = fleet.control.lock();
        fleet.sandbox.must(&["backup", &copy]).unwrap();
        (fleet.lanes(), switches.load(Ordering::Relaxed))
    };
    wait::until_true(SETTLED_WITHIN, "switches since the backup", || {
        switches.load(Ordering::Relaxed) >= switched + SWITCHES_SINCE_BACKUP
    })
    .unwrap();
    let mut control = fleet.control.lock();
    control.ask_to_stop();
    control.wait_for_end(SETTLED_WITHIN).unwrap();
    fleet.sandbox.must(&["restore", &copy]).unwrap();
    let begun = Instant::now();
    *control = fleet.sandbox.control(&[]).unwrap();
    fleet.wait_all_in_contact();
    for (tag, enabled) in lanes {
        fleet.lane_is(tag, enabled, begun);
    }
}

#[test]
fn every_hop_is_right_while_everything_happens_together() {
    let scale = Scale::of_faults(Scale { time: Duration::from_secs(100), rate: 2_000 });
    let all = Together::start(|_, _| ());
    all.run(&STEPS, scale).assert_right();
}
