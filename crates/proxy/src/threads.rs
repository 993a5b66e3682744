//! The threads of a proxy: each accepts, serves, and looks at its clock; none waits for another.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use routes::entrance::CorrelationHeaders;
use telemetry::{Count, Level, Metrics};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, watch},
    task::spawn_local,
};

use crate::{
    buffers::Buffer,
    correlation::{Correlation, ThreadCorrelation},
    deadlines::Late as _,
    ejection::{Ejections, UnreachableBoard},
    forward::{self, Client, Entry},
    gateway,
    limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_IDLE, Timeouts},
    listen,
    published::Feed,
    running::{Phase, Running},
    sidecar,
    socket::Connection,
    worker::Worker,
};

/// How often a port that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// How often a draining thread looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How long tasks have to end after their connections were shut down at the end of the grace.
const END_WAIT: Duration = Duration::from_millis(500);

/// What a socket is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listen {
    Gateway,
    Outbound,
    Inbound,
}

/// What the threads are for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Gateway {
        name: String,
        correlation_headers: CorrelationHeaders,
    },
    Sidecar {
        application: String,
        service: String,
        tag: Option<lanes::Tag>,
        correlation_headers: CorrelationHeaders,
        correlation: Arc<Correlation>,
        transparent: bool,
        application_address: SocketAddr,
        own: Vec<SocketAddr>,
    },
}

/// What all threads of a proxy share when they start.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) timeouts: Timeouts,
    pub(crate) mark: Option<u32>,
    pub(crate) metrics: Arc<Metrics>,
}

type Sockets = Vec<(std::net::TcpListener, SocketAddr, Listen)>;

/// Starts one thread per hand of sockets. Returns when all of them serve.
pub(crate) fn start(
    plan: Plan,
    per_worker: Vec<Sockets>,
    addresses: Vec<SocketAddr>,
    feed: Feed,
) -> io::Result<Running> {
    let board = UnreachableBoard::default();
    let sampled = board.clone();
    plan.metrics.collect_from(move |samples| sampled.sample(samples));
    let (phase, phases) = watch::channel(Phase::Serving);
    let (ending, ended) = mpsc::channel(1);
    let (emptying, emptied) = mpsc::channel(1);
    let (ready, readiness) = std::sync::mpsc::channel();
    let workers = per_worker.len();
    for (index, sockets) in per_worker.into_iter().enumerate() {
        let (plan, board, phases, feed) =
            (plan.clone(), board.clone(), phases.clone(), feed.clone());
        let (ending, emptying, ready) = (ending.clone(), emptying.clone(), ready.clone());
        std::thread::Builder::new().name(format!("{}-{index}", plan.name)).spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    // Whoever started us may have given up meanwhile.
                    let _ = ready.send(Ok(()));
                    let stages = Stages { phases, emptying: Some(emptying) };
                    runtime.block_on(run(plan, index, workers, sockets, feed, board, stages));
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
            drop(ending);
        })?;
    }
    for _ in 0..workers {
        readiness
            .recv()
            .map_err(|_| io::Error::other("a proxy thread ended while it started"))??;
    }
    drop((ending, emptying));
    Ok(Running { addresses, metrics: plan.metrics, board, phase, emptied, ended })
}

/// How a thread is told to end, and tells how far it is.
struct Stages {
    phases: watch::Receiver<Phase>,
    /// Dropped when what was in has been answered.
    emptying: Option<mpsc::Sender<()>>,
}

impl Stages {
    /// Waits for a phase; `None` when the proxy was dropped: then everything ends at once.
    async fn wait_for(&mut self, is_it: impl FnMut(&Phase) -> bool) -> Option<Instant> {
        match *self.phases.wait_for(is_it).await.ok()? {
            Phase::Serving => None,
            Phase::Draining(until) | Phase::Ending(until) => Some(until),
        }
    }
}

/// What one thread does.
async fn run(
    plan: Plan,
    index: usize,
    workers: usize,
    sockets: Sockets,
    feed: Feed,
    board: UnreachableBoard,
    mut stages: Stages,
) {
    let worker = Rc::new(Worker::new(
        feed,
        plan.timeouts,
        plan.mark,
        Ejections::new(&board),
        plan.metrics.recorder(),
    ));
    let thread = Rc::new(Thread {
        worker: Rc::clone(&worker),
        connections_max: (CONNECTIONS_MAX / workers) as i64,
        index,
        kind: ThreadKind::new(plan.purpose),
        listening: RefCell::default(),
        inside: Rc::default(),
    });
    let own_ports: Vec<u16> = sockets.iter().map(|(_, address, _)| address.port()).collect();
    let first_ip = sockets.first().map(|(_, address, _)| address.ip());
    for (socket, address, what) in sockets {
        if let Err(error) = thread.listen(socket, address, what) {
            tracing::error!(%address, %error, "cannot serve a listening socket");
        }
    }
    spawn_local(tick(Rc::clone(&worker), index == 0, thread.kind.correlation()));
    if let (ThreadKind::Gateway(_), Some(ip)) = (&thread.kind, first_ip) {
        spawn_local(follow_listeners(Rc::clone(&thread), ip, own_ports));
    }
    let Some(until) = stages.wait_for(|phase| *phase != Phase::Serving).await else { return };
    empty(&thread, until).await;
    stages.emptying = None;
    let Some(until) = stages.wait_for(|phase| matches!(phase, Phase::Ending(_))).await else {
        return;
    };
    end(&thread, until).await;
}

