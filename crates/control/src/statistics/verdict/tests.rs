//! Simulated traffic: healthy lanes are not accused, faulty ones are named.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use telemetry::sketch;

use super::*;

/// Seconds of a step.
const STEP: u64 = 2;

/// A chain A → B → C, in which a lane has instances of all.
const CHAIN: [&str; 3] = ["a", "b", "c"];

/// What C does to a request.
#[derive(Clone, Copy, Default)]
struct C {
    errors: f64,
    delay_ms: f64,
}

struct World {
    random: StdRng,
    trial: Trial,
    second: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut trial = Trial::default();
        trial.calls(0, "a", "b");
        trial.calls(0, "b", "c");
        Self { random: StdRng::seed_from_u64(seed), trial, second: 0 }
    }

    /// About so many.
    fn about(&mut self, mean: f64) -> u64 {
        let whole = mean.floor() as u64;
        let more = u64::from(self.random.random::<f64>() < mean.fract());
        // Binomial of twice as many: as variable as half a Poisson process, and on top of bursts.
        (0..2 * whole).filter(|_| self.random.random::<bool>()).count() as u64 + more
    }

    /// One request through the chain, counted at each of its hops.
    fn request(&mut self, steps: &mut [Step; 3], is_lane: bool, c: C) {
        let mut hops = [0.0_f64; 3];
        for hop in &mut hops {
            *hop = 1.0 + 4.0 * -self.random.random::<f64>().max(1e-9).ln();
        }
        hops[2] += c.delay_ms;
        let is_failed = self.random.random::<f64>() < c.errors;
        let mut milliseconds = 0.0;
        for hop in (0..3).rev() {
            milliseconds += hops[hop];
            let step = &mut steps[hop];
            let side = if is_lane { &mut step.lane } else { &mut step.base };
            side.requests += 1;
            side.errors += u64::from(is_failed);
            side.failed_calls += u64::from(is_failed && hop < 2);
            side.durations[sketch::bucket_of((milliseconds * 1e6) as u64)] += 1;
        }
    }

    /// Lets so many requests of the lane and of base pass in a step.
    fn step(&mut self, [lane, base]: [f64; 2], of_lane: C, of_base: C) {
        let mut steps: [Step; 3] = Default::default();
        for (mean, is_lane, c) in [(lane, true, of_lane), (base, false, of_base)] {
            for _ in 0..self.about(mean * STEP as f64) {
                self.request(&mut steps, is_lane, c);
            }
        }
        for (name, step) in CHAIN.iter().zip(&steps) {
            self.trial.observe(self.second, name, step);
        }
        self.second += STEP;
    }

    fn verdict(&self) -> Verdict {
        self.trial.judge(&Effect::default(), self.second)
    }
}

/// Ten minutes of a healthy lane, looked at after each step; what it was accused of.
fn healthy(seed: u64) -> (Option<Verdict>, State) {
    let mut world = World::new(seed);
    let rates = [[25.0, 25.0], [3.0, 40.0], [0.3, 5.0], [40.0, 8.0]][seed as usize % 4];
    for step in 0..600 / STEP {
        // Both get worse and better together, and come in bursts, each for itself.
        let phase = (step as f64 / 40.0 + seed as f64).sin();
        let both = C { errors: 0.002 + 0.03 * phase.max(0.0), delay_ms: 20.0 * phase.max(0.0) };
        let mut burst = || if world.random.random::<f64>() < 0.1 { 5.0 } else { 0.7 };
        let rates = rates.map(|rate| rate * burst());
        world.step(rates, both, both);
        let verdict = world.verdict();
        if verdict.state == State::Worse {
            return (Some(verdict), State::Worse);
        }
    }
    let state = world.verdict().state;
    (None, state)
}

#[test]
fn of_a_hundred_healthy_lanes_none_is_ever_accused() {
    let accused: Vec<_> = (0..100).filter_map(|seed| Some((seed, healthy(seed).0?))).collect();
    assert!(accused.is_empty(), "{accused:#?}");
}

#[test]
fn a_healthy_lane_with_enough_traffic_is_no_worse() {
    let mut world = World::new(7);
    let fine = C { errors: 0.002, delay_ms: 0.0 };
    world.step([5.0, 45.0], fine, fine);
    let first = world.verdict();
    let about = first.about().unwrap();
    assert_eq!(first.state, State::TooLittle);
    let needed = about.needed.unwrap();
    assert!(needed > about.requests && needed < 5_000, "{about:?}");
    for _ in 0..300 / STEP {
        world.step([10.0, 40.0], fine, fine);
    }
    assert_eq!(world.verdict().state, State::NoWorse, "{:#?}", world.verdict());
}

/// Seconds from when C of the lane got worse until it was named.
fn named_after(seed: u64, rate: f64, healthy_seconds: u64, fault: C) -> u64 {
    let mut world = World::new(seed);
    let fine = C { errors: 0.002, delay_ms: 0.0 };
    for _ in 0..healthy_seconds / STEP {
        world.step([rate, rate], fine, fine);
    }
    let began = world.second;
    while world.second < began + 300 {
        world.step([rate, rate], fault, fine);
        let verdict = world.verdict();
        if verdict.state == State::Worse {
            assert_eq!(verdict.culprit.as_deref(), Some("c"), "seed {seed}: {verdict:#?}");
            let (_, since, _) = verdict.about().unwrap().worse.unwrap();
            assert!(since + 300 >= began, "{since} is long before {began}");
            return world.second - began;
        }
    }
    panic!("seed {seed}: never named");
}

