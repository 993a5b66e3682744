//! The threads of a proxy: each accepts, serves, and looks at its clock; none waits for another.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    os::fd::AsFd as _,
    rc::Rc,
    time::{Duration, Instant},
};

use rand::Rng as _;
use socket2::SockRef;
use telemetry::{Count, Level, Recorder, Role};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, watch},
    task::spawn_local,
};

use crate::{
    ejection::{Ejections, UnreachableBoard},
    inherited::Inherited,
    limits::{self, ACCEPT_PAUSE, DRAIN_IDLE, LAST_HANDSHAKES, LATE_COMERS},
    listen,
    lost::CallsInLanes,
    peers::Via,
    published::Feed,
    running::{Handed, Phase, Running},
    settings::Settings,
    transport::Connection,
    unbound::UnboundPorts,
    undeclared::UndeclaredPorts,
    unread::UnreadCalls,
    worker::Worker,
};

/// How often a draining thread looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How long tasks have to end after their connections were shut down at the end of the grace.
const END_WAIT: Duration = Duration::from_millis(500);

/// What the threads of a proxy are for. One value per thread.
pub(crate) trait Serve: Sized + 'static {
    /// Serves a connection to its end.
    async fn serve(self: Rc<Self>, worker: Rc<Worker>, accepted: Accepted);

    /// What there is to do on a thread before it is said to serve.
    fn begin(_thread: &Rc<Thread<Self>>) {}

    /// What else there is to do on a thread while it serves.
    async fn attend(thread: Rc<Thread<Self>>) {
        drop(thread);
    }

    /// What is done now and then, on one of the threads.
    fn tick(&self, _now: Instant) {}
}

/// A connection that came in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) connection: Rc<Connection>,
    /// What the proxy is to it.
    pub(crate) role: Role,
    /// Where it came in.
    pub(crate) port: u16,
    /// It must not outlive its listener by long.
    pub(crate) listener_is_removed: Rc<Cell<bool>>,
}

type Sockets = Vec<(std::net::TcpListener, SocketAddr, Role)>;

/// Starts one thread per hand of sockets, each for what `make` makes. Returns when all of them serve.
pub(crate) fn start<S: Serve>(
    settings: Settings,
    make: impl Fn() -> S + Clone + Send + 'static,
    per_worker: Vec<Sockets>,
    addresses: Vec<SocketAddr>,
    asked: Vec<SocketAddr>,
    feed: Feed,
) -> io::Result<Running> {
    let (board, tap) = (UnreachableBoard::default(), settings.tap.clone());
    let sampled = board.clone();
    settings.metrics.collect_from(move |samples| sampled.sample(samples));
    let (phase, phases) = watch::channel(Phase::Serving);
    let (handing, handed) = watch::channel(None);
    let (open, opened) = watch::channel(settings.accepts);
    let (ending, ended) = mpsc::channel(1);
    let (emptying, emptied) = mpsc::channel(1);
    let (ready, readiness) = std::sync::mpsc::channel();
    let (workers, number) = (per_worker.len(), rand::rng().next_u64());
    let connections_max = limits::connections_max(settings.connections_max) / workers as u64;
    let accepting = Accepting { connections_max, opened, inherited: settings.inherited.clone() };
    for (index, sockets) in per_worker.into_iter().enumerate() {
        let (settings, make, board) = (settings.clone(), make.clone(), board.clone());
        let (phases, feed) = (phases.clone(), feed.clone());
        let (ending, emptying, ready) = (ending.clone(), emptying.clone(), ready.clone());
        let (handed, accepting) = (handed.clone(), accepting.clone());
        std::thread::Builder::new().name(format!("{}-{index}", settings.name)).spawn(
            move || {
                let runtime =
                    Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let stages = Stages { phases, handed, emptying: Some(emptying) };
                        let (ejections, via) = (Ejections::new(&board), Via::new(number));
                        let recorder = settings.metrics.recorder();
                        let worker = Worker::new(feed, settings, ejections, recorder, via);
                        let thread = Thread::new(worker, make(), index, accepting);
                        runtime.block_on(run(Rc::new(thread), sockets, stages, &ready));
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
                drop(ending);
            },
        )?;
    }
    for _ in 0..workers {
        readiness
            .recv()
            .map_err(|_| io::Error::other("a proxy thread ended while it started"))??;
    }
    drop((ending, emptying));
    Ok(Running {
        addresses,
        asked,
        threads: workers,
        inherited: settings.inherited,
        handing,
        open,
        metrics: settings.metrics,
        board,
        tap,
        unbound: UnboundPorts::default(),
        unread: UnreadCalls::default(),
        unread_arrivals: UnreadCalls::default(),
        passed: UnreadCalls::default(),
        undeclared: UndeclaredPorts::default(),
        in_lanes: CallsInLanes::default(),
        phase,
        emptied,
        ended,
    })
}

