//! The discovery protocol: generated from `proto/discovery.proto` by `cargo xtask codegen`.

#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; its documentation is the .proto file"
)]
pub mod v1 {
    include!("generated/laneway.discovery.v1.rs");
}