#[test]
fn errors_in_c_are_named_within_half_a_minute() {
    let fault = C { errors: 0.05, delay_ms: 0.0 };
    for healthy_seconds in [0, 600] {
        let of = |rate: f64| -> Vec<u64> {
            let after = (0..10).map(|seed| named_after(seed, rate, healthy_seconds, fault));
            let mut after: Vec<u64> = after.collect();
            after.sort_unstable();
            after
        };
        let after = of(50.0);
        // One in ten begins with errors of base that speak for the lane.
        assert!(after[8] <= 30 && after[9] <= 45, "50 requests/s in the lane: {after:?}");
        // Half as many have half as many errors to tell of.
        let after = of(25.0);
        assert!(after[5] <= 30 && after[9] <= 90, "25 requests/s in the lane: {after:?}");
    }
}

#[test]
fn a_slow_c_is_named_within_half_a_minute() {
    for seed in 0..20 {
        let after = named_after(seed, 25.0, 60, C { errors: 0.002, delay_ms: 50.0 });
        assert!(after <= 30, "seed {seed}: {after} s");
    }
}

#[test]
fn a_lane_without_requests_has_too_little_traffic() {
    let verdict = Trial::default().judge(&Effect::default(), 0);
    assert_eq!((verdict.state, verdict.about()), (State::TooLittle, None));
}

#[test]
fn what_comes_from_beyond_the_group_has_no_culprit_in_it() {
    let mut trial = Trial::default();
    for second in 0..60 {
        let fine = Side { requests: 50, ..Side::default() };
        let lane = Side { requests: 50, errors: 5, failed_calls: 5, ..Side::default() };
        trial.observe(second, "a", &Step { lane, base: fine });
    }
    let verdict = trial.judge(&Effect::default(), 60);
    assert_eq!((verdict.state, verdict.culprit.as_deref()), (State::Worse, None));
    assert_eq!(verdict.about().unwrap().state, State::PassedOn);
}

#[test]
fn a_call_that_fails_before_its_request_does_is_no_error_of_the_caller() {
    let mut trial = Trial::default();
    for second in 0..120 {
        let fine = Side { requests: 50, ..Side::default() };
        // What fails in an even second is told as an error in the odd one.
        let (errors, failed_calls) = if second % 2 == 0 { (0, 5) } else { (5, 0) };
        let lane = Side { requests: 50, errors, failed_calls, ..Side::default() };
        trial.observe(second, "a", &Step { lane, base: fine });
    }
    let verdict = trial.judge(&Effect::default(), 120);
    assert_eq!(verdict.about().unwrap().state, State::PassedOn, "{verdict:#?}");
}

#[test]
fn calls_that_fail_as_often_for_base_excuse_nobody() {
    let mut trial = Trial::default();
    for second in 0..60 {
        // Both do without what one call in ten does not answer; the lane fails by itself besides.
        let base = Side { requests: 50, failed_calls: 5, ..Side::default() };
        let lane = Side { errors: 3, ..base.clone() };
        trial.observe(second, "a", &Step { lane, base });
    }
    let verdict = trial.judge(&Effect::default(), 60);
    assert_eq!((verdict.state, verdict.culprit.as_deref()), (State::Worse, Some("a")));
}

#[test]
fn errors_told_some_steps_after_the_calls_they_come_from_are_passed_on() {
    let mut trial = Trial::default();
    for second in 0..200 {
        let fine = Side { requests: 50, ..Side::default() };
        // Retries take four steps, so the errors of the last calls are told beside no more of these.
        let failed_calls = if second % 10 == 0 { 25 } else { 0 };
        let errors = if second % 10 == 4 { 25 } else { 0 };
        let lane = Side { requests: 50, errors, failed_calls, ..Side::default() };
        trial.observe(second, "a", &Step { lane, base: fine });
    }
    let verdict = trial.judge(&Effect::default(), 200);
    assert_eq!((verdict.state, verdict.culprit.as_deref()), (State::Worse, None), "{verdict:#?}");
}

#[test]
fn a_lane_without_requests_for_long_has_no_verdict_any_more() {
    let mut trial = Trial::default();
    for second in 0..60 {
        let base = Side { requests: 50, ..Side::default() };
        let lane = Side { errors: 10, ..base.clone() };
        trial.observe(second, "a", &Step { lane, base });
    }
    assert_eq!(trial.judge(&Effect::default(), 300).state, State::Worse);
    // Base goes on.
    let base = Side { requests: 50, ..Side::default() };
    trial.observe(398, "a", &Step { lane: Side::default(), base });
    let verdict = trial.judge(&Effect::default(), 400);
    assert_eq!((verdict.state, verdict.culprit.as_deref()), (State::TooLittle, None));
    assert!(verdict.about().unwrap().is_idle);
    // Who leaves the group has no say in it.
    trial.keep(&["b".to_owned()], 400);
    assert_eq!(trial.judge(&Effect::default(), 300).applications, []);
}
