//! `cargo xtask test`: every check there is, in the order in which a mistake is cheapest to find.
//!
//! A step that cannot run is an error that names its remedy. Tests whose world is missing say so in a list that is
//! printed at the end; in CI that list must be empty.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bench, console, dist, fuzz, java, run,
    worlds::{self, Strictness, Worlds},
};

/// Where tests note what they could not do.
const SKIPPED: &str = "target/skipped.txt";

/// Requests that are simulated in full.
const SIMULATED_REQUESTS: &str = "10000000";

/// The packages whose tests do what docs/faults.md says.
const FAULTY: &[&str] = &["laneway", "proxy", "control", "discovery", "registry"];

/// Runs every check. Stops at the first step that fails.
pub(crate) fn run(root: &Path, strictness: Strictness) -> Result<()> {
    let mut steps = Steps::default();
    steps.take("tidy", || run::checks(root, &["tidy"]))?;
    steps.take("dependencies", || run::checks(root, &["dependencies"]))?;
    steps.take("format", || run::cargo(root, &["fmt", "--all", "--check"]))?;
    let mut worlds = steps.take("worlds", || worlds::prepare(root, strictness))?;
    steps.take("lints", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        run::cargo(root, &lint)
    })?;
    steps.take("console", || console::check(root, strictness))?;
    steps.take("codegen", || run::checks(root, &["codegen", "--check"]))?;
    steps.take("release binary", || {
        run::cargo(root, &["build", "--release", "--locked", "--package", "laneway"])
    })?;
    let binary = root.join("target/release/laneway");
    steps.take("instructions", || bench::instructions::gate(root, &binary, strictness))?;
    steps.take("console in a browser", || console::browse(root, &binary, strictness))?;
    steps.take("java agent", || java::build(root, &mut worlds, strictness))?;
    steps.take("packages", || dist::for_tests(root, &binary, &mut worlds, strictness))?;
    steps.take("fuzz", || fuzz::in_passing(root, strictness))?;
    let counts = steps.take("tests", || tests(root, &worlds, Extent::Usual, &["--workspace"]))?;
    steps.print();
    conclude(root, &counts, strictness)
}

/// What is done to Laneway on purpose (docs/faults.md), in full: the packages whose tests do it, against the release
/// binary.
pub(crate) fn faults(root: &Path, strictness: Strictness) -> Result<()> {
    let mut steps = Steps::default();
    let mut worlds = steps.take("worlds", || worlds::prepare(root, strictness))?;
    steps.take("java agent", || java::build(root, &mut worlds, strictness))?;
    steps.take("release binary", || {
        run::cargo(root, &["build", "--release", "--locked", "--package", "laneway"])
    })?;
    let binary = root.join("target/release/laneway");
    steps.take("packages", || dist::for_tests(root, &binary, &mut worlds, strictness))?;
    let packages = FAULTY.iter().flat_map(|package| ["--package", package]).collect::<Vec<_>>();
    steps.take("simulation", || simulation(root))?;
    // What a run of minutes has seen is shown.
    let counts = steps.take("experiments", || {
        tests(root, &worlds, Extent::Faults, &[&packages[..], &["--", "--nocapture"]].concat())
    })?;
    steps.print();
    conclude(root, &counts, strictness)
}

/// A mesh in which everything goes wrong, and so many requests; optimised, because each is a dozen decisions.
fn simulation(root: &Path) -> Result<()> {
    let mut command = Command::new(run::cargo_program());
    let test = ["test", "--release", "--locked", "--package", "control", "--lib", "simulated"];
    command.current_dir(root).env("LANEWAY_SIMULATED", SIMULATED_REQUESTS).args(test);
    run::command(command.args(["--", "--nocapture"]))
}

/// Says what ran and what did not. An error when that is not enough.
fn conclude(root: &Path, counts: &Counts, strictness: Strictness) -> Result<()> {
    let skipped = read_lines(&root.join(SKIPPED))?;
    for line in &skipped {
        println!("SKIPPED: {line}");
    }
    println!(
        "tests: {} passed, {} failed, {} skipped",
        counts.passed,
        counts.failed,
        skipped.len()
    );
    if counts.failed > 0 {
        bail!("{} tests failed", counts.failed);
    }
    if counts.passed == 0 {
        bail!("no test ran");
    }
    if strictness == Strictness::Ci && !skipped.is_empty() {
        bail!("{} tests did not run; in CI every world is there", skipped.len());
    }
    Ok(())
}

/// How many tests ran.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// How much an experiment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What everybody can wait for.
    Usual,
    /// All there is.
    Faults,
}

/// The tests that cargo chooses by `which`. System tests use the release binary: it is what users run, and fast enough for load.
fn tests(root: &Path, worlds: &Worlds, extent: Extent, which: &[&str]) -> Result<Counts> {
    let skipped = root.join(SKIPPED);
    fs::write(&skipped, "").context("empty target/skipped.txt")?;
    let mut command = Command::new(run::cargo_program());
    command
        .current_dir(root)
        .args(["test", "--locked", "--no-fail-fast"])
        .args(which)
        .env("LANEWAY_BINARY", root.join("target/release/laneway"))
        .env("LANEWAY_REAL", worlds.names.join(","))
        .env("LANEWAY_PYTHON", &worlds.python)
        .env("LANEWAY_NODE_MODULES", &worlds.node_modules)
        .env("LANEWAY_NACOS", &worlds.nacos)
        .env("LANEWAY_GRPC", &worlds.grpc)
        .env("LANEWAY_SCHEMATHESIS", &worlds.schemathesis)
        .env("LANEWAY_SUITES", &worlds.suites)
        .env("LANEWAY_PACKAGES", &worlds.packages)
        .env("LANEWAY_SKIPPED", skipped);
    if extent == Extent::Faults {
        command.env("LANEWAY_FAULTS", "full");
    }
    let line = run::line(&command);
    println!("$ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run `{line}`"))?;
    let counts = match child.stdout.take() {
        Some(stdout) => copy_and_count(std::io::BufReader::new(stdout))?,
        None => Counts::default(),
    };
    let status = child.wait().with_context(|| format!("wait for `{line}`"))?;
    if !status.success() && counts.failed == 0 {
        bail!("`{line}` ended with {status}");
    }
    Ok(counts)
}

/// Passes the test runner's lines on, and adds up its result lines.
fn copy_and_count(lines: impl std::io::BufRead) -> Result<Counts> {
    let mut counts = Counts::default();
    for line in lines.lines() {
        let line = line.context("read the output of cargo test")?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            counts.passed += number_before(result, " passed");
            counts.failed += number_before(result, " failed");
        }
    }
    Ok(counts)
}

/// `3` in `ok. 3 passed; 1 failed` for ` passed`.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn read_lines(path: &PathBuf) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What ran, and how long each took.
#[derive(Debug, Default)]
struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    fn take<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== {name}");
        let started = Instant::now();
        let outcome = step().with_context(|| name);
        self.0.push((name, started.elapsed()));
        if outcome.is_err() {
            self.print();
        }
        outcome
    }

    fn print(&self) {
        println!("== wall time");
        for (name, took) in &self.0 {
            println!("{name:<20} {:>6.1} s", took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_of_several_test_binaries_are_added_up() {
        let output = "running 2 tests\ntest a ... ok\n\
            test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out\n";
        let counts = copy_and_count(output.as_bytes()).unwrap();
        assert_eq!(counts, Counts { passed: 15, failed: 2 });
    }
}
