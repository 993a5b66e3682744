//! The resources directory: what is in its files is what the control plane has, and what leaves them is deleted.
//!
//! All files are one transaction, so that a lane in one may name a group in another. A file that cannot be read,
//! or whose objects are refused, is left out with its mistakes logged; its objects stay as they were, and the
//! other files count. Objects that came by other ways are not touched.
//!
//! Nothing is deleted because of how the directory looks for a moment: a file that somebody is writing, or has emptied,
//! one that has just gone, a directory that is not there, or is another one without files ([`sight`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::{
    read::{self, Found, Place, ReadError},
    resource::{Key, written_twice},
    rest::{AuthorKind, FieldChange},
    validate::Finding,
};
use control::{Authorship, Done, Edit, Manifest, Precondition, Rejection, Transaction};
use discovery::snapshot::write_atomically;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use self::sight::{LOOK_EVERY, Sight};
use crate::manifest;

mod sight;

/// How long a directory must be quiet before it is read: editors and `git checkout` write several files.
const QUIET: Duration = Duration::from_millis(200);

/// The longest that a directory that is never quiet is left unread.
const UNREAD_MOST: Duration = Duration::from_secs(2);

/// How long a file must be gone to be believed gone: programs that replace files may delete them first.
const GONE_AFTER: Duration = Duration::from_millis(1500);

/// The file in the data directory that remembers which objects came from which file.
pub(crate) const OWNED_FILE: &str = "resources.json";

/// Which objects came from which file.
type Owned = BTreeMap<String, Vec<Key>>;

/// Files of which something else counts than what they say, each with the reason.
type Kept = BTreeMap<String, String>;

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
    ) -> Self {
        // One message is enough to say that something has changed.
        let (again, changed) = mpsc::channel(1);
        let sight = Sight::new(directory.clone(), again.clone());
        let mut syncer = Syncer {
            control,
            directory,
            owned_file,
            sight,
            applied_from: None,
            gone_since: BTreeMap::new(),
        };
        syncer.sync().await;
        let task = tokio::spawn(syncer.run(changed));
        Self { again, task }
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
    sight: Sight,
    /// The directory that was there when files were read last.
    applied_from: Option<(u64, u64)>,
    /// Files that are not there any more, and since when.
    gone_since: BTreeMap<String, Instant>,
}

impl Syncer {
    async fn run(mut self, mut changed: mpsc::Receiver<()>) {
        loop {
            tokio::select! {
                more = changed.recv() => {
                    if more.is_none() { return }
                    wait_until_quiet(&mut changed).await;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if !self.sight.has_changed() && self.gone_since.is_empty() { continue }
                }
            }
            self.sync().await;
        }
    }

    /// Files of which something else counts than what they say at the moment, each with the reason.
    fn kept(&mut self, files: &[ReadFile], owned: &Owned) -> Kept {
        let mut kept = BTreeMap::new();
        for file in files {
            if self.sight.is_being_written(Path::new(&file.name)) {
                let reason = "somebody is writing it: it counts when it is closed";
                kept.insert(file.name.clone(), reason.to_owned());
            } else if !file.errors.is_empty() {
                let reason = format!("it cannot be read as it is: {}", file.errors[0]);
                kept.insert(file.name.clone(), reason);
            } else if file.found.is_empty() && owned.contains_key(&file.name) {
                let reason = "it is empty: delete it to have its objects deleted";
                kept.insert(file.name.clone(), reason.to_owned());
            }
        }
        let there: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let gone = owned.keys().filter(|name| !there.contains(name.as_str()));
        let another = self.sight.identity() != self.applied_from && self.applied_from.is_some();
        let mut gone_since = BTreeMap::new();
        for name in gone {
            let since = self.gone_since.get(name).copied().unwrap_or_else(Instant::now);
            if files.is_empty() && another {
                // A file system that was unmounted leaves an empty directory.
                kept.insert(name.clone(), "the directory is another one, and empty".to_owned());
            } else if since.elapsed() < GONE_AFTER {
                kept.insert(name.clone(), "it has just gone".to_owned());
                gone_since.insert(name.clone(), since);
            }
        }
        self.gone_since = gone_since;
        kept
    }

