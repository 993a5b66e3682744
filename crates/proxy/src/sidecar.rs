//! The sidecar: stands between one application and everybody else, in both directions.

use std::{io, net::SocketAddr, sync::Arc};

use routes::entrance::CorrelationHeaders;
use telemetry::Metrics;

use crate::{
    correlation::Correlation,
    limits::Timeouts,
    listen::{self, Bound},
    published::Feed,
    running::Running,
    threads::{self, Listen, Plan, Purpose},
};

pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod sniff;

/// What a sidecar is told when it starts.
#[derive(Debug, Clone)]
pub struct SidecarConfig {
    /// The application beside it.
    pub application: String,
    /// The service others know it by.
    pub service: String,
    /// The lane tag of this instance; `None` is the base.
    pub tag: Option<lanes::Tag>,
    /// Where the application listens.
    pub application_address: SocketAddr,
    /// Where the application's own calls arrive.
    pub outbound_listen: SocketAddr,
    /// Where calls of others arrive.
    pub inbound_listen: SocketAddr,
    /// Connections are redirected here by the kernel and have an original destination.
    pub transparent: bool,
    /// `SO_MARK` of the sidecar's own connections, so that redirect rules leave them alone. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Headers whose value tells which requests belong together.
    pub correlation_headers: CorrelationHeaders,
    /// Threads. One serves some ten thousand requests a second.
    pub workers: usize,
    /// How long everything may take.
    pub timeouts: Timeouts,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// What of a sidecar's settings a decision needs. One per thread.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) application: String,
    pub(crate) service: String,
    pub(crate) tag: Option<lanes::Tag>,
    pub(crate) correlation_headers: CorrelationHeaders,
    pub(crate) correlation: crate::correlation::ThreadCorrelation,
    /// The sidecar's own listeners: never a destination, or a request would go round for ever.
    pub(crate) own: Vec<SocketAddr>,
}

/// Binds, then serves. The addresses are in the result: outbound first, then inbound.
pub fn start(config: SidecarConfig, feed: Feed) -> io::Result<Running> {
    let workers = config.workers.max(1);
    let outbound = listen::bind(config.outbound_listen, workers)?;
    let inbound = listen::bind(config.inbound_listen, workers)?;
    let addresses = vec![outbound.address, inbound.address];
    let table = Arc::new(Correlation::default());
    let sampled = Arc::clone(&table);
    config.metrics.collect_from(move |samples| sampled.sample(samples));
    let listeners = [(outbound, Listen::Outbound), (inbound, Listen::Inbound)];
    let per_worker = listen::deal(
        workers,
        listeners.map(|(Bound { sockets, address }, what)| (sockets, address, what)),
    );
    let (transparent, application_address) = (config.transparent, config.application_address);
    let purpose = Purpose::Sidecar {
        application: config.application,
        service: config.service,
        tag: config.tag,
        correlation_headers: config.correlation_headers,
        correlation: table,
        transparent,
        application_address,
        own: addresses.clone(),
    };
    threads::start(
        Plan {
            name: "sidecar",
            purpose,
            timeouts: config.timeouts,
            mark: config.mark,
            metrics: config.metrics,
        },
        per_worker,
        addresses,
        feed,
    )
}
