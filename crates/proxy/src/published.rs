//! What a proxy runs on: whole pictures, published by whoever knows them.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::{mpsc, watch};

/// One complete picture. A request takes it once and uses it from start to end.
#[derive(Debug, Default)]
pub struct Published {
    /// Which one this is.
    pub generation: Generation,
    /// Groups, services, names and addresses.
    pub lanes: lanes::Snapshot,
    /// The gateway's listeners and routes; empty in a sidecar. Shared: most changes leave it as it is.
    pub routes: Arc<routes::Table>,
}

/// Orders pictures of one control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generation {
    /// Changes when numbers start anew.
    pub epoch: String,
    /// Grows with every change.
    pub number: u64,
}

/// What a proxy asks for when a look-up answers `Unsubscribed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// What a host name means.
    Name(String),
    /// What an address means.
    Address(SocketAddr),
}

/// How many unanswered queries may wait; beyond it a look-up is answered as if nobody knew.
/// A page of a busy application touches tens of hosts, never thousands at once.
pub const DEMAND_MAX: usize = 1024;

/// How a proxy learns.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The latest picture.
    pub published: watch::Receiver<Arc<Published>>,
    /// Where it asks, bounded by [`DEMAND_MAX`].
    pub demand: mpsc::Sender<Query>,
}
