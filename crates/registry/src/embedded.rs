//! The embedded registry: sidecars register their application, keep it alive by heartbeats, and take it out.
//!
//! [`State`] is the registry itself, a machine to which time is an argument. [`Registrar`] runs it as a
//! [`Source`] that also lets time pass.

mod instance;
mod state;

use std::{
    net::{IpAddr, SocketAddr},
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

use crate::source::{Ended, Sink, Source};
pub use instance::{FurtherPort, Instance};
pub use state::{EXPIRY, HEARTBEAT_PERIOD, RegisterError};
use state::{Effects, State};

/// Requests of sidecars that may wait for the task. Each sidecar has at most one under way; more than this many
/// at once is a thundering herd, and waits in its streams.
const COMMANDS_MAX: usize = 1024;

/// A handle to the registry, for those who register; clones talk to the same one.
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
    Heartbeat {
        node: String,
        healthy: bool,
        known: oneshot::Sender<bool>,
    },
    Deregister {
        node: String,
        known: oneshot::Sender<bool>,
    },
    #[cfg(test)]
    Panic,
}

/// The registry has been stopped; only while the process shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the embedded registry has stopped")]
pub struct Stopped;

impl Embedded {
    /// A registry that begins with the instances of its journal, and is to be run. Those had no time to say that they
    /// are alive, and are believed for a full heartbeat period more; others that it does not know yet may be about to
    /// come back, so it is synced when they had as long.
    pub fn new(journal: Vec<Instance>) -> (Self, Registrar) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let counts = Arc::new(Counts::default());
        let registrar = Registrar {
            journal,
            told: Told::Syncing { until: None },
            state: State::new(now()),
            commands: received,
            counts: Arc::clone(&counts),
        };
        (Self { commands, counts }, registrar)
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

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// The registry as a source. What is registered outlives a run that ends.
#[derive(Debug)]
pub struct Registrar {
    /// Until it is restored, in the first run.
    journal: Vec<Instance>,
    told: Told,
    state: State,
    commands: mpsc::Receiver<Command>,
    counts: Arc<Counts>,
}

/// How it stands, as told last.
#[derive(Debug)]
enum Told {
    /// Somebody may be about to register again, until then; `None`: it was not run yet.
    Syncing { until: Option<Instant> },
    /// Everybody had the time for it. Some may be believed though they are not heard: why, in words.
    Synced { doubt: Option<String> },
}

impl Registrar {
    /// Tells how it stands when that has changed.
    fn tell_standing(&mut self, sink: &mut Sink) {
        let doubt = self.state.doubt();
        let is_first = match &self.told {
            Told::Syncing { until } if until.is_none_or(|until| now() < until) => return,
            Told::Synced { doubt: told } if told.as_deref() == doubt => return,
            told => matches!(told, Told::Syncing { .. }),
        };
        if is_first || doubt.is_none() {
            sink.synced();
        }
        if let Some(doubt) = doubt {
            sink.stale(doubt.to_owned());
        }
        self.told = Told::Synced { doubt: doubt.map(str::to_owned) };
    }
}

impl Source for Registrar {
    async fn run(&mut self, sink: &mut Sink) -> Result<(), Ended> {
        self.state.restore(std::mem::take(&mut self.journal), now());
        tell(sink, self.state.everything());
        match &mut self.told {
            Told::Syncing { until } => drop(until.get_or_insert(now() + HEARTBEAT_PERIOD + EXPIRY)),
            // Another run: its standing is told anew.
            Told::Synced { .. } => self.told = Told::Syncing { until: Some(now()) },
        }
        self.tell_standing(sink);
        let mut tick = tokio::time::interval(state::TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // What was said comes before what time says: nobody expires whose heartbeat waits to be read. When
            // nobody is left who could say anything, instances still expire.
            let effects = tokio::select! {
                biased;
                Some(command) = self.commands.recv() => obey(&mut self.state, command, &self.counts),
                _ = tick.tick() => {
                    let effects = self.state.tick(now());
                    let expired = effects.departed.len() as u64;
                    self.counts.expired.fetch_add(expired, Ordering::Relaxed);
                    effects
                }
            };
            tell(sink, effects);
            self.tell_standing(sink);
        }
    }
}

fn tell(sink: &mut Sink, effects: Effects) {
    if !effects.departed.is_empty() {
        tracing::info!(nodes = ?effects.departed, "instances have left");
    }
    sink.changed(effects.changes);
}

fn obey(state: &mut State, command: Command, counts: &Counts) -> Effects {
    // Whoever asked may be gone; what was done stays done.
    match command {
        Command::Register(instance, answer) => {
            let (result, effects) = match state.register(*instance, now()) {
                Ok(effects) => (Ok(()), effects),
                Err(error) => (Err(error), Effects::default()),
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
        #[cfg(test)]
        Command::Panic => panic!("as the test wants it"),
    }
}

/// Tokio's clock, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Why no instance can be at an address; `None`: one can.
pub(crate) fn why_unreachable(address: SocketAddr) -> Option<&'static str> {
    let why = match address.ip().to_canonical() {
        _ if address.port() == 0 => "port 0 is none: write the one it listens at",
        ip if ip.is_unspecified() => "every address is none: write the one that others connect to",
        ip if ip.is_multicast() => "it is a group's address: write the one that others connect to",
        IpAddr::V4(ip) if ip.is_broadcast() => {
            "everybody is nobody: write the one that others connect to"
        }
        IpAddr::V4(ip) if ip.is_link_local() => LINK_LOCAL,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => LINK_LOCAL,
        _ => return None,
    };
    Some(why)
}

/// Metadata services of clouds are there, too.
const LINK_LOCAL: &str =
    "it is link-local, other hosts have another there: write the one that others connect to";

#[cfg(test)]
mod tests;
