//! The connection of a caller: of each request it is decided who has it, by the same rules as of requests in HTTP, and answers
//! go back as they come.

use std::{
    cell::RefCell,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use lanes::ServiceId;
use routes::entrance::Written;
use smallvec::SmallVec;
use telemetry::{Count, Level};
use tokio::{sync::Notify, task::spawn_local};

use super::{
    answer::{self, Event, MISROUTED, status},
    frame::{Came, Frame, FrameHead},
    invocation::{self, Invocation},
    outbox::{Incoming, Outbox},
    request::{Asker, Attempt, Counted, InFlight, Load, Request},
    session::{Pending, Session},
};
use crate::{
    buffers::Buffer,
    ejection::Trouble,
    error::{Kind, Origin, ProxyError},
    exchange::{
        find_out,
        sides::{Decide, Found, OwnAnswer},
    },
    limits::{
        ATTEMPTS_MAX, DRAIN_IDLE, DUBBO_BODY_BYTES_MAX, DUBBO_IN_FLIGHT_MAX,
        DUBBO_UNTAKEN_BYTES_MAX, DUBBO_WAITING_BYTES_MAX, KEPT_BODY_BYTES_MAX,
    },
    picture::Picture,
    plan::{Chosen, NoPlan, Plan, Target},
    transport::Connection,
    worker::Worker,
};

/// Longest that an answer is waited for, whatever its request says.
const WAITED_MAX: Duration = Duration::from_secs(3600);

/// What serves calls in Dubbo's protocol.
pub(crate) trait Serves: Decide {
    /// Counts a request of which nothing can be read; what becomes of it.
    fn unread(&self, worker: &Worker) -> WhenUnread;

    /// Told when the application beside a sidecar cannot be connected to, where that is who serves these calls.
    fn unreachable(&self) -> Option<&Arc<Notify>> {
        None
    }
}

/// What becomes of a request of which nothing can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WhenUnread {
    Refused,
    /// Nothing says that it is more than base.
    AsBase,
    /// It goes where it was sent.
    To(SocketAddr),
}

/// Who has a request.
struct Place {
    instance: SocketAddr,
    addresses: Vec<SocketAddr>,
    leads_to: LeadsTo,
    counted: Counted,
    until: Instant,
}

/// Where a connection leads.
#[derive(Clone)]
enum LeadsTo {
    Instance(ServiceId),
    Application(Arc<Notify>),
    Elsewhere,
}

/// Why there is no place for a request.
enum NoPlace {
    NoPlan(NoPlan),
    /// It is counted already.
    Failed(Kind),
}

/// A caller's connection.
struct Caller<D> {
    worker: Rc<Worker>,
    decide: Rc<D>,
    peer: SocketAddr,
    outbox: Outbox,
    load: Rc<Load>,
    /// An instance that takes less than it is sent.
    slow: RefCell<Option<Rc<Session>>>,
    /// It takes less than it asks for.
    cut: Notify,
}

/// Serves a connection in Dubbo's protocol to its end.
pub(crate) async fn serve<D: Serves + 'static>(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    decide: Rc<D>,
    first: Buffer,
) {
    let caller = Rc::new(Caller {
        worker: Rc::clone(&worker),
        decide,
        peer: connection.peer,
        outbox: Outbox::default(),
        load: Rc::default(),
        slow: RefCell::default(),
        cut: Notify::new(),
    });
    // Answers that are still to come hold no connection.
    let ended = tokio::select! {
        biased;
        ended = caller.receive(&connection, first) => ended,
        ended = caller.outbox.send_all(&worker, &connection) => ended,
        () = caller.cut.notified() => Err(std::io::ErrorKind::TimedOut.into()),
        () = caller.leave(&connection) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.peer, %error, "connection in Dubbo's protocol broken off");
        connection.reset_when_closed();
    }
    caller.outbox.close();
}

