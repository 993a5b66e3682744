//! Chores that read the repository with libraries: `cargo xtask tidy` and the like start this program. It is apart
//! from `xtask` so that the door itself is built in seconds on a fresh clone.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
#![allow(clippy::disallowed_methods, reason = "reads `CARGO`; settings are the binary's")]

mod codegen;
mod dependencies;
mod notices;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

/// The only registry that may be named.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[&str]) -> Result<()> {
    let root = root()?;
    match arguments {
        ["tidy"] => complain(&tidy::run(&root)?),
        ["dependencies"] => complain(&dependencies::run(&root)?),
        ["notices"] => {
            print!("{}", notices::write(&root)?);
            Ok(())
        }
        ["codegen"] => codegen::run(&root),
        ["codegen", "--check"] => complain(&codegen::check(&root)?),
        other => bail!("unknown verb or argument in `{}`; see `cargo xtask help`", other.join(" ")),
    }
}

/// The workspace's root, wherever the chore was started.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).context("the workspace's root")
}

/// Prints complaints; any at all is a failure.
fn complain(complaints: &[String]) -> Result<()> {
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { Ok(()) } else { bail!("{} complaints", complaints.len()) }
}
