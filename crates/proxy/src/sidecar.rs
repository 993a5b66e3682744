//! The sidecar: stands between one application and everybody else, in both directions.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use routes::entrance::CorrelationHeaders;
use telemetry::{Metrics, RequestObservers, Role};
use tokio::sync::Notify;

use crate::{
    capture::Cidr,
    correlation::{Correlation, ThreadCorrelation},
    inherited::{Bound, Inherited},
    limits::Timeouts,
    listen::{self, Binding},
    lost::{CallsInLanes, ThreadCalls},
    published::Feed,
    running::Running,
    settings::Settings,
    source::Source,
    tap::Tap,
    threads::{self, Accepted, Serve},
    transport::Connection,
    undeclared::UndeclaredPorts,
    unread::UnreadCalls,
    worker::Worker,
};

use forbidden::Forbidden;
use inbound::Inbound;
use outbound::Outbound;
pub use own_ports::OwnPort;
use own_ports::OwnPorts;

mod forbidden;
mod inbound;
mod outbound;
mod own_ports;
mod sniff;

/// What a sidecar is told when it starts.
#[derive(Debug, Clone)]
pub struct SidecarConfig {
    /// The application beside it.
    pub application: String,
    /// Its ports; at least one. The first gets what comes without a destination.
    pub ports: Vec<OwnPort>,
    /// The namespace they are registered in.
    pub service_namespace: String,
    /// Told when a connect to the application fails.
    pub unreachable: Arc<Notify>,
    /// The lane tag of this instance; `None` is the base.
    pub tag: Option<lanes::Tag>,
    /// Where the application's own calls arrive.
    pub outbound_listen: SocketAddr,
    /// Where calls of others arrive.
    pub inbound_listen: SocketAddr,
    /// Connections are redirected here by the kernel and have an original destination.
    pub transparent: bool,
    /// Connections over IPv6 are redirected here, too: to ::1 and to all addresses, on the ports of the two listeners.
    pub transparent_ipv6: bool,
    /// `SO_MARK` of the sidecar's own connections, so that redirect rules leave them alone. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Headers whose value tells which requests belong together.
    pub correlation_headers: CorrelationHeaders,
    /// Listeners of Laneway beside the sidecar's own two: the forward proxy leads to none of them.
    pub doors: Vec<SocketAddr>,
    /// Whether what cannot be read is refused, of what is captured on its way to or from a port that is not declared `tcp`: what
    /// is of no protocol that is read, and requests in Dubbo's protocol in a serialization that is not. Otherwise it passes as
    /// base, is counted and named.
    pub refuses_unread: bool,
    /// What else the forward proxy must not reach.
    pub forbidden: Vec<Cidr>,
    /// Threads. One serves some ten thousand requests a second.
    pub workers: usize,
    /// Another process may have the addresses: they are shared with it.
    pub takeover: bool,
    /// Sockets that listen already: what is among them is not bound anew.
    pub inherited: Inherited,
    /// How long everything may take.
    pub timeouts: Timeouts,
    /// Connections of callers; `None`: as many as the limit on open files allows.
    pub connections_max: Option<u64>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Who is told single requests.
    pub observers: RequestObservers,
}

/// What of a sidecar's settings a decision needs. One per thread.
#[derive(Debug)]
struct Identity {
    application: String,
    ports: OwnPorts,
    unreachable: Arc<Notify>,
    tag: Option<lanes::Tag>,
    correlation_headers: CorrelationHeaders,
    correlation: ThreadCorrelation,
    refuses_unread: bool,
    /// Never a destination of the forward proxy; its own listeners are among it, or requests would go round for ever.
    forbidden: Forbidden,
    unread: UnreadCalls,
    unread_arrivals: UnreadCalls,
    undeclared: UndeclaredPorts,
    /// Of its own application, at which others have called: told in the log. They are no calls of it.
    undeclared_arrivals: UndeclaredPorts,
    in_lanes: Rc<ThreadCalls>,
}

