//! What a data plane shows its control plane, and whom it believes there.
//!
//! Whom it believes is told by its join token or by a file, never by whoever answers first. Then it shows the token once, in
//! TLS, and has a certificate made for a key that it made itself; it renews that while it is good, and keeps both
//! ([`kept`]), so that a restart needs no token. A data plane that was told of no authority shows its token in the clear, as
//! one on loopback may.

pub(crate) mod kept;
pub(crate) mod tls;

use std::{path::PathBuf, sync::Arc, sync::Weak, time::Duration, time::SystemTime};

use api::{
    discovery::v1::{CertifyRequest, discovery_client::DiscoveryClient},
    join::{Fingerprint, JoinToken},
};
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tonic::{Code, transport::Channel};

use crate::{
    connection::{self, CONNECT_TIMEOUT, ConnectionError},
    dial::ToControlPlane,
};
use kept::{Kept, NotRead};
use tls::InTls;

/// Between the first attempts to renew a certificate that did not succeed, and between later ones.
const RENEW_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a data plane is told of its control plane.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// `host:port` of the control plane's discovery listener.
    pub control: String,
    /// `SO_MARK` of connections to it, so that redirect rules leave them alone.
    pub mark: Option<u32>,
    /// What the control plane asks for off loopback; it may name who signs there.
    pub join_token: Option<String>,
    /// Who signs there, beside: certificates in DER.
    pub authorities: Vec<Vec<u8>>,
    /// This data plane, as it says hello.
    pub node: String,
    /// The file that keeps a certificate and its key; none: it is kept in memory alone.
    pub file: Option<PathBuf>,
}

/// What is shown to a control plane, for all that one data plane says to it.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    joining: Joining,
    /// Whom it was told to believe.
    given: Vec<Fingerprint>,
    kept: watch::Sender<Option<Arc<Kept>>>,
    /// Why the file gives nothing although it is there.
    not_read: Option<NotRead>,
    /// Held by whoever joins: one certificate will do for all.
    joins: Mutex<()>,
}

/// A connection, and what is to be shown over it beside.
pub(crate) struct Connected {
    pub(crate) channel: Channel,
    /// Empty where the connection was made with a certificate.
    pub(crate) join_token: String,
    pub(crate) shown: Shown,
}

/// What a connection was made with.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    inner: Arc<Inner>,
    kept: Option<Arc<Kept>>,
}

impl Shown {
    /// What was said over the connection is refused. With a certificate that is not good the next begins no more, where there
    /// is a token to join anew with.
    pub(crate) fn refused(&self, status: tonic::Status) -> ConnectionError {
        let error = ConnectionError::from(status);
        if let Some(kept) = &self.kept {
            self.inner.refused(kept, &error);
        }
        error
    }
}

impl Credentials {
    /// With what is kept in the file. Must be called inside a tokio runtime, where it renews.
    pub fn start(joining: Joining) -> Self {
        let token = joining.join_token.as_deref().map(JoinToken::read);
        let mut given: Vec<_> =
            joining.authorities.iter().map(|der| Fingerprint::of(der)).collect();
        given.extend(token.and_then(|token| token.authority));
        let (kept, not_read) = match joining.file.as_deref().map(Kept::read).transpose() {
            Ok(kept) => (kept.flatten(), None),
            Err(not_read) => {
                tracing::warn!("{not_read}");
                (None, Some(not_read))
            }
        };
        // What was made of another token is not what an operator means who names one.
        let kept = kept.filter(|kept| token.is_none() || kept.made_of == made_of(&joining, &given));
        let kept = watch::Sender::new(kept.map(Arc::new));
        let inner = Arc::new(Inner { joining, given, kept, not_read, joins: Mutex::new(()) });
        tokio::spawn(keep_renewing(Arc::downgrade(&inner), inner.kept.subscribe()));
        Self(inner)
    }

