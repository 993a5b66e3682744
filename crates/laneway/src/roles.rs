//! The long-running commands: what each is made of, and how it starts and stops.

pub(crate) mod control;
pub(crate) mod gateway;
pub(crate) mod serve;
pub(crate) mod sidecar;
