//! Who may use the API, and for what: users with a role in a namespace, their sessions, tokens of the API.
//!
//! Of a password, a session and a token only a hash is kept. A session or a token of a user may never do more than the
//! user may at the moment it is shown, and is good no longer when the user is gone.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{
    rest::{ApiTokenStatus, AuthorKind, EVERYWHERE, Grant, Role, UserStatus},
    time::rfc3339,
};
use lanes::Problem;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::{
    audit::Authorship,
    store::{Account, AccountId, Change, StoredCredential, StoredUser},
};

mod arrival;
mod caller;
mod of_control;
mod password;
mod refused;
mod slowing;

pub use arrival::{Arrival, Shown, cookie_name, forgotten_cookie, says_which_page_asks, shown_by};
pub(crate) use arrival::{device, device_cookie_name, kept_cookie};
pub use caller::Caller;
pub use of_control::check_first_password;
pub(crate) use of_control::{Entrant, Entry, PersonError, tell_refused};
use refused::RefusedSignIns;
use slowing::{Attempt, Slowing};

/// What every session and token of the API begins with, so that people and scanners of secrets know one.
const PREFIX: &str = "laneway_api_";

/// Users: people who operate one installation.
const USERS_MAX: usize = 1_000;

/// Tokens of the API: a few for each user and pipeline.
const TOKENS_MAX: usize = 2_000;

/// Sessions of one user: his browsers. The oldest makes room.
const SESSIONS_PER_USER_MAX: usize = 16;

/// Tokens of one user that `laneway login` keeps: his machines. The oldest makes room.
const LOGINS_PER_USER_MAX: usize = 16;

/// Other tokens of one user.
const TOKENS_PER_USER_MAX: usize = 100;

/// Browsers of one user that are known to be his.
const DEVICES_MAX: usize = 16;

/// How long a one-time password is good: whoever was told it uses it, whoever finds it in a log later does not.
const ONE_TIME_LASTS: Duration = Duration::from_secs(72 * 3600);

/// Grants of one user: a role in each namespace he works in.
const GRANTS_MAX: usize = 64;

/// How long a session lasts at most.
pub(crate) const SESSION_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a session lasts that nobody uses.
const SESSION_IDLE: Duration = Duration::from_secs(24 * 3600);

/// How long the token lasts that `laneway login` keeps.
const LOGIN_LASTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// How exactly the store remembers when something was shown.
const USE_NOTED_EVERY: Duration = Duration::from_secs(3600);

/// Bytes of names.
const NAME_BYTES_MAX: usize = 63;

/// Everybody who may use the API beside whoever is known by the machine.
#[derive(Debug)]
pub(crate) struct People {
    users: BTreeMap<String, StoredUser>,
    credentials: BTreeMap<String, Kept>,
    slowing: Slowing,
    refused: RefusedSignIns,
    /// Held by whoever changes people, from reading them to what is in force.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Told of every change of who may do what.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Kept {
    credential: StoredCredential,
    /// When the store was last told of a use.
    noted: u64,
}

impl People {
    /// As the store has them.
    pub(crate) fn new(stored: Vec<Account>) -> Self {
        let mut people = Self {
            users: BTreeMap::new(),
            credentials: BTreeMap::new(),
            slowing: Slowing::default(),
            refused: RefusedSignIns::default(),
            changing: Arc::default(),
            changed: watch::Sender::new(()),
        };
        stored.into_iter().for_each(|account| people.put(account));
        people
    }

    fn put(&mut self, account: Account) {
        match account {
            Account::User(user) => drop(self.users.insert(user.name.clone(), user)),
            Account::Credential(credential) => {
                let noted = credential.used.unwrap_or(credential.created);
                let kept = Kept { credential, noted };
                self.credentials.insert(kept.credential.id.clone(), kept);
            }
        }
    }

