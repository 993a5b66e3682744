//! What a lane decision costs: time on this machine, and instructions, which are the gate.
//!
//! Instructions are counted by valgrind as the difference between many decisions and few, so that a busy
//! machine changes nothing and preparing the rules does not count.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Shapes of rules that `crates/lanes/benches/decide.rs` knows and the target is about: 1 000 content lanes of
/// ten conditions, the last one matches.
const GATED: &[&str] = &["distinct", "binary", "alike", "any", "negative"];

/// Instructions a decision may take: the target of 2 µs on a slow processor, one that does 8 per nanosecond.
const INSTRUCTIONS_MAX: u64 = 16_000;

/// Decisions of the two runs that are compared.
const FEW: u64 = 100;
const MANY: u64 = 1_100;

/// Measures every shape; a section of the page. An error if a gated shape takes too many instructions.
pub(super) fn section(root: &Path) -> Result<String> {
    if !run::is_on_path("valgrind") {
        bail!("`valgrind` is not installed: apt-get install valgrind");
    }
    let program = build(root)?;
    let timed = output(&mut Command::new(&program))?;
    let mut text = format!(
        "\n## Lane decision\n\nBy `crates/lanes/benches/decide.rs`. The target is 2 µs with 1 000 content lanes of ten conditions, the last \
         of which matches; the gate is {INSTRUCTIONS_MAX} instructions (counted by valgrind), which do not depend on how busy the machine is.\n\n\
         | rules | ns | instructions | gate |\n|---|---|---|---|\n"
    );
    let mut too_many = Vec::new();
    for line in timed.lines() {
        let (name, rest) = line.split_once(' ').context("a name in the benchmark's output")?;
        let (nanoseconds, what) =
            rest.split_once(" ns ").context("a time in the benchmark's output")?;
        let instructions = (instructions(&program, name, MANY)?
            - instructions(&program, name, FEW)?)
            / (MANY - FEW);
        println!("decision {name:<10} {instructions:>6} instructions");
        let is_gated = GATED.contains(&name);
        if is_gated && instructions > INSTRUCTIONS_MAX {
            too_many.push(format!("{name}: {instructions}"));
        }
        let gate = if is_gated { format!("≤ {INSTRUCTIONS_MAX}") } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} | {instructions} | {gate} |",
            what.trim(),
            nanoseconds.trim()
        );
    }
    if too_many.is_empty() {
        return Ok(text);
    }
    bail!(
        "a lane decision takes more than {INSTRUCTIONS_MAX} instructions: {}",
        too_many.join(", ")
    )
}

/// Builds the benchmark; where its program is.
fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(run::cargo_program());
    cargo.current_dir(root).args(["bench", "--package", "lanes", "--bench", "decide", "--no-run"]);
    let output = cargo.output().context("run cargo bench")?;
    let told = String::from_utf8_lossy(&output.stderr);
    program_in(&told).map(|path| root.join(path)).with_context(|| format!("cargo bench: {told}"))
}

/// The path in cargo's last line, `Executable benches/decide.rs (target/release/deps/decide-…)`.
fn program_in(told: &str) -> Option<&str> {
    let line = told.lines().find_map(|line| line.trim().strip_prefix("Executable "))?;
    line.split_once('(')?.1.strip_suffix(')')
}

/// Instructions of one run with `count` decisions.
fn instructions(program: &Path, shape: &str, count: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    valgrind.args([shape, &count.to_string()]);
    let told = valgrind.output().context("run valgrind")?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let counted = told.lines().find_map(|line| line.split_once("Collected :"));
    counted
        .and_then(|(_, count)| count.trim().parse().ok())
        .with_context(|| format!("instructions in valgrind's output:\n{told}"))
}

fn output(command: &mut Command) -> Result<String> {
    let line = run::line(command);
    let output = command.output().with_context(|| format!("run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let told = "    Finished `bench` profile [optimized] target(s) in 1.00s\n  \
                    Executable benches/decide.rs (target/release/deps/decide-0a1b)\n";
        assert_eq!(program_in(told), Some("target/release/deps/decide-0a1b"));
    }
}
