//! `laneway restore`: puts a backup in place of a stopped control plane's store.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use control::SqliteStore;

use super::output;
use crate::{
    data_directory::{DataDirectory, Unwritable},
    stores,
    stores::DATABASE_FILE,
};

/// The arguments of `laneway restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// The control plane's data directory; none may run on it. Default: that of the control plane of this user
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    data: Option<PathBuf>,
    /// Leave tokens of the API with a role in force, which programs have, also such as were revoked since the backup. Default:
    /// they end, as sessions and logins do
    #[arg(long)]
    keep_api_tokens: bool,
}

/// Runs the verb.
pub(crate) async fn run(verb: Restore) -> anyhow::Result<ExitCode> {
    // No directory is made for what cannot be restored.
    SqliteStore::check_backup(&verb.file)?;
    // Held until the store is in place: no control plane starts on it meanwhile.
    let data = DataDirectory::take(&stores::find(verb.data)?, Unwritable::IsRefused)?;
    let database = data.file(DATABASE_FILE);
    let restored = SqliteStore::restore(&verb.file, &database, verb.keep_api_tokens)?;
    output::line(format_args!(
        "{} is what {} holds: {} objects, up to revision {}",
        database.display(),
        verb.file.display(),
        restored.objects,
        restored.revision
    ));
    if restored.unreadable > 0 {
        output::warning(format_args!(
            "{} objects cannot be read by this release; they are kept, not in force",
            restored.unreadable
        ));
    }
    if restored.ended > 0 {
        output::line(format_args!(
            "{} sessions and tokens of the API have ended: sign in again, and make tokens anew",
            restored.ended
        ));
    }
    if restored.api_tokens > 0 {
        output::warning(format_args!(
            "{} tokens of the API are good as in the backup: revoke again what was revoked since",
            restored.api_tokens
        ));
    }
    if let Some(kept) = restored.kept {
        output::line(format_args!("what was there before is {}", kept.display()));
    }
    Ok(ExitCode::SUCCESS)
}
