//! Waiting for a condition, with a deadline. Nothing in a test waits for time to pass and hopes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Repeats an attempt until it succeeds; at the deadline the last reason is the error.
///
/// # Errors
/// When the deadline passes.
pub fn until<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() >= deadline => {
                bail!("{what}: not within {deadline:?}: {error:#}")
            }
            Err(_) => pause(LOOK_EVERY),
        }
    }
}

/// Repeats a question until the answer is yes.
///
/// # Errors
/// When the deadline passes.
pub fn until_true(
    deadline: Duration,
    what: &str,
    mut question: impl FnMut() -> bool,
) -> Result<()> {
    until(deadline, what, || if question() { Ok(()) } else { bail!("still not so") })
}

/// Lets time pass where the passing of time is what is tested: the beat of a schedule, a period that must stay quiet.
/// To wait for something, use [`until`].
#[allow(
    clippy::disallowed_methods,
    reason = "the one place; everything else waits for a condition"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The beat of a schedule: `beat.wait()` returns when the next multiple of the period has come.
#[derive(Debug)]
pub struct Beat {
    started: Instant,
    period: Duration,
    beats: u32,
}

impl Beat {
    /// A beat that starts now.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self { started: Instant::now(), period, beats: 0 }
    }

    /// Waits for the next beat; returns its number, from 1. A late caller gets the missed beats at once.
    pub fn wait(&mut self) -> u32 {
        self.beats += 1;
        let due = self.started + self.period * self.beats;
        pause(due.saturating_duration_since(Instant::now()));
        self.beats
    }

    /// Time since the first beat was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
