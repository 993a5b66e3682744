//! The resources directory: what is in its files is what the control plane has, and what leaves them is deleted.
//!
//! All files are one transaction, so that a lane in one may name a group in another. A file that cannot be read,
//! or whose objects are refused, is left out with its mistakes logged; its objects stay as they were, and the
//! other files count. Objects that came by other ways are not touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use api::{
    read::{self, Found, Place, ReadError},
    resource::Key,
    validate::Finding,
};
use control::{Edit, Precondition, Rejection, Transaction};
use discovery::snapshot::write_atomically;
use notify::{RecursiveMode, Watcher};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::manifest;

/// How long a directory must be quiet before it is read: editors and `git checkout` write several files.
const QUIET: Duration = Duration::from_millis(200);

/// The longest that a directory that is never quiet is left unread.
const UNREAD_MOST: Duration = Duration::from_secs(2);

/// The file in the data directory that remembers which objects came from which file.
pub(crate) const OWNED_FILE: &str = "resources.json";

/// Which objects came from which file.
type Owned = BTreeMap<String, Vec<Key>>;

/// Follows a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct ResourcesDirectory {
    again: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl ResourcesDirectory {
    /// Applies the directory once, and then whenever it changes. Mistakes in files are logged, not returned.
    pub(crate) async fn follow(
        control: Arc<control::Control>,
        directory: PathBuf,
        owned_file: PathBuf,
    ) -> anyhow::Result<Self> {
        // One message is enough to say that something has changed.
        let (again, mut changed) = mpsc::channel(1);
        let of_watcher = again.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading the files is no change of them.
                if event.is_ok_and(|event| !event.kind.is_access()) {
                    let _ = of_watcher.try_send(());
                }
            })
            .context("resources: watch directories")?;
        watcher
            .watch(&directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("resources: watch `{}`", directory.display()))?;
        let syncer = Syncer { control, directory, owned_file };
        syncer.sync().await;
        let task = tokio::spawn(async move {
            // Watches as long as it lives.
            let _watcher = watcher;
            while changed.recv().await.is_some() {
                let latest = Instant::now() + UNREAD_MOST;
                while Instant::now() < latest
                    && tokio::time::timeout(QUIET, changed.recv())
                        .await
                        .is_ok_and(|more| more.is_some())
                {}
                syncer.sync().await;
            }
        });
        Ok(Self { again, task })
    }

    /// Reads the directory again although nothing is known to have changed (SIGHUP).
    pub(crate) fn read_again(&self) {
        let _ = self.again.try_send(());
    }
}

impl Drop for ResourcesDirectory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Syncer {
    control: Arc<control::Control>,
    directory: PathBuf,
    owned_file: PathBuf,
}

impl Syncer {
    async fn sync(&self) {
        let shown = self.directory.display();
        let files: Vec<_> = match manifest::files(&self.directory) {
            Ok(paths) => paths.iter().map(|path| read_file(path)).collect(),
            Err(error) => {
                tracing::error!(directory = %shown, %error, "the resources directory cannot be read; its objects stay");
                return;
            }
        };
        for file in &files {
            for error in &file.errors {
                tracing::error!("{error}; the objects of {} stay as they were", file.name);
            }
        }
        let owned = read_owned(&self.owned_file);
        let mut left_out = said_twice(&files);
        loop {
            let changes = Changes::new(&files, &owned, &left_out);
            if changes.edits.is_empty() {
                return;
            }
            let transaction = Transaction { edits: changes.edits, dry_run: false };
            match self.control.transact(transaction).await {
                Ok(done) => {
                    for warning in &done.warnings {
                        tracing::warn!("{}", in_file(&files, warning));
                    }
                    if let Err(error) = write_owned(&self.owned_file, &changes.owned) {
                        tracing::error!(file = %self.owned_file.display(), %error, "cannot remember which objects came from the resources directory");
                    }
                    if !done.is_unchanged() {
                        tracing::info!(directory = %shown, "resources applied");
                    }
                    return;
                }
                Err(Rejection::Invalid(findings)) => {
                    let before = left_out.len();
                    for finding in &findings {
                        tracing::error!("{}", in_file(&files, finding));
                        left_out.extend(blamed(&files, &owned, finding));
                    }
                    // Nobody of this directory is to blame, or all are left out already.
                    if left_out.len() == before {
                        tracing::error!(directory = %shown, "the resources are refused; what was applied before stays");
                        return;
                    }
                }
                Err(rejection) => {
                    tracing::error!(directory = %shown, error = %rejection, "the resources cannot be applied; what was applied before stays");
                    return;
                }
            }
        }
    }
}

