//! What the operating system asks of a running role.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Something was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGTERM, a supervisor: whoever sends callers here may take a while to know. Finish what is in flight and end.
    Stop,
    /// SIGINT, a person at the keyboard: the same, without waiting for anybody to know.
    StopByHand,
    /// SIGHUP: read settings again.
    Reload,
    /// SIGUSR2: let what is now at this program's path take its place.
    Upgrade,
}

/// Listens for signals; from its creation on, none of them kills the process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Starts to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::StopByHand,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }

    /// Waits for a second request to stop: whoever is in a hurry asks twice.
    pub(crate) async fn hurry(&mut self) {
        while matches!(self.next().await, Asked::Reload | Asked::Upgrade) {}
    }
}
