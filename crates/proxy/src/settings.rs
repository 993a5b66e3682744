//! What a proxy is started with, whatever it is.

use std::sync::Arc;

use telemetry::{Metrics, RequestObservers};

use crate::{inherited::Inherited, limits::Timeouts, source::Source, tap::Tap};

/// What all threads of a proxy share when they start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) timeouts: Timeouts,
    /// Connections of callers; `None`: as many as the limit on open files allows.
    pub(crate) connections_max: Option<u64>,
    pub(crate) source: Source,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) observers: RequestObservers,
    /// What is watched of its requests.
    pub(crate) tap: Tap,
    /// From the start, and not only when told.
    pub(crate) accepts: bool,
    /// Sockets that it has not bound itself.
    pub(crate) inherited: Inherited,
}
