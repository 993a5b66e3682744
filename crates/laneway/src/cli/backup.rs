//! `laneway backup`: copies the control plane's store into a file, also while it runs.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use control::{KEY_FILE, SqliteStore};

use super::output;
use crate::stores::{self, DATABASE_FILE};

/// The arguments of `laneway backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
    /// The control plane's data directory. Default: that of the control plane of this user
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    data: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Backup) -> anyhow::Result<ExitCode> {
    let database = stores::find(verb.data)?.join(DATABASE_FILE);
    let store = SqliteStore::open_as_it_is(&database)?;
    store.backup_to(&verb.file)?;
    output::line(format_args!("{} copied to {}", database.display(), verb.file.display()));
    let key_file = database.with_file_name(KEY_FILE);
    if key_file.exists() {
        output::line(format_args!(
            "private keys in it are sealed under {}: keep a copy of that, elsewhere",
            key_file.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
