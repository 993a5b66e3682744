//! `laneway completions`: a completion script for a shell.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) async fn run(verb: Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut super::Arguments::command(), "laneway", &mut script);
    std::io::stdout().write_all(&script).context("write the script")?;
    Ok(ExitCode::SUCCESS)
}
