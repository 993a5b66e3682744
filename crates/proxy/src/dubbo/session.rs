//! One connection to an instance, or to the application beside a sidecar: shared by all who call there on this thread. Each
//! request has an id of its own on it, and its answer goes back with the id that its caller gave it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use hashbrown::{HashMap, HashSet};
use telemetry::Count;
use tokio::{sync::OnceCell, task::spawn_local};

use super::{
    answer::{self, Event, status},
    frame::{Came, Frame, FrameHead},
    outbox::{Incoming, Outbox},
    request::{Asker, Attempt, Counted, Request},
};
use crate::{
    buffers::Buffer,
    deadlines::Late as _,
    error::{Kind, ProxyError},
    transport::Connection,
    worker::Worker,
};

/// How long nothing may come of an instance before it is asked for a sign of life: what Dubbo's own ends do.
const ASKED_AFTER: Duration = Duration::from_secs(60);

/// How long nothing may come before the connection is given up, as there.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(180);

/// How long a connection is kept that nobody has called on.
const KEPT_UNUSED: Duration = Duration::from_secs(600);

/// How often these are looked at, and requests that have waited for long enough.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Connections of one thread to instances.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By where they lead.
    slots: RefCell<HashMap<SocketAddr, Rc<Slot>>>,
    /// Instances that take no more requests on the connection there is to them.
    leaving: RefCell<HashSet<SocketAddr>>,
}

/// Those who want the same connection at the same time open it once.
type Slot = OnceCell<Rc<Session>>;

/// A request whose answer is awaited.
pub(super) struct Pending {
    pub(super) asker: Rc<dyn Asker>,
    /// As its caller has sent it, but for the body.
    pub(super) head: FrameHead,
    pub(super) counted: Counted,
    /// Until when its answer is waited for.
    pub(super) until: Instant,
    /// What is sent again where the instance turns out to be the wrong one.
    pub(super) kept: Option<Rc<Frame>>,
    pub(super) attempt: Attempt,
}

/// One of the connections.
pub(super) struct Session {
    connection: Rc<Connection>,
    /// What the instance is known by.
    instance: SocketAddr,
    leads_to: SocketAddr,
    pub(super) outbox: Outbox,
    pending: RefCell<HashMap<u64, Pending>>,
    last_id: Cell<u64>,
    /// The server takes no more requests on it.
    is_leaving: Cell<bool>,
    is_closed: Cell<bool>,
    used_at: Cell<Instant>,
    heard_at: Cell<Instant>,
    asked_at: Cell<Option<Instant>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("leads_to", &self.leads_to).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Whether an instance has said that it leaves, and there is no new connection to whoever is in its place.
    pub(super) fn is_leaving(&self, instance: SocketAddr) -> bool {
        self.leaving.borrow().contains(&instance)
    }

    fn leaves(&self, instance: SocketAddr, leaves: bool) {
        let mut leaving = self.leaving.borrow_mut();
        if leaves {
            leaving.insert(instance);
        } else {
            leaving.remove(&instance);
        }
    }

    /// The connection to the first of these addresses of an instance that answers; opened, unless there is one.
    pub(super) async fn reach(
        &self,
        worker: &Rc<Worker>,
        instance: SocketAddr,
        addresses: &[SocketAddr],
        says_where: impl Fn(&Connection),
    ) -> Result<Rc<Session>, ProxyError> {
        let Some(leads_to) = addresses.first().copied() else {
            let nowhere = Kind::Connect(io::ErrorKind::AddrNotAvailable.into());
            return Err(ProxyError::unsent(nowhere));
        };
        let slot = {
            let mut slots = self.slots.borrow_mut();
            let slot = slots.entry(leads_to).or_default();
            // What leaves ends what it has by itself; whoever comes may find its successor at the same place.
            if slot.get().is_some_and(|session| session.is_closed() || session.is_leaving()) {
                *slot = Rc::default();
            }
            Rc::clone(slot)
        };
        let opening = async {
            let connection = worker.first_to_answer(addresses).await?;
            says_where(&connection);
            self.leaves(instance, false);
            let session = Rc::new(Session::new(connection, instance, leads_to));
            spawn_local(run(Rc::clone(worker), Rc::clone(&session)));
            Ok(session)
        };
        match slot.get_or_try_init(|| Box::pin(opening)).await {
            Ok(session) => Ok(Rc::clone(session)),
            Err(error) => {
                self.forget(leads_to, |there| Rc::ptr_eq(there, &slot) && there.get().is_none());
                Err(error)
            }
        }
    }

