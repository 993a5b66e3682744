//! The Java agent: Maven builds it and runs its tests, which decide what the crate `lanes` has decided.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{run, worlds::Worlds};

/// Random cases that both decide.
const CASES: &str = "10000";

/// The world of tests that run the built agent.
const WORLD: &str = "java";

/// Builds and tests it. Where that cannot be done the world of those who would run it is missing.
pub(crate) fn build(root: &Path, worlds: &mut Worlds) -> Result<()> {
    if let Some(missing) = ["javac", "mvn"].into_iter().find(|program| !run::is_on_path(program)) {
        println!("world missing: {WORLD}: `{missing}` is not installed");
        worlds.note(WORLD, Err(anyhow!("`{missing}` is not installed")));
        return Ok(());
    }
    let cases = random_cases(root)?;
    let mut maven = Command::new("mvn");
    maven.current_dir(root.join("java-agent")).args(["-q", "-B", "package"]);
    run::command(maven.arg(format!("-Dlaneway.random.cases={}", cases.display())))?;
    worlds.note(WORLD, Ok(()));
    Ok(())
}

/// Cases, and what the crate decides in them.
fn random_cases(root: &Path) -> Result<PathBuf> {
    let place = root.join("target/random-cases.json");
    let file = File::create(&place).with_context(|| format!("create {}", place.display()))?;
    let mut command = Command::new(run::cargo_program());
    let example = ["run", "--quiet", "--locked", "-p", "lanes", "--example", "random_cases"];
    command.current_dir(root).args(example).args(["--", CASES]).stdout(file);
    let line = run::line(&command);
    println!("$ {line} > {}", place.display());
    let status = command.status().with_context(|| format!("run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    fs::canonicalize(&place).with_context(|| format!("find {}", place.display()))
}
