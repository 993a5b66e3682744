//! The embedded registry: sidecars register their application, keep it alive by heartbeats, and take it out.
//!
//! [`state::State`] is the registry itself, a machine to which time is an argument. [`Embedded`] runs it as a
//! task that also lets time pass, and tells what changed as [`Event`]s.

pub mod state;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use telemetry::{
    Metrics,
    names::{self, label},
};
use tokio::sync::{mpsc, oneshot};

use crate::{EVENTS_MAX, Event};
pub use state::{EXPIRY, HEARTBEAT_PERIOD, Instance, RegisterError, State};

/// Name of this source, as Backends and service identities spell it.
pub const SOURCE: &str = "embedded";

/// Requests of sidecars that may wait for the task. Each sidecar has at most one under way; more than this many
/// at once is a thundering herd, and waits in its streams.
const COMMANDS_MAX: usize = 1024;

/// A handle to the running registry; clones talk to the same one. It ends when all are gone.
#[derive(Debug, Clone)]
pub struct Embedded {
    commands: mpsc::Sender<Command>,
    counts: Arc<Counts>,
}

/// What happened so far, for metrics.
#[derive(Debug, Default)]
struct Counts {
    registered: AtomicU64,
    refused: AtomicU64,
    deregistered: AtomicU64,
    expired: AtomicU64,
}

#[derive(Debug)]
enum Command {
    Register(Box<Instance>, oneshot::Sender<Result<(), RegisterError>>),
    Heartbeat { node: String, healthy: bool, known: oneshot::Sender<bool> },
    Deregister { node: String, known: oneshot::Sender<bool> },
    Instances(oneshot::Sender<Vec<Instance>>),
}

/// The registry has been stopped; only while the process shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the embedded registry has stopped")]
pub struct Stopped;

impl Embedded {
    /// Starts the registry with the instances of its journal. The first events are those, then
    /// [`Event::Synced`]: instances that are still alive had no time to say so yet, and are believed for a
    /// while (see [`State::restore`]).
    pub fn start(journal: Vec<Instance>) -> (Self, mpsc::Receiver<Event>) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (events, stream) = mpsc::channel(EVENTS_MAX);
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(journal, received, events, Arc::clone(&counts)));
        (Self { commands, counts }, stream)
    }

    /// Has registrations counted in the metrics of this process.
    pub fn count_in(&self, metrics: &Metrics) {
        let counts = Arc::clone(&self.counts);
        metrics.collect_from(move |samples| {
            for (result, count) in [
                ("registered", &counts.registered),
                ("refused", &counts.refused),
                ("deregistered", &counts.deregistered),
                ("expired", &counts.expired),
            ] {
                let count = count.load(Ordering::Relaxed) as f64;
                samples.add(names::REGISTRATIONS, &[(label::RESULT, result)], count);
            }
        });
    }

    /// Registers an instance, or replaces what its node registered before.
    pub async fn register(&self, instance: Instance) -> Result<Result<(), RegisterError>, Stopped> {
        self.ask(|answer| Command::Register(Box::new(instance), answer)).await
    }

    /// Hears that a node is alive, and how its application is. False: this node is not known, and must register.
    pub async fn heartbeat(&self, node: &str, healthy: bool) -> Result<bool, Stopped> {
        self.ask(|known| Command::Heartbeat { node: node.to_owned(), healthy, known }).await
    }

    /// Takes an instance out: no new requests from now on. False: this node is not known.
    pub async fn deregister(&self, node: &str) -> Result<bool, Stopped> {
        self.ask(|known| Command::Deregister { node: node.to_owned(), known }).await
    }

    /// Everything registered and not draining, for people.
    pub async fn instances(&self) -> Result<Vec<Instance>, Stopped> {
        self.ask(Command::Instances).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

async fn run(
    journal: Vec<Instance>,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    counts: Arc<Counts>,
) {
    let mut state = State::new(now());
    let restored = state.restore(journal, now());
    if tell(&events, restored).await.is_err() || events.send(Event::Synced).await.is_err() {
        return;
    }
    let mut tick = tokio::time::interval(state::TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // What was said comes before what time says: nobody expires whose heartbeat waits to be read.
        let effects = tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(command) => obey(&mut state, command, &counts),
            },
            _ = tick.tick() => {
                let effects = state.tick(now());
                counts.expired.fetch_add(effects.departed.len() as u64, Ordering::Relaxed);
                effects
            }
        };
        if tell(&events, effects).await.is_err() {
            return;
        }
    }
}

fn obey(state: &mut State, command: Command, counts: &Counts) -> state::Effects {
    // Whoever asked may be gone; what was done stays done.
    match command {
        Command::Register(instance, answer) => {
            let (result, effects) = match state.register(*instance, now()) {
                Ok(effects) => (Ok(()), effects),
                Err(error) => (Err(error), state::Effects::default()),
            };
            let count = if result.is_ok() { &counts.registered } else { &counts.refused };
            count.fetch_add(1, Ordering::Relaxed);
            let _ = answer.send(result);
            effects
        }
        Command::Heartbeat { node, healthy, known } => {
            let effects = state.heartbeat(&node, healthy, now());
            let _ = known.send(effects.is_some());
            effects.unwrap_or_default()
        }
        Command::Deregister { node, known } => {
            let effects = state.deregister(&node, now());
            counts.deregistered.fetch_add(u64::from(effects.is_some()), Ordering::Relaxed);
            let _ = known.send(effects.is_some());
            effects.unwrap_or_default()
        }
        Command::Instances(answer) => {
            let _ = answer.send(state.instances().cloned().collect());
            state::Effects::default()
        }
    }
}

async fn tell(
    events: &mpsc::Sender<Event>,
    effects: state::Effects,
) -> Result<(), mpsc::error::SendError<Event>> {
    if !effects.departed.is_empty() {
        events.send(Event::Departed(effects.departed)).await?;
    }
    if !effects.changes.is_empty() {
        events.send(Event::Changed(effects.changes)).await?;
    }
    Ok(())
}

/// Tokio's clock, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether two addresses could be the same listener.
fn is_reachable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified()
}

#[cfg(test)]
mod tests;