/// Binds, then serves. The addresses are in the result: outbound first, then inbound, then both again for IPv6.
pub fn start(config: SidecarConfig, feed: Feed) -> io::Result<Running> {
    let workers = config.workers.max(1);
    let accepts = config.inherited.is_empty();
    let listeners = bind(&config, workers)?;
    let addresses: Vec<_> = listeners.iter().map(|(bound, _)| bound.address).collect();
    let asked = vec![config.outbound_listen, config.inbound_listen];
    let inherited = config.inherited.clone();
    let table = Arc::new(Correlation::default());
    let sampled = Arc::clone(&table);
    config.metrics.collect_from(move |samples| sampled.sample(samples));
    let per_worker = listen::deal(
        workers,
        (listeners.into_iter()).map(|(Bound { sockets, address }, role)| (sockets, address, role)),
    );
    let settings = Settings {
        name: "sidecar",
        timeouts: config.timeouts.clone(),
        connections_max: config.connections_max,
        source: Source {
            mark: config.mark,
            applications: config.ports.iter().map(|port| port.application_address).collect(),
        },
        metrics: Arc::clone(&config.metrics),
        observers: config.observers.clone(),
        tap: Tap::default(),
        accepts,
        inherited: config.inherited.clone(),
    };
    let doors = [&addresses[..], &config.doors[..]].concat();
    let forbidden = Forbidden::new(doors, config.forbidden.clone());
    let (unread, unread_arrivals) = (UnreadCalls::default(), UnreadCalls::default());
    let (undeclared, in_lanes) = (UndeclaredPorts::default(), CallsInLanes::default());
    let of_threads = (unread.clone(), unread_arrivals.clone(), undeclared.clone());
    let of_requests = in_lanes.clone();
    let sampled = (of_threads.clone(), in_lanes.clone());
    config.metrics.collect_from(move |samples| {
        let ((calls, arrivals, undeclared), in_lanes) = &sampled;
        calls.sample(Role::SidecarOutbound, samples);
        arrivals.sample(Role::SidecarInbound, samples);
        undeclared.sample(samples);
        in_lanes.sample(samples);
    });
    let undeclared_arrivals = UndeclaredPorts::default();
    let make = move || Sidecar {
        identity: Rc::new(Identity {
            application: config.application.clone(),
            ports: OwnPorts::new(&config.ports, &config.service_namespace),
            unreachable: Arc::clone(&config.unreachable),
            tag: config.tag.clone(),
            correlation_headers: config.correlation_headers.clone(),
            correlation: ThreadCorrelation::new(Arc::clone(&table)),
            refuses_unread: config.refuses_unread,
            forbidden: forbidden.clone(),
            unread: of_threads.0.clone(),
            unread_arrivals: of_threads.1.clone(),
            undeclared: of_threads.2.clone(),
            undeclared_arrivals: undeclared_arrivals.clone(),
            in_lanes: Rc::new(ThreadCalls::new(of_requests.clone())),
        }),
        transparent: config.transparent,
    };
    let mut running = threads::start(settings, make, per_worker, addresses, asked, feed)?;
    for address in inherited.close_rest() {
        tracing::info!(%address, "nothing is served there any more");
    }
    running.unread = unread;
    running.unread_arrivals = unread_arrivals;
    running.undeclared = undeclared;
    running.in_lanes = in_lanes;
    Ok(running)
}

/// Its listeners, and what comes in at each: outbound first, then inbound, then both again for IPv6.
fn bind(config: &SidecarConfig, workers: usize) -> io::Result<Vec<(Bound, Role)>> {
    let binding = Binding {
        workers,
        takeover: config.takeover,
        inherited: &config.inherited,
        timeouts: &config.timeouts,
    };
    let outbound = binding.bind(config.outbound_listen)?;
    let inbound = binding.bind(config.inbound_listen)?;
    let mut listeners = vec![(outbound, Role::SidecarOutbound), (inbound, Role::SidecarInbound)];
    if config.transparent_ipv6 {
        for (at, ip) in [(0, Ipv6Addr::LOCALHOST), (1, Ipv6Addr::UNSPECIFIED)] {
            let (beside, role) = (listeners[at].0.address, listeners[at].1);
            if beside.is_ipv4() {
                listeners.push((binding.bind_beside(ip, beside)?, role));
            }
        }
    }
    Ok(listeners)
}

/// What a sidecar's threads are for.
struct Sidecar {
    identity: Rc<Identity>,
    transparent: bool,
}

impl Sidecar {
    /// Where the caller wanted to connect to, where connections are redirected here.
    fn original(&self, connection: &Connection) -> Option<SocketAddr> {
        if !self.transparent {
            return None;
        }
        connection.original_destination().unwrap_or_else(|error| {
            tracing::warn!(peer = %connection.peer, %error, "cannot read the original destination");
            None
        })
    }
}

impl Serve for Sidecar {
    async fn serve(self: Rc<Self>, worker: Rc<Worker>, accepted: Accepted) {
        let Accepted { connection, role, .. } = accepted;
        let (identity, original) = (Rc::clone(&self.identity), self.original(&connection));
        if role == Role::SidecarInbound {
            let inbound = Inbound::new(identity, connection.peer.ip(), original);
            sniff::serve_inbound(worker, connection, inbound, original).await;
        } else {
            let outbound = Outbound::new(identity, &connection, original);
            sniff::serve_outbound(worker, connection, outbound, original).await;
        }
    }

    fn tick(&self, now: Instant) {
        self.identity.correlation.table().tick(now);
    }
}
