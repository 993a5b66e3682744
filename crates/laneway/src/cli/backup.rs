//! `laneway backup`: copies the control plane's store into a file while it runs.

use std::process::ExitCode;

use clap::Args;

use std::path::PathBuf;

/// The arguments of `laneway backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
    /// The control plane's data directory. Default: as for `laneway serve`
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    data: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Backup) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not available yet: {verb:?}")
}