    fn forget(&self, leads_to: SocketAddr, is_it: impl FnOnce(&Rc<Slot>) -> bool) {
        let mut slots = self.slots.borrow_mut();
        if slots.get(&leads_to).is_some_and(is_it) {
            slots.remove(&leads_to);
        }
    }
}

impl Session {
    fn new(connection: Rc<Connection>, instance: SocketAddr, leads_to: SocketAddr) -> Self {
        let now = Instant::now();
        Self {
            connection,
            instance,
            leads_to,
            outbox: Outbox::default(),
            pending: RefCell::default(),
            last_id: Cell::new(0),
            is_leaving: Cell::new(false),
            is_closed: Cell::new(false),
            used_at: Cell::new(now),
            heard_at: Cell::new(now),
            asked_at: Cell::new(None),
        }
    }

    /// Whether new requests may be sent on it.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// An id that nobody has on this connection.
    pub(super) fn new_id(&self) -> u64 {
        self.last_id.set(self.last_id.get().wrapping_add(1));
        self.last_id.get()
    }

    /// Sends a request that has such an id; of one that is answered `pending` waits for that.
    pub(super) fn send(&self, frame: Rc<Frame>, pending: Option<Pending>) {
        self.used_at.set(Instant::now());
        if let Some(pending) = pending {
            self.pending.borrow_mut().insert(frame.head.id, pending);
            self.connection.await_answers(true);
        }
        self.outbox.push(frame);
    }

    async fn receive(&self, worker: &Worker) -> io::Result<()> {
        let mut incoming = Incoming::new(Buffer::default());
        while let Some(came) = incoming.next(worker, &self.connection).await? {
            self.heard_at.set(Instant::now());
            self.asked_at.set(None);
            worker.heard_of(self.connection.peer);
            match came {
                Came::Frame(frame) if frame.head.is_request() => self.is_asked(worker, &frame),
                Came::Frame(frame) => self.is_answered(worker, frame),
                Came::TooLarge(head) if head.is_request() => {}
                Came::TooLarge(head) => {
                    let pending = self.pending.borrow_mut().remove(&head.id);
                    if let Some(pending) = pending {
                        worker.recorder.count(Count::RejectedTooLarge);
                        let words = "the instance's answer is larger than 8 MiB";
                        pending.fail(worker, status::SERVER_ERROR, words);
                    }
                }
            }
            self.connection.is_answered();
            self.connection.await_answers(!self.pending.borrow().is_empty());
        }
        Ok(())
    }

    /// The server asks.
    fn is_asked(&self, worker: &Worker, frame: &Frame) {
        if !frame.head.is_event() {
            // Callbacks: whose they are is not known.
            if frame.head.is_two_way() {
                let words = "laneway: callbacks are not passed on";
                self.outbox.push(Rc::new(answer::error(&frame.head, status::BAD_REQUEST, words)));
            }
            return;
        }
        match Event::of(frame) {
            event @ (Event::Leaving | Event::Staying) => {
                self.is_leaving.set(event == Event::Leaving);
                worker.dubbo.leaves(self.instance, event == Event::Leaving);
            }
            Event::SignOfLife => {}
        }
        if frame.head.is_two_way() {
            self.outbox.push(Rc::new(answer::alive(frame)));
        }
    }

    /// Hands an answer to the one who waits for it.
    fn is_answered(&self, worker: &Worker, mut frame: Frame) {
        let Some(pending) = self.pending.borrow_mut().remove(&frame.head.id) else { return };
        worker.answered(self.instance);
        if pending.kept.is_some() && answer::is_misrouted(&frame) {
            worker.recorder.count(Count::RetriedMisrouted);
            return pending.goes_again(self.instance);
        }
        frame.renumber(pending.head.id);
        let asker = Rc::clone(&pending.asker);
        pending.counted.ended(worker, answer::counts_as(&frame));
        asker.answer(Rc::new(frame));
    }

