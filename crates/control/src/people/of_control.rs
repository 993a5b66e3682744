//! What the control plane does for people: signs them in and out, makes users and tokens of the API, and says who asks.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use api::rest::{
    Action, ApiTokenCreated, ApiTokenRequest, ApiTokenStatus, EVERYWHERE, FieldChange, Grant,
    PasswordChange, Role, SignInRequest, UserCreated, UserRequest, UserStatus,
};
use lanes::Problem;
use parking_lot::MutexGuard;

use super::{
    Caller, LOGIN_LASTS, NAME_BYTES_MAX, People, SESSION_LASTS, SESSIONS_PER_USER_MAX, TOKENS_MAX,
    USERS_MAX, allow, check_grants, check_namespace, check_user_name, password, seconds, secret,
    token_status, user_status,
};
use crate::{
    Control, Rejection,
    audit::{self, Authorship},
    store::{Account, AccountId, Change, StoredCredential, StoredUser},
};

/// The user that is there at first.
const FIRST: &str = "admin";

/// Days a token of the API is good for unless told, and at most.
const TOKEN_DAYS: u32 = 90;
const TOKEN_DAYS_MAX: u32 = 366;

/// Bytes of a password that is looked at: longer ones are nobody's.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// Why something was not done for somebody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonError {
    /// What was written cannot be.
    #[error("{0}")]
    Invalid(Problem),
    /// User or password is wrong; which of them is not told.
    #[error("user or password is wrong")]
    Wrong,
    /// Too many attempts.
    #[error("too many attempts: try again in {} s", .0.as_secs() + 1)]
    Slowed(Duration),
    /// There is none.
    #[error("there is no {0}")]
    Unknown(String),
    /// There is one.
    #[error("there is a {0} already")]
    Exists(String),
    /// No more fit.
    #[error("there are too many {0}: remove those that are not used")]
    TooMany(&'static str),
    /// It would be more than he may himself.
    #[error("{0} is more than you may: you can grant what you may yourself")]
    MoreThanOwn(Grant),
    /// Only somebody who signed in has one.
    #[error("you have not signed in as a user: there is no password to change")]
    NoUser,
    /// It cannot be kept.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Somebody who signed in.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Who.
    pub(crate) caller: Caller,
    /// What he shows from now on.
    pub(crate) secret: String,
}

