//! Passwords: argon2id, a few at a time, and one-time ones that are made here.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use lanes::Problem;
use tokio::sync::Semaphore;

/// Characters of a password that people choose.
const CHARACTERS: std::ops::RangeInclusive<usize> = 12..=256;

/// Passwords that are hashed at once: each takes 19 MiB and some 20 ms of a core.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The hash of no password, for users that are not there: whether one is must not be told by how long it takes.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hash_now(&one_time()));

/// 32 characters that nobody mistakes for each other.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";

/// A password of 100 random bits, to be typed once.
pub(super) fn one_time() -> String {
    // Every byte of these but two of sixteen is random in full.
    let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let bytes = random.iter().flat_map(|uuid| {
        let bytes = *uuid.as_bytes();
        [0, 1, 2, 3, 4, 5, 10, 11, 12, 13].map(|index| bytes[index])
    });
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 31)]);
    let letters: Vec<char> = bytes.map(letter).collect();
    letters.chunks(5).map(String::from_iter).collect::<Vec<_>>().join("-")
}

/// That a password may be chosen.
pub(super) fn check(user: &str, current: Option<&str>, new: &str) -> Result<(), Problem> {
    let refuse = |remedy: String| Err(Problem::new("new", "", remedy));
    if !CHARACTERS.contains(&new.chars().count()) {
        let (least, most) = (CHARACTERS.start(), CHARACTERS.end());
        return refuse(format!("choose {least} to {most} characters"));
    }
    if current == Some(new) {
        return refuse("choose another than the current one".to_owned());
    }
    if new.to_lowercase().contains(user) && user.len() > 3 {
        return refuse("choose one without the user's name in it".to_owned());
    }
    Ok(())
}

/// The hash of a password.
pub(super) async fn hash(password: String) -> String {
    let _permit = AT_ONCE.acquire().await;
    let hashed = tokio::task::spawn_blocking(move || hash_now(&password)).await;
    hashed.unwrap_or_else(|error| unreachable!("hashing does not fail: {error}"))
}

/// Whether a password is the one of a hash; without one the time is taken all the same.
pub(super) async fn is_of(password: String, hash: Option<String>) -> bool {
    let _permit = AT_ONCE.acquire().await;
    let verified = tokio::task::spawn_blocking(move || {
        let is_there = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS.clone());
        let parsed = PasswordHash::new(&hash);
        let matches = parsed.is_ok_and(|hash| {
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        });
        matches && is_there
    });
    verified.await.unwrap_or(false)
}

/// Argon2id with the parameters that OWASP recommends: 19 MiB, two passes, one lane.
fn hash_now(password: &str) -> String {
    let salt = uuid::Uuid::new_v4().into_bytes();
    let hash: Result<PasswordHash, _> =
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.unwrap_or_else(|error| unreachable!("a salt of 16 bytes is good: {error}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_and_is_good_for_itself_alone() {
        let hashed = hash("correct horse".to_owned()).await;
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_ne!(hashed, hash("correct horse".to_owned()).await, "each has a salt of its own");
        assert!(is_of("correct horse".to_owned(), Some(hashed.clone())).await);
        assert!(!is_of("correct horsf".to_owned(), Some(hashed)).await);
        assert!(!is_of("correct horse".to_owned(), None).await);
        assert!(!is_of("correct horse".to_owned(), Some("spoilt".to_owned())).await);
    }

    #[test]
    fn one_time_passwords_differ_and_may_be_chosen_ones_must_be_long_and_new() {
        let (one, other) = (one_time(), one_time());
        assert_ne!(one, other);
        assert_eq!(one.len(), 23, "{one}");
        assert!(check("alice", None, &one).is_ok());
        for bad in
            ["short", "eleven char", &"x".repeat(257), "i am Alice, you know", "the current one"]
        {
            assert!(check("alice", Some("the current one"), bad).is_err(), "{bad}");
        }
        assert!(check("alice", Some("the current one"), "twelve chars").is_ok());
    }
}
