//! Every stored object as it is now, and the one thread that changes them.
//!
//! A [`Transaction`] is evaluated against the current objects as a whole: preconditions, validation of the set
//! that would result, protection of what others need. Only what passes is made durable, and only what is durable
//! is shown, distributed and answered. Transactions that arrive together share one fsync.
//!
//! Readers never wait for the writer's disk: they read the [`View`] that the last commit left.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::{
    resource::{Key, Object, Set},
    rest::{Action, Applied, AuditEntry},
    validate::{Finding, Reported},
};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    audit::Authorship,
    keyring::Keyring,
    manifest::Manifest,
    objects::{ObjectChange, Objects},
    store::{AuditQuery, AuditReader, Change, Revision, Store, StoreError, StoredObject},
};

mod draft;
mod removals;
mod view;
mod writer;

pub(crate) use view::{Gone, View};

/// Requests that may wait for the writer. A commit takes a few milliseconds, so this is under a second of
/// waiting; beyond it writers wait in their own connections.
const WAITING_MAX: usize = 256;

/// What an edit asks of the object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: create or replace.
    None,
    /// There is none.
    Absent,
    /// There is one.
    Present,
}

/// One change of one object. `resourceVersion` in the new object, where given, must be the current one.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Create or replace.
    Put {
        /// The object as wanted.
        object: Box<Object>,
        /// What must be there.
        precondition: Precondition,
    },
    /// Make it what a file says: what no file ever named stays as it is.
    Apply {
        /// What the file says.
        manifest: Box<Manifest>,
        /// Do nothing where it says what was said last: whoever changed the object since keeps the say.
        only_news: bool,
    },
    /// Change some fields (RFC 7396).
    Patch {
        /// Which object.
        key: Key,
        /// The changes.
        patch: serde_json::Value,
    },
    /// Remove.
    Delete {
        /// Which object.
        key: Key,
        /// Its revision, if that matters.
        revision: Option<String>,
        /// What must be there; with [`Precondition::None`] an object that is gone already is no mistake.
        precondition: Precondition,
    },
}

impl Edit {
    /// Which object it is of.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Put { object, .. } => object.key(),
            Self::Apply { manifest, .. } => manifest.key(),
            Self::Patch { key, .. } | Self::Delete { key, .. } => key.clone(),
        }
    }
}

/// Edits that happen together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// In order.
    pub edits: Vec<Edit>,
    /// Say what would happen, and do nothing.
    pub dry_run: bool,
    /// Who wants it.
    pub by: Authorship,
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The state after it.
    pub revision: Revision,
    /// What became of each edited object, in order.
    pub applied: Vec<Applied>,
    /// The objects as they are now, in the same order; deleted ones are not in it.
    pub objects: Vec<Arc<StoredObject>>,
    /// What is doubtful with the edited objects.
    pub warnings: Vec<Finding>,
}

impl Done {
    /// Whether nothing had to change.
    pub fn is_unchanged(&self) -> bool {
        self.applied.iter().all(|applied| applied.action == Action::Unchanged)
    }
}

/// Why a transaction was not done. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Rejection {
    /// The object does not exist.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// The object exists.
    #[error("{0} exists already")]
    Exists(Key),
    /// Somebody changed the object meanwhile.
    #[error("{key} changed meanwhile: its resourceVersion is {current}, not `{given}`")]
    Conflict {
        /// Which.
        key: Key,
        /// What the edit named.
        given: String,
        /// What it is.
        current: String,
    },
    /// The set that would result is wrong.
    #[error("the objects are not valid")]
    Invalid(Vec<Finding>),
    /// The store cannot write.
    #[error("the store cannot write: {0}")]
    Storage(String),
    /// The control plane is stopping.
    #[error("the control plane is stopping")]
    Stopping,
}

/// What the writer does with committed changes, before it answers. Called on its thread, in order.
pub(crate) type OnCommit = Box<dyn FnMut(Commit<'_>) + Send>;

/// What was committed.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'c> {
    /// Every change of an object, in order.
    pub changes: &'c [ObjectChange],
    /// The objects after them.
    pub objects: &'c Arc<Objects>,
    /// What is wrong or doubtful with these.
    pub findings: &'c Arc<Vec<Finding>>,
}

/// More to check than `api::validate` can see: errors and doubts of a transaction's changes and the set they lead to.
/// Called on the writer's thread.
pub(crate) type Check = Box<dyn FnMut(&[ObjectChange], &Set) -> Vec<Finding> + Send>;

