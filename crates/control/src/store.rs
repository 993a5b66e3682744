//! Where the control plane's truth is kept: a durable log of changes and its contents at start.
//!
//! The store knows nothing of what objects mean. It keeps them as JSON under kind, namespace and name, and makes
//! a list of changes durable as a whole or not at all. Versions, conflicts and rules live one layer up, in
//! [`crate::ledger`].

use std::{fmt, path::PathBuf, sync::Arc};

use api::{
    resource::{CreationOrder, Key, Object},
    rest::{AuditEntry, Event, Grant},
};
use lanes::Problem;
use serde::{Deserialize, Serialize};

mod promotion;
mod sqlite;

pub use promotion::{BaseBefore, StoredPromotion};
pub use sqlite::{AuditReader, Restored, SqliteStore};

/// Orders all changes of one store. Opaque text (`resourceVersion`) to everyone outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The one after this.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything a store of ours never wrote.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// As the store numbers it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One object as the store keeps it. Its metadata holds what the server owns; it has no status.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredObject {
    /// The object.
    pub object: Arc<Object>,
    /// Its last change; the same as its `resourceVersion`.
    pub revision: Revision,
    /// Its place in the creation order over all kinds, unique.
    pub created: CreationOrder,
    /// What a file said of it last, as written there; none when none ever did. Nobody outside sees it.
    pub said: Option<Arc<str>>,
}

/// One change to make durable.
#[derive(Debug, Clone)]
pub enum Change {
    /// Create or replace.
    Put(Arc<StoredObject>),
    /// Remove.
    Delete {
        /// What.
        key: Key,
        /// The revision of the removal itself.
        revision: Revision,
    },
    /// A sidecar's instance, as its discovery message.
    Register {
        /// The data plane's node.
        node: String,
        /// The encoded `laneway.discovery.v1.Instance`.
        instance: Vec<u8>,
    },
    /// The instance is gone.
    Deregister {
        /// The data plane's node.
        node: String,
    },
    /// A token of an application.
    PutToken(StoredToken),
    /// A token was shown.
    UseToken {
        /// Which. One that is gone stays gone.
        id: String,
        /// When: seconds since 1970.
        used: u64,
    },
    /// A token is good no longer.
    RevokeToken {
        /// Which.
        id: String,
    },
    /// One that signs certificates of data planes, from now on.
    PutAuthority(StoredAuthority),
    /// One that nobody has a certificate of any more.
    RemoveAuthority {
        /// Which.
        fingerprint: String,
    },
    /// Somebody or something that may use the API.
    PutAccount {
        /// As it is now.
        account: Account,
        /// One that is gone stays gone.
        only_there: bool,
    },
    /// It may no longer.
    RemoveAccount(AccountId),
    /// A promotion as it is now, in the place of the one before of its lane.
    PutPromotion(Box<StoredPromotion>),
    /// The promotion of a lane is told no more.
    ForgetPromotion {
        /// The lane's object.
        lane: Key,
    },
    /// Who changed what; what is too old, or too much, goes.
    Audit(Box<AuditEntry>),
    /// Who signed in or out, or was not let in. Counted by user, apart from all changes: whoever does that often makes
    /// nobody forget what was changed, nor what others did.
    AuditSignIn {
        /// The entry.
        entry: Box<AuditEntry>,
        /// Who; none: whoever was not let in.
        user: Option<String>,
    },
    /// Instances of an application asked for names and addresses on a day.
    Depend(Dependencies),
    /// Nobody has for long.
    ForgetDependencies(Dependencies),
    /// What happened, in order; what is too old, or too much, goes.
    Note(Vec<Event>),
    /// A data plane holds what another control plane told it, and this store is empty.
    Doubt,
    /// Distribution may use generation numbers up to this one; a restart begins after it.
    ReserveGenerations {
        /// The last number that may be used.
        ceiling: u64,
    },
}

/// An object that cannot be read: left where it is, not in force, told in status, and kept by whoever holds what it
/// was.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// What it is in the store, for people.
    pub name: String,
    /// What it may be: as the store files it, and as it names itself. Empty when this release knows no such kind.
    pub keys: Vec<Key>,
    /// Of a lane, the group it names, where that can be seen.
    pub group: Option<String>,
    /// Why.
    pub problem: Problem,
}

/// A token of an application. What it is like is not kept: only its hash is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The part of it that is no secret.
    pub id: String,
    /// The namespace of its application's services.
    pub namespace: String,
    /// Which application it lets in.
    pub application: String,
    /// With which tag, empty for base; none for any.
    pub tag: Option<String>,
    /// SHA-256 of the whole token.
    pub hash: Arc<[u8]>,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// When it was last shown, about.
    pub used: Option<u64>,
}

/// One that signs certificates of data planes and of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// SHA-256 of its certificate, as people see it.
    pub fingerprint: String,
    /// X.509 in PEM.
    pub certificate: String,
    /// Its private key, sealed under the key file.
    pub sealed: String,
    /// When it was made: seconds since 1970.
    pub created: u64,
}

/// Somebody or something that may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A user.
    User(StoredUser),
    /// What somebody shows who signed in, or a program.
    Credential(StoredCredential),
}

/// Which account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountId {
    /// By name.
    User(String),
    /// By the part of it that is no secret.
    Credential(String),
}

