//! Which instance is tried, and what is tried after it failed.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lanes::{Outcome, Service};
use smallvec::SmallVec;
use telemetry::Count;

use super::{
    CallOf, Planned,
    sides::{Answer, Call, Request, Upstream},
};
use crate::{
    error::{Kind, Lost, ProxyError},
    limits::{ABANDONED_AFTER, ATTEMPTS_MAX},
    peers::Refused,
    plan::{Chosen, Protocol, Target, Version},
    worker::Worker,
};

/// Which instances were tried, and what is tried next.
#[derive(Default)]
pub(super) struct Tries {
    /// Those first that have refused it, or were not reached.
    tried: SmallVec<[SocketAddr; ATTEMPTS_MAX]>,
    /// How many these are; the others may have had some of it.
    refused: usize,
    /// The latest picture was looked at for others: the one that it was planned by knows less of them.
    has_gone_on: bool,
    /// Chosen already, and whether it is called on a new connection, not on one that waits in the pool.
    next: Option<(Chosen, bool)>,
    attempts: usize,
    /// An instance was tried once more although its connection broke.
    has_stayed: bool,
}

/// How a call came by its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connected {
    /// It has opened it.
    Anew,
    /// Another call opened it for both.
    Together,
    /// It was there before: the instance may have closed it without thinking of this call.
    Before,
}

impl Tries {
    /// Chooses and connects; instances that cannot be reached are put aside and another is chosen.
    pub(super) async fn connect<R: Request, U: Upstream<R>>(
        &mut self,
        worker: &Worker,
        upstream: &U,
        planned: &mut Planned<'_>,
    ) -> Result<(CallOf<U, R>, Connected), Kind> {
        loop {
            if planned.patience.is_over(worker) {
                return Err(Kind::DeadlineExceeded);
            }
            self.attempts += 1;
            planned.attempts += 1;
            let (chosen, fresh) = match self.next.take() {
                Some(next) => next,
                None => {
                    let chosen = planned.choose(worker, planned.started, &[]);
                    (chosen.map_err(|error| error.kind)?, false)
                }
            };
            // A connection that waited in the pool may be closed just now, and it could not be sent again.
            let fresh = fresh || planned.needs_fresh();
            planned.chosen = Some(chosen);
            if worker.is_mute(chosen.address) && planned.plan.unreachable.is_some() {
                return Err(Kind::ApplicationMute);
            }
            worker.tries(chosen.address);
            if !fresh
                && !chosen.has_several_addresses
                && let Some(call) = upstream.pooled(planned.protocol, chosen.address)
            {
                planned.says_where(&call);
                return Ok((call, Connected::Before));
            }
            // Boxed, as everything that is rare and large: it would make every waiting connection larger.
            let mut opened = Box::pin(planned.open(worker, upstream, &chosen, fresh));
            match planned.patience.while_awaited(worker, opened.as_mut()).await? {
                Ok((call, connected)) => {
                    planned.says_where(&call);
                    return Ok((call, connected));
                }
                Err(error) => {
                    if error.is_refused()
                        && let Some(pause) = planned.pause(worker, &chosen, &self.tried)
                    {
                        Box::pin(tokio::time::sleep(pause)).await;
                        self.attempts -= 1;
                        self.next = Some((chosen, fresh));
                    } else if !error.may_retry()
                        || !self.goes_elsewhere(worker, planned, chosen.address, &error.kind)
                    {
                        return Err(error.kind);
                    }
                }
            }
        }
    }

    /// Puts an instance aside that cannot be reached. Whether there is another. One that is not believed is there: it goes on
    /// serving whoever believes it, and their connections with it.
    fn goes_elsewhere(
        &mut self,
        worker: &Worker,
        planned: &Planned<'_>,
        address: SocketAddr,
        why: &Kind,
    ) -> bool {
        let now = Instant::now();
        let is_unreachable = !matches!(why, Kind::UpstreamTls(_));
        if is_unreachable && matches!(planned.plan.target, Target::Service { .. }) {
            worker.eject(address, now);
            planned.forget_further(worker);
        }
        let seen = self.tried.contains(&address);
        self.is_refused_by(address);
        if seen || self.attempts >= ATTEMPTS_MAX {
            return false;
        }
        self.chooses_another(worker, planned, now, Count::RetriedConnect)
    }