/// How a thread is told to end, and tells how far it is.
struct Stages {
    phases: watch::Receiver<Phase>,
    /// Who asks for its listening sockets.
    handed: watch::Receiver<Option<mpsc::Sender<Handed>>>,
    /// Dropped when what was in has been answered.
    emptying: Option<mpsc::Sender<()>>,
}

impl Stages {
    /// Waits for a phase; `None` when the proxy was dropped: then everything ends at once.
    async fn wait_for(&mut self, is_it: impl FnMut(&Phase) -> bool) -> Option<Instant> {
        match *self.phases.wait_for(is_it).await.ok()? {
            Phase::Serving => None,
            Phase::Draining { until, .. } | Phase::Ending(until) => Some(until),
        }
    }
}

/// What one thread does.
async fn run<S: Serve>(
    thread: Rc<Thread<S>>,
    sockets: Sockets,
    mut stages: Stages,
    ready: &std::sync::mpsc::Sender<io::Result<()>>,
) {
    for (socket, address, role) in sockets {
        thread.own_addresses.borrow_mut().push(address);
        if let Err(error) = thread.listen(socket, address, role) {
            tracing::error!(%address, %error, "cannot serve a listening socket");
        }
    }
    S::begin(&thread);
    // Whoever started us may have given up meanwhile.
    let _ = ready.send(Ok(()));
    spawn_local(hand_sockets(Rc::clone(&thread), stages.handed.clone()));
    spawn_local(tick(Rc::clone(&thread)));
    spawn_local(free_waiting(Rc::clone(&thread)));
    spawn_local(S::attend(Rc::clone(&thread)));
    let Some(until) = stages.wait_for(|phase| *phase != Phase::Serving).await else { return };
    let is_succeeded = matches!(*stages.phases.borrow(), Phase::Draining { succeeded: true, .. });
    empty(&thread, until, is_succeeded).await;
    stages.emptying = None;
    let Some(until) = stages.wait_for(|phase| matches!(phase, Phase::Ending(_))).await else {
        return;
    };
    end(&thread, until, is_succeeded).await;
}

/// Gives copies of its listening sockets to whoever asks.
async fn hand_sockets<S: Serve>(
    thread: Rc<Thread<S>>,
    mut asked: watch::Receiver<Option<mpsc::Sender<Handed>>>,
) {
    while asked.changed().await.is_ok() {
        let asks = asked.borrow_and_update().clone();
        if let Some(asks) = asks {
            // Whoever asked may have gone.
            let _ = asks.send(thread.sockets()).await;
        }
    }
}

async fn tick<S: Serve>(thread: Rc<Thread<S>>) {
    loop {
        thread.worker.deadlines.until_next_look().await;
        let now = Instant::now();
        thread.worker.tick(now);
        if thread.is_first() {
            thread.serve.tick(now);
        }
    }
}

/// Looks after requests that wait, whenever there is a new picture; and once more soon after, for those that were on
/// their way by the one before.
async fn free_waiting<S: Serve>(thread: Rc<Thread<S>>) {
    let mut pictures = thread.worker.pictures();
    pictures.mark_unchanged();
    while pictures.changed().await.is_ok() {
        thread.worker.free_waiting();
        while let Ok(changed) = tokio::time::timeout(LATE_COMERS, pictures.changed()).await {
            if changed.is_err() {
                return;
            }
            thread.worker.free_waiting();
        }
        thread.worker.free_waiting();
    }
}

/// Until when whoever waits between two requests is left to ask once more. Where another process has the sockets that is
/// the whole grace: to close first could meet a request that is under way, and nobody waits for the address.
fn idle_until(until: Instant, is_succeeded: bool) -> Instant {
    if is_succeeded { until } else { (Instant::now() + DRAIN_IDLE).min(until) }
}

