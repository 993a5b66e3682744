//! A proxy that runs.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use telemetry::Metrics;
use tokio::sync::{mpsc, watch};

use crate::ejection::UnreachableBoard;

/// Where the threads of a proxy stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Take nothing new; end at this time at the latest.
    Draining(Instant),
}

/// A proxy that runs. Dropping it ends it at once.
#[derive(Debug)]
pub struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: UnreachableBoard,
    pub(crate) phase: watch::Sender<Phase>,
    /// Ends when the last thread has.
    pub(crate) ended: mpsc::Receiver<()>,
}

impl Running {
    /// Where it listens, ports resolved, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Instances it cannot connect to, for whoever outlives or shares it.
    pub fn board(&self) -> UnreachableBoard {
        self.board.clone()
    }

    /// Instances it could not connect to.
    pub fn unreachable(&self) -> Vec<SocketAddr> {
        self.board.unreachable()
    }

    /// Stops accepting, lets requests in flight finish for at most `grace`, then closes what is left.
    pub async fn drain(mut self, grace: Duration) {
        self.phase.send_replace(Phase::Draining(Instant::now() + grace));
        while self.ended.recv().await.is_some() {}
    }
}
