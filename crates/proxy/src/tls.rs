//! TLS where it ends in this process: what listeners show, which instances are believed, and the records of one
//! connection. Handshakes are in `downstream/tls.rs` and `upstream/tls.rs`; whoever works on a connection after it sees bytes in the clear.

pub(crate) mod believed;
mod client_checks;
pub(crate) mod session;
pub(crate) mod shown;

use std::rc::Rc;

use tokio::sync::Semaphore;

use believed::AllBelieved;
use session::Scratch;

/// What TLS needs of one thread.
#[derive(Debug)]
pub(crate) struct OfThread {
    /// Memory that records pass through.
    pub(crate) scratch: Rc<Scratch>,
    /// Who computes next. A signature takes as long as many requests: between two of them everybody else has a turn.
    pub(crate) turn: Semaphore,
    /// The instances that are believed.
    pub(crate) believed: AllBelieved,
}

impl Default for OfThread {
    fn default() -> Self {
        Self { scratch: Rc::default(), turn: Semaphore::new(1), believed: AllBelieved::default() }
    }
}