    /// Does what the store has done.
    fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PutAccount { account, .. } => self.put(account.clone()),
                Change::RemoveAccount(AccountId::User(name)) => drop(self.users.remove(name)),
                Change::RemoveAccount(AccountId::Credential(id)) => {
                    self.credentials.remove(id);
                }
                _ => {}
            }
        }
        self.changed.send_replace(());
    }

    /// Sessions and tokens of a user.
    fn credentials_of(&self, user: &str) -> impl Iterator<Item = &StoredCredential> {
        let all = self.credentials.values().map(|kept| &kept.credential);
        all.filter(move |credential| credential.user.as_deref() == Some(user))
    }

    /// Who shows this text to `authority`, and what the store should note of it; `None` when it is good for nothing.
    pub(crate) fn caller(
        &mut self,
        shown: &str,
        authority: Option<&str>,
        now: SystemTime,
    ) -> Option<(Caller, Option<Change>)> {
        let (id, _) = shown.strip_prefix(PREFIX)?.split_once('_')?;
        let kept = self.credentials.get_mut(id)?;
        let is_shown: bool = hash(shown).as_bytes().ct_eq(kept.credential.hash.as_bytes()).into();
        let credential = &kept.credential;
        let is_here =
            credential.authority.is_none() || credential.authority.as_deref() == authority;
        if !is_shown || !is_here || ends(credential) <= seconds(now) {
            return None;
        }
        kept.credential.used = Some(seconds(now));
        let is_due = seconds(now).abs_diff(kept.noted) >= USE_NOTED_EVERY.as_secs();
        if is_due {
            kept.noted = seconds(now);
        }
        let credential = kept.credential.clone();
        let caller = self.known_by(&credential)?;
        let note = is_due.then(|| Change::PutAccount {
            account: Account::Credential(credential),
            only_there: true,
        });
        Some((caller, note))
    }

    /// Who has a credential, as things stand now.
    fn known_by(&self, credential: &StoredCredential) -> Option<Caller> {
        let user = match &credential.user {
            Some(name) => {
                let user = self.users.get(name)?;
                Some(user).filter(|user| Some(&user.id) == credential.user_id.as_ref())
            }
            None => None,
        };
        if credential.user.is_some() != user.is_some() {
            return None;
        }
        let grants = match (user, &credential.grant) {
            (Some(user), None) => user.grants.clone(),
            (Some(user), Some(grant)) => within(&user.grants, grant),
            (None, grant) => grant.iter().cloned().collect(),
        };
        let by = match (&credential.name, user) {
            (None, Some(user)) => Authorship::of(AuthorKind::User, &user.name),
            (Some(name), Some(user)) => {
                Authorship::of(AuthorKind::Token, format!("{name} of {}", user.name))
            }
            (name, None) => Authorship::of(AuthorKind::Token, name.clone().unwrap_or_default()),
        };
        let must_change = user.is_some_and(|user| user.must_change);
        Some(Caller::of_credential(by, grants, credential, must_change))
    }

    /// Whether a caller is still who he was, and may still do the same.
    pub(crate) fn is_still(&self, caller: &Caller, now: SystemTime) -> bool {
        let Some(id) = caller.credential() else { return true };
        let kept = self.credentials.get(id).map(|kept| &kept.credential);
        let there = kept.filter(|credential| ends(credential) > seconds(now));
        let now = there.and_then(|credential| self.known_by(credential));
        now.is_some_and(|now| now.grants() == caller.grants())
    }

    /// What ended by itself, and is kept for nothing.
    fn ended(&self, now: SystemTime) -> Vec<Change> {
        let all = self.credentials.values().map(|kept| &kept.credential);
        let is_over = |credential: &&StoredCredential| {
            ends(credential) <= seconds(now) || self.known_by(credential).is_none()
        };
        all.filter(is_over).map(remove).collect()
    }

    /// The oldest of some credentials of a user that make room for another one.
    fn make_room(
        &self,
        user: &str,
        most: usize,
        which: impl Fn(&StoredCredential) -> bool,
    ) -> Vec<Change> {
        let mut some: Vec<_> = self.credentials_of(user).filter(|it| which(it)).collect();
        some.sort_by_key(|credential| credential.created);
        let too_many = (some.len() + 1).saturating_sub(most);
        some.into_iter().take(too_many).map(remove).collect()
    }

    /// Tells of every change of who may do what.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Every user, by name.
    pub(crate) fn users(&self) -> Vec<UserStatus> {
        self.users.values().map(user_status).collect()
    }

    /// Tokens of a user, of all for `None`, in order of their creation.
    pub(crate) fn tokens(&self, of: Option<&str>) -> Vec<ApiTokenStatus> {
        let all = self.credentials.values().map(|kept| &kept.credential);
        let mut tokens: Vec<&StoredCredential> = all
            .filter(|credential| credential.name.is_some())
            .filter(|credential| of.is_none() || credential.user.as_deref() == of)
            .collect();
        tokens.sort_by_key(|credential| (credential.created, &credential.id));
        tokens.into_iter().map(token_status).collect()
    }
}

