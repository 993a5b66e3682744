//! The directory in which a process keeps its state: held by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, fchown},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, bail};
use discovery::snapshot::write_atomically;
use rustix::process::geteuid;

/// Nobody but the owner reads state: it names every service and may hold secrets of sources.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The file whose lock is the holder's.
const LOCK_FILE: &str = "lock";

/// What a process does whose disk is full, or may only be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// It does not start: what it is told to keep would be lost.
    IsRefused,
    /// It starts all the same, with what it can read: requests need no disk.
    IsTold,
}

/// A data directory, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    unwritable: Unwritable,
    /// The identity, once somebody has asked for it: it may not be on disk.
    node: OnceLock<String>,
    /// It lives as long as the open file; there is none where none could be made.
    lock: Option<File>,
}

impl DataDirectory {
    /// Creates the directory where it is missing, and takes it.
    pub(crate) fn take(path: &Path, unwritable: Unwritable) -> anyhow::Result<Self> {
        let lock = hold(path).or_else(|error| match unwritable {
            Unwritable::IsTold if is_unwritable(&error) => {
                tell_unwritable(path, &error);
                hold_unwritten(path)
            }
            _ => Err(error),
        })?;
        Ok(Self { path: path.to_owned(), unwritable, node: OnceLock::new(), lock })
    }

    /// Takes the directory of a process whose place this one takes, with the lock that both hold.
    pub(crate) fn take_over(path: &Path, lock: File) -> Self {
        let node = OnceLock::new();
        Self { path: path.to_owned(), unwritable: Unwritable::IsTold, node, lock: Some(lock) }
    }

    /// The lock, for another process to hold with this one.
    pub(crate) fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref().map(AsFd::as_fd)
    }

    /// Names this process as the one that has the directory, for people and for `laneway upgrade`.
    pub(crate) fn name_holder(&self) {
        let Some(lock) = &self.lock else { return };
        if let Err(error) = write_holder(lock) {
            tell_unwritable(&self.path, &error.into());
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file inside.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The identity of this data plane, the same at every start as far as it can be kept.
    pub(crate) fn node(&self) -> anyhow::Result<String> {
        if let Some(node) = self.node.get() {
            return Ok(node.clone());
        }
        let node = match self.kept_node()? {
            Some(node) => node,
            None => self.new_node()?,
        };
        Ok(self.node.get_or_init(|| node).clone())
    }

    fn kept_node(&self) -> anyhow::Result<Option<String>> {
        let path = self.file("node");
        match fs::read_to_string(&path) {
            // What a crash or a hand has spoilt is no identity.
            Ok(text) => {
                Ok(Some(text.trim().to_owned()).filter(|node| uuid::Uuid::parse_str(node).is_ok()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("data: read `{}`", path.display())),
        }
    }

    fn new_node(&self) -> anyhow::Result<String> {
        let path = self.file("node");
        let node = uuid::Uuid::new_v4().to_string();
        let written = write_atomically(&path, node.as_bytes())
            .with_context(|| format!("data: write `{}`", path.display()));
        match written {
            Err(error) if self.unwritable == Unwritable::IsTold => {
                tell_unwritable(&self.path, &error);
            }
            written => written?,
        }
        Ok(node)
    }
}

fn tell_unwritable(path: &Path, error: &anyhow::Error) {
    tracing::warn!(
        data = %path.display(),
        error = %format_args!("{error:#}"),
        "the data directory cannot be written: nothing is kept for the next start"
    );
}

/// Whether an error comes of a disk that is full or may only be read.
fn is_unwritable(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| {
        let kinds = [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::ReadOnlyFilesystem,
        ];
        kinds.contains(&cause.kind())
    })
}

/// The lock of a directory that cannot be written, where there is one: another process may have it all the same.
fn hold_unwritten(path: &Path) -> anyhow::Result<Option<File>> {
    let Ok(mut lock) = File::open(path.join(LOCK_FILE)) else { return Ok(None) };
    lock_alone(&mut lock, path)?;
    Ok(Some(lock))
}

/// Creates the directory and the lock, and holds it.
fn hold(path: &Path) -> anyhow::Result<Option<File>> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .with_context(|| format!("data: create the directory `{}`", path.display()))?;
    let lock_path = path.join(LOCK_FILE);
    let is_new = !lock_path.exists();
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock_path)
        .with_context(|| format!("data: open `{}`", lock_path.display()))?;
    lock_alone(&mut lock, path)?;
    if is_new && geteuid().is_root() {
        // Root restores the store of a control plane that is another user, which is to take the directory next.
        let owner =
            fs::metadata(path).with_context(|| format!("data: look at `{}`", path.display()))?;
        fchown(&lock, Some(owner.uid()), Some(owner.gid()))
            .with_context(|| format!("data: give `{}` to its user", lock_path.display()))?;
    }
    write_holder(&lock).with_context(|| format!("data: write `{}`", lock_path.display()))?;
    Ok(Some(lock))
}

