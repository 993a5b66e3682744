//! Tokens of applications: whoever shows one may register instances of that application and of no other.
//!
//! They stand beside the join token of the whole mesh. What is kept of one is its hash: the token itself is told once,
//! when it is made. A stream that was let in with one ends when the token is revoked.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{
    join::JoinToken,
    rest::{TokenRequest, TokenStatus},
    time::rfc3339,
};
use lanes::{Problem, Tag, name::BASE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::store::{Change, StoredToken};

mod certificates;
mod certify;
mod holder;
mod of_control;

pub(crate) use certificates::Certificates;
pub(crate) use holder::{Ended, Holder};
pub(crate) use of_control::TokenError;

/// What every token of an application begins with, so that people and scanners of secrets know one.
const PREFIX: &str = "laneway_";

/// Tokens kept at once: one for every application and tag of the largest installation there is a promise for.
const TOKENS_MAX: usize = 10_000;

/// Bytes of the name of an application or a namespace: as a DNS name.
const NAME_BYTES_MAX: usize = 253;

/// How exactly the store remembers when a token was used: a disk has better things to do than to note every
/// reconnect.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// All tokens that are good.
#[derive(Debug)]
pub(crate) struct Tokens {
    by_id: BTreeMap<String, Kept>,
    /// What is shown within this process, and known nowhere else.
    own: String,
    /// Those that were made, as far as they were seen since the start.
    pub(crate) certificates: Certificates,
}

#[derive(Debug)]
struct Kept {
    token: StoredToken,
    /// When the store was last told of a use.
    noted: Option<u64>,
    /// Gone when the token is revoked.
    good: watch::Sender<()>,
}

impl Kept {
    fn new(token: StoredToken) -> Self {
        Self { noted: token.used, token, good: watch::Sender::new(()) }
    }
}

impl Tokens {
    /// As the store has them.
    pub(crate) fn new(stored: impl IntoIterator<Item = StoredToken>) -> Self {
        let by_id = stored.into_iter().map(|token| (token.id.clone(), Kept::new(token))).collect();
        Self { by_id, own: secret(), certificates: Certificates::default() }
    }

    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    pub(crate) fn is_full(&self) -> bool {
        self.by_id.len() >= TOKENS_MAX
    }

    pub(crate) fn add(&mut self, token: StoredToken) {
        self.by_id.insert(token.id.clone(), Kept::new(token));
    }

    /// Ends every stream that was let in with it.
    pub(crate) fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
        self.certificates.forget(id);
    }

    /// Every token without what is secret, in order of their creation.
    pub(crate) fn list(&self) -> Vec<TokenStatus> {
        let mut tokens: Vec<&StoredToken> = self.by_id.values().map(|kept| &kept.token).collect();
        tokens.sort_by_key(|token| (token.created, &token.id));
        let now = SystemTime::now();
        let with_certificates = |token: &StoredToken| {
            let (certificates, until) = self.certificates.of(&token.id, now);
            let certificates_until = until.map(rfc3339);
            TokenStatus { certificates, certificates_until, ..status(token) }
        };
        tokens.into_iter().map(with_certificates).collect()
    }

    /// Whose token this is that was not revoked.
    pub(crate) fn holder_of(&self, id: &str) -> Option<Holder> {
        let kept = self.by_id.get(id)?;
        Some(Holder::of(&kept.token, kept.good.subscribe()))
    }

    /// Who shows this text, and what the store should note of it; `None` when it is no good token.
    pub(crate) fn holder(
        &mut self,
        shown: &str,
        now: SystemTime,
    ) -> Option<(Holder, Option<Change>)> {
        let shown = JoinToken::read(shown).secret;
        let (id, _) = shown.strip_prefix(PREFIX)?.split_once('_')?;
        let kept = self.by_id.get_mut(id)?;
        if !bool::from(hash(shown).ct_eq(&kept.token.hash)) {
            return None;
        }
        let used = seconds(now);
        kept.token.used = Some(used);
        let is_due =
            kept.noted.is_none_or(|noted| used.abs_diff(noted) >= USE_NOTED_EVERY.as_secs());
        let note = is_due.then(|| {
            kept.noted = Some(used);
            Change::UseToken { id: id.to_owned(), used }
        });
        Some((Holder::of(&kept.token, kept.good.subscribe()), note))
    }
}

