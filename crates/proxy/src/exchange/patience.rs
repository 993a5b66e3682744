//! How long a request, its attempts and its answer may take: what the route says, what is usual, and how long the caller
//! waits.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use super::sides::{Call, Request};
use crate::{
    error::Kind,
    limits::{Timeouts, UNLIMITED},
    plan::Plan,
    worker::Worker,
};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    backend_timeout: Duration,
    /// When the whole request must be done.
    request_deadline_ms: u64,
    /// Its caller has said how long it waits.
    is_told: bool,
    /// It is the caller who waits no longer.
    is_callers: bool,
    /// How long the instance may be silent within its answer.
    silence: Duration,
}

impl Patience {
    pub(super) fn new(
        worker: &Worker,
        plan: &Plan<'_>,
        request: &impl Request,
        started: Instant,
    ) -> Self {
        let is_conversation = request.is_conversation();
        let caller = request.caller_waits().map(|waits| {
            let now = Instant::now();
            worker.deadlines.set_now(now);
            waits.saturating_sub(now.saturating_duration_since(started))
        });
        let Timeouts { request, backend, answer_body, tunnel, .. } = worker.timeouts;
        let (defaults, silence) = match is_conversation {
            false => ((request, backend), answer_body),
            // Nor does it end sooner than other requests.
            true => ((UNLIMITED, backend.max(tunnel)), answer_body.max(tunnel)),
        };
        let (request, backend_timeout) =
            limits(plan.request_timeout_ms, plan.backend_timeout_ms, defaults);
        let is_callers = caller.is_some_and(|waits| waits <= request);
        let request_deadline_ms = worker.at_ms(caller.map_or(request, |waits| waits.min(request)));
        let is_told = caller.is_some();
        Self { backend_timeout, request_deadline_ms, is_told, is_callers, silence }
    }

    /// Until when the caller waits, as the instance is told: no longer than the whole request may take.
    pub(super) fn told_ms(self) -> Option<u64> {
        self.is_told.then_some(self.request_deadline_ms)
    }

    /// Whether it is the caller who ends it all, not the route.
    pub(super) fn is_callers(self) -> bool {
        self.is_callers
    }

    /// Whether the caller waits no longer.
    pub(super) fn is_over(self, worker: &Worker) -> bool {
        self.is_callers && {
            worker.deadlines.set_now(Instant::now());
            worker.deadlines.now_ms() >= self.request_deadline_ms
        }
    }

    /// Why something has failed: where nothing came in time, it may have been for the caller that it was too late.
    pub(super) fn meant(self, worker: &Worker, kind: Kind) -> Kind {
        match kind {
            Kind::AnswerTimeout if self.is_over(worker) => Kind::DeadlineExceeded,
            kind => kind,
        }
    }

    /// Does something for as long as the caller waits. Callers that say how long are rare, and a timer is large: it is not
    /// part of every exchange.
    pub(super) async fn while_awaited<T>(
        self,
        worker: &Worker,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Kind> {
        if !self.is_callers {
            return Ok(work.await);
        }
        worker.deadlines.set_now(Instant::now());
        let left = self.request_deadline_ms.saturating_sub(worker.deadlines.now_ms());
        let done = Box::pin(tokio::time::timeout(Duration::from_millis(left), work)).await;
        done.map_err(|_| Kind::DeadlineExceeded)
    }

    /// Until when the instance may send nothing more of its answer, counted from now.
    pub(super) fn silent_until_ms(self, worker: &Worker) -> u64 {
        worker.at_ms(self.silence).min(self.request_deadline_ms)
    }

    /// For a body on its way: it must move, and be answered as soon as it has arrived.
    pub(super) fn expect_moves(self, call: &impl Call) {
        call.expect_moves(self.backend_timeout, self.request_deadline_ms);
    }

    /// When an attempt must have been answered, counted from now.
    pub(super) fn deadline_ms(self, worker: &Worker) -> u64 {
        worker.at_ms(self.backend_timeout).min(self.request_deadline_ms)
    }
}

/// The limits of a whole request and of one attempt, as the route says them and by default. What a route says of one
/// lifts the default of the other: nobody who allows 90 s means that it ends after 60.
fn limits(
    request_ms: Option<u64>,
    backend_ms: Option<u64>,
    (request, backend): (Duration, Duration),
) -> (Duration, Duration) {
    let said = |milliseconds: u64| match milliseconds {
        0 => UNLIMITED,
        milliseconds => Duration::from_millis(milliseconds),
    };
    match (request_ms.map(said), backend_ms.map(said)) {
        (None, None) => (request, backend),
        (Some(said), None) => (said, said.max(backend)),
        (None, Some(said)) => (said.max(request), said),
        (Some(request), Some(backend)) => (request, backend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_says_of_time_counts_whole() {
        let seconds = Duration::from_secs;
        let defaults = (seconds(3600), seconds(60));
        for (request_ms, backend_ms, expected) in [
            (None, None, defaults),
            (Some(0), Some(0), (UNLIMITED, UNLIMITED)),
            (Some(0), None, (UNLIMITED, UNLIMITED)),
            (Some(90_000), None, (seconds(90), seconds(90))),
            (Some(10_000), None, (seconds(10), seconds(60))),
            (None, Some(0), (UNLIMITED, UNLIMITED)),
            (None, Some(5_000), (seconds(3600), seconds(5))),
            (None, Some(7_200_000), (seconds(7200), seconds(7200))),
            (Some(90_000), Some(0), (seconds(90), UNLIMITED)),
            (Some(90_000), Some(5_000), (seconds(90), seconds(5))),
        ] {
            let limits = limits(request_ms, backend_ms, defaults);
            assert_eq!(limits, expected, "{request_ms:?} {backend_ms:?}");
        }
    }
}
