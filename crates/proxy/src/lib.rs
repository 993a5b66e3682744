//! Moves bytes: the HTTP/1.1 engine, gateway, sidecar, capture, lane context. Sees only a published snapshot.

pub mod capture;
pub mod correlation;
pub mod ejection;
pub mod original_destination;
pub mod passthrough;
pub mod published;
pub mod trace_context;

pub use published::{Feed, Generation, Published, Query};
