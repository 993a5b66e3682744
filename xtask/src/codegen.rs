//! Generates what is committed but derived: discovery code from its protobuf. Needs no `protoc`.

use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes `crates/api/src/generated/` anew.
pub(crate) fn run(root: &Path) -> Result<()> {
    let proto = root.join("crates/api/proto");
    let descriptors =
        protox::compile(["discovery.proto"], [&proto]).context("compile discovery.proto")?;
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(root.join("crates/api/src/generated"))
        .compile_fds(descriptors)
        .context("write crates/api/src/generated")
}
