//! Rows of tokens of applications.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{checksum, is_spoilt};
use crate::store::StoredToken;

/// Writes a token.
pub(super) fn put(transaction: &Transaction<'_>, token: &StoredToken) -> rusqlite::Result<()> {
    let StoredToken { id, namespace, application, tag, hash, created, used } = token;
    let used = used.map(|used| used as i64);
    transaction
        .prepare_cached(
            "INSERT INTO tokens (id, namespace, application, tag, hash, created, used, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            id,
            namespace,
            application,
            tag,
            &**hash,
            *created as i64,
            used,
            sum(token, checksum)
        ])
        .map(drop)
}

/// Notes that a token was shown.
pub(super) fn note_use(transaction: &Transaction<'_>, id: &str, used: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE tokens SET used = ?2 WHERE id = ?1")?
        .execute(params![id, used as i64])
        .map(drop)
}

/// Removes a token.
pub(super) fn revoke(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([id]).map(drop)
}

/// Reads all tokens that are not spoilt: one that is might be good for more than it was.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<StoredToken>> {
    let mut statement = connection.prepare(
        "SELECT id, namespace, application, tag, hash, created, used, checksum FROM tokens",
    )?;
    let mut rows = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        match token(row) {
            Ok(token)
                if !sum(&token, |texts, numbers| is_spoilt(row.get(7).ok(), texts, numbers)) =>
            {
                tokens.push(token);
            }
            _ => {
                let id: Option<String> = row.get(0).ok();
                tracing::error!(id, "a stored token is spoilt: make another, and revoke this one");
            }
        }
    }
    Ok(tokens)
}

fn token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    Ok(StoredToken {
        id: row.get(0)?,
        namespace: row.get(1)?,
        application: row.get(2)?,
        tag: row.get(3)?,
        hash: row.get_ref(4)?.as_blob()?.into(),
        created: row.get::<_, i64>(5)? as u64,
        used: row.get::<_, Option<i64>>(6)?.map(|used| used as u64),
    })
}

/// What of a token is under its checksum.
fn sum<T>(token: &StoredToken, of: impl FnOnce(&[&[u8]], &[i64]) -> T) -> T {
    let StoredToken { id, namespace, application, tag, hash, created, .. } = token;
    let text = tag.as_deref().unwrap_or_default();
    let texts = [id, namespace, application, text].map(str::as_bytes);
    let [id, namespace, application, text] = texts;
    of(&[id, namespace, application, text, hash], &[*created as i64, tag.is_some().into()])
}
