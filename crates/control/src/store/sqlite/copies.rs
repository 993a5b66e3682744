//! Copies of a store: made while it is in use, checked, and put back in its place.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use rustix::process::geteuid;
use tempfile::NamedTempFile;

use super::{EPOCH, SqliteStore, failed};
use crate::store::{Account, AccountId, Change, Revision, Store, StoreError, StoredCredential};

/// What SQLite keeps beside a database that is in use, or was when its process died. A log that is not the
/// database's own would be replayed over it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// What a restored store holds.
#[derive(Debug)]
pub struct Restored {
    /// How many objects are in force.
    pub objects: usize,
    /// How many this release cannot read.
    pub unreadable: usize,
    /// The last change that is in it.
    pub revision: Revision,
    /// Where what was there before is kept.
    pub kept: Option<PathBuf>,
    /// Sessions and tokens of the API that have ended by it.
    pub ended: usize,
    /// Tokens of the API with a role that are good as they were in the backup.
    pub api_tokens: usize,
}

impl SqliteStore {
    /// Writes a consistent copy to `path`, which must not exist; it is there whole and checked, or not at all. The
    /// copy gets another epoch when it is opened, so that data planes never mistake its generations for this
    /// store's.
    pub fn backup_to(&self, path: &Path) -> Result<(), StoreError> {
        let exists = || StoreError::BackupExists { path: path.to_owned() };
        if path.exists() {
            return Err(exists());
        }
        let copy = self.copy_beside(path)?;
        Self::open_as_it_is(copy.path())?.refuse_damage()?;
        copy.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => on_disk("write", path)(error.error),
        })?;
        sync_directory(path)
    }

    /// That the copy at `backup` could be put in place of a store; nothing is written.
    pub fn check_backup(backup: &Path) -> Result<(), StoreError> {
        Self::open_as_it_is(backup)?.refuse_damage()
    }

    /// Puts the copy at `backup` in place of the store at `database`, which no process may have open. Nothing has
    /// happened when it fails; what was there is kept beside it. Sessions and tokens of the API end: one that was revoked
    /// since the backup would be good again; with `keeps_api_tokens` those with a role stay, which programs have.
    pub fn restore(
        backup: &Path,
        database: &Path,
        keeps_api_tokens: bool,
    ) -> Result<Restored, StoreError> {
        let fresh = Self::open_as_it_is(backup)?.copy_beside(database)?;
        // Opened as the next start will: what that could not use is not put in place.
        let mut store = Self::open(fresh.path())?;
        store.refuse_damage()?;
        let contents = store.load()?;
        let credentials = contents.accounts.iter().filter_map(|it| match it {
            Account::Credential(credential) => Some(credential),
            Account::User(_) => None,
        });
        let stays = |it: &&StoredCredential| keeps_api_tokens && it.grant.is_some();
        let (stay, end): (Vec<_>, Vec<_>) = credentials.partition(stays);
        let of =
            |it: &StoredCredential| Change::RemoveAccount(AccountId::Credential(it.id.clone()));
        store.commit(&end.iter().map(|it| of(it)).collect::<Vec<_>>())?;
        let (api_tokens, ended) = (stay.len(), end.len());
        store.close()?;
        give_to_owner(fresh.path())?;
        let kept = keep(database)?;
        fresh.persist(database).map_err(|error| on_disk("replace", database)(error.error))?;
        sync_directory(database)?;
        Ok(Restored {
            objects: contents.objects.len(),
            unreadable: contents.unreadable.len(),
            revision: contents.revision,
            kept,
            ended,
            api_tokens,
        })
    }

    /// A copy without an epoch in a file of its own, private to its owner, that goes away unless it is kept.
    fn copy_beside(&self, path: &Path) -> Result<NamedTempFile, StoreError> {
        let file =
            NamedTempFile::new_in(directory_of(path)).map_err(on_disk("write beside", path))?;
        self.copy_to(file.path()).map_err(failed("copy", &self.path))?;
        file.as_file().sync_all().map_err(on_disk("write", file.path()))?;
        Ok(file)
    }

    fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        let mut copy = Connection::open(path)?;
        rusqlite::backup::Backup::new(&self.connection, &mut copy)?.step(-1).map(drop)?;
        copy.pragma_update(None, "synchronous", "FULL")?;
        // One file, which can be moved alone.
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.execute("DELETE FROM texts WHERE name = ?1", [EPOCH])?;
        copy.close().map_err(|(_, error)| error)
    }

    fn refuse_damage(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(failed("check", &self.path))?;
        match found.as_str() {
            "ok" => Ok(()),
            _ => Err(StoreError::Damaged { path: self.path.clone(), found }),
        }
    }
}

/// Keeps the store at `database` under another name, whole. Afterwards nothing of it is left beside `database` that
/// would be taken for its successor's; until it is replaced, `database` is what it was.
fn keep(database: &Path) -> Result<Option<PathBuf>, StoreError> {
    if !database.exists() {
        remove_companions(database)?;
        return Ok(None);
    }
    let kept = free_name(database);
    // Closing takes what its log holds into the database.
    if SqliteStore::open_as_it_is(database).and_then(Store::close).is_ok() {
        remove_companions(database)?;
        let linked = fs::hard_link(database, &kept);
        linked.or_else(|_| fs::copy(database, &kept).map(drop)).map_err(on_disk("keep", &kept))?;
        give_to_owner(&kept)?;
    } else {
        // What cannot be opened, perhaps the reason to restore, is kept as it is.
        for companion in COMPANIONS {
            let (from, to) = (beside(database, companion), beside(&kept, companion));
            if from.exists() {
                fs::rename(&from, to).map_err(on_disk("keep", &from))?;
            }
        }
        fs::rename(database, &kept).map_err(on_disk("keep", database))?;
    }
    Ok(Some(kept))
}

/// What root has made belongs to whom its directory does: a control plane that is another user opens it next.
fn give_to_owner(path: &Path) -> Result<(), StoreError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let owner =
        fs::metadata(directory_of(path)).map_err(on_disk("look at the directory of", path))?;
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(on_disk("give to its user", path))
}

fn remove_companions(database: &Path) -> Result<(), StoreError> {
    for companion in COMPANIONS {
        let path = beside(database, companion);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(on_disk("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `laneway.db.before-restore-1`, or the next that is free.
fn free_name(database: &Path) -> PathBuf {
    let names = (1u32..).map(|number| beside(database, &format!(".before-restore-{number}")));
    let mut free = names.filter(|path| !path.exists());
    free.next().unwrap_or_else(|| unreachable!("no directory holds that many files"))
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    File::open(directory).and_then(|file| file.sync_all()).map_err(on_disk("write", directory))
}

fn on_disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { doing, path, source }
}