    fn is_refused_by(&mut self, address: SocketAddr) {
        self.tried.insert(self.refused, address);
        self.refused += 1;
    }

    /// Chooses somebody who was not tried yet, and counts why.
    fn chooses_another(
        &mut self,
        worker: &Worker,
        planned: &Planned<'_>,
        now: Instant,
        why: Count,
    ) -> bool {
        let other = match &planned.chosen {
            Some(chosen) if self.has_gone_on => {
                self.another_by_latest(worker, planned, chosen, now)
            }
            _ => planned.choose(worker, now, &self.tried).ok(),
        };
        self.next = other.filter(|it| !self.tried.contains(&it.address)).map(|it| (it, false));
        if self.next.is_some() {
            worker.recorder.count(why);
        }
        self.next.is_some()
    }

    /// What becomes of a request of which the sidecar of the chosen instance has no answer. What it did not hand to its
    /// application somebody else may have, whatever its method; else it is as if there was no sidecar.
    pub(super) fn refused(
        &mut self,
        worker: &Worker,
        planned: &Planned<'_>,
        refused: Refused,
    ) -> Result<(), Kind> {
        let now = Instant::now();
        let Some(chosen) = planned.chosen else { return Err(planned.refusal(refused)) };
        planned.held_against(worker, refused, now);
        let why = match refused {
            Refused::Misrouted => Count::RetriedMisrouted,
            Refused::Unreachable => Count::RetriedUnreachable,
            Refused::Late | Refused::Silent => return Err(planned.refusal(refused)),
            Refused::Unanswered => {
                let may_go_on = planned.is_idempotent && self.attempts < ATTEMPTS_MAX;
                return match may_go_on && self.goes_on_or_stays(worker, planned, &chosen) {
                    true => Ok(()),
                    false => Err(planned.refusal(refused)),
                };
            }
        };
        self.is_refused_by(chosen.address);
        if self.attempts < ATTEMPTS_MAX && self.chooses_another(worker, planned, now, why) {
            return Ok(());
        }
        Err(planned.refusal(refused))
    }

    /// Whether to try once more after a broken connection, and with whom.
    pub(super) fn again(
        &mut self,
        worker: &Worker,
        planned: &Planned<'_>,
        connected: Connected,
        error: &ProxyError,
    ) -> bool {
        let Some(chosen) = &planned.chosen else { return false };
        let is_repeatable = error.may_retry() || planned.is_idempotent;
        // Others had the place: nobody was asked, and who finds one is there, or opens a connection of its own.
        if matches!(error.kind, Kind::NoStream) && connected != Connected::Anew {
            self.attempts -= 1;
        }
        if !is_repeatable || self.attempts >= ATTEMPTS_MAX {
            return false;
        }
        match error.kind {
            // Nobody has looked at it: the instance has had enough of the connection, not of requests.
            Kind::Unprocessed | Kind::NoStream => self.stays_with(worker, planned, chosen),
            // The instance closed it while it waited in the pool; that says nothing about the instance. One that does so
            // again breaks off.
            Kind::Reset(_) if connected == Connected::Before && !self.has_stayed => {
                worker.recorder.count(Count::PoolStale);
                self.has_stayed = true;
                self.stays_with(worker, planned, chosen)
            }
            Kind::Reset(_) => self.goes_on_or_stays(worker, planned, chosen),
            // It was not asked, since it takes no WebSockets on streams; during a rollout others of its lane may.
            Kind::NoWebSocket(_) if error.may_retry() => self.goes_on(worker, planned, chosen),
            Kind::Lost(_) => {
                let is_another = self.goes_on(worker, planned, chosen);
                if is_another {
                    worker.recorder.count(Count::RetriedLost);
                }
                is_another
            }
            _ => false,
        }
    }

