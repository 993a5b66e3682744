//! The control plane's disk is full: changes are refused with the reason and leave nothing behind, everything else goes on,
//! and when there is room again so do changes.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
};

use anyhow::{Result, ensure};
use testkit::{Process, Sandbox, http, needs, sample, wait};

use crate::{SOON, answers, fixed, sandbox};

/// Larger than what is free in the pages that the store has already.
const LARGE_BYTES: usize = 200_000;

/// A control plane with its data on a disk of its own, of so few bytes.
fn control_on_a_disk(sandbox: &Sandbox) -> Result<Process> {
    let data = sandbox.path("disk");
    fs::create_dir_all(&data)?;
    let (api, discovery) = (sandbox.api_address(), sandbox.discovery_address());
    let control =
        sandbox.laneway(&["control", "--api-listen", &api, "--discovery-listen", &discovery]);
    let mut command = Command::new("unshare");
    let prepare = "set -e; mount -t tmpfs -o size=4m tmpfs \"$0\"; exec \"$@\"";
    command.args(["--mount", "sh", "-c", prepare]).arg(&data);
    command.arg(control.get_program()).args(control.get_args()).arg("--data").arg(&data);
    for (name, value) in control.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Process::start("control", &mut command, sandbox.directory())
}

fn group(name: &str, bytes: usize) -> String {
    let note = "x".repeat(bytes);
    format!(
        "---\napiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {{name: {name}, annotations: {{note: '{note}'}}}}\nspec: {{applications: [{name}]}}\n"
    )
}

#[test]
fn a_control_plane_on_a_full_disk_refuses_changes_and_goes_on() -> Result<()> {
    // What mounts is root's.
    if !needs("netns") {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let control = control_on_a_disk(&sandbox)?;
    let api = sandbox.api_address();
    answers(&api, "/readyz", 200, "")?;
    let mut command = Command::new(testkit::application::program()?);
    command.args(["C", &sandbox.endpoint(3, 8080)]);
    let _application = Process::start("C-3", &mut command, sandbox.directory())?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;

    // As its process sees it.
    let root = PathBuf::from(format!("/proc/{}/root", control.id()));
    let disk = root.join(sandbox.path("disk").strip_prefix("/")?);
    let filler = disk.join("filler");
    let mut all = File::create(&filler)?;
    while all.write_all(&[0; 4096]).is_ok() {}
    let file = sandbox.path("large.yaml");
    fs::write(&file, group("large", LARGE_BYTES))?;
    let refused = sandbox.run(&["apply", "-f", &file.to_string_lossy()])?;
    ensure!(refused.code == Some(1), "{:?} {}", refused.code, refused.stderr);
    ensure!(refused.stderr.contains("full"), "{}", refused.stderr);
    let path = "/api/v1alpha1/lanegroups/large";
    ensure!(http::get(&api, path, &[])?.status == 404, "something was left behind");
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;
    answers(&api, "/readyz", 200, "")?;
    let shown = sandbox.must(&["status"])?;
    ensure!(shown.contains("nothing can be changed until that is mended"), "{shown}");
    answers(&api, "/metrics", 200, "laneway_store_writable 0")?;

    drop(all);
    fs::remove_file(&filler)?;
    // Who only looks is told so, too.
    wait::until(SOON, "it is told that there is room", || {
        let shown = sandbox.must(&["status"])?;
        ensure!(!shown.contains("until that is mended"), "{shown}");
        Ok(())
    })?;
    wait::until(SOON, "changes are taken again", || sandbox.apply(&group("large", LARGE_BYTES)))?;
    answers(&api, "/metrics", 200, "laneway_store_writable 1")?;
    let shown = sandbox.must(&["status"])?;
    ensure!(!shown.contains("until that is mended"), "{shown}");
    sandbox.apply(&sample::routed("c", "fixed").replace("/c", "/d"))?;
    answers(&sandbox.gateway_address(), "/d", 200, "C[")
}
