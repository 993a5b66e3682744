//! Who changed what, as rows: added, never changed, and when there are too many the oldest go of the namespace that has the
//! most: whoever writes much in one makes nobody forget what was done in another, or to users. Who signs in and out is
//! counted as if each user were a namespace, and whoever was not let in as if all of them were one.
//!
//! They are read by connections of their own: whoever reads much makes no writer wait.

use std::path::PathBuf;

use api::rest::AuditEntry;
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::{failed, rows};
use crate::store::{AuditQuery, StoreError};

/// Entries that are kept: years of an installation that people change by hand.
const ENTRIES_MAX: i64 = 10_000;

/// Bytes of all of them: with objects of the largest size there are fewer entries.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// The same of who signs in and out, and of who was not let in: beside the others, so that whoever guesses pushes out nothing
/// that was changed.
const SIGN_INS_MAX: i64 = 4_000;
const SIGN_IN_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// After how many entries that is looked at: it reads every row's head.
const LOOKED_AT_EVERY: i64 = 64;

/// What stands before a user's name in the place of a namespace, and alone for whoever was not let in: no namespace begins
/// like that.
const SIGN_INS: &str = "/";

/// Adds an entry; the database numbers it.
pub(super) fn add(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    let namespace = entry.object.as_ref().map(|object| object.namespace.as_str());
    add_to(transaction, namespace, entry)
}

/// Adds an entry of somebody who signed in or out; of none: who was not let in.
pub(super) fn add_sign_in(
    transaction: &Transaction<'_>,
    entry: &AuditEntry,
    user: Option<&str>,
) -> rusqlite::Result<()> {
    let place = format!("{SIGN_INS}{}", user.unwrap_or_default());
    add_to(transaction, Some(&place), entry)
}

fn add_to(
    transaction: &Transaction<'_>,
    namespace: Option<&str>,
    entry: &AuditEntry,
) -> rusqlite::Result<()> {
    let text = serde_json::to_string(entry)
        .unwrap_or_else(|error| unreachable!("entries are plain data: {error}"));
    let sum = rows::checksum(&[entry.about.as_bytes(), text.as_bytes()], &[]);
    transaction
        .prepare_cached(
            "INSERT INTO audit (namespace, about, bytes, checksum, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![namespace, entry.about, text.len() as i64, sum, text])?;
    let number = transaction.last_insert_rowid();
    if number % LOOKED_AT_EVERY == 0 {
        keep_within(transaction, false, ENTRIES_MAX, BYTES_MAX)?;
        keep_within(transaction, true, SIGN_INS_MAX, SIGN_IN_BYTES_MAX)
    } else {
        Ok(())
    }
}

/// Forgets until the others are no more, and have no more bytes, than that: namespaces that have little keep all of it. Of
/// changes, or of sign-ins.
fn keep_within(
    transaction: &Transaction<'_>,
    of_sign_ins: bool,
    entries_max: i64,
    bytes_max: i64,
) -> rusqlite::Result<()> {
    let (entries, bytes): (i64, i64) = transaction
        .prepare_cached(
            "SELECT count(*), total(bytes) FROM audit
             WHERE (substr(coalesce(namespace, ''), 1, 1) = ?2) = ?1",
        )?
        .query_row(params![of_sign_ins, SIGN_INS], |row| {
            Ok((row.get(0)?, row.get::<_, f64>(1)? as i64))
        })?;
    if entries <= entries_max && bytes <= bytes_max {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "DELETE FROM audit WHERE number IN (
                 SELECT number FROM (
                     SELECT number,
                            row_number() OVER (ORDER BY own_count, number DESC) AS count,
                            sum(bytes) OVER (ORDER BY own_bytes, number DESC) AS total
                     FROM (SELECT number, bytes,
                                  row_number() OVER own AS own_count,
                                  sum(bytes) OVER own AS own_bytes
                           FROM audit
                           WHERE (substr(coalesce(namespace, ''), 1, 1) = ?4) = ?3
                           WINDOW own AS (PARTITION BY namespace ORDER BY number DESC)))
                 WHERE count > ?1 OR total > ?2)",
        )?
        .execute(params![entries_max, bytes_max, of_sign_ins, SIGN_INS])
        .map(drop)
}