/// What entrances tell of themselves by now. Called on the writer's thread.
pub(crate) type Reports = Box<dyn FnMut() -> Arc<Reported> + Send>;

/// What the writer needs to know.
pub struct Rules {
    /// The objects to begin with.
    pub objects: Arc<Objects>,
    /// Seals private keys.
    pub keyring: Arc<Keyring>,
    /// Checks beyond `api::validate`.
    pub check: Check,
    /// What entrances tell of themselves.
    pub reported: Reports,
    /// Called with what was committed.
    pub on_commit: OnCommit,
}

enum Request {
    Transact(Transaction, SystemTime, oneshot::Sender<Result<Done, Rejection>>),
    Journal(Vec<Change>, oneshot::Sender<Result<(), Rejection>>),
    Review(oneshot::Sender<()>),
    Stop(oneshot::Sender<Result<(), StoreError>>),
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("objects", &self.objects).finish_non_exhaustive()
    }
}

/// How long whoever asks how things stand waits for the writer: what it last found is told all the same.
const REVIEW_WAIT: Duration = Duration::from_secs(1);

/// Readings of the audit at a time: each may take a thread and some megabytes of the disk.
const READINGS_MAX: u32 = 2;

/// A handle to the writer and its view.
#[derive(Debug)]
pub struct Ledger {
    requests: mpsc::Sender<Request>,
    audit: AuditReader,
    readings: Arc<Semaphore>,
    view: Arc<RwLock<View>>,
    revision: watch::Receiver<Revision>,
}

impl Ledger {
    /// Starts the writer's thread on what `contents` says the store holds.
    pub fn start(
        store: impl Store,
        contents: &crate::store::Contents,
        rules: Rules,
    ) -> std::io::Result<Self> {
        let view = Arc::new(RwLock::new(View::new(Arc::clone(&rules.objects), contents.revision)));
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let (announce, revision) = watch::channel(contents.revision);
        let audit = store.audit();
        let writer = writer::Writer::new(store, contents, Arc::clone(&view), announce, rules);
        std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(waiting))?;
        let readings = Arc::new(Semaphore::new(READINGS_MAX as usize));
        Ok(Self { requests, audit, readings, view, revision })
    }

    /// The objects as the last commit left them. Held briefly, never across an await.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read()
    }

    /// Tells of every commit.
    pub(crate) fn revision(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }

    /// Does a transaction, or says why not.
    pub async fn transact(
        &self,
        transaction: Transaction,
        now: SystemTime,
    ) -> Result<Done, Rejection> {
        self.ask(|reply| Request::Transact(transaction, now, reply)).await?
    }

    /// Makes a registration or a reservation durable.
    pub(crate) async fn journal(&self, change: Change) -> Result<(), Rejection> {
        self.journal_all(vec![change]).await
    }

    /// Makes what belongs together durable, all of it or nothing.
    pub(crate) async fn journal_all(&self, changes: Vec<Change>) -> Result<(), Rejection> {
        self.ask(|reply| Request::Journal(changes, reply)).await?
    }

    /// Entries of the audit, the latest first: of all that was answered before. Waits for no writer.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, Rejection> {
        let reading = Arc::clone(&self.readings).acquire_owned().await;
        let reading = reading.map_err(|_| Rejection::Stopping)?;
        let audit = self.audit.clone();
        // Held until it is done, also when nobody waits for it any more.
        let read = move || {
            let read = audit.read(&query);
            drop(reading);
            read
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| Rejection::Stopping)?;
        read.map_err(|error| Rejection::Storage(error.to_string()))
    }

    /// Has the view tell what is wrong or doubtful by what entrances tell of themselves now. A store that hangs is not
    /// waited for longer than [`REVIEW_WAIT`].
    pub(crate) async fn review(&self) {
        let _ = tokio::time::timeout(REVIEW_WAIT, self.ask(Request::Review)).await;
    }

    /// Ends the writer when it has done what it was asked before, and closes the store.
    pub(crate) async fn stop(&self) -> Result<Result<(), StoreError>, Rejection> {
        // Whoever reads has the store open, too. One that hangs is not waited for: the next start tidies up after it.
        let none_reads = self.readings.acquire_many(READINGS_MAX);
        let _none_reads = tokio::time::timeout(REVIEW_WAIT, none_reads).await;
        self.readings.close();
        self.ask(Request::Stop).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Rejection::Stopping)?;
        answer.await.map_err(|_| Rejection::Stopping)
    }
}
