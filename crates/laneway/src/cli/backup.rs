//! `laneway backup`: copies the control plane's store into a file, also while it runs.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use control::SqliteStore;

use super::output;
use crate::{config::default_data, roles::DATABASE_FILE};

/// Only its owner reads a store.
const MODE: u32 = 0o600;

/// The arguments of `laneway backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
    /// The control plane's data directory. Default: that of `laneway serve`
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    data: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Backup) -> anyhow::Result<ExitCode> {
    let data = match verb.data.or_else(|| default_data("serve")) {
        Some(data) => data,
        None => anyhow::bail!("data: name the control plane's data directory with --data"),
    };
    let database = data.join(DATABASE_FILE);
    let store = SqliteStore::open_as_it_is(&database)?;
    store.backup_to(&verb.file)?;
    fs::set_permissions(&verb.file, Permissions::from_mode(MODE))
        .with_context(|| format!("make `{}` private", verb.file.display()))?;
    output::line(format_args!("{} copied to {}", database.display(), verb.file.display()));
    Ok(ExitCode::SUCCESS)
}
