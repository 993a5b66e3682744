//! One row of the store, written with a checksum and read with suspicion: one that is spoilt, or that another release
//! wrote, costs itself and no other.

use std::sync::Arc;

use api::resource::{CreationOrder, Key, Kind, Object};
use lanes::Problem;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use crate::store::{Dependencies, Revision, StoredObject, Unreadable};

/// All objects, as [`object`] reads them.
pub(super) const SELECT_OBJECTS: &str =
    "SELECT kind, namespace, name, revision, created, body, said, checksum
     FROM objects ORDER BY created";

/// All registrations, as [`registration`] reads them.
pub(super) const SELECT_REGISTRATIONS: &str =
    "SELECT node, instance, checksum FROM registrations ORDER BY node";

/// Writes an object.
pub(super) fn put(transaction: &Transaction<'_>, stored: &StoredObject) -> rusqlite::Result<()> {
    let key = stored.object.key();
    let (revision, created) = (stored.revision.number() as i64, stored.created.0 as i64);
    let body = stored.object.to_value().to_string();
    let kind = key.kind.name();
    let said = stored.said.as_deref();
    let texts = [kind, &key.namespace, &key.name, &body, said.unwrap_or_default()];
    let checksum = checksum(&texts.map(str::as_bytes), &[revision, created]);
    transaction
        .prepare_cached(
            "INSERT INTO objects (kind, namespace, name, revision, created, body, said, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (kind, namespace, name) DO UPDATE SET
                 revision = excluded.revision, created = excluded.created, body = excluded.body,
                 said = excluded.said, checksum = excluded.checksum",
        )?
        .execute(params![kind, key.namespace, key.name, revision, created, body, said, checksum])
        .map(drop)
}

/// Writes a registration.
pub(super) fn register(
    transaction: &Transaction<'_>,
    node: &str,
    instance: &[u8],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO registrations (node, instance, checksum) VALUES (?1, ?2, ?3)
             ON CONFLICT (node) DO UPDATE SET instance = excluded.instance, checksum = excluded.checksum",
        )?
        .execute(params![node, instance, checksum(&[node.as_bytes(), instance], &[])])
        .map(drop)
}

/// Notes what an application asked for.
pub(super) fn depend(transaction: &Transaction<'_>, noted: &Dependencies) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO dependencies (namespace, application, asked, day) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (namespace, application, asked) DO UPDATE SET day = max(day, excluded.day)",
    )?;
    for asked in &noted.asked {
        let day = noted.day as i64;
        statement.execute(params![noted.namespace, noted.application, asked, day])?;
    }
    Ok(())
}

/// Forgets what an application asked for.
pub(super) fn forget_dependencies(
    transaction: &Transaction<'_>,
    noted: &Dependencies,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "DELETE FROM dependencies WHERE namespace = ?1 AND application = ?2 AND asked = ?3",
    )?;
    for asked in &noted.asked {
        statement.execute(params![noted.namespace, noted.application, asked])?;
    }
    Ok(())
}

/// Reads what applications asked for.
pub(super) fn dependencies(connection: &Connection) -> rusqlite::Result<Vec<Dependencies>> {
    let mut statement =
        connection.prepare("SELECT namespace, application, asked, day FROM dependencies")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| {
            let bytes = row.get_ref(column)?.as_bytes()?;
            Ok::<_, rusqlite::Error>(String::from_utf8_lossy(bytes).into_owned())
        };
        let (namespace, application, asked) = (text(0)?, text(1)?, vec![text(2)?]);
        all.push(Dependencies { namespace, application, asked, day: row.get::<_, i64>(3)? as u64 });
    }
    Ok(all)
}

/// Reads an object.
pub(super) fn object(row: &Row<'_>) -> rusqlite::Result<Result<StoredObject, Unreadable>> {
    let bytes = |column| {
        Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_bytes_or_null()?.unwrap_or_default())
    };
    let texts = [bytes(0)?, bytes(1)?, bytes(2)?, bytes(5)?, bytes(6)?];
    let numbers: [i64; 2] = [row.get(3)?, row.get(4)?];
    let is_spoilt = is_spoilt(row.get(7)?, &texts, &numbers);
    let [kind, namespace, name] = [0, 1, 2].map(|at| String::from_utf8_lossy(texts[at]));
    let filed = Kind::from_name(&kind).map(|kind| Key::new(kind, &*namespace, &*name));
    let body: Option<Value> = serde_json::from_slice(texts[3]).ok();
    let read = match (is_spoilt, &body, std::str::from_utf8(texts[4])) {
        (false, Some(body), Ok(said)) => {
            Object::from_value(body.clone()).map(|object| (object, said))
        }
        _ => Err(Problem::new("", "", "is spoilt: apply the object again, or restore a backup")),
    };
    let problem = match read {
        Ok((object, said)) if filed == Some(object.key()) => {
            return Ok(Ok(StoredObject {
                object: Arc::new(object),
                revision: Revision(numbers[0] as u64),
                created: CreationOrder(numbers[1] as u64),
                said: (!said.is_empty()).then(|| said.into()),
            }));
        }
        Ok((object, _)) => Problem::new(
            "",
            object.key().to_string(),
            "is filed under another name: apply it again",
        ),
        Err(problem) => problem,
    };
    let text = |pointer| body.as_ref()?.pointer(pointer)?.as_str();
    let named = |kind| {
        Some(Key::new(
            kind,
            text("/metadata/namespace").unwrap_or(&namespace),
            text("/metadata/name")?,
        ))
    };
    let named = text("/kind").and_then(Kind::from_name).and_then(named);
    let mut keys: Vec<Key> = filed.into_iter().chain(named).collect();
    keys.dedup();
    let group = text("/spec/group").map(str::to_owned).filter(|_| !is_spoilt);
    Ok(Err(Unreadable { name: format!("{kind} {namespace}/{name}"), keys, group, problem }))
}

/// Reads a registration: node and encoded instance, or the node of one that is spoilt.
pub(super) fn registration(row: &Row<'_>) -> rusqlite::Result<Result<(String, Vec<u8>), String>> {
    let [node, instance] = [row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?];
    let name = String::from_utf8_lossy(node).into_owned();
    Ok(match is_spoilt(row.get(2)?, &[node, instance], &[]) {
        true => Err(name),
        false => Ok((name, instance.to_vec())),
    })
}

/// Rows of before there were checksums are believed.
pub(super) fn is_spoilt(noted: Option<i64>, texts: &[&[u8]], numbers: &[i64]) -> bool {
    noted.is_some_and(|noted| noted != checksum(texts, numbers))
}

/// A row's checksum.
pub(super) fn checksum(texts: &[&[u8]], numbers: &[i64]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    hasher.finalize().into()
}
