//! Which instance is tried, for how long, and what is tried after it failed.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use telemetry::Count;

use super::Request;
use crate::{
    deadlines::HasDeadline,
    error::{Kind, ProxyError},
    limits::ATTEMPTS_MAX,
    plan::{Chosen, Target},
    socket::Connection,
    worker::Worker,
};

/// Which instances were tried, and what is tried next.
pub(super) struct Tries {
    tried: SmallVec<[SocketAddr; ATTEMPTS_MAX]>,
    /// Chosen already: the same instance on a fresh connection, or another of the same lane.
    next: Option<(Chosen, bool)>,
    attempts: usize,
    pub(super) request_deadline_ms: u64,
}

impl Tries {
    pub(super) fn new(worker: &Worker, request: &Request<'_>) -> Self {
        let request_timeout = match request.plan.request_timeout_ms {
            0 => worker.timeouts.request,
            milliseconds => Duration::from_millis(milliseconds),
        };
        Self {
            tried: SmallVec::new(),
            next: None,
            attempts: 0,
            request_deadline_ms: worker.at_ms(request_timeout),
        }
    }

    /// Chooses and connects; instances that cannot be reached are put aside and another is chosen.
    pub(super) async fn connect(
        &mut self,
        worker: &Worker,
        request: &Request<'_>,
    ) -> Result<(Chosen, Rc<Connection>, bool), (Option<Chosen>, ProxyError)> {
        loop {
            self.attempts += 1;
            let (chosen, fresh) = match self.next.take() {
                Some(next) => next,
                None => (
                    request
                        .plan
                        .choose(worker, request.picture, request.started)
                        .map_err(|error| (None, error))?,
                    false,
                ),
            };
            match worker.connect(chosen.address, fresh).await {
                Ok((connection, reused)) => return Ok((chosen, connection, reused)),
                Err(error) => {
                    let now = Instant::now();
                    if matches!(request.plan.target, Target::Service { .. }) {
                        worker.eject(chosen.address, now);
                    }
                    let seen = self.tried.contains(&chosen.address);
                    self.tried.push(chosen.address);
                    if seen || self.attempts >= ATTEMPTS_MAX {
                        return Err((Some(chosen), error));
                    }
                    // With the instance put aside the choice falls on another, unless it is the only one.
                    match request.plan.choose(worker, request.picture, now) {
                        Ok(other) if !self.tried.contains(&other.address) => {
                            worker.recorder.count(Count::RetriedConnect);
                            self.next = Some((other, false));
                        }
                        _ => return Err((Some(chosen), error)),
                    }
                }
            }
        }
    }

    /// How long an attempt may take.
    pub(super) fn patience(&self, worker: &Worker, request: &Request<'_>) -> Patience {
        let backend_timeout = match request.plan.backend_timeout_ms {
            0 => worker.timeouts.backend,
            milliseconds => Duration::from_millis(milliseconds),
        };
        Patience { backend_timeout, request_deadline_ms: self.request_deadline_ms }
    }

    /// Whether to try once more after a broken connection, and with whom.
    pub(super) fn again(
        &mut self,
        worker: &Worker,
        request: &Request<'_>,
        chosen: &Chosen,
        reused: bool,
        error: &ProxyError,
        is_whole: bool,
    ) -> bool {
        let repeatable = error.may_retry() || request.is_idempotent;
        if !error.is_reset() || !is_whole || !repeatable || self.attempts >= ATTEMPTS_MAX {
            return false;
        }
        if reused {
            // The instance closed it while it waited in the pool; that says nothing about the instance.
            worker.recorder.count(Count::PoolStale);
            worker.recorder.count(Count::RetriedStale);
            self.next = Some((*chosen, true));
            return true;
        }
        self.tried.push(chosen.address);
        self.next = request
            .plan
            .choose_again(worker, request.picture, chosen, &self.tried, Instant::now())
            .map(|other| (other, false));
        self.next.is_some()
    }
}

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    backend_timeout: Duration,
    request_deadline_ms: u64,
}

impl Patience {
    /// Sets when this attempt must have been answered, counted from now.
    pub(super) fn arm(self, worker: &Worker, upstream: &Connection) {
        let at_ms = worker.at_ms(self.backend_timeout).min(self.request_deadline_ms);
        worker.deadlines.arm_at(upstream.deadline(), at_ms, Shutdown::Both);
    }
}

/// What a broken connection to an instance means.
pub(super) fn broken(upstream: &Connection, error: io::Error) -> ProxyError {
    let kind =
        if upstream.deadline().is_expired() { Kind::AnswerTimeout } else { Kind::Reset(error) };
    ProxyError { kind, sent_bytes: upstream.sent.get() }
}