/// One file as read.
#[derive(Debug)]
struct ReadFile {
    name: String,
    found: Vec<Found>,
    errors: Vec<ReadError>,
}

/// What is to be done, and what will then have come from where.
struct Changes {
    edits: Vec<Edit>,
    owned: Owned,
}

impl Changes {
    /// A file that is left out, or has errors, keeps what it owned.
    fn new(files: &[ReadFile], owned: &Owned, left_out: &BTreeSet<String>) -> Self {
        let mut edits = Vec::new();
        let mut next = Owned::new();
        for file in files {
            if !file.errors.is_empty() || left_out.contains(&file.name) {
                if let Some(keys) = owned.get(&file.name) {
                    next.insert(file.name.clone(), keys.clone());
                }
                continue;
            }
            let keys = next.entry(file.name.clone()).or_default();
            for found in &file.found {
                let object = Box::new(found.object.clone());
                keys.push(object.key());
                edits.push(Edit::Put { object, precondition: Precondition::None });
            }
        }
        // A file that is gone may have been left out for not letting go of its objects.
        for (name, keys) in owned.iter().filter(|(name, _)| left_out.contains(*name)) {
            next.entry(name.clone()).or_insert_with(|| keys.clone());
        }
        let kept: BTreeSet<_> = next.values().flatten().collect();
        let gone: BTreeSet<_> =
            owned.values().flatten().filter(|key| !kept.contains(key)).collect();
        // Somebody may have deleted it by other ways already.
        edits.extend(gone.into_iter().map(|key| Edit::Delete {
            key: key.clone(),
            revision: None,
            precondition: Precondition::None,
        }));
        Self { edits, owned: next }
    }
}

/// Files that say what an earlier file says already: the first counts.
fn said_twice(files: &[ReadFile]) -> BTreeSet<String> {
    let mut first: BTreeMap<Key, &ReadFile> = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for file in files {
        for found in &file.found {
            let key = found.object.key();
            let earlier = *first.entry(key.clone()).or_insert(file);
            if earlier.name != file.name {
                tracing::error!(
                    "{}: {key} is in {} already; the objects of {} stay as they were",
                    found.place,
                    earlier.name,
                    file.name
                );
                left_out.insert(file.name.clone());
            }
        }
    }
    left_out
}

/// The files that a finding is about: the one that says its object now, or the one that no longer does.
fn blamed(files: &[ReadFile], owned: &Owned, finding: &Finding) -> Vec<String> {
    let key = &finding.object;
    let says = |file: &&ReadFile| file.found.iter().any(|found| found.object.key() == *key);
    let now: Vec<_> = files.iter().filter(says).map(|file| file.name.clone()).collect();
    if !now.is_empty() {
        return now;
    }
    let owns = |(_, keys): &(&String, &Vec<Key>)| keys.contains(key);
    owned.iter().filter(owns).map(|(name, _)| name.clone()).collect()
}

/// A finding with the place in its file, where it has one.
fn in_file(files: &[ReadFile], finding: &Finding) -> String {
    let mut all = files.iter().flat_map(|file| &file.found);
    let shown = api::rest::Finding::from(finding.clone());
    match all.find(|found| found.object.key() == finding.object) {
        Some(found) => format!("{}: {shown}", found.place_of(&finding.problem.field)),
        None => shown.to_string(),
    }
}

fn read_file(path: &Path) -> ReadFile {
    let name = path.display().to_string();
    let (found, errors) = match manifest::read_file(path) {
        Ok(text) => read::text(&name, &text),
        Err(error) => {
            let place = Place { file: name.clone(), document: 0, line: 0 };
            let problem = lanes::Problem::new("", "", format!("cannot be read: {error:#}"));
            (Vec::new(), vec![ReadError { place, problem }])
        }
    };
    ReadFile { name, found, errors }
}

/// What is not readable is not known: then nothing is deleted that was not applied since.
fn read_owned(path: &Path) -> Owned {
    match fs::read(path) {
        Ok(content) => serde_json::from_slice(&content).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "it is not known any more which objects came from the resources directory; none is deleted");
            Owned::new()
        }),
        Err(_) => Owned::new(),
    }
}

fn write_owned(path: &Path, owned: &Owned) -> io::Result<()> {
    write_atomically(path, &serde_json::to_vec(owned)?)
}

#[cfg(test)]
mod tests;
