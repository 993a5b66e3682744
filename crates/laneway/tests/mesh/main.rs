//! The main job with real processes: a client, the gateway, applications A → B → C and a sidecar beside each.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod correlated;
mod explained;
mod grpc;
mod lost;
mod own_applications;
mod traced;
