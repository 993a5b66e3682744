//! TLS where it ends in this process: what listeners show, which instances are believed, and the records of one
//! connection. Handshakes are in `downstream/tls.rs` and `upstream/tls.rs`; whoever works on a connection after it sees bytes in the clear.

pub(crate) mod believed;
mod client_checks;
pub(crate) mod computing;
pub(crate) mod session;
pub(crate) mod shown;

use std::rc::Rc;

use believed::AllBelieved;
use computing::Computing;
use session::Scratch;

/// What TLS needs of one thread.
#[derive(Debug, Default)]
pub(crate) struct OfThread {
    /// Memory that records pass through.
    pub(crate) scratch: Rc<Scratch>,
    /// What clients' handshakes take long to compute.
    pub(crate) computing: Computing,
    /// The instances that are believed.
    pub(crate) believed: AllBelieved,
}