/// Who reads the audit of a store, while that is open and written.
#[derive(Debug, Clone)]
pub struct AuditReader {
    path: PathBuf,
}

impl AuditReader {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// Entries, the latest first. Waits for the disk.
    pub fn read(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Opened each time: what is open would keep the log of a store that is closed.
        let connection = Connection::open_with_flags(&self.path, flags);
        let connection = connection.map_err(failed("open", &self.path))?;
        read(&connection, query).map_err(failed("read", &self.path))
    }
}

/// Reads entries, the latest first. One that is spoilt, or that this release cannot read, is left out and told.
fn read(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<Vec<AuditEntry>> {
    let AuditQuery { number, before, namespaces, about, with_sign_ins, with_objects, limit } =
        query;
    let namespaces = namespaces.as_ref().map(|names| serde_json::json!(names).to_string());
    // Objects are most of an entry: those that nobody asked for are passed over, and never become values.
    let mut statement = connection.prepare_cached(
        "SELECT number, about, entry, checksum,
                CASE WHEN ?6 OR NOT json_valid(entry) THEN NULL
                     ELSE json_remove(entry, '$.before', '$.after') END
         FROM audit
         WHERE (?1 IS NULL OR number = ?1) AND (?2 IS NULL OR number < ?2)
           AND (?3 IS NULL OR namespace IN (SELECT value FROM json_each(?3)))
           AND (?4 IS NULL OR about = ?4)
           AND (?7 OR namespace IS NULL OR substr(namespace, 1, 1) <> ?8)
         ORDER BY number DESC LIMIT ?5",
    )?;
    let number = number.map(|number| number as i64);
    let before = before.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let limit = *limit as i64;
    let wanted =
        params![number, before, namespaces, about, limit, with_objects, with_sign_ins, SIGN_INS];
    let mut found = statement.query(wanted)?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        let number: i64 = row.get(0)?;
        let [about, text] = [row.get_ref(1)?.as_bytes()?, row.get_ref(2)?.as_bytes()?];
        let is_spoilt = rows::is_spoilt(row.get(3)?, &[about, text], &[]);
        let wanted = row.get_ref(4)?.as_bytes_or_null()?.unwrap_or(text);
        match serde_json::from_slice::<AuditEntry>(wanted) {
            Ok(entry) if !is_spoilt => {
                entries.push(AuditEntry { number: number as u64, ..entry });
            }
            _ => tracing::error!(number, "an entry of the audit is spoilt"),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use api::{
        resource::{Key, Kind},
        rest::{Action, Author, AuthorKind},
    };

    use super::*;
    use crate::store::{Change, Store, sqlite::SqliteStore};

    fn entry(about: &str) -> AuditEntry {
        AuditEntry {
            number: 0,
            time: "2026-11-28T07:00:00Z".to_owned(),
            author: Author { kind: AuthorKind::User, name: "alice".to_owned() },
            action: Action::Configured,
            object: None,
            about: about.to_owned(),
            changes: Vec::new(),
            note: String::new(),
            undoes: None,
            before: None,
            after: None,
        }
    }

    fn of(namespace: &str, about: usize) -> Change {
        let key = Key::new(Kind::Lane, namespace, "gray");
        Change::Audit(Box::new(AuditEntry { object: Some(key), ..entry(&about.to_string()) }))
    }

    #[test]
    fn the_oldest_go_of_the_namespace_that_has_the_most() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
        let count = |store: &SqliteStore, namespace: &str| -> i64 {
            let sql = "SELECT count(*) FROM audit WHERE coalesce(namespace, '') = ?1";
            store.connection.query_row(sql, [namespace], |row| row.get(0)).unwrap()
        };
        store.commit(&[Change::Audit(Box::new(entry("user alice")))]).unwrap();
        let few: Vec<Change> = (0..3).map(|index| of("quiet", index)).collect();
        store.commit(&few).unwrap();
        let many = 0..ENTRIES_MAX as usize + LOOKED_AT_EVERY as usize;
        store.commit(&many.map(|index| of("busy", index)).collect::<Vec<_>>()).unwrap();
        let kept = ["", "quiet", "busy"].map(|namespace| count(&store, namespace));
        assert_eq!(kept[..2], [1, 3]);
        assert!(
            (ENTRIES_MAX - 4..ENTRIES_MAX - 4 + LOOKED_AT_EVERY).contains(&kept[2]),
            "{kept:?}"
        );

        // The latest are kept, and numbers are never given twice.
        let latest = store.audit().read(&AuditQuery { limit: 1, ..AuditQuery::default() }).unwrap();
        assert_eq!(latest[0].number as i64, ENTRIES_MAX + LOOKED_AT_EVERY + 4);
        let bytes: i64 = store
            .connection
            .query_row("SELECT max(bytes) FROM audit", [], |row| row.get(0))
            .unwrap();
        let transaction = store.connection.transaction().unwrap();
        keep_within(&transaction, false, ENTRIES_MAX, 6 * bytes).unwrap();
        transaction.commit().unwrap();
        let kept = ["", "quiet", "busy"].map(|namespace| count(&store, namespace));
        assert_eq!((kept[0], kept[1] >= 2, kept[2] <= 4), (1, true, true), "{kept:?}");
        let query = AuditQuery { before: Some(10), limit: 100, ..AuditQuery::default() };
        let read = store.audit().read(&query).unwrap();
        assert_eq!(read.last().map(|entry| entry.about.as_str()), Some("user alice"));
    }

    #[test]
    fn whoever_is_not_let_in_pushes_out_nothing_that_was_changed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
        let sign_in = |user: Option<&str>, about: &str| Change::AuditSignIn {
            entry: Box::new(entry(about)),
            user: user.map(str::to_owned),
        };
        let changed = |about: &str| Change::Audit(Box::new(entry(about)));
        store.commit(&[changed("user alice"), sign_in(Some("bob"), "session of bob")]).unwrap();
        // Of what was changed there is nearly as much as is kept.
        let busy = ENTRIES_MAX as usize - LOOKED_AT_EVERY as usize;
        store.commit(&(0..busy).map(|index| of("busy", index)).collect::<Vec<_>>()).unwrap();
        let many = 0..(SIGN_INS_MAX + LOOKED_AT_EVERY) as usize;
        let refused: Vec<Change> = many.map(|_| sign_in(None, "sign-in as alice")).collect();
        store.commit(&refused).unwrap();
        let all = AuditQuery { limit: 20_000, with_sign_ins: true, ..AuditQuery::default() };
        let read = store.audit().read(&all).unwrap();
        let guesses = read.iter().filter(|it| it.about == "sign-in as alice").count() as i64;
        assert!((SIGN_INS_MAX - 1..SIGN_INS_MAX + LOOKED_AT_EVERY).contains(&guesses), "{guesses}");
        let oldest: Vec<&str> = read.iter().rev().take(2).map(|it| it.about.as_str()).collect();
        assert_eq!(oldest, ["user alice", "session of bob"]);
        let changes = AuditQuery { with_sign_ins: false, ..all };
        assert_eq!(store.audit().read(&changes).unwrap().len(), busy + 1);
    }

    #[test]
    fn objects_are_told_where_they_are_asked_for_and_what_is_spoilt_never() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
        let after = Some(serde_json::json!({"spec": {"enabled": true}}));
        let of_object = AuditEntry { after: after.clone(), ..entry("Lane trade-gray") };
        let changes = [of_object, entry("user alice"), entry("user bob")];
        store.commit(&changes.map(|it| Change::Audit(Box::new(it)))).unwrap();
        let spoil = "UPDATE audit SET entry = 'no JSON' WHERE about = 'user bob'";
        store.connection.execute(spoil, []).unwrap();
        for with_objects in [false, true] {
            let query = AuditQuery { limit: 9, with_objects, ..AuditQuery::default() };
            let read = store.audit().read(&query).unwrap();
            let about: Vec<&str> = read.iter().map(|it| it.about.as_str()).collect();
            assert_eq!(about, ["user alice", "Lane trade-gray"]);
            assert_eq!(read[1].after, after.clone().filter(|_| with_objects));
        }
    }
}
