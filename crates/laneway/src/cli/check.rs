//! `laneway check`: validates resources and finds conflicts without applying them.

use std::process::ExitCode;

use clap::Args;

use std::path::PathBuf;

/// The arguments of `laneway check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A file of resources, or a directory of such files; `-` reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Check) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