    /// Tries the same instance once more, on a new connection: others that wait in the pool may have been closed, too. Of
    /// those that are shared none is handed out that has ended.
    fn stays_with(&mut self, worker: &Worker, planned: &Planned<'_>, chosen: &Chosen) -> bool {
        worker.recorder.count(Count::RetriedStale);
        self.next = Some((*chosen, planned.protocol.version == Version::Http1));
        true
    }

    /// Tries another instance of the same lane; where nobody of it is left, whoever would have a request that comes now.
    #[cold]
    fn goes_on(&mut self, worker: &Worker, planned: &Planned<'_>, chosen: &Chosen) -> bool {
        self.tried.push(chosen.address);
        self.has_gone_on = true;
        let other = self.another_by_latest(worker, planned, chosen, Instant::now());
        self.next = other.map(|other| (other, false));
        self.next.is_some()
    }

    /// The same; but a lane's only instance, of which nobody knows yet whether it is gone, is asked once more: it answers, or
    /// cannot be connected to, and then the lane's fallback has the request.
    fn goes_on_or_stays(
        &mut self,
        worker: &Worker,
        planned: &Planned<'_>,
        chosen: &Chosen,
    ) -> bool {
        if self.goes_on(worker, planned, chosen) {
            return true;
        }
        let may_stay = chosen.outcome == Outcome::Lane && !self.has_stayed;
        if may_stay {
            self.has_stayed = true;
            self.tried.retain(|tried| *tried != chosen.address);
            self.stays_with(worker, planned, chosen);
        }
        may_stay
    }

    fn another_by_latest(
        &self,
        worker: &Worker,
        planned: &Planned<'_>,
        chosen: &Chosen,
        now: Instant,
    ) -> Option<Chosen> {
        let (ejections, latest) = (worker.ejections.borrow(), worker.picture());
        let ejected = ejections.beside(&self.tried[..self.refused], &self.tried, now);
        let (picture, ticket) = (planned.picture, worker.ticket());
        planned.plan.choose_again(picture, &latest, &ejected, ticket, chosen, &self.tried)
    }
}

