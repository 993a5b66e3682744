//! `laneway status`: sources, gateways and data planes: how far behind each is, what each cannot reach.

use std::process::ExitCode;

use clap::Args;

use super::server::{Output, Server};

/// The arguments of `laneway status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Status) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
