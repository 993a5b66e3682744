//! Builds the small programs of `programs/`: with `rustc` alone, once, whoever asks first.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

/// Only one thread of a process builds.
static BUILDING: Mutex<()> = Mutex::new(());

/// What `programs/NAME.rs` becomes with these arguments of `rustc`, under `target/`. Built with optimisation whatever
/// the profile: it runs under load.
pub(crate) fn build(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let _one_at_a_time = BUILDING.lock();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = here.join("programs").join(name).with_extension("rs");
    let place = here.join("../../target/testkit");
    fs::create_dir_all(&place).context("create target/testkit")?;
    let built = place.join(name);
    let built_from = built.with_extension("rs");
    let text = fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
    if built.exists() && fs::read_to_string(&built_from).is_ok_and(|from| from == text) {
        return Ok(built);
    }
    let fresh = place.join(format!("{name}-{}", std::process::id()));
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "--cap-lints", "allow"]).args(arguments);
    let output = rustc.arg(&source).arg("-o").arg(&fresh).output().context("run rustc")?;
    if !output.status.success() {
        bail!("build {}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    }
    // Renamed whole, so that another test process never runs half a program.
    fs::rename(&fresh, &built).with_context(|| format!("put {name} in place"))?;
    fs::write(&built_from, text).with_context(|| format!("note what {name} was built from"))?;
    Ok(built)
}
