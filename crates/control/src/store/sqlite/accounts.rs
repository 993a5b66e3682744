//! Rows of users, sessions and tokens of the API.

use rusqlite::{Connection, Transaction, params};

use super::rows::{checksum, is_spoilt};
use crate::store::{Account, AccountId};

const USER: &str = "user";
const CREDENTIAL: &str = "credential";

/// Writes an account.
pub(super) fn put(
    transaction: &Transaction<'_>,
    account: &Account,
    only_there: bool,
) -> rusqlite::Result<()> {
    let (kind, id, body) = match account {
        Account::User(user) => (USER, &user.name, serde_json::to_string(user)),
        Account::Credential(credential) => {
            (CREDENTIAL, &credential.id, serde_json::to_string(credential))
        }
    };
    let body = body.unwrap_or_else(|error| unreachable!("accounts are plain data: {error}"));
    let sum = checksum(&[kind.as_bytes(), id.as_bytes(), body.as_bytes()], &[]);
    let statement = if only_there {
        "UPDATE accounts SET body = ?3, checksum = ?4 WHERE kind = ?1 AND id = ?2"
    } else {
        "INSERT OR REPLACE INTO accounts (kind, id, body, checksum) VALUES (?1, ?2, ?3, ?4)"
    };
    transaction.prepare_cached(statement)?.execute(params![kind, id, body, sum]).map(drop)
}

/// Removes an account.
pub(super) fn remove(transaction: &Transaction<'_>, id: &AccountId) -> rusqlite::Result<()> {
    let (kind, id) = match id {
        AccountId::User(name) => (USER, name),
        AccountId::Credential(id) => (CREDENTIAL, id),
    };
    transaction
        .prepare_cached("DELETE FROM accounts WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind, id])
        .map(drop)
}

/// Reads all accounts that are not spoilt: one that is might be good for more than it was.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Account>> {
    let mut statement = connection.prepare("SELECT kind, id, body, checksum FROM accounts")?;
    let mut rows = statement.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(2)?.as_bytes()?;
        if is_spoilt(row.get(3)?, &[kind.as_bytes(), id.as_bytes(), body], &[]) {
            tracing::error!(kind, id, "a stored account is spoilt: make it anew");
            continue;
        }
        let read = match kind.as_str() {
            USER => serde_json::from_slice(body).map(Account::User),
            _ => serde_json::from_slice(body).map(Account::Credential),
        };
        match read {
            Ok(account) => accounts.push(account),
            Err(error) => tracing::error!(kind, id, %error, "a stored account cannot be read"),
        }
    }
    Ok(accounts)
}
