//! The gateway: requests from outside find their route, their lane and their instance.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use routes::entrance::{CorrelationHeaders, Head, Written};
use telemetry::{Metrics, RequestObservers, Role};
use tokio::sync::watch;

use crate::{
    buffers::Buffer,
    downstream::{
        self,
        tls::{self, Begun},
    },
    error::Kind,
    exchange::sides::{Decide, Found},
    inherited::Inherited,
    limits::Timeouts,
    listen::{self, Binding},
    observed::Caller,
    plan::{NoPlan, Plan},
    published::{Feed, Published},
    running::Running,
    settings::Settings,
    source::Source,
    tap::Tap,
    threads::{self, Accepted, Serve, Thread},
    tls::shown::{self, Shown},
    unbound::UnboundPorts,
    unread::UnreadCalls,
    worker::Worker,
};

use plan::{Arrival, Identity, Secured};

mod listeners;
mod passing;
mod plan;

/// What a gateway is told when it starts.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The Gateway resource it serves.
    pub name: String,
    /// Where it listens; further ports of its Gateway are bound on the first one's address as they appear.
    pub listen: Vec<SocketAddr>,
    /// Threads; one per core serves best.
    pub workers: usize,
    /// Another process may have the addresses: they are shared with it.
    pub takeover: bool,
    /// Sockets that listen already: what is among them is not bound anew.
    pub inherited: Inherited,
    /// Headers that tell which requests belong together: replaced where clients are not trusted.
    pub correlation_headers: CorrelationHeaders,
    /// How long everything may take.
    pub timeouts: Timeouts,
    /// Connections of callers; `None`: as many as the limit on open files allows.
    pub connections_max: Option<u64>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Who is told single requests.
    pub observers: RequestObservers,
}

impl GatewayConfig {
    /// A gateway with the defaults: a thread per available core.
    pub fn new(name: &str, listen: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            listen: vec![listen],
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            takeover: false,
            inherited: Inherited::default(),
            correlation_headers: CorrelationHeaders::default(),
            timeouts: Timeouts::default(),
            connections_max: None,
            metrics: Arc::default(),
            observers: RequestObservers::default(),
        }
    }
}

/// Binds, then serves. The addresses are in the result, in the order of the settings.
pub fn start(config: GatewayConfig, feed: Feed) -> io::Result<Running> {
    let workers = config.workers.max(1);
    let accepts = config.inherited.is_empty();
    let mut bound = Vec::new();
    let binding = Binding {
        workers,
        takeover: config.takeover,
        inherited: &config.inherited,
        timeouts: &config.timeouts,
    };
    for address in &config.listen {
        bound.push(binding.bind(*address)?);
    }
    let addresses: Vec<_> = bound.iter().map(|bound| bound.address).collect();
    let sockets = bound.into_iter().map(|bound| (bound.sockets, bound.address, Role::Gateway));
    let per_worker = listen::deal(workers, sockets);
    let (name, correlation) = (config.name, config.correlation_headers);
    let listeners = |picture: &Published| {
        picture.routes.listeners().iter().map(|listener| listener.port).collect::<Vec<_>>()
    };
    let asked_for = listeners(&feed.published.borrow());
    let first = Shown::of(&feed.published.borrow(), &Shown::default());
    let shown = Arc::new(watch::Sender::new(Arc::new(first)));
    let (unbound, passed) = (UnboundPorts::default(), UnreadCalls::default());
    let of_threads = (unbound.clone(), passed.clone());
    let sampled = passed.clone();
    config.metrics.collect_from(move |samples| sampled.sample(Role::Gateway, samples));
    let inherited = config.inherited.clone();
    let make = move || {
        let (name, correlation) = (name.clone(), correlation.clone());
        Gateway {
            identity: Rc::new(Identity { name, correlation }),
            unbound: of_threads.0.clone(),
            inherited: inherited.clone(),
            workers,
            passed: of_threads.1.clone(),
            shown: Arc::clone(&shown),
        }
    };
    let settings = Settings {
        name: "gateway",
        timeouts: config.timeouts,
        connections_max: config.connections_max,
        source: Source::default(),
        metrics: config.metrics,
        observers: config.observers,
        tap: Tap::default(),
        accepts,
        inherited: config.inherited.clone(),
    };
    let running = threads::start(settings, make, per_worker, addresses, config.listen, feed)?;
    // Further ports have been bound: of what is left nothing is wanted.
    for address in config.inherited.close_rest() {
        tracing::info!(%address, "nothing is served there any more");
    }
    let rest = config.inherited.rest()?.into_iter().map(|kept| kept.asked);
    let mut unasked: Vec<_> = rest.filter(|address| !asked_for.contains(&address.port())).collect();
    unasked.dedup();
    for address in unasked {
        tracing::warn!(%address, "a supervisor listens there for this gateway, and no listener asks for it yet: who connects waits");
    }
    Ok(Running { unbound, passed, ..running })
}

