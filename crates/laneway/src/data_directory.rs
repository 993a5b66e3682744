//! The directory in which a process keeps its state: held by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use discovery::snapshot::write_atomically;

/// Nobody but the owner reads state: it names every service and may hold secrets of sources.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The file whose lock is the holder's.
const LOCK_FILE: &str = "lock";

/// A data directory, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    // The lock lives as long as the open file.
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory where it is missing, and takes it.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .with_context(|| format!("data: create the directory `{}`", path.display()))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&lock_path)
            .with_context(|| format!("data: open `{}`", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                bail!(
                    "data: `{}` is in use by process {}; stop it, or name another directory with --data",
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("data: lock `{}`", lock_path.display()));
            }
        }
        // For the message above; the lock itself is the kernel's.
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("data: write `{}`", lock_path.display()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file inside.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The identity of this data plane, the same at every start.
    pub(crate) fn node(&self) -> anyhow::Result<String> {
        let path = self.file("node");
        match fs::read_to_string(&path) {
            Ok(text) if uuid::Uuid::parse_str(text.trim()).is_ok() => {
                return Ok(text.trim().to_owned());
            }
            // What a crash or a hand has spoilt is no identity.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("data: read `{}`", path.display()));
            }
        }
        let node = uuid::Uuid::new_v4().to_string();
        write_atomically(&path, node.as_bytes())
            .with_context(|| format!("data: write `{}`", path.display()))?;
        Ok(node)
    }
}

/// Whether a process holds the directory.
pub(crate) fn is_held(path: &Path) -> bool {
    let lock = File::open(path.join(LOCK_FILE));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_held_by_one_process() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let held = DataDirectory::take(&path).unwrap();
        let refused = DataDirectory::take(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("in use by process {}", std::process::id())),
            "{refused}"
        );
        assert!(is_held(&path));
        drop(held);
        assert!(!is_held(&path));
        DataDirectory::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_node_keeps_its_identity() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::take(parent.path()).unwrap();
        let node = directory.node().unwrap();
        assert_eq!(directory.node().unwrap(), node);
        fs::write(directory.file("node"), "half a").unwrap();
        assert_ne!(directory.node().unwrap(), "half a");
    }
}
