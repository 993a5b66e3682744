//! What the control plane does for people: signs them in and out, makes users and tokens of the API, and says who asks.
//!
//! People are changed one change at a time ([`Control::change_people`]): read as they are, made durable, and in force when
//! that is done, also when whoever asked for it has gone. What takes long, such as hashing, is done before.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use api::rest::{
    Action, ApiTokenCreated, ApiTokenRequest, ApiTokenStatus, AuthorKind, EVERYWHERE, FieldChange,
    Grant, PasswordChange, Role, SignInRequest, UserCreated, UserRequest, UserStatus,
};
use lanes::Problem;
use parking_lot::MutexGuard;
use tokio::time::MissedTickBehavior;

use super::{
    Attempt, Caller, DEVICES_MAX, LOGIN_LASTS, LOGINS_PER_USER_MAX, NAME_BYTES_MAX, ONE_TIME_LASTS,
    People, SESSION_LASTS, SESSIONS_PER_USER_MAX, TOKENS_MAX, TOKENS_PER_USER_MAX, USERS_MAX,
    allow, check_grants, check_namespace, check_user_name, hash, password, refused::Attempted,
    remove, seconds, secret, token_status, user_status,
};
use crate::{
    Control, Rejection,
    audit::{self, Authorship, changed},
    store::{Account, AccountId, Change, StoredCredential, StoredUser},
};

/// The user that is there at first.
const FIRST: &str = "admin";

/// Days a token of the API is good for unless told, and at most.
const TOKEN_DAYS: u32 = 90;
const TOKEN_DAYS_MAX: u32 = 366;

/// Bytes of a password that is looked at: longer ones are nobody's.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// How long refused sign-ins are counted into one entry of the audit.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Tells the audit of refused sign-ins for as long as the control plane is there.
pub(crate) async fn tell_refused(control: Weak<Control>) {
    let mut ticks = tokio::time::interval(REFUSED_TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(control) = control.upgrade() else { return };
        control.keep_refused().await;
    }
}

/// Why something was not done for somebody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonError {
    /// What was written cannot be.
    #[error("{0}")]
    Invalid(Problem),
    /// User or password is wrong; which of them is not told.
    #[error("user or password is wrong")]
    Wrong,
    /// The one-time password was not used in time.
    #[error("the one-time password has ended: have another made with `laneway user passwd {0}`")]
    Ended(String),
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
    /// A token for a program makes and ends no others.
    #[error("a token with a role makes and revokes no tokens: sign in, or ask on the machine")]
    Scoped,
    /// Nobody is asked who he is: what he makes would be good when that is over.
    #[error(
        "api-auth is none: users and tokens are changed when the control plane asks who does it"
    )]
    NobodyAsked,
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
    /// What his browser shows of itself from now on, when it is new.
    pub(crate) device: Option<String>,
}

/// From where somebody signs in.
#[derive(Debug, Clone)]
pub(crate) struct Entrant {
    /// The address of the other end.
    pub(crate) address: IpAddr,
    /// The host and port that were asked.
    pub(crate) authority: Option<String>,
    /// What his browser shows of itself.
    pub(crate) device: Option<String>,
}

