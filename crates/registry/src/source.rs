//! What every source of instances tells, whatever it talks to.

use std::{sync::Arc, time::Instant};

use lanes::{Problem, Service, ServiceId};

/// Events that may wait for their reader. A source that is faster than the control plane waits; 1 024 is a
/// start of a thousand services without a pause.
pub const EVENTS_MAX: usize = 1024;

/// One thing a source tells. A source begins with changes, then says that it is synced, then goes on with
/// changes. While it cannot reach what it watches, its last picture stays, and it says since when it is stale.
#[derive(Debug, Clone)]
pub enum Event {
    /// Services as they are now, in order; of one service there may be several.
    Changed(Vec<Change>),
    /// Everything there is has been told once.
    Synced,
    /// What it watches cannot be reached: the last picture stays.
    Stale {
        /// Since when.
        since: Instant,
        /// Why, for people.
        reason: String,
    },
    /// In contact again after [`Event::Stale`]; changes follow where there are any.
    Fresh,
    /// Instances of these nodes have left the embedded registry, by whatever way: a journal may forget them,
    /// unless they have registered again meanwhile.
    Departed(Vec<String>),
}

/// One service as it is now.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub service: ServiceId,
    /// What it is; `None`: the source knows it no more. A service whose last instance has left is known all
    /// the same, as one without endpoints.
    pub state: Option<Arc<Service>>,
    /// What is wrong with instances of it, for status: tags that are none, applications that disagree.
    pub problems: Vec<Problem>,
}

impl Change {
    /// A service as it is now, nothing wrong.
    pub fn now(service: Service) -> Self {
        Self { service: service.id().clone(), state: Some(Arc::new(service)), problems: Vec::new() }
    }

    /// A service that is no more.
    pub fn gone(service: ServiceId) -> Self {
        Self { service, state: None, problems: Vec::new() }
    }
}
