//! How a proxy learns what it decides on: whole pictures, published by whoever knows them.

use std::sync::Arc;

pub use lanes::Query;
pub use routes::Published;
use tokio::sync::{mpsc, watch};

/// How a proxy learns.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The latest picture.
    pub published: watch::Receiver<Arc<Published>>,
    /// Where it asks when a look-up answers `Unsubscribed`. While the channel is full a look-up is answered as if
    /// nobody knew.
    pub demand: mpsc::Sender<Query>,
    /// The process was here before, and what it knows is from then: others may be starting again as it is.
    pub comes_back: bool,
}
