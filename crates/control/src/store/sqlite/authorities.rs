//! Rows of those that sign certificates of data planes.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{checksum, is_spoilt};
use crate::store::StoredAuthority;

/// Writes one.
pub(super) fn put(
    transaction: &Transaction<'_>,
    authority: &StoredAuthority,
) -> rusqlite::Result<()> {
    let StoredAuthority { fingerprint, certificate, sealed, created } = authority;
    transaction
        .prepare_cached(
            "INSERT INTO authorities (fingerprint, certificate, sealed, created, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            fingerprint,
            certificate,
            sealed,
            *created as i64,
            sum(authority, checksum)
        ])
        .map(drop)
}

/// Removes one.
pub(super) fn remove(transaction: &Transaction<'_>, fingerprint: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM authorities WHERE fingerprint = ?1")?
        .execute([fingerprint])
        .map(drop)
}

/// Reads all that are not spoilt, in the order they were made: a clock may have been ahead when one was.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<StoredAuthority>> {
    let mut statement = connection.prepare(
        "SELECT fingerprint, certificate, sealed, created, checksum FROM authorities
         ORDER BY rowid",
    )?;
    let mut rows = statement.query([])?;
    let mut authorities = Vec::new();
    while let Some(row) = rows.next()? {
        match authority(row) {
            Ok(authority)
                if !sum(&authority, |texts, numbers| {
                    is_spoilt(row.get(4).ok(), texts, numbers)
                }) =>
            {
                authorities.push(authority);
            }
            _ => {
                let fingerprint: Option<String> = row.get(0).ok();
                tracing::error!(
                    fingerprint,
                    "a stored authority is spoilt: data planes join again with a token"
                );
            }
        }
    }
    Ok(authorities)
}

fn authority(row: &Row<'_>) -> rusqlite::Result<StoredAuthority> {
    Ok(StoredAuthority {
        fingerprint: row.get(0)?,
        certificate: row.get(1)?,
        sealed: row.get(2)?,
        created: row.get::<_, i64>(3)? as u64,
    })
}

/// What is under its checksum.
fn sum<T>(authority: &StoredAuthority, of: impl FnOnce(&[&[u8]], &[i64]) -> T) -> T {
    let StoredAuthority { fingerprint, certificate, sealed, created } = authority;
    let texts = [fingerprint, certificate, sealed].map(|text| text.as_bytes());
    of(&texts, &[*created as i64])
}