/// Lets nobody in, and where another process has the sockets nobody out either; waits until what is in has been answered.
async fn empty<S: Serve>(thread: &Thread<S>, until: Instant, is_succeeded: bool) {
    let worker = &thread.worker;
    worker.draining.set(true);
    if is_succeeded {
        thread.leave(|listening, _| {
            listening.has_successor.set(listening.is_handed.get());
            true
        });
        worker.deadlines.for_each(|connection| connection.tell());
    } else {
        thread.leave(|_, role| role != Role::SidecarOutbound);
    }
    let idle_until = idle_until(until, is_succeeded);
    while thread.inside.get() + thread.leaving.get() > 0 && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
        if Instant::now() >= idle_until {
            worker.deadlines.for_each(|connection| {
                if !connection.is_outbound.get() {
                    connection.let_go();
                }
            });
        }
    }
}

/// Lets nobody out; waits for what is left, and closes it when it is time.
async fn end<S: Serve>(thread: &Thread<S>, until: Instant, is_succeeded: bool) {
    let worker = &thread.worker;
    thread.leave(|_, _| true);
    let idle_until = idle_until(until, is_succeeded);
    let is_empty =
        || worker.recorder.level(Level::DownstreamOpen) == 0 && thread.leaving.get() == 0;
    while !is_empty() && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
        if Instant::now() >= idle_until {
            worker.deadlines.for_each(|connection| connection.let_go());
        }
    }
    worker.websockets.end().await;
    worker.upstreams.close();
    worker.deadlines.for_each(|connection| connection.give_up());
    let end = Instant::now() + END_WAIT;
    while worker.recorder.level(Level::DownstreamOpen) > 0 && Instant::now() < end {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// How a thread accepts.
#[derive(Clone)]
struct Accepting {
    connections_max: u64,
    /// Whether it does yet.
    opened: watch::Receiver<bool>,
    inherited: Inherited,
}

/// One thread.
#[derive(Debug)]
pub(crate) struct Thread<S> {
    pub(crate) worker: Rc<Worker>,
    pub(crate) serve: Rc<S>,
    connections_max: i64,
    /// Whether it accepts yet.
    opened: watch::Receiver<bool>,
    inherited: Inherited,
    index: usize,
    /// Where it accepts from its start to its end.
    own_addresses: RefCell<Vec<SocketAddr>>,
    /// What is accepted on at the moment.
    listening: RefCell<Vec<Rc<Listening>>>,
    /// Connections of those who were let in: all but the application's own.
    inside: Rc<Cell<usize>>,
    /// Listeners that wait for the last handshakes.
    leaving: Cell<usize>,
}

/// One connection, from its accept to its end: whatever becomes of it in between, it counts against the limit, and
/// draining waits for it.
struct Admitted {
    recorder: Rc<Recorder>,
    /// Where it was let in, and is none of the application's own.
    inside: Option<Rc<Cell<usize>>>,
}

impl Admitted {
    fn new(recorder: &Rc<Recorder>, inside: Option<&Rc<Cell<usize>>>) -> Self {
        recorder.raise(Level::DownstreamOpen);
        if let Some(inside) = inside {
            inside.set(inside.get() + 1);
        }
        Self { recorder: Rc::clone(recorder), inside: inside.cloned() }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.recorder.lower(Level::DownstreamOpen);
        if let Some(inside) = &self.inside {
            inside.set(inside.get().saturating_sub(1));
        }
    }
}

#[derive(Debug)]
struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    role: Role,
    leave: Notify,
    /// Another process has the same socket.
    is_handed: Cell<bool>,
    /// It accepts on it from now on, and this one does not.
    has_successor: Cell<bool>,
    /// A supervisor has it, too: who is not accepted waits for the next process.
    is_kept: bool,
    /// Connections made here must not outlive it by long.
    is_removed: Rc<Cell<bool>>,
}

impl<S: Serve> Thread<S> {
    fn new(
        worker: Rc<Worker>,
        serve: S,
        index: usize,
        Accepting { connections_max, opened, inherited }: Accepting,
    ) -> Self {
        Self {
            worker,
            serve: Rc::new(serve),
            connections_max: connections_max.max(1) as i64,
            opened,
            inherited,
            index,
            own_addresses: RefCell::default(),
            listening: RefCell::default(),
            inside: Rc::default(),
            leaving: Cell::default(),
        }
    }

    /// Whether it is the one that speaks for all.
    pub(crate) fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Accepts on a socket until told to leave.
    pub(crate) fn listen(
        self: &Rc<Self>,
        socket: std::net::TcpListener,
        address: SocketAddr,
        role: Role,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(socket)?;
        let listening = Rc::new(Listening {
            listener,
            address,
            role,
            leave: Notify::default(),
            is_handed: Cell::default(),
            has_successor: Cell::default(),
            is_kept: self.inherited.keeps(address),
            is_removed: Rc::default(),
        });
        self.listening.borrow_mut().push(Rc::clone(&listening));
        spawn_local(accept(Rc::clone(self), listening));
        Ok(())
    }

