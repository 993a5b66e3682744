//! What the control plane does with tokens: it lets in, makes, revokes.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use api::{
    discovery::v1::{Hello, Instance},
    join::JoinToken,
    rest::{Action, TokenCreated, TokenRequest, TokenStatus},
};
use parking_lot::MutexGuard;
use subtle::ConstantTimeEq;
use tonic::Status;

use super::{Ended, Holder, Tokens, looks_like_one, make, status};
use crate::{
    Control, Rejection,
    arrived::Arrived,
    audit::{self, Authorship},
    store::Change,
};

/// Why a token was not made, or not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// What it should be good for cannot be.
    #[error("{0}")]
    Invalid(lanes::Problem),
    /// No more fit.
    #[error("there are too many tokens: revoke those that are not used")]
    TooMany,
    /// There is none.
    #[error("there is no token `{id}`: see `laneway token list`")]
    Unknown {
        /// As asked.
        id: String,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Control {
    pub(crate) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock()
    }

    /// Makes a token, durable when it returns.
    pub(crate) async fn create_token(
        &self,
        request: TokenRequest,
        by: &Authorship,
    ) -> Result<TokenCreated, TokenError> {
        let (token, secret) = make(request, SystemTime::now()).map_err(TokenError::Invalid)?;
        if self.tokens().is_full() {
            return Err(TokenError::TooMany);
        }
        let shown = status(&token);
        let entry = of_audit(&shown, Action::Created, by);
        self.ledger().journal_all(vec![Change::PutToken(token.clone()), entry]).await?;
        tracing::info!(id = token.id, application = token.application, "a token was made");
        self.tokens().add(token);
        // With it whoever shows the token knows whom it is to be shown to.
        let authority = self.authorities.newest();
        let secret = match &authority {
            Some(authority) => format!("{secret}@{}", authority.fingerprint),
            None => secret,
        };
        Ok(TokenCreated { token: shown, secret, is_asked_for: self.join_token.is_some() })
    }

    /// Shuts out whoever holds a token, and lasts.
    pub(crate) async fn revoke_token(&self, id: &str, by: &Authorship) -> Result<(), TokenError> {
        let token = self.tokens().list().into_iter().find(|token| token.id == id);
        let token = token.ok_or_else(|| TokenError::Unknown { id: id.to_owned() })?;
        let entry = of_audit(&token, Action::Deleted, by);
        let revoke = Change::RevokeToken { id: id.to_owned() };
        self.ledger().journal_all(vec![revoke, entry]).await?;
        self.tokens().remove(id);
        tracing::info!(id, "a token was revoked");
        Ok(())
    }

    /// Whether nobody is let in without a token.
    pub(crate) fn asks_for_token(&self) -> bool {
        self.join_token.is_some()
    }

    /// What a data plane within this process shows: whoever else connects does not know it.
    pub fn own_token(&self) -> String {
        self.tokens().own().to_owned()
    }

    /// Whether this text is shown within this process.
    pub(crate) fn is_own_token(&self, shown: &str) -> bool {
        is_same_secret(self.tokens().own(), shown)
    }

    /// Who shows this text or, where that is empty, came with a certificate.
    pub(crate) fn admit(
        self: &Arc<Self>,
        shown: &str,
        arrived: &Arrived,
    ) -> Result<Holder, Status> {
        if shown.is_empty()
            && let Some(certificate) = &arrived.certificate
        {
            return self.admit_by_certificate(certificate, SystemTime::now());
        }
        if self.is_own_token(shown) || self.is_join_token(shown) {
            return Ok(Holder::MESH);
        }
        let found = self.tokens().holder(shown, SystemTime::now());
        match found {
            Some((holder, note)) => {
                if let Some(note) = note {
                    tokio::spawn(Arc::clone(self).note_use(note));
                }
                Ok(holder)
            }
            None if looks_like_one(shown) => Err(Ended::Revoked.status()),
            None if self.join_token.is_some() => Err(Status::unauthenticated(
                "join_token is missing or wrong: set the one the control plane was started with, or one of \
                 `laneway token create`",
            )),
            None => Ok(Holder::MESH),
        }
    }

    /// Whether this text is the join token of the mesh.
    pub(super) fn is_join_token(&self, shown: &str) -> bool {
        let shown = JoinToken::read(shown).secret;
        self.join_secret().is_some_and(|token| is_same_secret(token, shown))
    }

    /// The join token of the mesh, without whom it names. None where nothing is left of it then: that is asked for, and
    /// nobody can show it.
    pub(super) fn join_secret(&self) -> Option<&str> {
        let token = self.join_token.as_deref()?;
        Some(JoinToken::read(token).secret).filter(|secret| !secret.is_empty())
    }

    /// Refuses a data plane that its token is not good for, and tells of it.
    pub(crate) fn check_follows(&self, holder: &Holder, hello: &Hello) -> Result<(), Status> {
        let allowed = holder.may_follow(hello, &self.hub());
        allowed.map_err(|problem| {
            let reason = format!("hello.{problem}");
            let refused = Instance {
                node: hello.node.clone(),
                application: hello.name.clone(),
                tag: hello.tag.clone(),
                address: hello.address.clone(),
                ..Instance::default()
            };
            if self.refusals().add(&refused, &reason, Instant::now()) {
                let data_plane = crate::hello::shown(hello);
                tracing::warn!(node = hello.node, data_plane, reason, "a data plane is refused");
            }
            Status::permission_denied(reason)
        })
    }

    async fn note_use(self: Arc<Self>, note: Change) {
        if let Err(rejection) = self.ledger().journal(note).await {
            tracing::warn!(error = %rejection, "when a token was used could not be kept");
        }
    }
}

fn of_audit(token: &TokenStatus, action: Action, by: &Authorship) -> Change {
    let TokenStatus { id, namespace, application, .. } = token;
    let about = format!("join token {id} of application {namespace}/{application}");
    audit::of_action(None, about, action, Vec::new(), by, SystemTime::now())
}

/// Compares without telling by its duration how much is right.
fn is_same_secret(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