impl<D: Serves + 'static> Caller<D> {
    async fn receive(
        self: &Rc<Self>,
        connection: &Connection,
        first: Buffer,
    ) -> std::io::Result<()> {
        let mut incoming = Incoming::new(first);
        loop {
            self.room().await;
            match incoming.next(&self.worker, connection).await? {
                Some(Came::Frame(frame)) => self.take(frame),
                Some(Came::TooLarge(head)) => self.refuse_too_large(&head),
                None => return Ok(()),
            }
        }
    }

    /// Waits until there may be another request.
    async fn room(&self) {
        let slow = self.slow.take();
        if let Some(slow) = slow {
            slow.outbox.room().await;
        }
        self.outbox.room().await;
        let Load { requests, bytes, lessened } = &*self.load;
        while requests.get() >= DUBBO_IN_FLIGHT_MAX || bytes.get() > DUBBO_WAITING_BYTES_MAX {
            lessened.notified().await;
        }
    }

    fn take(self: &Rc<Self>, frame: Frame) {
        if !frame.head.is_request() {
            return;
        }
        if frame.head.is_event() {
            if frame.head.is_two_way() && Event::of(&frame) == Event::SignOfLife {
                self.outbox.push(Rc::new(answer::alive(&frame)));
            }
            return;
        }
        let recorder = &self.worker.recorder;
        recorder.add(Count::BytesReceived, frame.len() as u64);
        let level = Level::in_flight(D::ROLE);
        let in_flight = InFlight::new(&self.load, frame.len(), recorder, level);
        let attempt = Attempt { started: Instant::now(), tried: SmallVec::new(), in_flight };
        self.begin(Request { frame, attempt });
    }

    /// Most have their place at once; the others do not keep those behind them waiting.
    fn begin(self: &Rc<Self>, request: Request) {
        self.worker.deadlines.set_now(Instant::now());
        let mut placing = Box::pin(Rc::clone(self).place(request));
        let mut context = Context::from_waker(Waker::noop());
        if placing.as_mut().poll(&mut context).is_pending() {
            spawn_local(placing);
        }
    }

    async fn place(self: Rc<Self>, mut request: Request) {
        let worker = &self.worker;
        let (mut queries, mut found, mut failures) = (0, Found::default(), 0);
        let mut picture = worker.picture();
        loop {
            let place = match self.decide(&picture, &mut request, &found) {
                Ok(place) => place,
                Err(NoPlace::Failed(kind)) => return self.refuse(&request.frame.head, &kind),
                Err(NoPlace::NoPlan(no_plan)) => {
                    match Box::pin(find_out(worker, no_plan, &mut queries, &mut found)).await {
                        Ok(newer) => picture = newer.unwrap_or(picture),
                        Err(own) => return self.refuse_unplanned(&request, own),
                    }
                    continue;
                }
            };
            let (instance, tried) = (place.instance, &mut request.attempt.tried);
            let is_instance = matches!(place.leads_to, LeadsTo::Instance(_));
            match self.reach(&place).await {
                Ok(session) if is_instance && session.is_leaving() => tried.push(instance),
                Ok(session) if !session.is_closed() => return self.send(&session, place, request),
                Ok(_) if failures + 1 < ATTEMPTS_MAX => failures += 1,
                Ok(_) => {
                    let kind = Kind::Reset(std::io::ErrorKind::ConnectionReset.into());
                    return self.fail(place, &request.frame.head, &kind);
                }
                Err(kind) => {
                    failures += 1;
                    let may_go_on = is_instance && matches!(kind, Kind::Connect(_));
                    if !may_go_on || failures >= ATTEMPTS_MAX {
                        return self.fail(place, &request.frame.head, &kind);
                    }
                    tried.push(instance);
                    worker.recorder.count(Count::RetriedConnect);
                }
            }
        }
    }

    async fn reach(&self, place: &Place) -> Result<Rc<Session>, Kind> {
        let (worker, instance) = (&self.worker, place.instance);
        let is_instance = matches!(place.leads_to, LeadsTo::Instance(_));
        if is_instance {
            worker.tries(instance);
        }
        let leads_to = place.leads_to.clone();
        let says_where = move |connection: &Connection| match &leads_to {
            LeadsTo::Instance(service) => connection.leads_to(service),
            LeadsTo::Application(_) => connection.leads_to_application(),
            LeadsTo::Elsewhere => {}
        };
        let reached = worker.dubbo.reach(worker, instance, &place.addresses, says_where).await;
        reached.map_err(|error| {
            match &place.leads_to {
                LeadsTo::Instance(_) if matches!(error.kind, Kind::Connect(_)) => {
                    worker.eject_unread(instance, Trouble::NobodyAtPort, Instant::now());
                }
                LeadsTo::Application(unreachable) => unreachable.notify_one(),
                LeadsTo::Instance(_) | LeadsTo::Elsewhere => {}
            }
            error.kind
        })
    }

    /// Decides who has a request, and writes into it what goes with it.
    fn decide(
        &self,
        picture: &Picture,
        request: &mut Request,
        found: &Found,
    ) -> Result<Place, NoPlace> {
        let worker = &self.worker;
        let now = Instant::now();
        let mut head = match Invocation::read(&request.frame) {
            Ok(head) => head,
            Err(why) => match self.decide.unread(worker) {
                WhenUnread::Refused => {
                    return Err(NoPlace::NoPlan(Kind::NotRead(why.to_string()).into()));
                }
                WhenUnread::AsBase => Invocation::unread(),
                WhenUnread::To(address) => return Ok(Place::of(address, now, worker)),
            },
        };
        let until = now + head.timeout().unwrap_or(worker.timeouts.backend).min(WAITED_MAX);
        let mut written = Written::in_memory(worker.buffers.take_write());
        let place = {
            let plan = self.decide.plan(worker, picture, &mut head, found, &mut written);
            let plan = plan.map_err(NoPlace::NoPlan)?;
            self.choose(plan, picture, &request.attempt, until)?
        };
        let changes = head.into_changes(&written);
        worker.buffers.give_write(written.into_memory());
        if let Some(changes) = changes {
            invocation::apply(&mut request.frame, changes);
        }
        Ok(place)
    }

    fn choose(
        &self,
        plan: Plan<'_>,
        picture: &Picture,
        attempt: &Attempt,
        until: Instant,
    ) -> Result<Place, NoPlace> {
        let worker = &self.worker;
        let Attempt { started, tried, .. } = attempt;
        let chosen = match self.choose_one_that_stays(&plan, picture, tried) {
            Ok(chosen) => chosen,
            Err(error) => {
                let _ = worker.account.failed(&plan, picture, None, &error.kind, *started);
                return Err(NoPlace::Failed(error.kind));
            }
        };
        let answering = worker.account.answering(&plan, picture, Some(&chosen), 200, *started);
        let addresses = addresses(&plan, &chosen);
        let leads_to = match (&plan.target, self.decide.unreachable()) {
            (Target::Service { service, .. }, _) => LeadsTo::Instance(service.id().clone()),
            (Target::Address(_), Some(told)) => LeadsTo::Application(Arc::clone(told)),
            (Target::Address(_), None) => LeadsTo::Elsewhere,
        };
        let counted = Counted { answering: Some(answering), remembered: plan.remembered };
        Ok(Place { instance: chosen.address, addresses, leads_to, counted, until })
    }

    /// Whoever leaves is passed over as long as another of its set stays. Where none does there may be a successor in its place:
    /// a lane is not left for that.
    fn choose_one_that_stays(
        &self,
        plan: &Plan<'_>,
        picture: &Picture,
        tried: &[SocketAddr],
    ) -> Result<Chosen, ProxyError> {
        let worker = &self.worker;
        let (now, ticket) = (Instant::now(), worker.ticket());
        let choose = |not_again: &[SocketAddr]| {
            plan.choose(picture, &worker.ejections.borrow(), ticket, now, not_again)
        };
        let first = choose(tried)?;
        let mut next = first;
        let mut not_again: SmallVec<[SocketAddr; ATTEMPTS_MAX]> = SmallVec::from_slice(tried);
        while worker.dubbo.is_leaving(next.address) {
            not_again.push(next.address);
            match choose(&not_again) {
                Ok(other)
                    if other.subset == first.subset && !not_again.contains(&other.address) =>
                {
                    next = other;
                }
                _ => return Ok(first),
            }
        }
        Ok(next)
    }

    fn send(self: &Rc<Self>, session: &Rc<Session>, place: Place, request: Request) {
        let Request { mut frame, mut attempt } = request;
        let head = frame.head;
        let is_instance = matches!(place.leads_to, LeadsTo::Instance(_));
        let is_kept = is_instance && attempt.may_go_again() && frame.len() <= KEPT_BODY_BYTES_MAX;
        frame.renumber(session.new_id());
        let frame = Rc::new(frame);
        if !is_kept {
            attempt.in_flight.lets_go();
        }
        let Place { counted, until, .. } = place;
        if head.is_two_way() {
            let kept = is_kept.then(|| Rc::clone(&frame));
            let asker = Rc::clone(self) as Rc<dyn Asker>;
            session.send(frame, Some(Pending { asker, head, counted, until, kept, attempt }));
        } else {
            session.send(frame, None);
            counted.ended(&self.worker, 200);
        }
        if !session.outbox.has_room() {
            self.slow.replace(Some(Rc::clone(session)));
        }
    }

    fn refuse_unplanned(&self, request: &Request, own: OwnAnswer) {
        let kind = match own {
            OwnAnswer::Refusal(kind) => kind,
            // Nobody asks for these here.
            OwnAnswer::Redirect { .. } | OwnAnswer::Options | OwnAnswer::Established(_) => {
                Kind::ConnectMethod
            }
        };
        let (account, duration) = (&self.worker.account, request.attempt.started.elapsed());
        let counted_as = self.decide.counted_as();
        let _ = account.unplanned(D::ROLE, counted_as, Some(&kind), kind.status(), duration);
        self.refuse(&request.frame.head, &kind);
    }

    fn refuse_too_large(&self, head: &FrameHead) {
        self.worker.recorder.count(Count::RejectedTooLarge);
        if head.is_request() && head.is_two_way() {
            let words = format!("laneway: the request is larger than {DUBBO_BODY_BYTES_MAX} bytes");
            self.answer(Rc::new(answer::error(head, status::BAD_REQUEST, &words)));
        }
    }

    fn fail(&self, place: Place, head: &FrameHead, kind: &Kind) {
        self.worker.account.note(kind);
        place.counted.failed(&self.worker, kind.status());
        self.refuse(head, kind);
    }

    /// Tells the caller, where it waits for an answer.
    fn refuse(&self, head: &FrameHead, kind: &Kind) {
        tracing::debug!(peer = %self.peer, reason = %kind, "a request in Dubbo's protocol is refused");
        if !head.is_two_way() {
            return;
        }
        let (status, prefix) = match kind {
            Kind::Misrouted { .. } => (status::BAD_REQUEST, MISROUTED),
            kind if kind.origin() == Origin::Client => (status::BAD_REQUEST, "laneway: "),
            _ => (status::SERVICE_ERROR, "laneway: "),
        };
        self.answer(Rc::new(answer::error(head, status, &format!("{prefix}{kind}"))));
    }

    /// Waits until this thread leaves; then says so, and until what is under way is answered and nobody asks any more.
    async fn leave(&self, connection: &Connection) {
        poll_fn(|context| {
            if self.worker.draining.get() {
                return Poll::Ready(());
            }
            connection.set_keeper(context.waker());
            Poll::Pending
        })
        .await;
        self.outbox.push(Rc::new(answer::leaving()));
        loop {
            tokio::time::sleep(DRAIN_IDLE).await;
            if self.load.requests.get() == 0 && self.outbox.is_empty() {
                return;
            }
        }
    }
}

