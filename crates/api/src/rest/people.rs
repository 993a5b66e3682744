//! Who uses the API: users, their roles, their sessions and tokens, as the REST API makes and shows them.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The field that says why something is changed: at most [`NOTE_CHARACTERS_MAX`] characters, percent-encoded UTF-8.
pub const NOTE: &str = "laneway-note";

/// Characters of a note: a sentence and the address of a ticket.
pub const NOTE_CHARACTERS_MAX: usize = 500;

/// In a grant: every namespace, and what belongs to none.
pub const EVERYWHERE: &str = "*";

/// What somebody may do; each may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Writes lanes, groups, routes and the rest of a namespace.
    Operator,
    /// Also lets applications in; everywhere also users and sources.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A role in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// Where; `*` is everywhere.
    #[serde(default = "everywhere")]
    #[schema(required = false)]
    pub namespace: String,
}

fn everywhere() -> String {
    EVERYWHERE.to_owned()
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            EVERYWHERE => write!(f, "{} everywhere", self.role),
            namespace => write!(f, "{} in {namespace}", self.role),
        }
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// What sort of author.
    pub kind: AuthorKind,
    /// Which one.
    pub name: String,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            AuthorKind::User | AuthorKind::Machine | AuthorKind::Controller => {
                f.write_str(&self.name)
            }
            AuthorKind::Token => write!(f, "token {}", self.name),
            AuthorKind::File => write!(f, "file {}", self.name),
            AuthorKind::Anybody => f.write_str("anybody"),
        }
    }
}

/// What sort of author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuthorKind {
    /// Somebody who signed in.
    User,
    /// Whoever holds a token of the API.
    Token,
    /// The user that runs the control plane, on its machine, or whoever holds its data directory's token.
    Machine,
    /// A file of the resources directory.
    File,
    /// The control plane itself.
    Controller,
    /// The API asks nobody who he is.
    Anybody,
}

/// Signing in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignInRequest {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
    /// Told: a token of this name is made, for a program that keeps it, instead of a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_name: Option<String>,
}

/// The password is for the control plane alone.
impl fmt::Debug for SignInRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRequest").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Whoever signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// Who, and what he may.
    pub session: SessionStatus,
    /// The token, where one was asked for. It is told this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The secret is for whoever asked alone.
impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Who asks, and what he may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Who.
    pub author: Author,
    /// What he may, where.
    pub grants: Vec<Grant>,
    /// Whether he has a one-time password, and may do nothing but choose another.
    pub must_change_password: bool,
    /// Until when he is known, where that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Another password for whoever asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordChange {
    /// What it is.
    pub current: String,
    /// What it shall be: 12 to 256 characters.
    pub new: String,
}

/// Passwords are for the control plane alone.
impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange").finish_non_exhaustive()
    }
}

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserRequest {
    /// The name: 1 to 63 of `a-z`, `0-9`, `.`, `_`, `@`, `-`, the first a letter or a digit.
    pub name: String,
    /// What he may.
    pub grants: Vec<Grant>,
}

/// What a user may from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantsRequest {
    /// All of it: what is not here is taken away.
    pub grants: Vec<Grant>,
}

/// A user with a one-time password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserCreated {
    /// What is known of him.
    pub user: UserStatus,
    /// What he signs in with, to choose another. It is told this once.
    pub one_time_password: String,
}

/// The password is for whoever asked alone.
impl fmt::Debug for UserCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserCreated").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// The name.
    pub name: String,
    /// What he may.
    pub grants: Vec<Grant>,
    /// Whether the password is a one-time one still.
    pub must_change_password: bool,
    /// When he was made.
    pub created: String,
    /// When he last signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_signed_in: Option<String>,
}

/// A token of the API to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// What it is for, for people: 1 to 63 characters.
    pub name: String,
    /// What may be done with it: never more than its owner may.
    pub grant: Grant,
    /// For how many days it is good, 1 to 366; without it 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// A token of the API that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenCreated {
    /// What is known of it.
    pub token: ApiTokenStatus,
    /// The token itself. It is told this once.
    pub secret: String,
}

/// The secret is for whoever asked alone.
impl fmt::Debug for ApiTokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenCreated").field("token", &self.token).finish_non_exhaustive()
    }
}

/// What is known of a token of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenStatus {
    /// What it is revoked by; part of the token, and no secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The user it belongs to: it may no more than he may, and ends with him. None: that of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What may be done with it; none: whatever its owner may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// When it was made.
    pub created: String,
    /// Until when it is good.
    pub expires: String,
    /// When it was last shown, to the hour after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}
