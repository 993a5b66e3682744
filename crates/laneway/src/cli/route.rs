//! `laneway route`: sugar that writes an HTTPRoute.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Server};
use clap::Subcommand;

/// The arguments of `laneway route`.
#[derive(Debug, Args)]
pub(crate) struct Route {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// What to do with routes.
#[derive(Debug, Subcommand)]
enum Action {
    /// Write a route
    Add {
        /// The route's name
        name: String,
        /// The path prefix it takes, by segment
        #[arg(long, value_name = "PATH", default_value = "/")]
        prefix: String,
        /// The Backend it goes to, or a service of the embedded registry
        #[arg(long, value_name = "NAME")]
        backend: String,
        /// Only for this host
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// The gateway it attaches to
        #[arg(long, value_name = "NAME", default_value = "edge")]
        gateway: String,
        /// Replace the prefix by this path
        #[arg(long, value_name = "PATH")]
        rewrite: Option<String>,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: Route) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
