//! `laneway delete`: deletes a resource.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Server};

/// The arguments of `laneway delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The kind, e.g. Lane
    kind: String,
    /// The resource's name
    name: String,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Delete) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