impl Planned<'_> {
    /// Connections in HTTP/1.1 are a tunnel's own from its beginning; others are shared, and are closed with notice.
    #[inline]
    fn needs_fresh(&self) -> bool {
        self.asks_to_switch && self.protocol.version == Version::Http1
    }

    #[inline]
    fn choose(
        &self,
        worker: &Worker,
        now: Instant,
        not_again: &[SocketAddr],
    ) -> Result<Chosen, ProxyError> {
        self.plan.choose(self.picture, &worker.ejections.borrow(), worker.ticket(), now, not_again)
    }

    /// How long to wait before the chosen instance is connected to again, which may be about to listen: after a restart of
    /// everything, and where nobody else of its lane is there.
    #[cold]
    fn pause(&self, worker: &Worker, chosen: &Chosen, tried: &[SocketAddr]) -> Option<Duration> {
        let now = Instant::now();
        // Its time runs from the first time that it could not be reached, whoever served then.
        let pause = worker.starting.pause(chosen.address, now)?;
        let is_expected = match &self.plan.target {
            Target::Service { .. } => {
                self.plan.is_alone(self.picture, &worker.ejections.borrow(), now, chosen, tried)
            }
            // The application beside a sidecar.
            Target::Address(_) => self.plan.unreachable.is_some(),
        };
        is_expected.then_some(pause)
    }

    /// Says where the connection of a call leads: at every call, since who had it opened may have left before it could.
    #[inline]
    fn says_where(&self, call: &impl Call) {
        match &self.plan.target {
            Target::Service { service, .. } => call.leads_to(service.id()),
            Target::Address(_) if self.plan.unreachable.is_some() => call.leads_to_application(),
            Target::Address(_) => {}
        }
    }

    /// A call on a new connection, or, where an instance has several addresses, on the first that there is to one of them;
    /// and how it came by it.
    async fn open<R: Request, U: Upstream<R>>(
        &self,
        worker: &Worker,
        upstream: &U,
        chosen: &Chosen,
        fresh: bool,
    ) -> Result<(CallOf<U, R>, Connected), ProxyError> {
        let protocol = self.protocol;
        if !chosen.has_several_addresses {
            let is_instance = matches!(self.plan.target, Target::Service { .. });
            let blamed = is_instance.then_some(chosen.address);
            return connect(upstream, protocol, chosen.address, blamed).await;
        }
        let addresses = self.addresses(worker, chosen);
        // Where connecting is not all there is to it.
        if protocol.version == Version::Http2 || protocol.tls.is_some() {
            return first_that_connects(upstream, protocol, addresses, fresh).await;
        }
        let (address, is_new) = worker.reach_instance(addresses, fresh).await?;
        match upstream.pooled(protocol, address) {
            Some(call) if is_new => Ok((call, Connected::Anew)),
            Some(call) => Ok((call, Connected::Before)),
            None => connect(upstream, protocol, address, None).await,
        }
    }

    /// Where an instance may be connected to, in order.
    fn addresses(&self, worker: &Worker, chosen: &Chosen) -> Vec<SocketAddr> {
        let Target::Service { service, caller_pick, .. } = &self.plan.target else {
            return vec![chosen.address];
        };
        let of = |service: &Service| {
            let mut endpoints = service.endpoints().iter();
            let endpoint = endpoints.find(|it| it.address == chosen.address)?;
            Some(endpoint.addresses_like(*caller_pick))
        };
        // Who was chosen after a failure may have come since the request was planned.
        let latest = || of(worker.picture().lanes.directory().service(service.id())?);
        of(service).or_else(latest).unwrap_or_else(|| vec![chosen.address])
    }

    /// Connections to an instance that was put aside go with it, under whatever address.
    #[cold]
    fn forget_further(&self, worker: &Worker) {
        let Some(chosen) = self.chosen.filter(|chosen| chosen.has_several_addresses) else {
            return;
        };
        for address in self.addresses(worker, &chosen) {
            worker.forget(address);
        }
    }

    /// The chosen instance has answered.
    #[inline]
    pub(super) fn answered(&self, worker: &Worker) {
        if let Some(chosen) = &self.chosen {
            worker.answered(chosen.address);
        }
    }

    /// The chosen instance has all of the request and did not answer. Whether that is held against it depends on why
    /// nobody waits for it any more. Of how its connection ends others may be told too, or it only waited in the pool.
    #[cold]
    pub(super) fn unanswered(
        &self,
        worker: &Worker,
        (call, connected): (&impl Call, Connected),
        kind: &Kind,
    ) {
        let now = Instant::now();
        let is_silent = || {
            let waited = now.saturating_duration_since(self.started);
            call.is_mute() || waited >= ABANDONED_AFTER && call.owes_an_answer()
        };
        // Of the application beside a sidecar its callers are told.
        self.is_unanswered.set(match kind {
            Kind::Reset(_) | Kind::Lost(Lost::Mute) => true,
            Kind::DeadlineExceeded => is_silent(),
            _ => false,
        });
        let Some(Chosen { address, .. }) = self.chosen else { return };
        if matches!(kind, Kind::Lost(Lost::Mute)) {
            return self.frozen(worker, address, now);
        }
        let is_its_fault = match kind {
            Kind::StreamReset => true,
            // What a route allows may be over for a subscription that has nothing to say.
            Kind::AnswerTimeout => call.owes_an_answer() || call.is_mute(),
            Kind::Reset(_) => connected == Connected::Anew,
            Kind::ClientGone | Kind::DeadlineExceeded => is_silent(),
            _ => false,
        };
        match &self.plan.target {
            Target::Service { .. } if is_its_fault && worker.unanswered(address, now) => {
                self.forget_further(worker);
            }
            // The application beside a sidecar.
            Target::Address(_)
                if self.plan.unreachable.is_some() && is_its_fault && call.is_mute() =>
            {
                worker.mute(address, now);
            }
            Target::Service { .. } | Target::Address(_) => {}
        }
    }

    /// Nothing has come on the chosen instance's connection for long, though it was asked for a sign of life.
    #[cold]
    fn frozen(&self, worker: &Worker, address: SocketAddr, now: Instant) {
        match &self.plan.target {
            Target::Service { .. } => {
                worker.frozen(address, now);
                self.forget_further(worker);
            }
            Target::Address(_) => worker.application_frozen(address, now),
        }
    }

    /// Holds against the chosen instance what its sidecar has said of its application.
    #[cold]
    pub(super) fn held_against(&self, worker: &Worker, refused: Refused, now: Instant) {
        let Some(Chosen { address, .. }) = self.chosen else { return };
        let is_put_aside = match refused {
            Refused::Misrouted => false,
            Refused::Unreachable => {
                worker.eject(address, now);
                true
            }
            // Its application is there, or may be: it has nothing to say yet.
            Refused::Late => false,
            Refused::Unanswered | Refused::Silent => worker.unanswered(address, now),
        };
        if is_put_aside {
            self.forget_further(worker);
        }
    }

    /// Whether an answer comes from the sidecar of an instance that was chosen here, and means that another is chosen.
    pub(super) fn refused_by(&self, answer: &impl Answer) -> Option<Refused> {
        answer.refused().filter(|_| matches!(self.plan.target, Target::Service { .. }))
    }

    /// What the client is told when nobody else may have the request.
    pub(super) fn refusal(&self, refused: Refused) -> Kind {
        match (refused, &self.plan.target) {
            (Refused::Misrouted, Target::Service { service, .. }) => {
                Kind::RefusedAsMisrouted(service.name().to_string())
            }
            (Refused::Misrouted, Target::Address(address)) => {
                Kind::RefusedAsMisrouted(address.to_string())
            }
            (Refused::Late | Refused::Silent, _) if self.patience.is_callers() => {
                Kind::DeadlineExceeded
            }
            (Refused::Late | Refused::Silent, _) => Kind::AnswerTimeout,
            (Refused::Unanswered, _) => Kind::Reset(io::ErrorKind::UnexpectedEof.into()),
            (Refused::Unreachable, _) => {
                let reason = "its sidecar cannot connect to the application";
                Kind::Connect(io::Error::new(io::ErrorKind::ConnectionRefused, reason))
            }
        }
    }
}

