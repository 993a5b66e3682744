//! Moves bytes: the HTTP engines, TLS, gateway, sidecar, capture, lane context. Sees only a published snapshot.

pub mod capture;
mod correlation;
mod ejection;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
mod h1;
mod h2;
mod inherited;
pub mod limits;
pub mod original_destination;
mod passthrough;
mod peers;
mod published;
mod reach;
mod resolve;
mod running;
pub mod sidecar;
pub mod sockets;

mod account;
mod affinity;
mod buffers;
mod date;
mod deadlines;
mod downstream;
mod exchange;
mod listen;
mod lost;
mod picture;
mod plan;
mod source;
mod starting;
mod threads;
mod tls;
mod transport;
mod tunnel;
mod unbound;
mod undeclared;
mod unread;
mod upstream;
mod websocket;
mod worker;

pub use ejection::UnreachableBoard;
pub use gateway::GatewayConfig;
pub use inherited::{Inherited, ListeningSocket};
pub use lost::CallsInLanes;
pub use published::{Feed, Published, Query};
pub use running::Running;
pub use sidecar::SidecarConfig;
pub use source::speaks_for_others;
pub use unbound::UnboundPorts;
pub use undeclared::UndeclaredPorts;
pub use unread::{Protocol, UnreadCalls};