    /// Looks now and then after what nothing else happens to.
    async fn look_after(&self, worker: &Worker) {
        loop {
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            let now = Instant::now();
            self.give_up_late(worker, now);
            let silent = now.saturating_duration_since(self.heard_at.get());
            let is_unused = self.pending.borrow().is_empty() && self.outbox.is_empty();
            let unused = now.saturating_duration_since(self.used_at.get());
            if silent >= GIVEN_UP_AFTER || is_unused && unused >= KEPT_UNUSED {
                return;
            }
            if silent >= ASKED_AFTER && self.asked_at.get().is_none() {
                self.asked_at.set(Some(now));
                self.outbox.push(Rc::new(answer::are_you_alive(self.new_id())));
            }
        }
    }

    /// Answers those whose time is over.
    fn give_up_late(&self, worker: &Worker, now: Instant) {
        let is_late = |_: &u64, pending: &mut Pending| pending.until <= now;
        let late: Vec<_> = self.pending.borrow_mut().extract_if(is_late).collect();
        if late.is_empty() {
            return;
        }
        self.connection.await_answers(!self.pending.borrow().is_empty());
        worker.unanswered(self.instance, now);
        for (_, pending) in late {
            worker.recorder.count(Count::TimedOutResponse);
            pending.fail(worker, status::SERVER_TIMEOUT, "the instance did not answer in time");
        }
    }

    /// Ready when nothing is to be expected of the instance any more.
    async fn lost(&self) {
        poll_fn(|context| {
            if self.connection.lost.get().is_some() {
                return Poll::Ready(());
            }
            self.connection.set_keeper(context.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Pending {
    /// Somebody else has it now, where its own instance must not.
    fn goes_again(self, instance: SocketAddr) {
        let Self { asker, head, kept, mut attempt, .. } = self;
        let Some(kept) = kept else { return };
        let mut frame = Rc::unwrap_or_clone(kept);
        frame.renumber(head.id);
        attempt.was_in_vain(instance);
        asker.again(Request { frame, attempt });
    }

    fn fail(self, worker: &Worker, status: u8, words: &str) {
        let error = answer::error(&self.head, status, words);
        self.counted.failed(worker, answer::counts_as(&error));
        self.asker.answer(Rc::new(error));
    }
}

/// Serves a connection to its end.
async fn run(worker: Rc<Worker>, session: Rc<Session>) {
    let is_its_end = tokio::select! {
        biased;
        received = session.receive(&worker) => {
            if let Err(error) = &received {
                tracing::debug!(peer = %session.leads_to, %error, "connection in Dubbo's protocol ended");
            }
            true
        }
        sent = session.outbox.send_all(&worker, &session.connection) => sent.is_err(),
        () = session.look_after(&worker) => false,
        () = session.lost() => false,
    };
    session.is_closed.set(true);
    if session.is_leaving() {
        worker.dubbo.leaves(session.instance, false);
    }
    worker.dubbo.forget(session.leads_to, |slot| {
        slot.get().is_some_and(|there| Rc::ptr_eq(there, &session))
    });
    session.connection.shut_down(Shutdown::Both);
    // Nobody has seen anything of these.
    for unsent in session.outbox.close() {
        // Its own answers have ids of the server's.
        if !unsent.head.is_request() || unsent.head.is_event() {
            continue;
        }
        let pending = session.pending.borrow_mut().remove(&unsent.head.id);
        match pending {
            Some(mut pending) if pending.attempt.may_go_again() => {
                pending.kept = Some(unsent);
                worker.recorder.count(Count::RetriedStale);
                pending.goes_again(session.instance);
            }
            Some(pending) => {
                let words = "the instance closed each connection before the request was sent";
                pending.fail(&worker, status::SERVER_ERROR, words);
            }
            None => {}
        }
    }
    let left = session.pending.take();
    if !left.is_empty() && is_its_end && !session.connection.was_ended_here() {
        worker.unanswered(session.instance, Instant::now());
    }
    for (_, pending) in left {
        let words = "the instance closed the connection without an answer";
        pending.fail(&worker, status::SERVER_ERROR, words);
    }
}
