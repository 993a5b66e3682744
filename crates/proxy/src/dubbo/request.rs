//! A request that is under way: how it was tried, where it is counted, and who waits for its answer.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Instant};

use smallvec::SmallVec;
use telemetry::{Level, Outcome, Recorder};
use tokio::sync::Notify;

use super::frame::Frame;
use crate::{account::Answering, correlation::Remembered, limits::ATTEMPTS_MAX, worker::Worker};

/// Who waits for answers.
pub(super) trait Asker {
    fn answer(&self, frame: Rc<Frame>);

    /// Another has the request: those that were tried must not, or have not seen it.
    fn again(self: Rc<Self>, request: Request);
}

/// A request under way.
pub(super) struct Request {
    /// With the id that its caller gave it.
    pub(super) frame: Frame,
    pub(super) attempt: Attempt,
}

/// What is known of a request from attempt to attempt.
pub(super) struct Attempt {
    pub(super) started: Instant,
    pub(super) tried: SmallVec<[SocketAddr; ATTEMPTS_MAX]>,
    pub(super) in_flight: InFlight,
}

impl Attempt {
    pub(super) fn was_in_vain(&mut self, instance: SocketAddr) {
        self.tried.push(instance);
    }

    /// Whether another, or the same at its address, may be asked: an application behind its sidecar is in one place alone.
    pub(super) fn may_go_again(&self) -> bool {
        self.tried.len() + 1 < ATTEMPTS_MAX
    }
}

/// How much of a connection is under way.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) requests: Cell<usize>,
    /// Of requests that wait for an instance, or may go to another.
    pub(super) bytes: Cell<usize>,
    pub(super) lessened: Notify,
}

/// One request of it.
pub(super) struct InFlight {
    load: Rc<Load>,
    bytes: usize,
    recorder: Rc<Recorder>,
    level: Level,
}

impl InFlight {
    pub(super) fn new(
        load: &Rc<Load>,
        bytes: usize,
        recorder: &Rc<Recorder>,
        level: Level,
    ) -> Self {
        load.requests.set(load.requests.get() + 1);
        load.bytes.set(load.bytes.get() + bytes);
        recorder.raise(level);
        Self { load: Rc::clone(load), bytes, recorder: Rc::clone(recorder), level }
    }

    /// Its bytes are held no longer.
    pub(super) fn lets_go(&mut self) {
        self.load.bytes.set(self.load.bytes.get() - std::mem::take(&mut self.bytes));
        self.load.lessened.notify_one();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.lets_go();
        self.load.requests.set(self.load.requests.get() - 1);
        self.recorder.lower(self.level);
    }
}

/// Where a request is counted when it ends, and what is remembered of it until then.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) answering: Option<Answering>,
    pub(super) remembered: Option<Remembered>,
}

impl Counted {
    /// It was answered as `status` of HTTP would be.
    pub(super) fn ended(self, worker: &Worker, status: u16) {
        self.end(worker, None, status);
    }

    /// It was not answered by its instance.
    pub(super) fn failed(self, worker: &Worker, status: u16) {
        self.end(worker, Some(Outcome::Failed), status);
    }

    fn end(self, worker: &Worker, outcome: Option<Outcome>, status: u16) {
        if let Some(answering) = self.answering {
            let _ = worker.account.ended_as(answering, outcome, status);
        }
        if let Some(remembered) = self.remembered {
            remembered.finish(Instant::now());
        }
    }
}
