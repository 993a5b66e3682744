//! The store on SQLite: write-ahead log, `synchronous=FULL`, format in `user_version`.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use api::resource::CreationOrder;

mod accounts;
mod audit;
mod authorities;
mod copies;
mod events;
mod promotions;
mod rows;
mod tokens;

pub use audit::AuditReader;
pub use copies::Restored;

use super::{Change, Contents, Revision, Store, StoreError};

/// Marks the file as ours (`PRAGMA application_id`): "LANE" in ASCII.
const APPLICATION_ID: i64 = 0x4C41_4E45;

/// One script per format, each lifting the format before it. Never edited once released: a database somewhere
/// has run it.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE objects (
        kind      TEXT    NOT NULL,
        namespace TEXT    NOT NULL,
        name      TEXT    NOT NULL,
        revision  INTEGER NOT NULL,
        created   INTEGER NOT NULL UNIQUE,
        body      TEXT    NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) STRICT;
    CREATE TABLE registrations (
        node     TEXT NOT NULL PRIMARY KEY,
        instance BLOB NOT NULL
    ) STRICT;
    CREATE TABLE counters (
        name  TEXT    NOT NULL PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE texts (
        name  TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
",
    "
    -- What a file said of the object last.
    ALTER TABLE objects ADD COLUMN said TEXT;
",
    "
    -- CRC-32 of the row; NULL in rows of before.
    ALTER TABLE objects ADD COLUMN checksum INTEGER;
    ALTER TABLE registrations ADD COLUMN checksum INTEGER;
",
    "
    CREATE TABLE dependencies (
        namespace   TEXT    NOT NULL,
        application TEXT    NOT NULL,
        asked       TEXT    NOT NULL,
        day         INTEGER NOT NULL,
        PRIMARY KEY (namespace, application, asked)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE tokens (
        id          TEXT    NOT NULL PRIMARY KEY,
        namespace   TEXT    NOT NULL,
        application TEXT    NOT NULL,
        -- NULL: any; empty: base.
        tag         TEXT,
        hash        BLOB    NOT NULL,
        created     INTEGER NOT NULL,
        -- Not under the checksum: a hint for people.
        used        INTEGER,
        checksum    INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE events (
        number   INTEGER NOT NULL PRIMARY KEY,
        time     TEXT    NOT NULL,
        event    TEXT    NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
",
    // The release before does not know that a Backend of `https` or `h2` is asked in TLS alone, and would have gateways ask it
    // in the clear: it must not open what may hold one.
    "",
    "
    CREATE TABLE accounts (
        -- user, credential
        kind     TEXT    NOT NULL,
        id       TEXT    NOT NULL,
        body     TEXT    NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT;
    CREATE TABLE audit (
        number    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        -- NULL: of no object.
        namespace TEXT,
        about     TEXT    NOT NULL,
        bytes     INTEGER NOT NULL,
        checksum  INTEGER NOT NULL,
        entry     TEXT    NOT NULL
    ) STRICT;
",
    // The release before cannot read a lane that says whether it is paused either.
    "
    CREATE TABLE promotions (
        -- Of the lane's object.
        namespace TEXT    NOT NULL,
        name      TEXT    NOT NULL,
        body      TEXT    NOT NULL,
        checksum  INTEGER NOT NULL,
        PRIMARY KEY (namespace, name)
    ) STRICT;
",
    "
    CREATE TABLE authorities (
        fingerprint TEXT    NOT NULL PRIMARY KEY,
        certificate TEXT    NOT NULL,
        -- The private key.
        sealed      TEXT    NOT NULL,
        created     INTEGER NOT NULL,
        checksum    INTEGER NOT NULL
    ) STRICT;
",
];

/// Rows of `counters`: the last number given out, or reserved, of each kind.
const REVISION: &str = "revision";
const CREATED: &str = "created";
const GENERATION_CEILING: &str = "generation_ceiling";

/// 1 when a data plane came that holds what another control plane told it.
const DOUBTED: &str = "doubted";

/// Every commit is on the disk before it counts.
const FLUSHED: &str = "FULL";

/// Row of `texts`; absent in a fresh database and in a backup.
const EPOCH: &str = "epoch";

/// The store of `laneway serve` and `laneway control`. The data directory's lock is the binary's.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens or creates the database and lifts it to the current format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(failed("open", path))?;
        let mut store = Self { connection, path: path.to_owned() };
        store.refuse_what_is_not_ours()?;
        store.configure().map_err(failed("configure", path))?;
        store.migrate().map_err(failed("lift the format of", path))?;
        store.name_epoch().map_err(failed("name the epoch of", path))?;
        Ok(store)
    }

    /// Opens an existing database and changes nothing in it, its format neither: to copy it, also while a control
    /// plane has it open.
    pub fn open_as_it_is(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent { path: path.to_owned() });
        }
        // Reading what is in the write-ahead log takes the right to write beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed("open", path))?;
        let store = Self { connection, path: path.to_owned() };
        match store.refuse_what_is_not_ours()? {
            0 => Err(StoreError::Empty { path: path.to_owned() }),
            _ => Ok(store),
        }
    }

    /// Answers with the format; 0 is that of a database that is new.
    fn refuse_what_is_not_ours(&self) -> Result<i64, StoreError> {
        let pragma = |name| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(failed("read the format of", &self.path))
        };
        let (application, format) = (pragma("application_id")?, pragma("user_version")?);
        let supported = MIGRATIONS.len() as i64;
        let tables: i64 = self
            .connection
            .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
            .map_err(failed("read the format of", &self.path))?;
        if application != APPLICATION_ID && (application != 0 || format != 0 || tables != 0) {
            return Err(StoreError::Foreign { path: self.path.clone() });
        }
        if format > supported {
            return Err(StoreError::NewerFormat {
                path: self.path.clone(),
                found: format,
                supported,
            });
        }
        Ok(format)
    }

    fn configure(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.flush_commits(FLUSHED)
    }

    fn migrate(&mut self) -> rusqlite::Result<()> {
        let format: i64 =
            self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for (index, script) in MIGRATIONS.iter().enumerate().skip(format as usize) {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(script)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", index as i64 + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn name_epoch(&self) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT OR IGNORE INTO texts (name, value) VALUES (?1, ?2)",
                params![EPOCH, uuid::Uuid::new_v4().to_string()],
            )
            .map(drop)
    }

    fn counter(&self, name: &str) -> rusqlite::Result<u64> {
        let value: Option<i64> = self
            .connection
            .query_row("SELECT value FROM counters WHERE name = ?1", [name], |row| row.get(0))
            .optional()?;
        Ok(value.unwrap_or(0) as u64)
    }

    fn read_objects(&self, contents: &mut Contents) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(rows::SELECT_OBJECTS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match rows::object(row)? {
                Ok(object) => contents.objects.push(object),
                Err(unreadable) => contents.unreadable.push(unreadable),
            }
        }
        Ok(())
    }

    fn read_registrations(&self, contents: &mut Contents) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(rows::SELECT_REGISTRATIONS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match rows::registration(row)? {
                Ok(registration) => contents.registrations.push(registration),
                Err(node) => contents.spoilt_registrations.push(node),
            }
        }
        Ok(())
    }

    fn epoch(&self) -> rusqlite::Result<String> {
        self.connection
            .query_row("SELECT value FROM texts WHERE name = ?1", [EPOCH], |row| row.get(0))
    }

    /// What is said of writes alone is not waited for: it is with the kernel when this returns, which survives the end of
    /// the process, and on the disk with the next write.
    fn write(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        if changes.iter().any(|change| !matches!(change, Change::Note(_))) {
            return self.write_all(changes);
        }
        self.flush_commits("NORMAL")?;
        let written = self.write_all(changes);
        self.flush_commits(FLUSHED)?;
        written
    }

    fn flush_commits(&self, how: &str) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", how)
    }

    fn write_all(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for change in changes {
            write_change(&transaction, change)?;
        }
        transaction.commit()
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        let read = || -> rusqlite::Result<Contents> {
            let mut contents = Contents {
                revision: Revision(self.counter(REVISION)?),
                created: CreationOrder(self.counter(CREATED)?),
                epoch: self.epoch()?,
                generation_ceiling: self.counter(GENERATION_CEILING)?,
                doubted: self.counter(DOUBTED)? > 0,
                ..Contents::default()
            };
            self.read_objects(&mut contents)?;
            self.read_registrations(&mut contents)?;
            contents.tokens = tokens::read(&self.connection)?;
            contents.authorities = authorities::read(&self.connection)?;
            contents.accounts = accounts::read(&self.connection)?;
            contents.promotions = promotions::read(&self.connection)?;
            contents.dependencies = rows::dependencies(&self.connection)?;
            contents.events = events::read(&self.connection)?;
            Ok(contents)
        };
        read().map_err(failed("read", &self.path))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(changes).map_err(failed("write", &path))
    }

    fn audit(&self) -> AuditReader {
        AuditReader::of(self.path.clone())
    }

    fn close(self) -> Result<(), StoreError> {
        let Self { connection, path } = self;
        // The last to close takes the log into the database and removes it.
        connection.close().map_err(|(_, error)| failed("close", &path)(error))
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Database { doing, path, source }
}

