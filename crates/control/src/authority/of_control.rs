//! What the control plane does with authorities: it tells them, and makes another.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::{
    rest::{Action, AuthorityStatus},
    time::rfc3339,
};

use super::{Authorities, Authority, MakeError};
use crate::{
    Control, Rejection,
    audit::{self, Authorship},
    keyring::Keyring,
    ledger::Ledger,
    store::{Change, StoredAuthority},
};

/// Authorities that are believed at once: each is shown to every data plane that renews, and nobody needs more within the life
/// of a certificate.
const BELIEVED_MAX: usize = 8;

/// Why no other authority was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// They follow one another too fast.
    #[error(
        "there are {BELIEVED_MAX} authorities that are still believed: wait until the first of them is not (`laneway ca show`)"
    )]
    TooMany,
    /// It cannot be sealed, for example.
    #[error("{0}")]
    Make(MakeError),
    /// It cannot be kept.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Those that the store has; where there are none, the first is made.
pub(crate) async fn begin(
    stored: &[StoredAuthority],
    life: Duration,
    keyring: &Keyring,
    ledger: &Ledger,
) -> Arc<Authorities> {
    let authorities = Authorities::new(stored, keyring, life);
    if stored.is_empty() {
        make_first(&authorities, keyring, ledger).await;
    }
    Arc::new(authorities)
}

async fn make_first(authorities: &Authorities, keyring: &Keyring, ledger: &Ledger) {
    let now = SystemTime::now();
    let (authority, stored) = match Authority::make(keyring, has_sealed(ledger), now) {
        Ok(made) => made,
        Err(error) => {
            tracing::warn!(%error, "no authority for data planes can be made: discovery is served without TLS");
            return;
        }
    };
    match ledger.journal(Change::PutAuthority(stored)).await {
        Ok(()) => authorities.add(authority, now),
        Err(error) => {
            tracing::error!(%error, "the authority of data planes cannot be kept: discovery is served without TLS");
        }
    }
}

impl Control {
    /// Who signs, or did and is still believed; the newest last.
    pub(crate) fn authorities(&self, now: SystemTime) -> Vec<AuthorityStatus> {
        let newest = self.authorities.newest();
        let believed = self.authorities.believed(now);
        let signs =
            |it: &Arc<Authority>| newest.as_ref().is_some_and(|it_is| Arc::ptr_eq(it, it_is));
        believed.iter().map(|authority| status(authority, signs(authority))).collect()
    }

    /// Makes another authority, durable when it returns: it signs from now on.
    pub(crate) async fn rotate_authority(
        &self,
        by: &Authorship,
        now: SystemTime,
    ) -> Result<AuthorityStatus, RotateError> {
        if self.authorities.believed(now).len() >= BELIEVED_MAX {
            return Err(RotateError::TooMany);
        }
        let made = Authority::make(&self.keyring, has_sealed(self.ledger()), now);
        let (authority, stored) = made.map_err(RotateError::Make)?;
        let about = format!("authority {} of data planes", stored.fingerprint);
        let entry = audit::of_action(None, about, Action::Created, Vec::new(), by, now);
        let mut changes = vec![Change::PutAuthority(stored), entry];
        let over = self.authorities.not_believed(now);
        changes.extend(
            over.into_iter()
                .map(|it| Change::RemoveAuthority { fingerprint: it.fingerprint.to_string() }),
        );
        self.ledger().journal_all(changes).await?;
        let made = status(&authority, true);
        tracing::info!(fingerprint = made.fingerprint, "another authority signs for data planes");
        self.authorities.add(authority, now);
        Ok(made)
    }
}

/// Whether a private key of a listener is stored sealed.
fn has_sealed(ledger: &Ledger) -> bool {
    let view = ledger.view();
    view.objects().set().certificates().any(|it| it.spec.private_key.is_some())
}

fn status(authority: &Authority, signs: bool) -> AuthorityStatus {
    AuthorityStatus {
        fingerprint: authority.fingerprint.to_string(),
        certificate: authority.certificate.clone(),
        created: rfc3339(authority.created),
        signs,
    }
}