/// What a gateway's threads are for.
struct Gateway {
    identity: Rc<Identity>,
    unbound: UnboundPorts,
    /// Sockets of further ports.
    inherited: Inherited,
    /// How many threads there are.
    workers: usize,
    /// Connections in TLS that were passed on as they are.
    passed: UnreadCalls,
    /// What its listeners show in TLS; all threads have the same.
    shown: Arc<watch::Sender<Arc<Shown>>>,
}

impl Serve for Gateway {
    async fn serve(self: Rc<Self>, worker: Rc<Worker>, accepted: Accepted) {
        let Accepted { connection, port, listener_is_removed, .. } = accepted;
        let secured = match worker.picture().routes.speaks_tls(port) {
            false => None,
            true => match Box::pin(tls::agree(&worker, &connection, &self.shown, port)).await {
                Some(Begun::Agreed(agreed)) => {
                    Some(Box::new(Secured { agreed, shown: Arc::clone(&self.shown) }))
                }
                Some(Begun::Passes(greeting)) => {
                    let passing = passing::pass(&worker, connection, port, greeting, &self.passed);
                    return Box::pin(passing).await;
                }
                None => return,
            },
        };
        let speaks_http2 = secured.as_ref().is_some_and(|it| it.agreed.speaks_http2);
        let entered = Entered {
            identity: Rc::clone(&self.identity),
            peer: connection.peer.ip(),
            port,
            secured,
            listener_is_removed,
            is_outdated: Cell::new(false),
        };
        if speaks_http2 {
            Box::pin(downstream::h2::serve(worker, connection, &entered, Buffer::default())).await;
        } else {
            downstream::h1::serve(worker, connection, &entered, Buffer::default()).await;
        }
    }

    fn begin(thread: &Rc<Thread<Self>>) {
        listeners::settle(thread);
    }

    async fn attend(thread: Rc<Thread<Self>>) {
        let follow_listeners = listeners::follow(Rc::clone(&thread));
        if thread.is_first() {
            let shown = shown::follow(thread.worker.pictures(), &thread.serve.shown);
            tokio::join!(follow_listeners, shown);
        } else {
            follow_listeners.await;
        }
    }
}

/// Requests that come in at a gateway's listener.
struct Entered {
    identity: Rc<Identity>,
    peer: IpAddr,
    port: u16,
    secured: Option<Box<Secured>>,
    listener_is_removed: Rc<Cell<bool>>,
    /// The port asks more than when the connection was made.
    is_outdated: Cell<bool>,
}

impl Decide for Entered {
    const ROLE: Role = Role::Gateway;

    fn plan<'p, 'b>(
        &'p self,
        worker: &Worker,
        picture: &'p Published,
        head: &mut impl Head<'b>,
        _found: &Found,
        written: &mut Written,
    ) -> Result<Plan<'p>, NoPlan> {
        let arrival =
            Arrival { peer: self.peer, port: self.port, secured: self.secured.as_deref() };
        let planned = plan::plan(worker, &self.identity, picture, arrival, head, written);
        if matches!(&planned, Err(NoPlan::Refuse(Kind::Outdated))) {
            self.is_outdated.set(true);
        }
        planned
    }

    fn correlation(&self) -> &CorrelationHeaders {
        &self.identity.correlation
    }

    fn caller(&self) -> Caller {
        Caller { peer: self.peer, is_tls: self.secured.is_some() }
    }

    fn no_trailers(&self) -> Option<&CorrelationHeaders> {
        Some(&self.identity.correlation)
    }

    fn speaks_http2(&self, picture: &Published) -> bool {
        // In TLS it would have been agreed on.
        self.secured.is_none() && picture.routes.speaks_http2(self.port)
    }

    fn is_leaving(&self) -> bool {
        self.listener_is_removed.get() || self.is_outdated.get()
    }
}