fn write_change(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Put(object) => {
            rows::put(transaction, object)?;
            raise(transaction, REVISION, object.revision.number())?;
            raise(transaction, CREATED, object.created.0)
        }
        Change::Delete { key, revision } => {
            transaction
                .prepare_cached(
                    "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
                )?
                .execute(params![key.kind.name(), key.namespace, key.name])?;
            raise(transaction, REVISION, revision.number())
        }
        Change::Register { node, instance } => rows::register(transaction, node, instance),
        Change::Deregister { node } => transaction
            .prepare_cached("DELETE FROM registrations WHERE node = ?1")?
            .execute([node])
            .map(drop),
        Change::PutToken(token) => tokens::put(transaction, token),
        Change::UseToken { id, used } => tokens::note_use(transaction, id, *used),
        Change::RevokeToken { id } => tokens::revoke(transaction, id),
        Change::PutAuthority(authority) => authorities::put(transaction, authority),
        Change::RemoveAuthority { fingerprint } => authorities::remove(transaction, fingerprint),
        Change::PutAccount { account, only_there } => {
            accounts::put(transaction, account, *only_there)
        }
        Change::RemoveAccount(id) => accounts::remove(transaction, id),
        Change::PutPromotion(promotion) => promotions::put(transaction, promotion),
        Change::ForgetPromotion { lane } => {
            promotions::remove(transaction, &lane.namespace, &lane.name)
        }
        Change::Audit(entry) => audit::add(transaction, entry),
        Change::AuditSignIn { entry, user } => {
            audit::add_sign_in(transaction, entry, user.as_deref())
        }
        Change::Depend(dependencies) => rows::depend(transaction, dependencies),
        Change::ForgetDependencies(dependencies) => {
            rows::forget_dependencies(transaction, dependencies)
        }
        Change::Note(noted) => events::note(transaction, noted),
        Change::Doubt => raise(transaction, DOUBTED, 1),
        Change::ReserveGenerations { ceiling } => raise(transaction, GENERATION_CEILING, *ceiling),
    }
}

/// Counters only grow, whatever the order of the changes of one batch.
fn raise(transaction: &Transaction<'_>, name: &str, value: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO counters (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute(params![name, value as i64])
        .map(drop)
}