/// A call on a new connection, or on one that another call opens.
async fn connect<R: Request, U: Upstream<R>>(
    upstream: &U,
    protocol: Protocol,
    address: SocketAddr,
    blamed: Option<SocketAddr>,
) -> Result<(CallOf<U, R>, Connected), ProxyError> {
    let (call, is_joined) = upstream.connect(protocol, address, blamed).await?;
    Ok((call, if is_joined { Connected::Together } else { Connected::Anew }))
}

/// Connections in HTTP/2 are shared: no other is opened beside one that is there.
async fn first_that_connects<R: Request, U: Upstream<R>>(
    upstream: &U,
    protocol: Protocol,
    addresses: Vec<SocketAddr>,
    fresh: bool,
) -> Result<(CallOf<U, R>, Connected), ProxyError> {
    let mut failed = None;
    if !fresh {
        let mut pooled = addresses.iter().map(|it| upstream.pooled(protocol, *it));
        if let Some(call) = pooled.find_map(|call| call) {
            return Ok((call, Connected::Before));
        }
    }
    for address in addresses {
        // One address says nothing about an instance that has others.
        match connect(upstream, protocol, address, None).await {
            Ok(connected) => return Ok(connected),
            Err(error) => failed = Some(error),
        }
    }
    let nowhere = || Kind::Connect(io::ErrorKind::AddrNotAvailable.into());
    Err(failed.unwrap_or_else(|| ProxyError::unsent(nowhere())))
}
