//! Between what is written, what runs, and what is on the wire.
//!
//! [`lanes`] and [`routes`] turn resources into the specifications the domain compiles; they check shapes only,
//! the domain checks the rest. [`wire`] turns specifications into discovery messages and back, losslessly.
//! [`key`] names and versions those messages.

mod duration;
pub mod key;
pub mod lanes;
pub mod routes;
pub mod wire;
