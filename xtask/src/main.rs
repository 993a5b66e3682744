//! Repository chores: the one door that people and CI use. `cargo xtask help` lists the verbs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
#![allow(clippy::disallowed_methods, reason = "reads `CI` and the like; settings are the binary's")]

mod bench;
mod console;
mod demo_nacos;
mod differential;
mod dist;
mod fuzz;
mod java;
mod jvm;
mod profile;
mod run;
mod test;
mod worlds;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use bench::instructions::Then;

/// The verbs, as `help` prints them: name, and what it does.
const VERBS: &[(&str, &str)] = &[
    ("ci", "the same as `test`, as CI runs it: what could not run is an error, not a note"),
    ("test", "everything: format, lints, tidy, codegen --check, dependencies, all tests"),
    ("faults", "every experiment of docs/faults.md, in full; about half an hour on two cores"),
    (
        "jvm",
        "the Java agent on every version of its guide's table, or on the rows with all of these words in them (`jvm \"boot 2.7\" \"jdk 11\"`); minutes each",
    ),
    ("console", "build the console; the next build of the binary takes it in"),
    (
        "demo",
        "build the release binary and run `laneway demo` (arguments are passed on); `--nacos [--once]`: Spring Cloud and Dubbo applications under the Java agent, registered in a Nacos server",
    ),
    (
        "bench",
        "measure Laneway against its peers in one run; writes docs/benchmarks.md; `--only COLUMN` prints one; `--rounds N`; `decision`: only the lane decision; `instructions`: what requests cost in instructions, held to xtask/instructions.txt, which `--update` writes anew; `--against BINARY [ROUNDS]`: this tree's binary relative to another; LANEWAY_BINARY names one that is built",
    ),
    (
        "scale",
        "what a change costs the control plane of the largest installation there is a promise for",
    ),
    (
        "fuzz",
        "build the targets of fuzz/ and run them, `[TARGET] [--seconds N]`: all, 60 seconds each, two at once",
    ),
    (
        "differential",
        "show what a gateway sends on to hyper, Node, Go, nginx and HAProxy, which must all read the same; `[--connections N] [--seed N]`",
    ),
    (
        "dist",
        "build the binary that is shipped, by a profile of what it does under load, and write a Debian package and a tarball to target/packages/; `--binary PATH`, or LANEWAY_BINARY: of one that is built",
    ),
    ("tidy", "the architecture as a table: arrows, purity, file sizes, lock files"),
    ("dependencies", "what is shipped: licences, bans, one version of each crate, one registry"),
    ("codegen", "write what is generated and committed; `--check` only compares"),
    ("worlds", "prepare what system tests need beside cargo, under target/worlds/"),
    ("help", "this list"),
];

/// How long a release build of the binary alone takes where nothing is built yet, on two idle cores.
const DEMO_BUILD_MINUTES: u32 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    match dispatch(verb, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: &str, rest: &[String]) -> Result<()> {
    let root = root();
    match verb {
        "ci" => test::run(&root, worlds::Strictness::Ci),
        "test" => test::run(&root, worlds::Strictness::from_environment()),
        "faults" if rest.is_empty() => test::faults(&root, worlds::Strictness::from_environment()),
        "console" if rest.is_empty() => console::build(&root),
        "jvm" => jvm::run(&root, rest),
        "demo" => match rest {
            [nacos] if nacos == "--nacos" => demo_nacos::run(&root, false),
            [nacos, once] if nacos == "--nacos" && once == "--once" => demo_nacos::run(&root, true),
            _ => demo(&root, rest),
        },
        "bench" if rest == ["decision"] => bench::decision(&root),
        "bench" if rest == ["instructions"] => instructions(&root, Then::Compare),
        "bench" if rest == ["instructions", "--update"] => instructions(&root, Then::Update),
        "fuzz" => fuzz::run(&root, &fuzz::Asked::read(rest)?),
        "differential" => differential::run(&root, &differential::Asked::read(rest)?),
        "bench" => benchmark(&root, rest),
        "scale" if rest.is_empty() => scale(&root),
        "dist" => dist::run(&root, &dist::Asked::read(rest, std::env::var_os("LANEWAY_BINARY"))?),
        "tidy" if rest.is_empty() => run::checks(&root, &["tidy"]),
        "dependencies" if rest.is_empty() => run::checks(&root, &["dependencies"]),
        "codegen" if rest == ["--check"] => run::checks(&root, &["codegen", "--check"]),
        "codegen" if rest.is_empty() => run::checks(&root, &["codegen"]),
        "worlds" => worlds::prepare(&root, worlds::Strictness::Ci).map(|_| ()),
        "help" | "--help" | "-h" => {
            for (name, purpose) in VERBS {
                println!("cargo xtask {name:<12} {purpose}");
            }
            Ok(())
        }
        other => bail!("unknown verb or argument in `{other} {}`; see help", rest.join(" ")),
    }
}

/// Instructions of the release binary, or of that which `LANEWAY_BINARY` names.
fn instructions(root: &Path, then: Then) -> Result<()> {
    bench::instructions::run(root, std::env::var_os("LANEWAY_BINARY").map(PathBuf::from), then)
}

/// The benchmark, or a part of it.
fn benchmark(root: &Path, rest: &[String]) -> Result<()> {
    let number = |rounds: &str| {
        let rounds = rounds.parse().ok().filter(|rounds| *rounds > 0);
        rounds.context("the number of rounds is one above 0")
    };
    let mut rounds = bench::ROUNDS;
    let mut only = None;
    let mut words = rest.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match (word, words.next()) {
            ("decision", None) if rest.len() == 1 => return bench::decision(root),
            ("--against", Some(other)) if rest.len() <= 3 => {
                let rounds = words.next().map_or(Ok(rounds), number)?;
                return bench::against(root, Path::new(other), rounds);
            }
            ("--rounds", Some(count)) => rounds = number(count)?,
            ("--only", Some(column)) => only = Some(column),
            _ => bail!(
                "bench takes nothing, `decision`, `instructions [--update]`, `--against BINARY [ROUNDS]`, or `--only COLUMN` and `--rounds N`; not `{word}`"
            ),
        }
    }
    bench::run(root, rounds, only)
}

/// Builds what the demo needs and nothing else, saying first what will be seen and for how long.
fn demo(root: &Path, rest: &[String]) -> Result<()> {
    let laneway = root.join("target/release/laneway");
    if !laneway.exists() {
        println!(
            "Building the release binary first, once: about {DEMO_BUILD_MINUTES} minutes on two cores. Cargo shows how far it is."
        );
    }
    console::build_where_possible(root)?;
    run::cargo(root, &["build", "--release", "--locked", "--package", "laneway"])?;
    let mut arguments = vec!["demo"];
    arguments.extend(rest.iter().map(String::as_str));
    run::program(&laneway, root, &arguments)
}

/// Runs the control plane's tests of scale in full; they print figures, and fail where more is used than promised. All
/// of them: what one of them uses too much of says nothing of the others.
fn scale(root: &Path) -> Result<()> {
    let mut command = Command::new(run::cargo_program());
    let test = ["test", "--release", "--locked", "--no-fail-fast", "--package", "control", "scale"];
    command.current_dir(root).env("LANEWAY_SCALE", "full").args(test).args(["--", "--nocapture"]);
    run::command(&mut command)
}

/// The workspace's root: the parent of this crate, wherever the chore was started.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