/// A user. Of the password only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUser {
    /// Which user of this name: what is bound to one that is gone is not good for the next.
    pub id: String,
    /// The name.
    pub name: String,
    /// What he may.
    pub grants: Vec<Grant>,
    /// The password's hash, as PHC has it: function, parameters, salt.
    pub password: String,
    /// Whether the password is a one-time one.
    pub must_change: bool,
    /// Since when that is the password: seconds since 1970.
    pub password_since: u64,
    /// Browsers in which he signed in, the latest last: what each shows of itself, hashed.
    pub devices: Vec<String>,
    /// When he was made.
    pub created: u64,
    /// When he last signed in.
    pub signed_in: Option<u64>,
}

/// A session or a token of the API. Of what is shown only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCredential {
    /// The part of it that is no secret.
    pub id: String,
    /// Whose it is; none: the machine's.
    pub user: Option<String>,
    /// Which user of that name.
    pub user_id: Option<String>,
    /// Of a token, what it is for; none: a session.
    pub name: Option<String>,
    /// Of a session, the host and port it is good for.
    pub authority: Option<String>,
    /// What may be done with it; none: whatever its user may.
    pub grant: Option<Grant>,
    /// SHA-256 of the whole, in hexadecimal.
    pub hash: String,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
    /// When it was last shown, about.
    pub used: Option<u64>,
}

/// What is asked of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// This entry alone.
    pub number: Option<u64>,
    /// Those before this number.
    pub before: Option<u64>,
    /// Those of objects in these namespaces; none: all, also of what is no object.
    pub namespaces: Option<Vec<String>>,
    /// Those about this, in the entry's words.
    pub about: Option<String>,
    /// Those of who signed in and out, and was not let in, too.
    pub with_sign_ins: bool,
    /// Each with its object before and after.
    pub with_objects: bool,
    /// How many at most.
    pub limit: usize,
}

/// What instances of one application asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// The namespace of its services.
    pub namespace: String,
    /// The application.
    pub application: String,
    /// `name/HOST`, `address/IP:PORT`.
    pub asked: Vec<String>,
    /// When for the last time: days of the calendar since 1970.
    pub day: u64,
}

/// Everything a store holds, read once at start.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Objects in creation order.
    pub objects: Vec<StoredObject>,
    /// Objects this release cannot read.
    pub unreadable: Vec<Unreadable>,
    /// Node and encoded instance of every registration.
    pub registrations: Vec<(String, Vec<u8>)>,
    /// Nodes of registrations that are spoilt.
    pub spoilt_registrations: Vec<String>,
    /// Tokens of applications. One that is spoilt is not good.
    pub tokens: Vec<StoredToken>,
    /// Who signs, the oldest first. One that is spoilt signs nothing.
    pub authorities: Vec<StoredAuthority>,
    /// Users, sessions, tokens of the API. One that is spoilt is not good.
    pub accounts: Vec<Account>,
    /// Promotions, those that have ended lately too. One that is spoilt is none.
    pub promotions: Vec<StoredPromotion>,
    /// What applications call.
    pub dependencies: Vec<Dependencies>,
    /// What happened lately, in order.
    pub events: Vec<Event>,
    /// The latest revision, of a removal too.
    pub revision: Revision,
    /// The last place of the creation order that was given out.
    pub created: CreationOrder,
    /// Names this store's history; another store, or one restored from a backup, has another.
    pub epoch: String,
    /// Generation numbers up to this one may have been used.
    pub generation_ceiling: u64,
    /// Whether a data plane came that holds what another control plane told it.
    pub doubted: bool,
}

impl Contents {
    /// Whether nothing was ever applied to it.
    pub(crate) fn is_unused(&self) -> bool {
        self.revision == Revision::default()
    }

    /// Whether no control plane has run on it.
    pub(crate) fn is_new(&self) -> bool {
        self.is_unused() && self.generation_ceiling == 0
    }
}

/// Durable storage. Used by one thread.
pub trait Store: Send + 'static {
    /// Everything it holds.
    fn load(&mut self) -> Result<Contents, StoreError>;

    /// Makes all of `changes` durable, or none. When it returns `Ok` they survive the machine's failure.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Who reads the audit while others write.
    fn audit(&self) -> AuditReader;

    /// Leaves nothing unfinished beside it: what was committed is in one file, which can be copied or replaced, unless an
    /// [`AuditReader`] reads just then.
    fn close(self) -> Result<(), StoreError>
    where
        Self: Sized;
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer release.
    #[error(
        "{path} has format {found}, this release reads formats up to {supported}: start the release that wrote \
         it, or restore a backup made before the upgrade"
    )]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this release reads.
        supported: i64,
    },
    /// A SQLite database, but not one of ours.
    #[error("{path} is a database of another program: name another data directory")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// There is no such file.
    #[error(
        "{path} does not exist: name a backup, or the data directory of a control plane that has run"
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A database without anything in it.
    #[error("{path} holds no store: name a backup, or the data directory of a control plane")]
    Empty {
        /// The database.
        path: PathBuf,
    },
    /// SQLite finds that it does not fit together.
    #[error("{path} is damaged ({found}): take another backup")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found first.
        found: String,
    },
    /// A file beside the database.
    #[error("{doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The backup would overwrite something.
    #[error("{path} exists: name a file that does not")]
    BackupExists {
        /// The file.
        path: PathBuf,
    },
    /// SQLite says no: disk full, no permission, damaged.
    #[error("{doing} {path}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
}