/// Whether a text means to be the token of an application.
pub(crate) fn looks_like_one(shown: &str) -> bool {
    shown.starts_with(PREFIX)
}

/// Makes a token: what is kept of it, and the token itself.
pub(crate) fn make(
    request: TokenRequest,
    now: SystemTime,
) -> Result<(StoredToken, String), Problem> {
    let TokenRequest { application, tag, namespace } = request;
    let namespace = namespace.unwrap_or_else(|| api::resource::DEFAULT_NAMESPACE.to_owned());
    for (field, name) in [("application", &application), ("namespace", &namespace)] {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            let remedy = format!("use 1 to {NAME_BYTES_MAX} visible ASCII characters without `/`");
            return Err(Problem::new(field, name, remedy));
        }
    }
    let tag = match tag {
        None => None,
        Some(text) => {
            let tag = Tag::parse(&text).map_err(|problem| problem.under("tag"))?;
            Some(tag.map_or_else(String::new, |tag| tag.as_str().to_owned()))
        }
    };
    let id = random()[..12].to_owned();
    // No hash of it can be guessed back, however fast it is.
    let secret = format!("{PREFIX}{id}_{}", secret());
    let (hash, created) = (hash(&secret), seconds(now));
    let token = StoredToken { id, namespace, application, tag, hash, created, used: None };
    Ok((token, secret))
}

/// 244 bits of the system's randomness.
fn secret() -> String {
    random() + &random()
}

fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A token as it is shown.
pub(crate) fn status(token: &StoredToken) -> TokenStatus {
    let shown = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
    TokenStatus {
        id: token.id.clone(),
        namespace: token.namespace.clone(),
        application: token.application.clone(),
        tag: token.tag.as_deref().map(|tag| if tag.is_empty() { BASE } else { tag }.to_owned()),
        created: shown(token.created),
        last_used: token.used.map(shown),
        ..TokenStatus::default()
    }
}

fn hash(secret: &str) -> Arc<[u8]> {
    Sha256::digest(secret.as_bytes()).as_slice().into()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(application: &str, tag: Option<&str>) -> TokenRequest {
        let (application, tag) = (application.to_owned(), tag.map(str::to_owned));
        TokenRequest { application, tag, namespace: None }
    }

    #[test]
    fn one_that_was_made_is_good_until_it_is_removed_and_no_other_is() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_501_800);
        let (token, secret) = make(request("app-a", None), now).unwrap();
        let id = token.id.clone();
        let mut tokens = Tokens::new([token]);
        assert_eq!(tokens.list()[0].last_used, None);
        for wrong in
            ["", "laneway_", &format!("laneway_{id}_"), &secret[1..], &secret[..secret.len() - 1]]
        {
            assert!(tokens.holder(wrong, now).is_none(), "{wrong}");
        }
        let (_, note) = tokens.holder(&secret, now).unwrap();
        assert!(matches!(note, Some(Change::UseToken { used: 1_795_501_800, .. })));
        // Not for every reconnect.
        let (_, note) = tokens.holder(&secret, now + USE_NOTED_EVERY / 2).unwrap();
        assert!(note.is_none());
        assert!(tokens.holder(&secret, now + USE_NOTED_EVERY).unwrap().1.is_some());
        assert_eq!(tokens.list()[0].last_used.as_deref(), Some("2026-11-24T07:30:00Z"));
        tokens.remove(&id);
        assert!(tokens.holder(&secret, now).is_none());
    }

    #[test]
    fn what_names_no_application_or_tag_is_refused_by_field() {
        let long = "a".repeat(254);
        for (application, tag, field) in [
            ("", None, "application"),
            ("a/b", None, "application"),
            ("a b", None, "application"),
            (&long, None, "application"),
            ("app-a", Some("-gray"), "tag"),
        ] {
            let problem = make(request(application, tag), UNIX_EPOCH).unwrap_err();
            assert_eq!(problem.field.as_str(), field, "{application} {tag:?}");
        }
        for base in ["", "base"] {
            let (token, _) = make(request("app-a", Some(base)), UNIX_EPOCH).unwrap();
            assert_eq!(status(&token).tag.as_deref(), Some("base"));
        }
    }
}
