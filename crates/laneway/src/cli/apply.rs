//! `laneway apply`: creates or changes the resources of files, all or none.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Server};
use std::path::PathBuf;

/// The arguments of `laneway apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A file of resources, or a directory of such files; `-` reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Apply) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