fn remove(credential: &StoredCredential) -> Change {
    Change::RemoveAccount(AccountId::Credential(credential.id.clone()))
}

/// When a credential ends, used as it was until now: seconds since 1970.
fn ends(credential: &StoredCredential) -> u64 {
    let idle = match credential.name {
        Some(_) => u64::MAX,
        None => credential.used.unwrap_or(credential.created) + SESSION_IDLE.as_secs(),
    };
    credential.expires.min(idle)
}

/// What is left of a grant for somebody who has these.
fn within(grants: &[Grant], wanted: &Grant) -> Vec<Grant> {
    let meet = |grant: &Grant| {
        let namespace = match (grant.namespace.as_str(), wanted.namespace.as_str()) {
            (EVERYWHERE, namespace) | (namespace, EVERYWHERE) => namespace,
            (one, other) if one == other => one,
            _ => return None,
        };
        let role = grant.role.min(wanted.role);
        Some(Grant { role, namespace: namespace.to_owned() })
    };
    grants.iter().filter_map(meet).collect()
}

/// Whether grants allow something in a namespace; [`EVERYWHERE`]: in all, and what is in none.
pub(crate) fn allow(grants: &[Grant], role: Role, namespace: &str) -> bool {
    let is_there = |grant: &&Grant| grant.namespace == EVERYWHERE || grant.namespace == namespace;
    grants.iter().filter(is_there).any(|grant| grant.role >= role)
}

/// That a name is good for a user.
fn check_user_name(name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || b"._@-".contains(&byte));
    let remedy = "use 1 to 63 of a-z, 0-9, `.`, `_`, `@`, `-`, the first a letter or a digit";
    if is_good { Ok(()) } else { Err(Problem::new("name", name, remedy)) }
}

/// That these can be granted: at least one, each with a namespace, none twice.
fn check_grants(grants: &[Grant]) -> Result<(), Problem> {
    if grants.is_empty() || grants.len() > GRANTS_MAX {
        let remedy = format!("grant 1 to {GRANTS_MAX} roles");
        return Err(Problem::new("grants", grants.len().to_string(), remedy));
    }
    for (index, grant) in grants.iter().enumerate() {
        check_namespace(&format!("grants[{index}].namespace"), &grant.namespace)?;
        if grants[..index].iter().any(|other| other.namespace == grant.namespace) {
            let field = format!("grants[{index}].namespace");
            let remedy = "grant one role there: a role includes those before it";
            return Err(Problem::new(field, &grant.namespace, remedy));
        }
    }
    Ok(())
}

fn check_namespace(field: &str, namespace: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'*';
    let is_good = namespace == EVERYWHERE
        || (!namespace.is_empty() && namespace.len() <= 253 && namespace.bytes().all(allowed));
    if is_good { Ok(()) } else { Err(Problem::new(field, namespace, "name a namespace, or `*`")) }
}

/// A new secret, its public part and its hash.
fn secret() -> (String, String, String) {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let id = random()[..12].to_owned();
    // No hash of 244 random bits can be guessed back, however fast it is.
    let secret = format!("{PREFIX}{id}_{}{}", random(), random());
    let hash = hash(&secret);
    (secret, id, hash)
}

fn hash(secret: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(secret.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn user_status(user: &StoredUser) -> UserStatus {
    UserStatus {
        name: user.name.clone(),
        grants: user.grants.clone(),
        must_change_password: user.must_change,
        created: shown(user.created),
        last_signed_in: user.signed_in.map(shown),
    }
}

fn token_status(credential: &StoredCredential) -> ApiTokenStatus {
    ApiTokenStatus {
        id: credential.id.clone(),
        name: credential.name.clone().unwrap_or_default(),
        owner: credential.user.clone(),
        grant: credential.grant.clone(),
        created: shown(credential.created),
        expires: shown(credential.expires),
        last_used: credential.used.map(shown),
    }
}

fn shown(seconds: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