async fn tick(worker: Rc<Worker>, is_first: bool, correlation: Option<ThreadCorrelation>) {
    loop {
        worker.deadlines.until_next_look().await;
        let now = Instant::now();
        worker.tick(now);
        if let (true, Some(correlation)) = (is_first, &correlation) {
            correlation.table().tick(now);
        }
    }
}

/// Lets nobody in; waits until what is in has been answered.
async fn empty(thread: &Rc<Thread>, until: Instant) {
    let worker = &thread.worker;
    worker.draining.set(true);
    thread.leave(|what| !matches!(what, Listen::Outbound));
    let idle_until = (Instant::now() + DRAIN_IDLE).min(until);
    while thread.inside.get() > 0 && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
        if Instant::now() >= idle_until {
            worker.deadlines.for_each(|connection| {
                if connection.idle.get() && !connection.is_outbound.get() {
                    connection.shut_down(Shutdown::Read);
                }
            });
        }
    }
}

/// Lets nobody out; waits for what is left, and closes it when it is time.
async fn end(thread: &Rc<Thread>, until: Instant) {
    let worker = &thread.worker;
    thread.leave(|_| true);
    let idle_until = (Instant::now() + DRAIN_IDLE).min(until);
    while worker.recorder.level(Level::DownstreamOpen) > 0 && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
        if Instant::now() >= idle_until {
            worker.deadlines.for_each(|connection| {
                if connection.idle.get() {
                    connection.shut_down(Shutdown::Read);
                }
            });
        }
    }
    worker.upstreams.close();
    worker.deadlines.for_each(|connection| connection.shut_down(Shutdown::Both));
    let end = Instant::now() + END_WAIT;
    while worker.recorder.level(Level::DownstreamOpen) > 0 && Instant::now() < end {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// One thread.
#[derive(Debug)]
struct Thread {
    worker: Rc<Worker>,
    connections_max: i64,
    index: usize,
    kind: ThreadKind,
    /// By port: what is accepted on at the moment.
    listening: RefCell<BTreeMap<u16, Rc<Listening>>>,
    /// Connections of those who were let in: all but the application's own.
    inside: Rc<Cell<usize>>,
}

/// One connection that was let in; counted until it is dropped.
struct Inside(Rc<Cell<usize>>);

impl Inside {
    fn enter(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[derive(Debug)]
enum ThreadKind {
    Gateway(Rc<gateway::Identity>),
    Sidecar { identity: Rc<sidecar::Identity>, transparent: bool, application_address: SocketAddr },
}

#[derive(Debug)]
struct Listening {
    what: Listen,
    leave: Notify,
    /// Connections made here must not outlive it by long.
    is_removed: Rc<Cell<bool>>,
}

impl ThreadKind {
    fn new(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Gateway { name, correlation_headers } => {
                Self::Gateway(Rc::new(gateway::Identity { name, correlation: correlation_headers }))
            }
            Purpose::Sidecar {
                application,
                service,
                tag,
                correlation_headers,
                correlation,
                transparent,
                application_address,
                own,
            } => Self::Sidecar {
                identity: Rc::new(sidecar::Identity {
                    application,
                    service,
                    tag,
                    correlation_headers,
                    correlation: ThreadCorrelation::new(correlation),
                    own,
                }),
                transparent,
                application_address,
            },
        }
    }

    fn correlation(&self) -> Option<ThreadCorrelation> {
        match self {
            Self::Gateway(_) => None,
            Self::Sidecar { identity, .. } => Some(identity.correlation.clone()),
        }
    }
}

impl Thread {
    /// Accepts on a socket until told to leave.
    fn listen(
        self: &Rc<Self>,
        socket: std::net::TcpListener,
        address: SocketAddr,
        what: Listen,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(socket)?;
        let listening =
            Rc::new(Listening { what, leave: Notify::default(), is_removed: Rc::default() });
        self.listening.borrow_mut().insert(address.port(), Rc::clone(&listening));
        spawn_local(accept(Rc::clone(self), listener, address.port(), what, listening));
        Ok(())
    }

    /// Stops accepting on sockets of these kinds.
    fn leave(&self, leaves: impl Fn(Listen) -> bool) {
        self.listening.borrow_mut().retain(|_, listening| {
            let stays = !leaves(listening.what);
            if !stays {
                listening.leave.notify_one();
            }
            stays
        });
    }

    fn admit(
        self: &Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        port: u16,
        what: Listen,
        listening: &Listening,
    ) {
        let worker = &self.worker;
        if worker.recorder.level(Level::DownstreamOpen) >= self.connections_max {
            worker.recorder.count(Count::DownstreamRefused);
            return;
        }
        worker.recorder.count(Count::DownstreamAccepted);
        let connection = Connection::new(stream, peer, &worker.deadlines);
        let worker = Rc::clone(worker);
        match (&self.kind, what) {
            (ThreadKind::Gateway(identity), _) => {
                let identity = Rc::clone(identity);
                let entry = Entry::Gateway {
                    identity,
                    port,
                    listener_is_removed: Rc::clone(&listening.is_removed),
                };
                let inside = Inside::enter(&self.inside);
                spawn_local(async move {
                    let _inside = inside;
                    forward::serve(worker, Client { connection, entry }, Buffer::default()).await;
                });
            }
            (
                ThreadKind::Sidecar { identity, transparent, .. },
                Listen::Outbound | Listen::Gateway,
            ) => {
                connection.is_outbound.set(true);
                spawn_local(sidecar::sniff::serve_outbound(
                    worker,
                    connection,
                    Rc::clone(identity),
                    *transparent,
                ));
            }
            (
                ThreadKind::Sidecar { identity, transparent, application_address },
                Listen::Inbound,
            ) => {
                let identity = Rc::clone(identity);
                let inside = Inside::enter(&self.inside);
                let (transparent, application) = (*transparent, *application_address);
                spawn_local(async move {
                    let _inside = inside;
                    let serve = sidecar::sniff::serve_inbound;
                    serve(worker, connection, identity, transparent, application).await;
                });
            }
        }
    }
}

async fn accept(
    thread: Rc<Thread>,
    listener: TcpListener,
    port: u16,
    what: Listen,
    listening: Rc<Listening>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = listening.leave.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => thread.admit(stream, peer, port, what, &listening),
            Err(error) => {
                tracing::warn!(port, %error, "cannot accept a connection");
                // Out of file descriptors: others must end first. Errors of one connection pass as quickly.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Connections the kernel has completed already would be reset with the socket.
    loop {
        let waiting = poll_fn(|context| match listener.poll_accept(context) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        });
        match waiting.await {
            Some(Ok((stream, peer))) => thread.admit(stream, peer, port, what, &listening),
            Some(Err(_)) | None => return,
        }
    }
}

/// Ports of a Gateway that are bound beside those the process was told. Where none of its own ports is named by
/// a listener, they stand in for the first listener's port ([`routes::Table::listener`]), which stays unbound:
/// `--gateway-listen 127.0.0.1:9000` is meant instead of what the Gateway says, not beside it.
fn further_ports(listeners: &[routes::spec::ListenerSpec], own_ports: &[u16]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    let stood_in = match ports.iter().any(|port| own_ports.contains(port)) {
        true => None,
        false => ports.first().copied(),
    };
    ports.retain(|port| Some(*port) != stood_in && !own_ports.contains(port));
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Binds further ports of the published Gateway as they appear, and leaves those that are gone.
async fn follow_listeners(thread: Rc<Thread>, ip: std::net::IpAddr, own_ports: Vec<u16>) {
    let mut pictures = thread.worker.pictures();
    let mut warned = Vec::new();
    loop {
        let picture = Arc::clone(&pictures.borrow_and_update());
        let wanted = further_ports(picture.routes.listeners(), &own_ports);
        drop(picture);
        if thread.worker.draining.get() {
            return;
        }
        thread.listening.borrow_mut().retain(|port, listening| {
            let stays = own_ports.contains(port) || wanted.contains(port);
            if !stays {
                listening.is_removed.set(true);
                listening.leave.notify_one();
            }
            stays
        });
        let mut all_bound = true;
        for port in wanted {
            if thread.listening.borrow().contains_key(&port) {
                continue;
            }
            let address = SocketAddr::new(ip, port);
            let bound = listen::bind_one(address)
                .and_then(|socket| thread.listen(socket, address, Listen::Gateway));
            match bound {
                Ok(()) => {
                    warned.retain(|warned| *warned != port);
                    if thread.index == 0 {
                        tracing::info!(%address, "listening");
                    }
                }
                Err(error) => {
                    all_bound = false;
                    if thread.index == 0 && !warned.contains(&port) {
                        warned.push(port);
                        tracing::warn!(%error, "a listener of the Gateway is not served; trying again");
                    }
                }
            }
        }
        let changed = if all_bound {
            pictures.changed().await
        } else {
            tokio::time::timeout(BIND_AGAIN, pictures.changed()).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listeners: &[u16], own: &[u16], further: &[u16]) {
        let listeners: Vec<_> = listeners
            .iter()
            .map(|port| routes::spec::ListenerSpec {
                name: format!("port-{port}"),
                port: *port,
                hostname: None,
                trusted: false,
                trusted_hops: 0,
            })
            .collect();
        assert_eq!(further_ports(&listeners, own), further, "{listeners:?} beside {own:?}");
    }

    #[test]
    fn ports_of_the_gateway_are_bound_beside_its_own_but_for_the_one_that_is_stood_in() {
        check(&[8000], &[8000], &[]);
        check(&[8000, 8443], &[8000], &[8443]);
        check(&[8443, 8000], &[8000], &[8443]);
        check(&[8000], &[9000], &[]);
        check(&[8000, 8443, 8443], &[9000], &[8443]);
        check(&[], &[9000], &[]);
    }
}
