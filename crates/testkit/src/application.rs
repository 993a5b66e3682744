//! The test application: an ordinary program, built once, that tests put behind sidecars and gateways.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

/// Its source: a program of its own, see there for its arguments.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/application.rs");

/// What an instrumented application forwards.
pub(crate) const INSTRUMENTED: &str = "baggage,traceparent";

/// Only one thread of a process builds.
static BUILDING: Mutex<()> = Mutex::new(());

/// The built program, under `target/`. Built with optimisation whatever the profile: it stands in chains under load.
///
/// # Errors
/// When `rustc` fails.
pub fn program() -> Result<PathBuf> {
    let _one_at_a_time = BUILDING.lock();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testkit");
    fs::create_dir_all(&place).context("create target/testkit")?;
    let built = place.join("application");
    let built_from = place.join("application.rs");
    let source = fs::read_to_string(SOURCE).with_context(|| format!("read {SOURCE}"))?;
    if built.exists() && fs::read_to_string(&built_from).is_ok_and(|text| text == source) {
        return Ok(built);
    }
    let fresh = place.join(format!("application-{}", std::process::id()));
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "--cap-lints", "allow", SOURCE, "-o"]).arg(&fresh);
    let output = rustc.output().context("run rustc")?;
    if !output.status.success() {
        bail!("build {SOURCE}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Renamed whole, so that another test process never runs half a program.
    fs::rename(&fresh, &built).context("put the application in place")?;
    fs::write(&built_from, source).context("note what the application was built from")?;
    Ok(built)
}
