//! Who changed what, as rows: added, never changed, and when there are too many the oldest go of the namespace that has the
//! most: whoever writes much in one makes nobody forget what was done in another, or to users.

use api::rest::AuditEntry;
use rusqlite::{Connection, Transaction, params};

use super::rows;
use crate::store::AuditQuery;

/// Entries that are kept: years of an installation that people change by hand.
const ENTRIES_MAX: i64 = 10_000;

/// Bytes of all of them: with objects of the largest size there are fewer entries.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// After how many entries that is looked at: it reads every row's head.
const LOOKED_AT_EVERY: i64 = 64;

/// Adds an entry; the database numbers it.
pub(super) fn add(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    let text = serde_json::to_string(entry)
        .unwrap_or_else(|error| unreachable!("entries are plain data: {error}"));
    let namespace = entry.object.as_ref().map(|object| &object.namespace);
    let sum = rows::checksum(&[entry.about.as_bytes(), text.as_bytes()], &[]);
    transaction
        .prepare_cached(
            "INSERT INTO audit (namespace, about, bytes, checksum, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![namespace, entry.about, text.len() as i64, sum, text])?;
    let number = transaction.last_insert_rowid();
    if number % LOOKED_AT_EVERY == 0 {
        keep_within(transaction, ENTRIES_MAX, BYTES_MAX)
    } else {
        Ok(())
    }
}

/// Forgets until the others are no more, and have no more bytes, than that: namespaces that have little keep all of it.
fn keep_within(
    transaction: &Transaction<'_>,
    entries_max: i64,
    bytes_max: i64,
) -> rusqlite::Result<()> {
    let (entries, bytes): (i64, i64) = transaction
        .prepare_cached("SELECT count(*), total(bytes) FROM audit")?
        .query_row([], |row| Ok((row.get(0)?, row.get::<_, f64>(1)? as i64)))?;
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
                           WINDOW own AS (PARTITION BY namespace ORDER BY number DESC)))
                 WHERE count > ?1 OR total > ?2)",
        )?
        .execute([entries_max, bytes_max])
        .map(drop)
}

/// Reads entries, the latest first. One that is spoilt, or that this release cannot read, is left out and told.
pub(super) fn read(
    connection: &Connection,
    query: &AuditQuery,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let AuditQuery { number, before, namespaces, about, limit } = query;
    let namespaces = namespaces.as_ref().map(|names| serde_json::json!(names).to_string());
    let mut statement = connection.prepare_cached(
        "SELECT number, about, entry, checksum FROM audit
         WHERE (?1 IS NULL OR number = ?1) AND (?2 IS NULL OR number < ?2)
           AND (?3 IS NULL OR namespace IN (SELECT value FROM json_each(?3)))
           AND (?4 IS NULL OR about = ?4)
         ORDER BY number DESC LIMIT ?5",
    )?;
    let number = number.map(|number| number as i64);
    let before = before.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut found = statement.query(params![number, before, namespaces, about, *limit as i64])?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        let number: i64 = row.get(0)?;
        let [about, text] = [row.get_ref(1)?.as_bytes()?, row.get_ref(2)?.as_bytes()?];
        let is_spoilt = rows::is_spoilt(row.get(3)?, &[about, text], &[]);
        match serde_json::from_slice::<AuditEntry>(text) {
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
        let latest = store.audit(&AuditQuery { limit: 1, ..AuditQuery::default() }).unwrap();
        assert_eq!(latest[0].number as i64, ENTRIES_MAX + LOOKED_AT_EVERY + 4);
        let bytes: i64 = store
            .connection
            .query_row("SELECT max(bytes) FROM audit", [], |row| row.get(0))
            .unwrap();
        let transaction = store.connection.transaction().unwrap();
        keep_within(&transaction, ENTRIES_MAX, 6 * bytes).unwrap();
        transaction.commit().unwrap();
        let kept = ["", "quiet", "busy"].map(|namespace| count(&store, namespace));
        assert_eq!((kept[0], kept[1] >= 2, kept[2] <= 4), (1, true, true), "{kept:?}");
        let query = AuditQuery { before: Some(10), limit: 100, ..AuditQuery::default() };
        let read = store.audit(&query).unwrap();
        assert_eq!(read.last().map(|entry| entry.about.as_str()), Some("user alice"));
    }
}
