//! Who changed what, as rows: added, never changed, and the oldest go when there are too many.

use api::rest::AuditEntry;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows;
use crate::store::AuditQuery;

/// Entries that are kept: years of an installation that people change by hand.
const ENTRIES_MAX: i64 = 10_000;

/// Bytes of all of them: with objects of the largest size there are fewer entries.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// How often the bytes are summed up: it reads every row's head.
const SUMMED_EVERY: i64 = 64;

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
    transaction
        .prepare_cached("DELETE FROM audit WHERE number <= ?1")?
        .execute([number - ENTRIES_MAX])?;
    if number % SUMMED_EVERY == 0 { keep_within(transaction, BYTES_MAX) } else { Ok(()) }
}

/// Forgets the oldest until the others have no more bytes than that.
fn keep_within(transaction: &Transaction<'_>, bytes_max: i64) -> rusqlite::Result<()> {
    let first_too_much: Option<i64> = transaction
        .prepare_cached(
            "SELECT number FROM (SELECT number, sum(bytes) OVER (ORDER BY number DESC) AS total FROM audit)
             WHERE total > ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row([bytes_max], |row| row.get(0))
        .optional()?;
    let Some(number) = first_too_much else { return Ok(()) };
    transaction.prepare_cached("DELETE FROM audit WHERE number <= ?1")?.execute([number]).map(drop)
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
    use api::rest::{Action, Author, AuthorKind};

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

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
        let changes: Vec<Change> = (0..ENTRIES_MAX + 5)
            .map(|index| Change::Audit(Box::new(entry(&index.to_string()))))
            .collect();
        store.commit(&changes).unwrap();
        let count = |store: &SqliteStore| -> i64 {
            store.connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&store), ENTRIES_MAX);
        let query = AuditQuery { before: Some(10), limit: 100, ..AuditQuery::default() };
        let read = store.audit(&query).unwrap();
        assert_eq!(read.iter().map(|entry| entry.number).collect::<Vec<_>>(), [9, 8, 7, 6]);
        let bytes: i64 = store
            .connection
            .query_row("SELECT max(bytes) FROM audit", [], |row| row.get(0))
            .unwrap();
        let transaction = store.connection.transaction().unwrap();
        keep_within(&transaction, 3 * bytes).unwrap();
        transaction.commit().unwrap();
        assert_eq!(count(&store), 3);
        // Numbers are never given twice.
        store.commit(&[Change::Audit(Box::new(entry("next")))]).unwrap();
        let latest = store.audit(&AuditQuery { limit: 1, ..AuditQuery::default() }).unwrap();
        assert_eq!(latest[0].number as i64, ENTRIES_MAX + 6);
    }
}