    /// Connects; joins before, where that is to be done.
    pub(crate) async fn connect(&self) -> Result<Connected, ConnectionError> {
        let inner = &self.0;
        let join_token = inner.joining.join_token.clone().unwrap_or_default();
        if let Some(kept) = inner.good() {
            return inner.connect_with(&kept).await;
        }
        let without = |channel| {
            let shown = Shown { inner: Arc::clone(inner), kept: None };
            Connected { channel, join_token: join_token.clone(), shown }
        };
        if inner.given.is_empty() {
            // It has joined once: what was said in TLS alone is not said in the clear because a file is spoilt.
            if let (Some(not_read), true) = (&inner.not_read, join_token.is_empty()) {
                return Err(ConnectionError::NotRead(not_read.clone()));
            }
            return Ok(without(inner.dial(None).await?));
        }
        if join_token.is_empty() {
            return Ok(without(inner.dial(Some(None)).await?));
        }
        let _joins = inner.joins.lock().await;
        // Whoever held it has joined, perhaps.
        if let Some(kept) = inner.good() {
            return inner.connect_with(&kept).await;
        }
        let channel = inner.dial(Some(None)).await?;
        match inner.certify(channel.clone(), &join_token).await {
            Ok(kept) => {
                tracing::info!(
                    control = inner.joining.control,
                    until = api::time::rfc3339(kept.ends()),
                    "joined: from now on a certificate is shown, not the token"
                );
                inner.connect_with(&kept).await
            }
            // It makes none of this token, e.g. because it asks for no token at all.
            Err(ConnectionError::Refused(status)) if status.code() == Code::FailedPrecondition => {
                Ok(without(channel))
            }
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    /// What was shown is kept no longer where it is not good and a token joins anew. What was made since stays.
    fn refused(&self, shown: &Arc<Kept>, error: &ConnectionError) {
        if let ConnectionError::Refused(status) = error
            && status.code() == Code::Unauthenticated
            && self.joining.join_token.is_some()
        {
            self.kept.send_if_modified(|kept| {
                let is_refused = kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, shown));
                is_refused && kept.take().is_some()
            });
        }
    }

    /// The certificate to be shown: one that has ended by the clock here only where there is nothing better. It is the
    /// control plane's clock that counts.
    fn good(&self) -> Option<Arc<Kept>> {
        let kept = self.kept.borrow().clone()?;
        let is_good = self.joining.join_token.is_none() || SystemTime::now() < kept.ends();
        is_good.then_some(kept)
    }

    async fn connect_with(
        self: &Arc<Self>,
        kept: &Arc<Kept>,
    ) -> Result<Connected, ConnectionError> {
        let channel = self.dial(Some(Some(kept))).await?;
        let shown = Shown { inner: Arc::clone(self), kept: Some(Arc::clone(kept)) };
        Ok(Connected { channel, join_token: String::new(), shown })
    }

    /// Connects in the clear or in TLS, there with or without a certificate.
    async fn dial(&self, tls: Option<Option<&Arc<Kept>>>) -> Result<Channel, ConnectionError> {
        let Joining { control, mark, .. } = &self.joining;
        let tls = tls.map(|kept| {
            let believed = kept.map_or_else(|| self.given.clone(), |kept| kept.believed());
            InTls::new(believed, kept.map(|kept| kept.shown()))
        });
        let tls = tls.transpose().map_err(ConnectionError::Tls)?;
        connection::connect(control, ToControlPlane { mark: *mark, tls }).await
    }

    /// Has a certificate made for a new key, and keeps both. Without a token that of the connection is renewed.
    async fn certify(
        &self,
        channel: Channel,
        join_token: &str,
    ) -> Result<Arc<Kept>, ConnectionError> {
        let key = KeyPair::generate().map_err(ConnectionError::Key)?;
        let request = CertificateParams::default().serialize_request(&key);
        let request = CertifyRequest {
            node: self.joining.node.clone(),
            join_token: join_token.to_owned(),
            signing_request: request.and_then(|it| it.pem()).map_err(ConnectionError::Key)?,
        };
        let mut client = DiscoveryClient::new(channel);
        let answer = tokio::time::timeout(CONNECT_TIMEOUT, client.certify(request))
            .await
            .map_err(|_| ConnectionError::NoAnswer)??;
        let made_of = made_of(&self.joining, &self.given);
        // A renewal is of the same token, whatever is given by now.
        let made_of = match &*self.kept.borrow() {
            Some(kept) if join_token.is_empty() => kept.made_of.clone(),
            _ => made_of,
        };
        let kept = Kept::new(&key, answer.into_inner(), made_of, SystemTime::now());
        let kept = Arc::new(kept.ok_or(ConnectionError::NotUnderstood)?);
        self.kept.send_replace(Some(Arc::clone(&kept)));
        if let Some(file) = self.joining.file.clone() {
            write_down(Arc::clone(&kept), file).await;
        }
        Ok(kept)
    }