    /// Which of the threads it is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Where it accepts from its start to its end.
    pub(crate) fn own_addresses(&self) -> Vec<SocketAddr> {
        self.own_addresses.borrow().clone()
    }

    /// Where it accepts at the moment.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.borrow().iter().map(|listening| listening.address).collect()
    }

    /// Copies of the sockets on which it accepts.
    fn sockets(&self) -> Handed {
        let listening = self.listening.borrow();
        let copies = listening.iter().map(|listening| {
            listening.is_handed.set(true);
            Ok((listening.address, listening.listener.as_fd().try_clone_to_owned()?))
        });
        copies.collect()
    }

    /// Stops accepting on ports whose listeners are gone; connections made there must not outlive them by long.
    pub(crate) fn remove(&self, is_gone: impl Fn(u16) -> bool) {
        self.leave(|listening, _| {
            let gone = is_gone(listening.address.port());
            listening.is_removed.set(listening.is_removed.get() || gone);
            gone
        });
    }

    /// Stops accepting on some sockets.
    fn leave(&self, leaves: impl Fn(&Listening, Role) -> bool) {
        self.listening.borrow_mut().retain(|listening| {
            let stays = !leaves(listening, listening.role);
            if !stays {
                self.leaving.set(self.leaving.get() + 1);
                listening.leave.notify_one();
            }
            stays
        });
    }

    fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, listening: &Listening) {
        let worker = &self.worker;
        if worker.recorder.level(Level::DownstreamOpen) >= self.connections_max {
            worker.recorder.count(Count::DownstreamRefused);
            return;
        }
        worker.recorder.count(Count::DownstreamAccepted);
        let connection = Connection::new(stream, peer, &worker.deadlines);
        let is_outbound = listening.role == Role::SidecarOutbound;
        connection.is_outbound.set(is_outbound);
        let admitted = Admitted::new(&worker.recorder, (!is_outbound).then_some(&self.inside));
        let accepted = Accepted {
            connection,
            role: listening.role,
            port: listening.address.port(),
            listener_is_removed: Rc::clone(&listening.is_removed),
        };
        let (serve, worker) = (Rc::clone(&self.serve), Rc::clone(worker));
        spawn_local(async move {
            serve.serve(worker, accepted).await;
            drop(admitted);
        });
    }
}

async fn accept<S: Serve>(thread: Rc<Thread<S>>, listening: Rc<Listening>) {
    let port = listening.address.port();
    let mut opened = thread.opened.clone();
    let mut leaves = tokio::select! {
        biased;
        () = listening.leave.notified() => true,
        // Nobody can open it any more where it is closed for good.
        opened = opened.wait_for(|is_open| *is_open) => opened.is_err(),
    };
    // A process that was to take another's place, and did not, has that one's sockets: it goes on with them.
    let has_accepted = !leaves;
    while !leaves {
        let accepted = tokio::select! {
            biased;
            // First: what cannot be accepted is ready at once, and would never let it leave.
            () = listening.leave.notified() => {
                leaves = true;
                continue;
            }
            accepted = listening.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => thread.admit(stream, peer, &listening),
            Err(error) => {
                tracing::warn!(port, %error, "cannot accept a connection");
                // Out of file descriptors: others must end first. Errors of one connection pass as quickly.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if has_accepted && !listening.has_successor.get() && !listening.is_kept {
        accept_last(&thread, listening).await;
    }
    thread.leaving.set(thread.leaving.get().saturating_sub(1));
}

/// Connections that the kernel has completed already, or is completing, would be reset with the socket.
async fn accept_last<S: Serve>(thread: &Rc<Thread<S>>, listening: Rc<Listening>) {
    listen::answer_nobody_new(&SockRef::from(&listening.listener));
    let until = tokio::time::Instant::now() + LAST_HANDSHAKES;
    while let Ok(accepted) = tokio::time::timeout_at(until, listening.listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => thread.admit(stream, peer, &listening),
            // Of one connection, or out of file descriptors: others may end in this time.
            Err(_) => tokio::time::sleep(LAST_HANDSHAKES / 10).await,
        }
    }
    // Closed only after them: the task that accepted is the last that has it.
    for (stream, peer) in listen::last_ones(&listening.listener) {
        if let Ok(stream) = TcpStream::from_std(stream) {
            thread.admit(stream, peer, &listening);
        }
    }
}
