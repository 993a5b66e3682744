//! The WebSockets of one thread that are open, to tell them when it ends.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How long a side of a WebSocket may take to end when it is told to: a network's way there and back, not what an application
/// has still to do.
pub(crate) const FAREWELL_WAIT: Duration = Duration::from_millis(500);

/// How often it is looked whether all have.
const FAREWELL_LOOK: Duration = Duration::from_millis(10);

/// WebSockets of one thread.
#[derive(Debug, Default)]
pub(crate) struct WebSockets {
    open: Cell<usize>,
    is_ending: Cell<bool>,
    ending: Notify,
}

/// One of them, for as long as it is there.
pub(crate) struct Open<'w>(&'w WebSockets);

impl WebSockets {
    /// One more, until what is returned is dropped.
    pub(crate) fn open(&self) -> Open<'_> {
        self.open.set(self.open.get() + 1);
        Open(self)
    }

    /// Where they are told that they end, awaits `farewells` for as long as a side may take.
    pub(crate) async fn while_ending(&self, farewells: impl Future<Output = ()>) {
        if self.is_ending.get() {
            let _ = tokio::time::timeout(FAREWELL_WAIT, farewells).await;
        }
    }

    /// Has both sides of each told that it ends, where nothing is half sent, and waits until they have answered; for a short
    /// time.
    pub(crate) async fn end(&self) {
        self.is_ending.set(true);
        self.ending.notify_waiters();
        let until = Instant::now() + FAREWELL_WAIT * 2;
        while self.open.get() > 0 && Instant::now() < until {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
    }
}

impl Open<'_> {
    /// Until it is to end.
    pub(crate) async fn is_ending(&self) {
        if !self.0.is_ending.get() {
            self.0.ending.notified().await;
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}