/// Who holds it, for the message below; the lock itself is the kernel's.
fn write_holder(lock: &File) -> io::Result<()> {
    let holder = format!("{}\n", std::process::id());
    // Processes that share the lock share its position, too; and whoever reads it meanwhile finds a number.
    lock.write_all_at(holder.as_bytes(), 0)?;
    lock.set_len(holder.len() as u64)
}

fn lock_alone(lock: &mut File, path: &Path) -> anyhow::Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
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
            Err(error).with_context(|| format!("data: lock `{}`", path.join(LOCK_FILE).display()))
        }
    }
}

/// The process that holds a directory, where one does. Fails where the one that is named there does not: it has ended, or
/// runs in a container of its own, and the number is, or may be any moment, somebody else's here.
pub(crate) fn holder(path: &Path) -> anyhow::Result<Option<u32>> {
    if !is_held(path) {
        return Ok(None);
    }
    let named = fs::read_to_string(path.join(LOCK_FILE)).unwrap_or_default();
    let named = named.trim();
    let Ok(process) = named.parse() else {
        bail!("data: `{}` is held by a process that is not named there (`{named}`)", path.display())
    };
    if !has_open(process, &path.join(LOCK_FILE)) {
        bail!(
            "data: `{}` is held, but not by process {process}, which is named there: it runs in another container (run this command there), or has ended",
            path.display()
        );
    }
    Ok(Some(process))
}

/// Whether a process has a file open. What this user may not see is believed: nor may it do anything to that process.
fn has_open(process: u32, file: &Path) -> bool {
    let files = match fs::read_dir(format!("/proc/{process}/fd")) {
        Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
        Ok(files) => files.flatten(),
    };
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let wanted = identity(file);
    wanted.is_some() && files.map(|it| identity(&it.path())).any(|open| open == wanted)
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
        let held = DataDirectory::take(&path, Unwritable::IsRefused).unwrap();
        let refused = DataDirectory::take(&path, Unwritable::IsRefused).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("in use by process {}", std::process::id())),
            "{refused}"
        );
        assert!(is_held(&path));
        drop(held);
        assert!(!is_held(&path));
        DataDirectory::take(&path, Unwritable::IsRefused).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn whoever_is_named_as_the_holder_is_believed_only_if_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        assert_eq!(holder(path).unwrap(), None);
        let _held = DataDirectory::take(path, Unwritable::IsRefused).unwrap();
        assert_eq!(holder(path).unwrap(), Some(std::process::id()));
        // One that is there and has nothing to do with it; one that is not.
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for named in [other.id(), u32::MAX / 2] {
            fs::write(path.join(LOCK_FILE), format!("{named}\n")).unwrap();
            let refused = holder(path).unwrap_err().to_string();
            assert!(refused.contains(&format!("but not by process {named}")), "{refused}");
        }
        other.kill().unwrap();
        other.wait().unwrap();
        fs::write(path.join(LOCK_FILE), "half a").unwrap();
        let refused = holder(path).unwrap_err().to_string();
        assert!(refused.contains("not named there (`half a`)"), "{refused}");
    }

    #[test]
    fn a_node_keeps_its_identity() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::take(parent.path(), Unwritable::IsRefused).unwrap();
        let node = directory.node().unwrap();
        assert_eq!(directory.node().unwrap(), node);
        fs::write(directory.file("node"), "half a").unwrap();
        assert_ne!(directory.node().unwrap(), "half a");
    }
}
