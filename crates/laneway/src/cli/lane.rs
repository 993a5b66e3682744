//! `laneway lane`: switches lanes on and off, changes their ratio, shows how they stand.

use std::process::ExitCode;

use clap::Args;

use super::server::{Namespace, Output, Server};
use clap::Subcommand;

/// The arguments of `laneway lane`.
#[derive(Debug, Args)]
pub(crate) struct Lane {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// What to do with the lane.
#[derive(Debug, Subcommand)]
enum Action {
    /// Let requests in
    Enable {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: String,
    },
    /// Let no requests in; those that carry it are base at their next hop
    Disable {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: String,
    },
    /// What the lane matches, and how far data planes know it
    Status {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: String,
        #[command(flatten)]
        output: Output,
    },
    /// Change the share of requests of a lane by ratio
    Ratio {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: String,
        /// 0 to 100, two decimals
        percent: String,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: Lane) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
