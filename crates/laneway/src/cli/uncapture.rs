//! `laneway uncapture`: takes out the redirect rules of a sidecar that was killed and is not started again.

use std::process::ExitCode;

use clap::Args;
use proxy::capture::{self, Leftovers};

use super::output;

/// The arguments of `laneway uncapture`.
#[derive(Debug, Args)]
pub(crate) struct Uncapture {}

/// Runs the verb.
pub(crate) async fn run(_: Uncapture) -> anyhow::Result<ExitCode> {
    // Programs run one after the other, and nothing else is to be done meanwhile.
    match capture::remove_leftovers()? {
        Leftovers::Absent => output::line(format_args!("there are no redirect rules here")),
        Leftovers::Removed => output::line(format_args!("redirect rules removed")),
        Leftovers::InUse(port) => output::line(format_args!(
            "redirect rules stay: a sidecar listens at port {port}, where they lead"
        )),
    }
    Ok(ExitCode::SUCCESS)
}
