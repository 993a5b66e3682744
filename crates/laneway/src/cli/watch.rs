//! `laneway watch`: follows the changes of resources.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Output, Server};

/// The arguments of `laneway watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The kind, e.g. Lane
    kind: String,
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
pub(crate) async fn run(verb: Watch) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
