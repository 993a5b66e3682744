//! What is seen of the resources directory: events at once, and beneath them a slow look, for what no event tells:
//! another directory under the same path, and file systems of other machines.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::manifest;

/// How often it is looked without an event.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A file that somebody has open and has not written for this long is read as it is: it may stay open for ever.
const WRITING_MOST: Duration = Duration::from_secs(60);

/// Files that somebody has begun to write and not closed, and when they were written last.
type Written = Arc<Mutex<HashMap<PathBuf, Instant>>>;

/// The directory behind a path: device and inode.
type Identity = (u64, u64);

/// Everything that tells one state of the files from another without reading them.
type Looks = Vec<(PathBuf, Identity, u64, i64, i64)>;

/// Watches the directory that a path leads to, whichever that is.
#[derive(Debug)]
pub(super) struct Sight {
    directory: PathBuf,
    changed: mpsc::Sender<()>,
    written: Written,
    watched: Option<(Identity, RecommendedWatcher)>,
    looked: Looks,
    applied: Looks,
}

impl Sight {
    /// Tells `changed` of every event from now on.
    pub(super) fn new(directory: PathBuf, changed: mpsc::Sender<()>) -> Self {
        let written = Written::default();
        let (looked, applied) = (Looks::new(), Looks::new());
        let mut sight = Self { directory, changed, written, watched: None, looked, applied };
        sight.follow();
        sight
    }

    /// The directory that the path leads to now.
    pub(super) fn identity(&self) -> Option<Identity> {
        fs::metadata(&self.directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Whether somebody is writing a file at the moment.
    pub(super) fn is_being_written(&self, file: &Path) -> bool {
        let mut written = self.written.lock();
        written.retain(|_, last| last.elapsed() < WRITING_MOST);
        written.contains_key(file)
    }

    /// What is there is about to be read.
    pub(super) fn reading(&mut self) {
        self.follow();
        self.applied = look(&self.directory);
        self.looked.clone_from(&self.applied);
    }

    /// Looks; whether there is something else than what was read last, and the same as at the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        if self.follow() {
            return true;
        }
        let now = look(&self.directory);
        let is_settled = now == self.looked;
        self.looked = now;
        is_settled && self.looked != self.applied
    }

    /// Watches the directory that is there now; whether it is another than before.
    fn follow(&mut self) -> bool {
        let identity = self.identity();
        if self.watched.as_ref().map(|(watched, _)| *watched) == identity {
            return false;
        }
        self.watched = None;
        self.written.lock().clear();
        let Some(identity) = identity else { return true };
        let (changed, written) = (self.changed.clone(), Arc::clone(&self.written));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| note(&event, &mut written.lock())) {
                let _ = changed.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&self.directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => self.watched = Some((identity, watcher)),
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "the resources directory cannot be watched; it is looked at from time to time");
            }
        }
        true
    }
}

/// Notes who is writing what; whether the event can be a change. Reading a file is none.
fn note(event: &Event, written: &mut HashMap<PathBuf, Instant>) -> bool {
    if event.need_rescan() {
        written.clear();
        return true;
    }
    match event.kind {
        // A rename puts a whole file in place.
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {}
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Modify(ModifyKind::Data(_)) => {
            written.extend(event.paths.iter().map(|path| (path.clone(), Instant::now())));
            return true;
        }
        EventKind::Access(_) => return false,
        _ => return true,
    }
    for path in &event.paths {
        written.remove(path);
    }
    true
}

/// What is there, without reading it.
fn look(directory: &Path) -> Looks {
    let files = manifest::files(directory).unwrap_or_default();
    let look = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok()?;
        let identity = (metadata.dev(), metadata.ino());
        Some((path, identity, metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    files.into_iter().filter_map(look).collect()
}
