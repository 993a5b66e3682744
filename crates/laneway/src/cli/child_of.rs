//! `laneway child-of PID -- COMMAND…`: a command of this program that ends when its parent does. Hidden: the
//! demo starts its processes this way, so that none outlives it whatever it dies of.

use std::{os::unix::process::CommandExt, process::ExitCode};

use anyhow::Context;
use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The arguments of `laneway child-of`.
#[derive(Debug, Args)]
pub(crate) struct ChildOf {
    /// The parent's process number
    parent: i32,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Becomes the command; returns only when it cannot.
pub(crate) fn run(verb: &ChildOf) -> anyhow::Result<ExitCode> {
    // Outlives `exec`, which `Command` could otherwise only be told by unsafe code between fork and exec.
    set_parent_process_death_signal(Some(Signal::TERM))
        .context("tie this process to its parent")?;
    if getppid().map(Pid::as_raw_pid) != Some(verb.parent) {
        // The parent died before it could be asked for.
        return Ok(ExitCode::FAILURE);
    }
    let program = std::env::current_exe().context("find this program's own file")?;
    let error = std::process::Command::new(program).args(&verb.command).exec();
    Err(error).context("become the command")
}
