//! Moves bytes: the HTTP/1.1 engine, gateway, sidecar, capture, lane context. Sees only a published snapshot.

pub mod published;

pub use published::{Feed, Generation, Published, Query};
