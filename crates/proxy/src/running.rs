//! A proxy that runs.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use telemetry::Metrics;
use tokio::sync::{mpsc, watch};

use crate::{
    ejection::UnreachableBoard,
    inherited::{Inherited, ListeningSocket},
    lost::CallsInLanes,
    tap::Tap,
    unbound::UnboundPorts,
    undeclared::UndeclaredPorts,
    unread::UnreadCalls,
};

/// Copies of a thread's listening sockets and their addresses, or why there are none.
pub(crate) type Handed = io::Result<Vec<(SocketAddr, OwnedFd)>>;

/// Where the threads of a proxy stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Let nobody in; what is in may still call others.
    Draining {
        /// When it is given up.
        until: Instant,
        /// Another process accepts on the same sockets.
        succeeded: bool,
    },
    /// Let nobody out either; end at this time at the latest.
    Ending(Instant),
}

/// A proxy that runs. Dropping it ends it at once.
#[derive(Debug)]
pub struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    /// The first of them as the settings name them.
    pub(crate) asked: Vec<SocketAddr>,
    pub(crate) threads: usize,
    /// What was bound before it, as far as nobody has taken it.
    pub(crate) inherited: Inherited,
    pub(crate) open: watch::Sender<bool>,
    /// Where the threads are asked for their listening sockets.
    pub(crate) handing: watch::Sender<Option<mpsc::Sender<Handed>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: UnreachableBoard,
    pub(crate) tap: Tap,
    pub(crate) unbound: UnboundPorts,
    pub(crate) unread: UnreadCalls,
    pub(crate) unread_arrivals: UnreadCalls,
    pub(crate) passed: UnreadCalls,
    pub(crate) undeclared: UndeclaredPorts,
    pub(crate) in_lanes: CallsInLanes,
    pub(crate) phase: watch::Sender<Phase>,
    /// Ends when what was in has been answered in every thread that drains.
    pub(crate) emptied: mpsc::Receiver<()>,
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

    /// Where it is said whose requests are watched, for whoever outlives or shares it.
    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// Ports of its Gateway that it cannot bind, for whoever outlives or shares it.
    pub fn unbound(&self) -> UnboundPorts {
        self.unbound.clone()
    }

    /// Calls to services that it could not read, for whoever outlives or shares it.
    pub fn unread(&self) -> UnreadCalls {
        self.unread.clone()
    }

    /// Calls of others to its application that it could not read, for whoever outlives or shares it.
    pub fn unread_arrivals(&self) -> UnreadCalls {
        self.unread_arrivals.clone()
    }

    /// Connections in TLS that routes have as they are, for whoever outlives or shares it.
    pub fn passed(&self) -> UnreadCalls {
        self.passed.clone()
    }

    /// Connections to ports that nobody has declared, for whoever outlives or shares it.
    pub fn undeclared(&self) -> UndeclaredPorts {
        self.undeclared.clone()
    }

    /// What passed its application in lanes, for whoever outlives or shares it.
    pub fn in_lanes(&self) -> CallsInLanes {
        self.in_lanes.clone()
    }

    /// Instances it could not connect to.
    pub fn unreachable(&self) -> Vec<SocketAddr> {
        self.board.unreachable()
    }

    /// Lets nobody in any more, and waits until what is in has been answered, for at most `grace`. An application may
    /// need its way out to answer, so a sidecar's outbound listener stays open.
    pub async fn empty(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        self.phase.send_replace(Phase::Draining { until, succeeded: false });
        while self.emptied.recv().await.is_some() {}
    }

    /// Accepts from now on, where it has its sockets of another process. Until then that one does.
    pub fn accept(&self) {
        self.open.send_replace(true);
    }

    /// Copies of all listening sockets, for another process to accept on; also of those that a supervisor keeps and no
    /// listener asks for yet.
    ///
    /// # Errors
    /// When one of them cannot be copied: the process may open no more files.
    pub async fn sockets(&self) -> io::Result<Vec<ListeningSocket>> {
        let (asks, mut answers) = mpsc::channel(1);
        self.handing.send_replace(Some(asks));
        let mut all = Vec::new();
        for _ in 0..self.threads {
            let Some(sockets) = answers.recv().await else { break };
            all.extend(sockets?.into_iter().map(|(address, socket)| {
                let position = self.addresses.iter().position(|own| *own == address);
                let asked = position.and_then(|at| self.asked.get(at)).copied();
                let is_kept = self.inherited.keeps(address);
                ListeningSocket { asked: asked.unwrap_or(address), socket, is_kept }
            }));
        }
        let is_there = |rest: &ListeningSocket| all.iter().any(|it| it.asked == rest.asked);
        let rest: Vec<_> = self.inherited.rest()?.into_iter().filter(|it| !is_there(it)).collect();
        all.extend(rest);
        Ok(all)
    }

    /// Another process accepts on the same sockets: stops accepting, lets what was accepted here finish for at most `grace`,
    /// then closes what is left.
    pub async fn drain_beside_successor(mut self, grace: Duration) {
        let until = Instant::now() + grace;
        self.phase.send_replace(Phase::Draining { until, succeeded: true });
        while self.emptied.recv().await.is_some() {}
        self.phase.send_replace(Phase::Ending(until));
        while self.ended.recv().await.is_some() {}
    }

    /// Stops accepting, lets requests in flight finish for at most `grace`, then closes what is left.
    pub async fn drain(mut self, grace: Duration) {
        let until = Instant::now() + grace;
        self.empty(grace).await;
        self.phase.send_replace(Phase::Ending(until));
        while self.ended.recv().await.is_some() {}
    }
}
