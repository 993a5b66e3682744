//! The gateway: requests from outside find their route, their lane and their instance.

use std::{io, net::SocketAddr, sync::Arc};

use routes::entrance::CorrelationHeaders;
use telemetry::Metrics;

use crate::{
    limits::Timeouts,
    listen,
    published::Feed,
    running::Running,
    threads::{self, Listen, Purpose},
};

mod plan;

pub(crate) use plan::{Arrival, Identity, plan};

/// What a gateway is told when it starts.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The Gateway resource it serves.
    pub name: String,
    /// Where it listens; further ports of its Gateway are bound on the first one's address as they appear.
    pub listen: Vec<SocketAddr>,
    /// Threads; one per core serves best.
    pub workers: usize,
    /// Headers that tell which requests belong together: replaced where clients are not trusted.
    pub correlation_headers: CorrelationHeaders,
    /// How long everything may take.
    pub timeouts: Timeouts,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

impl GatewayConfig {
    /// A gateway with the defaults: a thread per available core.
    pub fn new(name: &str, listen: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            listen: vec![listen],
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            correlation_headers: CorrelationHeaders::default(),
            timeouts: Timeouts::default(),
            metrics: Arc::default(),
        }
    }
}

/// Binds, then serves. The addresses are in the result, in the order of the settings.
pub fn start(config: GatewayConfig, feed: Feed) -> io::Result<Running> {
    let workers = config.workers.max(1);
    let mut bound = Vec::new();
    for address in config.listen {
        bound.push(listen::bind(address, workers)?);
    }
    let addresses: Vec<_> = bound.iter().map(|bound| bound.address).collect();
    let sockets = bound.into_iter().map(|bound| (bound.sockets, bound.address, Listen::Gateway));
    let per_worker = listen::deal(workers, sockets);
    let purpose =
        Purpose::Gateway { name: config.name, correlation_headers: config.correlation_headers };
    threads::start(
        threads::Plan {
            name: "gateway",
            purpose,
            timeouts: config.timeouts,
            mark: None,
            metrics: config.metrics,
        },
        per_worker,
        addresses,
        feed,
    )
}