impl<D: Serves + 'static> Asker for Caller<D> {
    /// Nobody waits for one that does not take its answers: it is cut off where they become too many.
    fn answer(&self, frame: Rc<Frame>) {
        self.worker.recorder.add(Count::BytesSent, frame.len() as u64);
        self.outbox.push(frame);
        if self.outbox.bytes() > DUBBO_UNTAKEN_BYTES_MAX {
            self.cut.notify_one();
        }
    }

    fn again(self: Rc<Self>, request: Request) {
        self.begin(request);
    }
}

impl Place {
    /// An address, whatever is asked for.
    fn of(address: SocketAddr, now: Instant, worker: &Worker) -> Self {
        Self {
            instance: address,
            addresses: vec![address],
            leads_to: LeadsTo::Elsewhere,
            counted: Counted::default(),
            until: now + worker.timeouts.backend.min(WAITED_MAX),
        }
    }
}

/// Where an instance is reached, past its sidecar where it has one that does not capture: there nobody reads Dubbo's protocol.
fn addresses(plan: &Plan<'_>, chosen: &Chosen) -> Vec<SocketAddr> {
    let Target::Service { service, caller_pick, .. } = &plan.target else {
        return vec![chosen.address];
    };
    let endpoint = service.endpoints().iter().find(|it| it.address == chosen.address);
    let addresses = endpoint.map(|it| it.application_addresses_like(*caller_pick));
    match (addresses, caller_pick) {
        (Some(addresses), Some(picked)) if addresses.contains(picked) => vec![*picked],
        (Some(addresses), _) => addresses,
        (None, _) => vec![chosen.address],
    }
}