    /// Renews the certificate. Over a connection of its own: one that has been there for longer was made with a certificate
    /// that may have ended.
    async fn renew(&self) -> Result<(), ConnectionError> {
        let Some(kept) = self.kept.borrow().clone() else { return Ok(()) };
        let channel = self.dial(Some(Some(&kept))).await?;
        let renewed = self.certify(channel, "").await;
        renewed.map(drop).inspect_err(|error| self.refused(&kept, error))
    }
}

/// Keeps it in its file. A disk may take long: nobody else waits for it.
async fn write_down(kept: Arc<Kept>, file: PathBuf) {
    let path = file.clone();
    let written = tokio::task::spawn_blocking(move || kept.write(&path)).await;
    if let Err(error) = written.map_err(std::io::Error::other).flatten() {
        let file = file.display();
        tracing::warn!(%error, %file, "the certificate cannot be kept: a restart needs the join token");
    }
}

/// Renews each certificate when two thirds of its life are over, as long as somebody connects with it.
async fn keep_renewing(inner: Weak<Inner>, mut kept: watch::Receiver<Option<Arc<Kept>>>) {
    let (least, most) = RENEW_PAUSES;
    let mut failed: Option<(Instant, Duration)> = None;
    loop {
        let due = kept.borrow_and_update().as_ref().map(|kept| kept.renew_at);
        let due = failed.map_or(due, |(again, _)| due.map(|due| due.max(again)));
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = kept.changed() => match changed {
                Ok(()) => {
                    failed = None;
                    continue;
                }
                Err(_) => return,
            },
            () = wait => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let Err(error) = inner.renew().await else {
            failed = None;
            continue;
        };
        let before = failed.map(|(_, pause)| pause);
        if before.is_none() {
            let (control, reason) = (&inner.joining.control, error.in_words());
            let until = kept.borrow().as_ref().map(|kept| api::time::rfc3339(kept.ends()));
            tracing::warn!(control, reason, until, "the certificate is not renewed; trying again");
        }
        let pause = before.map_or(least, |pause| (pause * 2).min(most));
        failed = Some((Instant::now() + pause.mul_f64(rand::random_range(0.5..1.0)), pause));
    }
}

/// Tells what was given apart from what else might be: not what it is.
fn made_of(joining: &Joining, given: &[Fingerprint]) -> String {
    let token = joining.join_token.as_deref().unwrap_or_default();
    let given: String = given.iter().map(|it| format!("\n{it}")).collect();
    let text = format!("laneway join token\n{token}{given}");
    Fingerprint::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins nobody: nobody listens there.
    fn joining(join_token: Option<&str>, file: Option<PathBuf>) -> Joining {
        let join_token = join_token.map(str::to_owned);
        let (control, node) = ("127.0.0.1:1".to_owned(), "n".to_owned());
        Joining { control, node, join_token, file, ..Joining::default() }
    }

    #[tokio::test]
    async fn what_is_refused_is_given_up_and_not_what_was_made_since() {
        let refusal = || tonic::Status::unauthenticated("the certificate has ended");
        let Credentials(inner) = Credentials::start(joining(Some("a token of this mesh"), None));
        let keep = || {
            let kept = Arc::new(kept::tests::kept(SystemTime::now()));
            inner.kept.send_replace(Some(Arc::clone(&kept)));
            Shown { inner: Arc::clone(&inner), kept: Some(kept) }
        };
        let (old, new) = (keep(), keep());
        old.refused(refusal());
        assert!(Arc::ptr_eq(&inner.good().unwrap(), new.kept.as_ref().unwrap()));
        new.refused(tonic::Status::unavailable("it stops"));
        assert!(inner.good().is_some());
        new.refused(refusal());
        assert!(inner.good().is_none());
    }

    #[tokio::test]
    async fn who_has_joined_connects_in_the_clear_to_nobody_because_a_file_is_spoilt() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("certificate.pem");
        let error = async |join_token| {
            let credentials = Credentials::start(joining(join_token, Some(file.clone())));
            credentials.connect().await.err().unwrap().in_words()
        };
        let nobody = error(None).await;
        assert!(nobody.starts_with("connect"), "{nobody}");
        std::fs::write(&file, "of this nothing can be read").unwrap();
        let spoilt = error(None).await;
        for words in [file.to_str().unwrap(), "is spoilt", "--join-token-file", "remove it"] {
            assert!(spoilt.contains(words), "{spoilt}");
        }
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(error(None).await.contains("cannot be read"));
        // Who is given something says what he means.
        let given = error(Some("a token of this mesh")).await;
        assert!(given.starts_with("connect"), "{given}");
    }
}
