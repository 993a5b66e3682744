//! Generates what is committed but derived: discovery code from its protobuf, and whatever a test named
//! `…_is_current` compares (the OpenAPI document, the settings reference). Needs no `protoc`.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Where the discovery code is committed.
const GENERATED: &str = "crates/api/src/generated";

/// Of what package the protocol is.
const PACKAGE: &str = "laneway.discovery.v1";

/// Writes everything generated anew.
pub(crate) fn run(root: &Path) -> Result<()> {
    discovery(root, &root.join(GENERATED))?;
    // Each such test writes its file instead of comparing it when UPDATE is set.
    let mut update = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    update.current_dir(root).env("UPDATE", "1");
    update.args(["test", "--quiet", "--workspace", "is_current"]);
    let status = update.status().context("run cargo test")?;
    ensure!(status.success(), "the tests named `…_is_current` ended with {status}");
    Ok(())
}

/// Compares the discovery code with its source. The `…_is_current` tests compare the rest, as part of the tests.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let fresh = root.join("target/codegen");
    fs::create_dir_all(&fresh).context("create target/codegen")?;
    discovery(root, &fresh)?;
    let mut complaints = Vec::new();
    for name in [format!("{PACKAGE}.rs"), format!("calls/{PACKAGE}.rs")] {
        let committed = root.join(GENERATED).join(&name);
        if fs::read(fresh.join(&name)).ok() != fs::read(&committed).ok() {
            complaints.push(format!(
                "{}: not what discovery.proto generates; run `cargo xtask codegen` and commit",
                committed.display()
            ));
        }
    }
    Ok(complaints)
}

/// Messages; and beside them the calls, which carry resources that are encoded already.
fn discovery(root: &Path, into: &Path) -> Result<()> {
    let proto = root.join("crates/api/proto");
    let descriptors =
        protox::compile(["discovery.proto"], [&proto]).context("compile discovery.proto")?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        // Its key is shown nowhere.
        .skip_debug([format!(".{PACKAGE}.Certificate")])
        .out_dir(into)
        .compile_fds(descriptors.clone())
        .with_context(|| format!("write {}", into.display()))?;
    let calls = into.join("calls");
    fs::create_dir_all(&calls).with_context(|| format!("create {}", calls.display()))?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(format!(".{PACKAGE}"), "crate::discovery::v1")
        .extern_path(
            format!(".{PACKAGE}.ControlMessage"),
            "crate::discovery::EncodedControlMessage",
        )
        .out_dir(&calls)
        .compile_fds(descriptors)
        .with_context(|| format!("write {}", calls.display()))
}
