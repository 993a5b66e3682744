//! `laneway get`: shows resources.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Output, Server};

/// The arguments of `laneway get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The kind, e.g. Lane
    kind: String,
    /// One resource's name; without it all of the kind
    name: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Get) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