impl Control {
    pub(crate) fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock()
    }

    /// Who shows this text, a session or a token of the API, to `authority`; `None` when it is good for nothing.
    pub fn caller(self: &Arc<Self>, shown: &str, authority: Option<&str>) -> Option<Caller> {
        let (caller, note) = self.people().caller(shown, authority, SystemTime::now())?;
        if let Some(note) = note {
            let control = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(rejection) = control.ledger().journal(note).await {
                    tracing::warn!(error = %rejection, "when a session or token was used could not be kept");
                }
            });
        }
        Some(caller)
    }

    /// Whether there is any user.
    pub fn has_users(&self) -> bool {
        !self.people().users.is_empty()
    }

    /// Makes the first user: `admin`, who may do everything. With the password given, or a one-time one,
    /// which is the answer and told nowhere else.
    pub async fn make_first_user(
        &self,
        chosen: Option<String>,
    ) -> Result<Option<String>, Rejection> {
        let must_change = chosen.is_none();
        let told = chosen.unwrap_or_else(password::one_time);
        let grants = vec![Grant { role: Role::Admin, namespace: EVERYWHERE.to_owned() }];
        let user = StoredUser {
            name: FIRST.to_owned(),
            grants,
            password: password::hash(told.clone()).await,
            must_change,
            created: seconds(SystemTime::now()),
            signed_in: None,
        };
        self.keep_user(user, Action::Created, Vec::new(), &Authorship::default()).await?;
        Ok(must_change.then_some(told))
    }

    /// Lets somebody in who knows his password.
    pub(crate) async fn sign_in(
        &self,
        request: SignInRequest,
        address: IpAddr,
        authority: Option<String>,
    ) -> Result<Entry, PersonError> {
        let SignInRequest { user: name, password, token_name } = request;
        if let Some(name) = &token_name {
            check_token_name("tokenName", name)?;
        }
        self.attempt(&name, address)?;
        let hash = self.people().users.get(&name).map(|user| user.password.clone());
        let is_readable = password.len() <= PASSWORD_BYTES_MAX;
        if !is_readable || !password::is_of(password, hash.clone()).await {
            tracing::info!(user = shortened(&name), %address, "signing in failed");
            return Err(PersonError::Wrong);
        }
        let now = SystemTime::now();
        // Whoever changed the password meanwhile shut this one out.
        let mut user = self.people().users.get(&name).cloned().ok_or(PersonError::Wrong)?;
        if Some(&user.password) != hash.as_ref() {
            return Err(PersonError::Wrong);
        }
        let is_session = token_name.is_none();
        if !is_session && self.people().tokens(None).len() >= TOKENS_MAX {
            return Err(PersonError::TooMany("tokens"));
        }
        user.signed_in = Some(seconds(now));
        let (secret, id, hash) = secret();
        let lasts = if is_session { SESSION_LASTS } else { LOGIN_LASTS };
        let credential = StoredCredential {
            id,
            user: Some(name.clone()),
            name: token_name,
            authority: authority.filter(|_| is_session),
            grant: None,
            hash,
            created: seconds(now),
            expires: seconds(now + lasts),
            used: Some(seconds(now)),
        };
        let mut changes: Vec<Change> = vec![
            Change::PutAccount { account: Account::User(user.clone()), only_there: true },
            Change::PutAccount {
                account: Account::Credential(credential.clone()),
                only_there: false,
            },
        ];
        let made_room = if is_session { self.too_many_sessions(&name, now) } else { Vec::new() };
        changes.extend(
            made_room.iter().cloned().map(AccountId::Credential).map(Change::RemoveAccount),
        );
        self.ledger().journal_all(changes).await?;
        let mut people = self.people();
        made_room.iter().for_each(|id| people.remove_credential(id));
        let there = people.users.get_mut(&name).ok_or(PersonError::Wrong)?;
        there.signed_in = user.signed_in;
        people.slowing.succeeded(&name, address);
        people.put(Account::Credential(credential.clone()));
        let caller = people.known_by(&credential).ok_or(PersonError::Wrong)?;
        Ok(Entry { caller, secret })
    }

    /// Slows down whoever guesses; told once in a while.
    fn attempt(&self, name: &str, address: IpAddr) -> Result<(), PersonError> {
        let attempt = self.people().slowing.attempt(name, address, Instant::now());
        attempt.map_err(|wait| {
            tracing::debug!(user = shortened(name), %address, "signing in is slowed down");
            PersonError::Slowed(wait)
        })
    }

    /// Sessions that end for another one of the same user: those that ended by themselves, and the oldest.
    fn too_many_sessions(&self, user: &str, now: SystemTime) -> Vec<String> {
        let people = self.people();
        let mut sessions: Vec<&StoredCredential> =
            people.credentials_of(user).filter(|credential| credential.name.is_none()).collect();
        sessions.sort_by_key(|session| session.created);
        let too_many = (sessions.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
        let ended = |(index, session): &(usize, &StoredCredential)| {
            *index < too_many || super::ends(session) <= seconds(now)
        };
        let ended = sessions.into_iter().enumerate().filter(ended);
        ended.map(|(_, session)| session.id.clone()).collect()
    }

    /// Ends what somebody shows.
    pub(crate) async fn sign_out(&self, caller: &Caller) -> Result<(), PersonError> {
        let Some(id) = caller.credential() else { return Ok(()) };
        self.end_credential(id, Vec::new()).await
    }

    async fn end_credential(&self, id: &str, entry: Vec<Change>) -> Result<(), PersonError> {
        let mut changes = vec![Change::RemoveAccount(AccountId::Credential(id.to_owned()))];
        changes.extend(entry);
        self.ledger().journal_all(changes).await?;
        self.people().remove_credential(id);
        Ok(())
    }

    /// Changes the password of whoever asks; his other sessions and tokens of `laneway login` end.
    pub(crate) async fn change_password(
        &self,
        caller: &Caller,
        change: PasswordChange,
        address: IpAddr,
    ) -> Result<(), PersonError> {
        let name = caller.user().ok_or(PersonError::NoUser)?.to_owned();
        let current = self.people().users.get(&name).cloned();
        let mut user = current.ok_or_else(|| unknown_user(&name))?;
        password::check(&name, Some(&change.current), &change.new).map_err(PersonError::Invalid)?;
        // Whoever finds a browser open must not guess here what he may not guess at the sign-in.
        self.attempt(&name, address)?;
        if !password::is_of(change.current, Some(user.password.clone())).await {
            return Err(PersonError::Wrong);
        }
        self.people().slowing.succeeded(&name, address);
        user.password = password::hash(change.new).await;
        user.must_change = false;
        self.keep_password(user, caller.by(), caller.credential()).await
    }

    /// A new password of a user: whoever is signed in as him is signed out, but for the one who asks.
    async fn keep_password(
        &self,
        user: StoredUser,
        by: &Authorship,
        but: Option<&str>,
    ) -> Result<(), PersonError> {
        let ended: Vec<String> = self
            .people()
            .credentials_of(&user.name)
            .filter(|credential| credential.grant.is_none() && Some(credential.id.as_str()) != but)
            .map(|credential| credential.id.clone())
            .collect();
        let mut more: Vec<Change> =
            ended.iter().cloned().map(AccountId::Credential).map(Change::RemoveAccount).collect();
        let about = format!("user {}", user.name);
        let told = vec![changed("password", None, Some("another".into()))];
        let now = SystemTime::now();
        more.push(audit::of_people(about, Action::Configured, told, by, now));
        let account = Account::User(user);
        more.push(Change::PutAccount { account: account.clone(), only_there: true });
        self.ledger().journal_all(more).await?;
        let mut people = self.people();
        ended.iter().for_each(|id| people.remove_credential(id));
        people.put(account);
        Ok(())
    }

    /// Makes a user with a one-time password.
    pub(crate) async fn create_user(
        &self,
        request: UserRequest,
        by: &Authorship,
    ) -> Result<UserCreated, PersonError> {
        let UserRequest { name, grants } = request;
        check_user_name(&name).map_err(PersonError::Invalid)?;
        check_grants(&grants).map_err(PersonError::Invalid)?;
        let told = password::one_time();
        let user = StoredUser {
            password: password::hash(told.clone()).await,
            must_change: true,
            created: seconds(SystemTime::now()),
            signed_in: None,
            name,
            grants,
        };
        {
            let people = self.people();
            if people.users.contains_key(&user.name) {
                return Err(PersonError::Exists(format!("user {}", user.name)));
            }
            if people.users.len() >= USERS_MAX {
                return Err(PersonError::TooMany("users"));
            }
        }
        let granted = grants_changed(&[], &user.grants);
        let status = user_status(&user);
        self.keep_user(user, Action::Created, granted, by).await?;
        Ok(UserCreated { user: status, one_time_password: told })
    }

    /// Says what a user may from now on.
    pub(crate) async fn grant(
        &self,
        name: &str,
        grants: Vec<Grant>,
        by: &Authorship,
    ) -> Result<UserStatus, PersonError> {
        check_grants(&grants).map_err(PersonError::Invalid)?;
        let there = self.people().users.get(name).cloned();
        let mut user = there.ok_or_else(|| unknown_user(name))?;
        let changes = grants_changed(&user.grants, &grants);
        user.grants = grants;
        let status = user_status(&user);
        self.keep_user(user, Action::Configured, changes, by).await?;
        Ok(status)
    }

    async fn keep_user(
        &self,
        user: StoredUser,
        action: Action,
        told: Vec<FieldChange>,
        by: &Authorship,
    ) -> Result<(), Rejection> {
        let entry =
            audit::of_people(format!("user {}", user.name), action, told, by, SystemTime::now());
        let account = Account::User(user);
        let only_there = action == Action::Configured;
        let put = Change::PutAccount { account: account.clone(), only_there };
        self.ledger().journal_all(vec![put, entry]).await?;
        self.people().put(account);
        Ok(())
    }

    /// Gives a user a new one-time password.
    pub(crate) async fn reset_password(
        &self,
        name: &str,
        by: &Authorship,
    ) -> Result<UserCreated, PersonError> {
        let there = self.people().users.get(name).cloned();
        let mut user = there.ok_or_else(|| unknown_user(name))?;
        let told = password::one_time();
        user.password = password::hash(told.clone()).await;
        user.must_change = true;
        let status = user_status(&user);
        self.keep_password(user, by, None).await?;
        Ok(UserCreated { user: status, one_time_password: told })
    }

    /// Removes a user, with his sessions and tokens.
    pub(crate) async fn delete_user(&self, name: &str, by: &Authorship) -> Result<(), PersonError> {
        let (mut changes, now) = (Vec::new(), SystemTime::now());
        {
            let people = self.people();
            let user = people.users.get(name).ok_or_else(|| unknown_user(name))?;
            let told = grants_changed(&user.grants, &[]);
            changes.push(audit::of_people(format!("user {name}"), Action::Deleted, told, by, now));
            changes.push(Change::RemoveAccount(AccountId::User(name.to_owned())));
            let theirs = people.credentials_of(name).map(|credential| credential.id.clone());
            changes.extend(theirs.map(AccountId::Credential).map(Change::RemoveAccount));
        }
        self.ledger().journal_all(changes).await?;
        self.people().remove_user(name);
        Ok(())
    }

    /// Makes a token of the API for whoever asks.
    pub(crate) async fn create_api_token(
        &self,
        caller: &Caller,
        request: ApiTokenRequest,
    ) -> Result<ApiTokenCreated, PersonError> {
        let ApiTokenRequest { name, grant, days } = request;
        check_token_name("name", &name)?;
        check_namespace("grant.namespace", &grant.namespace).map_err(PersonError::Invalid)?;
        let days = days.unwrap_or(TOKEN_DAYS);
        if !(1..=TOKEN_DAYS_MAX).contains(&days) {
            let remedy = format!("use 1 to {TOKEN_DAYS_MAX}");
            return Err(PersonError::Invalid(Problem::new("days", days.to_string(), remedy)));
        }
        if !allow(caller.grants(), grant.role, &grant.namespace) {
            return Err(PersonError::MoreThanOwn(grant));
        }
        if self.people().tokens(None).len() >= TOKENS_MAX {
            return Err(PersonError::TooMany("tokens"));
        }
        let now = SystemTime::now();
        let (secret, id, hash) = secret();
        let credential = StoredCredential {
            id,
            user: caller.user().map(str::to_owned),
            name: Some(name),
            authority: None,
            grant: Some(grant),
            hash,
            created: seconds(now),
            expires: seconds(now + Duration::from_secs(u64::from(days) * 24 * 3600)),
            used: None,
        };
        let token = token_status(&credential);
        let entry = of_token(&token, Action::Created, caller.by());
        let account = Account::Credential(credential);
        let put = Change::PutAccount { account: account.clone(), only_there: false };
        self.ledger().journal_all(vec![put, entry]).await?;
        self.people().put(account);
        Ok(ApiTokenCreated { token, secret })
    }

    /// Tokens of whoever asks; of everybody for whoever may see them.
    pub(crate) fn api_tokens(&self, caller: &Caller) -> Vec<ApiTokenStatus> {
        if caller.may_everywhere(Role::Admin) {
            return self.people().tokens(None);
        }
        caller.user().map_or_else(Vec::new, |user| self.people().tokens(Some(user)))
    }

    /// Revokes a token that whoever asks may see.
    pub(crate) async fn revoke_api_token(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(), PersonError> {
        let found = self.api_tokens(caller).into_iter().find(|token| token.id == id);
        let token = found.ok_or_else(|| PersonError::Unknown(format!("token `{id}` of yours")))?;
        let entry = of_token(&token, Action::Deleted, caller.by());
        self.end_credential(id, vec![entry]).await
    }

    /// Returns when a caller is no longer who he was, or may no longer do the same.
    pub(crate) async fn until_other(&self, caller: &Caller) {
        let mut changed = self.people().changed();
        let ends = caller.expires().map(|ends| ends.saturating_sub(seconds(SystemTime::now())));
        let ended = async {
            match ends {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let other = async {
            while self.people().is_still(caller, SystemTime::now()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = ended => {}
            () = other => {}
        }
    }
}

/// That the first user may have this password.
pub fn check_first_password(password: &str) -> Result<(), Problem> {
    password::check(FIRST, None, password)
}

fn unknown_user(name: &str) -> PersonError {
    PersonError::Unknown(format!("user `{name}`"))
}

/// A name as it is logged: whoever signs in may write anything.
fn shortened(name: &str) -> String {
    name.chars().take(NAME_BYTES_MAX).filter(|letter| !letter.is_control()).collect()
}

fn check_token_name(field: &str, name: &str) -> Result<(), PersonError> {
    let is_good = !name.trim().is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(char::is_control);
    let remedy = format!("say in 1 to {NAME_BYTES_MAX} bytes what it is for");
    if is_good { Ok(()) } else { Err(PersonError::Invalid(Problem::new(field, name, remedy))) }
}

fn of_token(token: &ApiTokenStatus, action: Action, by: &Authorship) -> Change {
    let grant = token.grant.as_ref().map(|grant| grant.to_string().into());
    let told = match action {
        Action::Deleted => vec![changed("grant", grant, None)],
        _ => vec![
            changed("grant", None, grant),
            changed("expires", None, Some(token.expires.clone().into())),
        ],
    };
    let about = format!("token {} ({})", token.name, token.id);
    audit::of_people(about, action, told, by, SystemTime::now())
}

fn grants_changed(before: &[Grant], after: &[Grant]) -> Vec<FieldChange> {
    let told = |grants: &[Grant]| {
        let words: Vec<String> = grants.iter().map(Grant::to_string).collect();
        (!words.is_empty()).then(|| words.join(", ").into())
    };
    vec![changed("grants", told(before), told(after))]
}

fn changed(
    field: &str,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
) -> FieldChange {
    FieldChange { field: field.to_owned(), before, after, taken_back: false }
}