    /// Says of which files something else counts than what they say.
    fn say(&self, kept: &Kept) {
        let just_gone = |name: &String| self.gone_since.contains_key(name);
        let kept = kept.iter().filter(|(name, _)| !just_gone(name));
        let problem = |(name, reason): (&String, &String)| {
            tracing::warn!(
                file = name,
                reason,
                "the objects of a file of resources stay as they were"
            );
            (
                name.clone(),
                lanes::Problem::new("", "", format!("{reason}; its objects stay as they were")),
            )
        };
        self.control.files_stand(kept.map(problem).collect());
    }

    async fn sync(&mut self) {
        self.sight.reading();
        let shown = self.directory.display().to_string();
        let files: Vec<_> = match manifest::files(&self.directory) {
            Ok(_) if self.sight.identity().is_none() => {
                tracing::error!(
                    directory = shown,
                    "the resources directory is not there; its objects stay"
                );
                return;
            }
            Ok(paths) => paths.iter().map(|path| read_file(path)).collect(),
            Err(error) => {
                tracing::error!(directory = shown, %error, "the resources directory cannot be read; its objects stay");
                return;
            }
        };
        let owned = read_owned(&self.owned_file);
        let mut kept = self.kept(&files, &owned);
        for error in
            files.iter().filter(|file| kept.contains_key(&file.name)).flat_map(|file| &file.errors)
        {
            tracing::error!("{error}");
        }
        if !(files.is_empty() && kept.len() == owned.len()) {
            self.applied_from = self.sight.identity();
        }
        self.apply(&files, &owned, &mut kept).await;
        self.say(&kept);
    }

    /// Does what the files say, but for those that are kept as they were; these are more in the end.
    async fn apply(&self, files: &[ReadFile], owned: &Owned, kept: &mut Kept) {
        let shown = self.directory.display();
        for (name, reason) in said_twice(files) {
            kept.entry(name).or_insert(reason);
        }
        loop {
            let changes = Changes::new(files, owned, &kept.keys().cloned().collect());
            if changes.edits.is_empty() {
                return;
            }
            let by = Authorship::of(AuthorKind::File, shown.to_string());
            let transaction = Transaction { edits: changes.edits, dry_run: false, by };
            match self.control.transact(transaction).await {
                Ok(done) => {
                    for warning in &done.warnings {
                        tracing::warn!("{}", in_file(files, warning));
                    }
                    for (object, change) in taken_back(&done) {
                        tracing::warn!(%object, %change, "a file says what somebody had changed by other ways: the file counts");
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
                    let before = kept.len();
                    for finding in &findings {
                        let told = in_file(files, finding);
                        tracing::error!("{told}");
                        for name in blamed(files, owned, finding) {
                            kept.entry(name)
                                .or_insert_with(|| format!("what it says is refused: {told}"));
                        }
                    }
                    // Nobody of this directory is to blame, or all are left out already.
                    if kept.len() == before {
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

/// What of the files counts instead of what somebody had changed by other ways.
fn taken_back(done: &Done) -> impl Iterator<Item = (&Key, &FieldChange)> {
    let all =
        done.applied.iter().flat_map(|it| it.changes.iter().map(|change| (&it.object, change)));
    all.filter(|(_, change)| change.taken_back)
}

/// Waits for the end of a burst of events.
async fn wait_until_quiet(changed: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + UNREAD_MOST;
    while Instant::now() < latest
        && tokio::time::timeout(QUIET, changed.recv()).await.is_ok_and(|more| more.is_some())
    {}
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
                keys.push(found.object.key());
                // What was read once can be read again.
                let Ok(manifest) = Manifest::read(found.written()) else { continue };
                edits.push(Edit::Apply { manifest: Box::new(manifest), only_news: true });
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
fn said_twice(files: &[ReadFile]) -> Kept {
    let mut left_out = Kept::new();
    let all: Vec<(&ReadFile, &Found)> =
        files.iter().flat_map(|file| file.found.iter().map(move |found| (file, found))).collect();
    for (first, again) in written_twice(all.iter().map(|(_, found)| found.object.key())) {
        let ((earlier, _), (file, found)) = (all[first], all[again]);
        if earlier.name != file.name {
            let key = found.object.key();
            let told = format!("{}: {key} is in {} already", found.place, earlier.name);
            tracing::error!("{told}; the objects of {} stay as they were", file.name);
            left_out.entry(file.name.clone()).or_insert(told);
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