impl Control {
    pub(crate) fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock()
    }

    /// Changes people by what they are when nobody else changes them.
    async fn change_people<T: Send + 'static>(
        self: &Arc<Self>,
        plan: impl FnOnce(&People) -> Result<(Vec<Change>, T), PersonError> + Send + 'static,
    ) -> Result<T, PersonError> {
        let control = Arc::clone(self);
        let changing = tokio::spawn(async move {
            let changing = Arc::clone(&control.people().changing);
            let _alone = changing.lock().await;
            let (changes, answer) = plan(&control.people())?;
            control.ledger().journal_all(changes.clone()).await?;
            control.people().follow(&changes);
            Ok(answer)
        });
        changing.await.unwrap_or(Err(PersonError::Rejected(Rejection::Stopping)))
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

    /// Makes the first user: `admin`, who may do everything. With the password given, or a one-time one, which is the answer
    /// and told nowhere else.
    pub async fn make_first_user(
        self: &Arc<Self>,
        chosen: Option<String>,
    ) -> Result<Option<String>, Rejection> {
        let must_change = chosen.is_none();
        let told = chosen.unwrap_or_else(password::one_time);
        let grants = vec![Grant { role: Role::Admin, namespace: EVERYWHERE.to_owned() }];
        let user = new_user(FIRST.to_owned(), grants, &told, must_change).await;
        let made = self.change_people(move |_| {
            let changes = vec![
                of_user(&user, Action::Created, Vec::new(), &Authorship::default()),
                put(Account::User(user)),
            ];
            Ok((changes, ()))
        });
        match made.await {
            Ok(()) => Ok(must_change.then_some(told)),
            Err(PersonError::Rejected(rejection)) => Err(rejection),
            Err(other) => unreachable!("the first user is as good as any: {other}"),
        }
    }

    /// Lets somebody in who knows his password.
    pub(crate) async fn sign_in(
        self: &Arc<Self>,
        request: SignInRequest,
        from: Entrant,
    ) -> Result<Entry, PersonError> {
        let SignInRequest { user: name, password, token_name } = request;
        if let Some(name) = &token_name {
            check_token_name("tokenName", name)?;
        }
        // What no user can be called is not looked at any further, nor kept anywhere.
        if check_user_name(&name).is_err() {
            self.refused(Attempted::SignIn(None), from.address, false);
            return Err(PersonError::Wrong);
        }
        let there = self.people().users.get(&name).cloned();
        let attempted = Attempted::SignIn(there.as_ref().map(|user| user.name.clone()));
        let address = from.address;
        let entered = self.enter(name, password, token_name, from, there).await;
        if let Err(PersonError::Wrong | PersonError::Ended(_) | PersonError::Slowed(_)) = &entered {
            self.refused(attempted, address, matches!(&entered, Err(PersonError::Slowed(_))));
        }
        entered
    }

    async fn enter(
        self: &Arc<Self>,
        name: String,
        password: String,
        token_name: Option<String>,
        from: Entrant,
        there: Option<StoredUser>,
    ) -> Result<Entry, PersonError> {
        let shown = from.device.as_deref().map(hash);
        let device = there.as_ref().and_then(|user| known_device(user, shown.as_deref()));
        let attempt = Attempt { account: &name, address: from.address, device: device.as_deref() };
        self.attempt(attempt)?;
        let is_readable = password.len() <= PASSWORD_BYTES_MAX;
        let hashed = there.as_ref().map(|user| user.password.clone());
        if !is_readable || !password::is_of(password, hashed.clone()).await {
            return Err(PersonError::Wrong);
        }
        self.people().slowing.succeeded(attempt, Instant::now());
        let is_new_device = token_name.is_none() && device.is_none();
        let (secret, id, hash_of_secret) = secret();
        let new_device = is_new_device.then(|| super::secret().0);
        let device_hash = new_device.as_deref().map(hash);
        let entering = self.change_people(move |people| {
            let now = SystemTime::now();
            // Whoever changed the password meanwhile shut this one out.
            let user =
                people.users.get(&name).filter(|user| Some(&user.password) == hashed.as_ref());
            let mut user = user.cloned().ok_or(PersonError::Wrong)?;
            if is_over(&user, now) {
                return Err(PersonError::Ended(name));
            }
            user.signed_in = Some(seconds(now));
            user.devices.extend(device_hash);
            let too_many = user.devices.len().saturating_sub(DEVICES_MAX);
            user.devices.drain(..too_many);
            let credential =
                session_or_login(&user, id, token_name, from.authority, hash_of_secret, now);
            let mut changes = people.ended(now);
            changes.extend(match credential.name {
                None => people.make_room(&name, SESSIONS_PER_USER_MAX, |it| it.name.is_none()),
                Some(_) => people.make_room(&name, LOGINS_PER_USER_MAX, is_login),
            });
            let must_change = user.must_change;
            let grants = user.grants.clone();
            changes.push(put(Account::User(user)));
            let by = Authorship::of(AuthorKind::User, &name);
            changes.push(of_entry(&credential, Action::Created, from.address, &by, now));
            let caller = Caller::of_credential(by, grants, &credential, must_change);
            changes.push(put(Account::Credential(credential)));
            Ok((changes, caller))
        });
        let caller = entering.await?;
        Ok(Entry { caller, secret, device: new_device })
    }

    /// Slows down whoever guesses.
    fn attempt(&self, attempt: Attempt<'_>) -> Result<(), PersonError> {
        let taken = self.people().slowing.attempt(attempt, Instant::now());
        taken.map_err(PersonError::Slowed)
    }

    /// Ends what somebody shows. Whoever signs out has it no longer; that of a program is revoked by whoever made it.
    pub(crate) async fn sign_out(
        self: &Arc<Self>,
        caller: &Caller,
        address: IpAddr,
    ) -> Result<(), PersonError> {
        if caller.is_scoped() {
            return Err(PersonError::Scoped);
        }
        let Some(id) = caller.credential().map(str::to_owned) else { return Ok(()) };
        let by = caller.by().clone();
        self.change_people(move |people| {
            // It may have ended meanwhile.
            let there = people.credentials.get(&id).map(|kept| &kept.credential);
            let now = SystemTime::now();
            let entry = there.map(|it| of_entry(it, Action::Deleted, address, &by, now));
            let end = Change::RemoveAccount(AccountId::Credential(id));
            Ok((entry.into_iter().chain([end]).collect(), ()))
        })
        .await
    }

    /// Counts who was refused, for the audit.
    fn refused(self: &Arc<Self>, what: Attempted, address: IpAddr, was_slowed: bool) {
        let now = SystemTime::now();
        let entry = self.people().refused.add(what, address, was_slowed, now);
        // Nobody waits for it: how long that takes would tell whether there is such a user.
        if let Some(entry) = entry {
            let control = Arc::clone(self);
            tokio::spawn(async move { control.keep_entries(vec![entry]).await });
        }
    }

    /// Keeps what was counted of refused sign-ins.
    pub(crate) async fn keep_refused(&self) {
        let entries = self.people().refused.take(SystemTime::now());
        if !entries.is_empty() {
            self.keep_entries(entries).await;
        }
    }

    async fn keep_entries(&self, entries: Vec<Change>) {
        if let Err(rejection) = self.ledger().journal_all(entries).await {
            tracing::warn!(error = %rejection, "refused sign-ins could not be kept in the audit");
        }
    }

    /// Changes the password of whoever asks; where else he is signed in, that ends.
    pub(crate) async fn change_password(
        self: &Arc<Self>,
        caller: &Caller,
        change: PasswordChange,
        address: IpAddr,
    ) -> Result<(), PersonError> {
        if caller.is_scoped() {
            return Err(PersonError::Scoped);
        }
        let name = caller.user().ok_or(PersonError::NoUser)?.to_owned();
        let there = self.people().users.get(&name).cloned();
        let was = there.ok_or_else(|| unknown_user(&name))?;
        password::check(&name, Some(&change.current), &change.new).map_err(PersonError::Invalid)?;
        // Whoever finds a browser open guesses here no faster than elsewhere, and takes from that session alone.
        let attempt = Attempt { account: &name, address, device: caller.credential() };
        let attempted = Attempted::PasswordChange(name.clone());
        if let Err(slowed) = self.attempt(attempt) {
            self.refused(attempted, address, true);
            return Err(slowed);
        }
        let is_readable = change.current.len() <= PASSWORD_BYTES_MAX;
        if !is_readable || !password::is_of(change.current, Some(was.password.clone())).await {
            self.refused(attempted, address, false);
            return Err(PersonError::Wrong);
        }
        self.people().slowing.succeeded(attempt, Instant::now());
        let hashed = password::hash(change.new).await;
        let (by, own) = (caller.by().clone(), caller.credential().map(str::to_owned));
        self.change_people(move |people| {
            let user = people.users.get(&name).filter(|user| user.password == was.password);
            let user = user.cloned().ok_or(PersonError::Wrong)?;
            let stays = |it: &StoredCredential| it.grant.is_some() || Some(&it.id) == own.as_ref();
            Ok((with_password(people, user, hashed, false, stays, &by), ()))
        })
        .await
    }

    /// Makes a user with a one-time password.
    pub(crate) async fn create_user(
        self: &Arc<Self>,
        request: UserRequest,
        by: &Authorship,
    ) -> Result<UserCreated, PersonError> {
        refuse_anybody(by)?;
        let UserRequest { name, grants } = request;
        check_user_name(&name).map_err(PersonError::Invalid)?;
        check_grants(&grants).map_err(PersonError::Invalid)?;
        let told = password::one_time();
        let user = new_user(name, grants, &told, true).await;
        let by = by.clone();
        self.change_people(move |people| {
            if people.users.contains_key(&user.name) {
                return Err(PersonError::Exists(format!("user {}", user.name)));
            }
            if people.users.len() >= USERS_MAX {
                return Err(PersonError::TooMany("users"));
            }
            let entry = of_user(&user, Action::Created, grants_changed(&[], &user.grants), &by);
            let created = UserCreated { user: user_status(&user), one_time_password: told };
            Ok((vec![entry, put(Account::User(user))], created))
        })
        .await
    }

    /// Says what a user may from now on.
    pub(crate) async fn grant(
        self: &Arc<Self>,
        name: &str,
        grants: Vec<Grant>,
        by: &Authorship,
    ) -> Result<UserStatus, PersonError> {
        refuse_anybody(by)?;
        check_grants(&grants).map_err(PersonError::Invalid)?;
        let (name, by) = (name.to_owned(), by.clone());
        self.change_people(move |people| {
            let mut user = people.users.get(&name).cloned().ok_or_else(|| unknown_user(&name))?;
            let told = grants_changed(&user.grants, &grants);
            user.grants = grants;
            let status = user_status(&user);
            let entry = of_user(&user, Action::Configured, told, &by);
            Ok((vec![entry, put(Account::User(user))], status))
        })
        .await
    }

    /// Gives a user a new one-time password, and ends everything that was his: somebody else may have had it.
    pub(crate) async fn reset_password(
        self: &Arc<Self>,
        name: &str,
        by: &Authorship,
    ) -> Result<UserCreated, PersonError> {
        refuse_anybody(by)?;
        let told = password::one_time();
        let hashed = password::hash(told.clone()).await;
        let (name, by) = (name.to_owned(), by.clone());
        self.change_people(move |people| {
            let mut user = people.users.get(&name).cloned().ok_or_else(|| unknown_user(&name))?;
            user.devices.clear();
            let status = UserStatus { must_change_password: true, ..user_status(&user) };
            let changes = with_password(people, user, hashed, true, |_| false, &by);
            Ok((changes, UserCreated { user: status, one_time_password: told }))
        })
        .await
    }

    /// Removes a user, with his sessions and tokens.
    pub(crate) async fn delete_user(
        self: &Arc<Self>,
        name: &str,
        by: &Authorship,
    ) -> Result<(), PersonError> {
        refuse_anybody(by)?;
        let (name, by) = (name.to_owned(), by.clone());
        self.change_people(move |people| {
            let user = people.users.get(&name).ok_or_else(|| unknown_user(&name))?;
            let told = grants_changed(&user.grants, &[]);
            let mut changes = vec![of_user(user, Action::Deleted, told, &by)];
            changes.extend(people.credentials_of(&name).map(remove));
            changes.push(Change::RemoveAccount(AccountId::User(name)));
            Ok((changes, ()))
        })
        .await
    }

    /// Makes a token of the API for whoever asks.
    pub(crate) async fn create_api_token(
        self: &Arc<Self>,
        caller: &Caller,
        request: ApiTokenRequest,
    ) -> Result<ApiTokenCreated, PersonError> {
        refuse_anybody(caller.by())?;
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
        if caller.is_scoped() {
            return Err(PersonError::Scoped);
        }
        let (secret, id, hash) = secret();
        let (owner, by) = (caller.user().map(str::to_owned), caller.by().clone());
        self.change_people(move |people| {
            let now = SystemTime::now();
            let user = match &owner {
                Some(name) => Some(people.users.get(name).ok_or_else(|| unknown_user(name))?),
                None => None,
            };
            let mut changes = people.ended(now);
            let is_token = |it: &&StoredCredential| it.grant.is_some();
            let own =
                owner.as_deref().map_or(0, |it| people.credentials_of(it).filter(is_token).count());
            let ended = changes.len();
            if people.tokens(None).len().saturating_sub(ended) >= TOKENS_MAX
                || own >= TOKENS_PER_USER_MAX
            {
                return Err(PersonError::TooMany("tokens"));
            }
            let credential = StoredCredential {
                id,
                user_id: user.map(|user| user.id.clone()),
                user: owner,
                name: Some(name),
                authority: None,
                grant: Some(grant),
                hash,
                created: seconds(now),
                expires: seconds(now + Duration::from_secs(u64::from(days) * 24 * 3600)),
                used: None,
            };
            let token = token_status(&credential);
            changes.extend([
                of_token(&token, Action::Created, &by),
                put(Account::Credential(credential)),
            ]);
            Ok((changes, ApiTokenCreated { token, secret }))
        })
        .await
    }

    /// Tokens of whoever asks, of a program its own alone; of everybody for whoever may see them.
    pub(crate) fn api_tokens(&self, caller: &Caller) -> Vec<ApiTokenStatus> {
        if caller.is_scoped() {
            let mut tokens = self.people().tokens(None);
            tokens.retain(|token| Some(token.id.as_str()) == caller.credential());
            return tokens;
        }
        if caller.may_everywhere(Role::Admin) {
            return self.people().tokens(None);
        }
        caller.user().map_or_else(Vec::new, |user| self.people().tokens(Some(user)))
    }

    /// Revokes a token that whoever asks may see.
    pub(crate) async fn revoke_api_token(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
    ) -> Result<(), PersonError> {
        refuse_anybody(caller.by())?;
        if caller.is_scoped() {
            return Err(PersonError::Scoped);
        }
        let found = self.api_tokens(caller).into_iter().find(|token| token.id == id);
        let token = found.ok_or_else(|| PersonError::Unknown(format!("token `{id}` of yours")))?;
        let entry = of_token(&token, Action::Deleted, caller.by());
        let end = Change::RemoveAccount(AccountId::Credential(token.id));
        self.change_people(move |_| Ok((vec![end, entry], ()))).await
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

async fn new_user(name: String, grants: Vec<Grant>, told: &str, must_change: bool) -> StoredUser {
    let password = password::hash(told.to_owned()).await;
    let now = seconds(SystemTime::now());
    StoredUser {
        id: uuid::Uuid::new_v4().simple().to_string(),
        name,
        grants,
        password,
        must_change,
        password_since: now,
        devices: Vec::new(),
        created: now,
        signed_in: None,
    }
}

/// Whether a one-time password was not used in time.
pub(super) fn is_over(user: &StoredUser, now: SystemTime) -> bool {
    user.must_change && seconds(now).saturating_sub(user.password_since) >= ONE_TIME_LASTS.as_secs()
}

/// What a browser shows of itself, hashed, when this user has signed in there.
fn known_device(user: &StoredUser, shown: Option<&str>) -> Option<String> {
    let shown = shown?;
    user.devices.iter().find(|device| *device == shown).cloned()
}

fn is_login(credential: &StoredCredential) -> bool {
    credential.name.is_some() && credential.grant.is_none()
}

fn session_or_login(
    user: &StoredUser,
    id: String,
    name: Option<String>,
    authority: Option<String>,
    hash: String,
    now: SystemTime,
) -> StoredCredential {
    let is_session = name.is_none();
    let lasts = if is_session { SESSION_LASTS } else { LOGIN_LASTS };
    StoredCredential {
        id,
        user: Some(user.name.clone()),
        user_id: Some(user.id.clone()),
        name,
        authority: authority.filter(|_| is_session),
        grant: None,
        hash,
        created: seconds(now),
        expires: seconds(now + lasts),
        used: Some(seconds(now)),
    }
}

/// What gives a user another password, and ends all of his that does not stay.
fn with_password(
    people: &People,
    mut user: StoredUser,
    hashed: String,
    must_change: bool,
    stays: impl Fn(&StoredCredential) -> bool,
    by: &Authorship,
) -> Vec<Change> {
    let ended = people.credentials_of(&user.name).filter(|credential| !stays(credential));
    let mut changes: Vec<Change> = ended.map(remove).collect();
    let told = vec![
        changed("password", None, Some("another".into())),
        changed("sessionsAndTokens", Some(changes.len().into()), Some(0.into())),
    ];
    changes.push(of_user(&user, Action::Configured, told, by));
    user.password = hashed;
    user.must_change = must_change;
    user.password_since = seconds(SystemTime::now());
    changes.push(put(Account::User(user)));
    changes
}

fn put(account: Account) -> Change {
    Change::PutAccount { account, only_there: false }
}

/// What is made while nobody is asked who he is would be good when that is over.
fn refuse_anybody(by: &Authorship) -> Result<(), PersonError> {
    if by.author.kind == AuthorKind::Anybody { Err(PersonError::NobodyAsked) } else { Ok(()) }
}

fn unknown_user(name: &str) -> PersonError {
    PersonError::Unknown(format!("user `{name}`"))
}

fn check_token_name(field: &str, name: &str) -> Result<(), PersonError> {
    let is_good = !name.trim().is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(char::is_control);
    let remedy = format!("say in 1 to {NAME_BYTES_MAX} bytes what it is for");
    if is_good { Ok(()) } else { Err(PersonError::Invalid(Problem::new(field, name, remedy))) }
}

fn of_user(user: &StoredUser, action: Action, told: Vec<FieldChange>, by: &Authorship) -> Change {
    audit::of_action(None, format!("user {}", user.name), action, told, by, SystemTime::now())
}

/// An entry of what somebody has from signing in, and of its end. A login is good for a month, and for all that its user may.
fn of_entry(
    credential: &StoredCredential,
    action: Action,
    address: IpAddr,
    by: &Authorship,
    now: SystemTime,
) -> Change {
    let StoredCredential { id, user, name, .. } = credential;
    let of = user.as_deref().unwrap_or_default();
    let about = match name {
        Some(login) => format!("token {login} ({id})"),
        None => format!("session of {of} ({id})"),
    };
    let told = vec![
        changed("user", None, Some(of.into())),
        changed("address", None, Some(address.to_string().into())),
    ];
    audit::of_sign_in(Some(of), about, action, told, by, now)
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
    audit::of_action(None, about, action, told, by, SystemTime::now())
}

fn grants_changed(before: &[Grant], after: &[Grant]) -> Vec<FieldChange> {
    let told = |grants: &[Grant]| {
        let words: Vec<String> = grants.iter().map(Grant::to_string).collect();
        (!words.is_empty()).then(|| words.join(", ").into())
    };
    vec![changed("grants", told(before), told(after))]
}
