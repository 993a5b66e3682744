//! What happened, as rows: the latest alone, and none that is spoilt.

use std::time::SystemTime;

use api::rest::Event;
use rusqlite::{Connection, Transaction, params};

use super::rows;
use crate::events::{EVENTS_MAX, oldest_kept};

/// Keeps events, and no more than there may be.
pub(super) fn note(transaction: &Transaction<'_>, noted: &[Event]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO events (number, time, event, checksum) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for event in noted {
        let text = serde_json::to_string(event)
            .unwrap_or_else(|error| unreachable!("events are plain data: {error}"));
        let (number, time) = (event.number as i64, &event.time);
        let checksum = rows::checksum(&[time.as_bytes(), text.as_bytes()], &[number]);
        insert.execute(params![number, time, text, checksum])?;
    }
    let latest = "(SELECT max(number) FROM events)";
    transaction
        .prepare_cached(&format!("DELETE FROM events WHERE number <= {latest} - ?1 OR time < ?2"))?
        .execute(params![EVENTS_MAX as i64, oldest_kept(SystemTime::now())])
        .map(drop)
}

/// Reads what is kept. One that is spoilt, or that this release cannot read, is not missed by anybody but people.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Event>> {
    let mut statement =
        connection.prepare("SELECT number, time, event, checksum FROM events ORDER BY number")?;
    let mut found = statement.query([])?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        let number: i64 = row.get(0)?;
        let [time, text] = [row.get_ref(1)?.as_bytes()?, row.get_ref(2)?.as_bytes()?];
        let is_spoilt = rows::is_spoilt(row.get(3)?, &[time, text], &[number]);
        let read = serde_json::from_slice(text).ok();
        events.extend(read.filter(|event: &Event| !is_spoilt && event.number == number as u64));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Store, sqlite::SqliteStore};

    #[test]
    fn writes_are_flushed_whatever_was_noted_between_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&directory.path().join("laneway.db")).unwrap();
        let event = Event { number: 1, time: "2999".to_owned(), ..Event::default() };
        store.commit(&[Change::Note(vec![event])]).unwrap();
        let flushed: i64 =
            store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(flushed, 2, "FULL");
        assert_eq!(store.load().unwrap().events.len(), 1);
    }
}
