//! The long-running commands: what each is made of, and how it starts and stops.
//!
//! `serve` is `control` and `gateway` in one process: the gateway learns through the same discovery stream as one
//! in a process of its own, so that there is one code path. Addresses are bound before anything is served.

pub(crate) mod control;
pub(crate) mod gateway;
pub(crate) mod serve;
pub(crate) mod sidecar;

mod control_plane;
mod data_plane;
mod process;
mod registry;
mod sources;
mod tapping;
