//! `laneway explain`: says for a request, hop by hop, why it goes where it goes.

use std::process::ExitCode;

use clap::Args;

use super::server::{Output, Server};

/// The arguments of `laneway explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The URL as a client would request it
    url: String,
    /// The gateway it arrives at
    #[arg(long, value_name = "NAME", default_value = "edge")]
    gateway: String,
    /// The request's method
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header of the request, e.g. `canary: gray`
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The services of the call chain, in order; without it the route's backend alone
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    path: Vec<String>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Explain) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
