//! Who asks the API, and what he may.

use api::rest::{AuthorKind, EVERYWHERE, Grant, Role, SessionStatus};

use super::{allow, shown};
use crate::{audit::Authorship, store::StoredCredential};

/// Whoever asks. Whoever lets a request in says so in its extensions; one without is nobody's.
#[derive(Debug, Clone)]
pub struct Caller {
    by: Authorship,
    grants: Vec<Grant>,
    credential: Option<String>,
    /// The user he signed in as, or whose token he shows.
    user: Option<String>,
    is_session: bool,
    /// A token with a role of its own, for a program.
    is_scoped: bool,
    must_change: bool,
    /// Seconds since 1970.
    expires: Option<u64>,
}

impl Caller {
    /// Whoever may do everything because of where he is, or what he holds: he could write the store in any case.
    pub fn machine(name: impl Into<String>) -> Self {
        Self::everything(Authorship::of(AuthorKind::Machine, name))
    }

    /// Anybody, where nobody is asked who he is.
    pub fn anybody() -> Self {
        Self::everything(Authorship::of(AuthorKind::Anybody, "anybody"))
    }

    fn everything(by: Authorship) -> Self {
        let grants = vec![Grant { role: Role::Admin, namespace: EVERYWHERE.to_owned() }];
        let (credential, user, expires) = (None, None, None);
        Self {
            by,
            grants,
            credential,
            user,
            is_session: false,
            is_scoped: false,
            must_change: false,
            expires,
        }
    }

    pub(super) fn of_credential(
        by: Authorship,
        grants: Vec<Grant>,
        credential: &StoredCredential,
        must_change: bool,
    ) -> Self {
        Self {
            by,
            grants,
            credential: Some(credential.id.clone()),
            user: credential.user.clone(),
            is_session: credential.name.is_none(),
            is_scoped: credential.grant.is_some(),
            must_change,
            expires: Some(credential.expires),
        }
    }

    /// Whether he may do something in a namespace.
    pub fn may(&self, role: Role, namespace: &str) -> bool {
        allow(&self.grants, role, namespace)
    }

    /// Whether he may do something in some namespace.
    pub(crate) fn may_somewhere(&self, role: Role) -> bool {
        self.grants.iter().any(|grant| grant.role >= role)
    }

    /// Whether he may do something in all namespaces, and to what is in none.
    pub fn may_everywhere(&self, role: Role) -> bool {
        self.may(role, EVERYWHERE)
    }

    /// The namespaces he may see; none: all.
    pub(crate) fn namespaces(&self) -> Option<Vec<String>> {
        let named = || self.grants.iter().map(|grant| grant.namespace.clone()).collect();
        (!self.may_everywhere(Role::Viewer)).then(named)
    }

    /// Whether he has a one-time password, and may do nothing but choose another.
    pub fn must_change_password(&self) -> bool {
        self.must_change
    }

    /// Whether he is known by a cookie.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// Whether he is a program with a role of its own, which makes and ends no other tokens.
    pub(crate) fn is_scoped(&self) -> bool {
        self.is_scoped
    }

    pub(crate) fn by(&self) -> &Authorship {
        &self.by
    }

    /// Says why he asks.
    pub(crate) fn noting(mut self, note: String) -> Self {
        self.by.note = note;
        self
    }

    /// Says which entry of the audit he undoes.
    pub(crate) fn undoing(mut self, number: u64) -> Self {
        self.by.undoes = Some(number);
        self
    }

    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// What he shows, by its public part.
    pub(crate) fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn expires(&self) -> Option<u64> {
        self.expires
    }

    pub(crate) fn status(&self) -> SessionStatus {
        SessionStatus {
            author: self.by.author.clone(),
            grants: self.grants.clone(),
            must_change_password: self.must_change,
            expires: self.expires.map(shown),
        }
    }
}
