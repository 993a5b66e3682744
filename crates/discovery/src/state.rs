//! How far a data plane is with its control plane, for readiness, status and metrics.

use std::time::{Duration, Instant};

use api::discovery::v1;
use serde_json::{Value, json};
use telemetry::{Samples, names};

use crate::snapshot::Whose;

/// Whether a data plane can do its work, and how it knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// Requests may be sent to it.
    pub ready: bool,
    /// It works on what it knew earlier, because its control plane is away.
    pub stale: bool,
    /// One sentence.
    pub reason: String,
}

/// Where the picture in use comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// There is none.
    Nothing,
    /// The disk: the control plane has not answered since this process started.
    Disk,
    /// The control plane.
    Control,
}

/// How far it is.
#[derive(Debug, Clone)]
pub struct State {
    /// Where the control plane is expected.
    control: String,
    /// Connected, and told everything.
    connected: bool,
    /// Where the picture in use comes from.
    origin: Origin,
    /// A picture from disk is at hand.
    on_disk: bool,
    /// It is of an earlier run.
    was_here: bool,
    generation: v1::Generation,
    /// When the picture in use was last known to be the control plane's: an age at an instant.
    confirmed: Option<(Duration, Instant)>,
    /// Why there is no connection.
    problem: Option<String>,
    refused: u64,
    resources: usize,
    subscriptions: usize,
}

impl State {
    pub(crate) fn new(control: String) -> Self {
        Self {
            control,
            connected: false,
            origin: Origin::Nothing,
            on_disk: false,
            was_here: false,
            generation: v1::Generation::default(),
            confirmed: None,
            problem: None,
            refused: 0,
            resources: 0,
            subscriptions: 0,
        }
    }

    pub(crate) fn found_on_disk(&mut self, age: Duration, whose: Whose) {
        self.on_disk = true;
        self.was_here = whose == Whose::Own;
        self.confirmed = Some((age, Instant::now()));
    }

    /// Whether a picture of an earlier run was found.
    pub fn was_here(&self) -> bool {
        self.was_here
    }

    /// Whether the control plane has told everything, and is connected.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn has_problem(&self) -> bool {
        self.problem.is_some()
    }

    /// Nothing is published, though there would be something on disk.
    pub(crate) fn is_waiting(&self) -> bool {
        self.on_disk && self.origin == Origin::Nothing
    }

    pub(crate) fn published(&mut self, origin: Origin, generation: v1::Generation) {
        self.origin = origin;
        self.generation = generation;
    }

    pub(crate) fn confirmed(&mut self, refused: u64, resources: usize, subscriptions: usize) {
        self.connected = true;
        self.problem = None;
        self.refused += refused;
        self.resources = resources;
        self.subscriptions = subscriptions;
    }

    pub(crate) fn lost(&mut self, problem: String) {
        if self.connected {
            self.confirmed = Some((Duration::ZERO, Instant::now()));
        }
        self.connected = false;
        self.problem = Some(problem);
    }

    /// How long ago the picture in use was known to be the control plane's.
    fn age(&self) -> Option<Duration> {
        if self.connected {
            return Some(Duration::ZERO);
        }
        self.confirmed.map(|(age, at)| age + at.elapsed())
    }

    /// For `/readyz`: true on a stale picture, and saying so.
    pub fn readiness(&self) -> Readiness {
        let control = &self.control;
        let number = self.generation.number;
        let problem = self.problem.as_deref().unwrap_or("no answer yet");
        let seconds = self.age().unwrap_or_default().as_secs();
        let reason = match self.origin {
            Origin::Nothing => {
                format!("no configuration yet: the control plane at {control} is away ({problem})")
            }
            Origin::Control if self.connected => format!("configuration {number} is current"),
            Origin::Control => format!(
                "the control plane at {control} is away ({problem}); configuration {number} was current {seconds} s ago"
            ),
            Origin::Disk => format!(
                "the control plane at {control} is away ({problem}); configuration {number} comes from disk, written {seconds} s ago"
            ),
        };
        let ready = self.origin != Origin::Nothing;
        Readiness { ready, stale: ready && !self.connected, reason }
    }

    /// For `/status`.
    pub fn status(&self) -> Value {
        json!({
            "control": self.control,
            "connected": self.connected,
            "problem": self.problem,
            "generation": { "epoch": self.generation.epoch, "number": self.generation.number },
            "ageSeconds": self.age().map(|age| age.as_secs()),
            "resources": self.resources,
            "subscriptions": self.subscriptions,
            "refused": self.refused,
        })
    }

    /// For `/metrics`: which configuration is in use. In `serve` the control plane itself says that.
    pub fn sample_generation(&self, samples: &mut Samples) {
        samples.add(names::CONFIG_GENERATION, &[], self.generation.number as f64);
    }

    /// For `/metrics`: how the data plane stands with its control plane.
    pub fn sample(&self, samples: &mut Samples) {
        if let Some(age) = self.age() {
            samples.add(names::CONFIG_AGE, &[], age.as_secs_f64());
        }
        samples.add(names::CONFIG_REJECTED, &[], self.refused as f64);
        samples.add(names::CONTROL_CONNECTED, &[], f64::from(u8::from(self.connected)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: &State, ready: bool, stale: bool, words: &str) {
        let readiness = state.readiness();
        assert_eq!((readiness.ready, readiness.stale), (ready, stale), "{readiness:?}");
        assert!(readiness.reason.contains(words), "{readiness:?} lacks {words:?}");
    }

    #[test]
    fn a_data_plane_is_ready_with_any_picture_and_says_when_it_is_old() {
        let mut state = State::new("control:7601".into());
        check(&state, false, false, "no configuration yet: the control plane at control:7601");
        state.lost("connection refused".into());
        check(&state, false, false, "connection refused");
        state.found_on_disk(Duration::from_secs(90), Whose::Own);
        assert!(state.is_waiting());
        state.published(Origin::Disk, v1::Generation { epoch: "e".into(), number: 4 });
        check(&state, true, true, "configuration 4 comes from disk, written 90 s ago");
        state.published(Origin::Control, v1::Generation { epoch: "e".into(), number: 5 });
        state.confirmed(0, 1, 1);
        check(&state, true, false, "configuration 5 is current");
        state.lost("it closed the stream".into());
        check(&state, true, true, "configuration 5 was current 0 s ago");
    }
}
