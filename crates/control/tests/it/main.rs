//! The control plane as its neighbours see it: a store on disk, REST, discovery over loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod backend_tls;
mod certificates;
mod discovery;
mod grpc_routes;
mod harness;
mod joining;
mod older_gateways;
mod people;
mod promotion;
mod registrations;
mod rest;
mod scale;
mod statistics;
mod store;
mod tap;
mod tls_routes;
mod tokens;
