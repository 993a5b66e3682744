//! Rows of promotions.

use rusqlite::{Connection, Transaction, params};

use super::rows::{checksum, is_spoilt};
use crate::store::StoredPromotion;

/// Writes a promotion in the place of the one before of its lane.
pub(super) fn put(
    transaction: &Transaction<'_>,
    promotion: &StoredPromotion,
) -> rusqlite::Result<()> {
    let StoredPromotion { lane, .. } = promotion;
    let body = serde_json::to_string(promotion)
        .unwrap_or_else(|error| unreachable!("promotions are plain data: {error}"));
    let sum = checksum(&[lane.namespace.as_bytes(), lane.name.as_bytes(), body.as_bytes()], &[]);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO promotions (namespace, name, body, checksum) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![lane.namespace, lane.name, body, sum])
        .map(drop)
}

/// Forgets the promotion of a lane.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    namespace: &str,
    name: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM promotions WHERE namespace = ?1 AND name = ?2")?
        .execute([namespace, name])
        .map(drop)
}

/// Reads all promotions that are not spoilt: the lane of one that is can be promoted anew.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<StoredPromotion>> {
    let mut statement =
        connection.prepare("SELECT namespace, name, body, checksum FROM promotions")?;
    let mut rows = statement.query([])?;
    let mut promotions = Vec::new();
    while let Some(row) = rows.next()? {
        let (namespace, name): (String, String) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(2)?.as_bytes()?;
        let texts = [namespace.as_bytes(), name.as_bytes(), body];
        match serde_json::from_slice(body) {
            Ok(promotion) if !is_spoilt(row.get(3)?, &texts, &[]) => promotions.push(promotion),
            _ => tracing::error!(namespace, name, "a stored promotion is spoilt: start it anew"),
        }
    }
    Ok(promotions)
}
