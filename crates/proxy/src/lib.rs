//! Moves bytes: the HTTP/1.1 engine, gateway, sidecar, capture, lane context. Sees only a published snapshot.

pub mod capture;
pub mod correlation;
pub mod ejection;
pub mod error;
pub mod gateway;
pub mod h1;
pub mod limits;
pub mod original_destination;
pub mod passthrough;
mod published;
pub mod running;
pub mod sidecar;

mod buffers;
mod deadlines;
mod forward;
mod listen;
mod plan;
mod socket;
mod threads;
mod upstream_pool;
mod worker;

pub use gateway::GatewayConfig;
pub use published::{Feed, Published, Query};
pub use running::Running;
pub use sidecar::SidecarConfig;
