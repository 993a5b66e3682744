//! What a data plane shows its control plane, and whom it believes there.
//!
//! Whom it believes is told by its join token or by a file, never by whoever answers first. Then it shows the token once, in
//! TLS, and has a certificate made for a key that it made itself; it renews that while it is good, and keeps both
//! ([`kept`]), so that a restart needs no token. A data plane that was told of no authority shows its token in the clear, as
//! one on loopback may.

mod kept;
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
use kept::Kept;
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
    /// Held by whoever joins: one certificate will do for all.
    joins: Mutex<()>,
}

/// A connection, and what is to be shown over it beside.
pub(crate) struct Connected {
    pub(crate) channel: Channel,
    /// Empty where the connection was made with a certificate.
    pub(crate) join_token: String,
}

impl Credentials {
    /// With what is kept in the file. Must be called inside a tokio runtime, where it renews.
    pub fn start(joining: Joining) -> Self {
        let token = joining.join_token.as_deref().map(JoinToken::read);
        let mut given: Vec<_> =
            joining.authorities.iter().map(|der| Fingerprint::of(der)).collect();
        given.extend(token.and_then(|token| token.authority));
        let kept = joining.file.as_deref().and_then(Kept::read);
        // What was made of another token is not what an operator means who names one.
        let kept = kept.filter(|kept| token.is_none() || kept.made_of == made_of(&joining, &given));
        let kept = watch::Sender::new(kept.map(Arc::new));
        let inner = Arc::new(Inner { joining, given, kept, joins: Mutex::new(()) });
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
        if inner.given.is_empty() {
            let channel = inner.dial(None).await?;
            return Ok(Connected { channel, join_token });
        }
        if join_token.is_empty() {
            return Ok(Connected { channel: inner.dial(Some(None)).await?, join_token });
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
                Ok(Connected { channel, join_token })
            }
            Err(error) => Err(error),
        }
    }

    /// A connection that these made has ended. With what is not good the next begins no more, where there is a token to join
    /// anew with.
    pub(crate) fn ended(&self, error: &ConnectionError) {
        if let ConnectionError::Refused(status) = error
            && status.code() == Code::Unauthenticated
            && self.0.joining.join_token.is_some()
        {
            self.0.kept.send_if_modified(|kept| kept.take().is_some());
        }
    }
}

impl Inner {
    /// The certificate to be shown: one that has ended by the clock here only where there is nothing better. It is the
    /// control plane's clock that counts.
    fn good(&self) -> Option<Arc<Kept>> {
        let kept = self.kept.borrow().clone()?;
        let is_good = self.joining.join_token.is_none() || SystemTime::now() < kept.ends();
        is_good.then_some(kept)
    }

    async fn connect_with(&self, kept: &Arc<Kept>) -> Result<Connected, ConnectionError> {
        let channel = self.dial(Some(Some(kept))).await?;
        Ok(Connected { channel, join_token: String::new() })
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
        if let Some(file) = &self.joining.file
            && let Err(error) = kept.write(file)
        {
            let file = file.display();
            tracing::warn!(%error, %file, "the certificate cannot be kept: a restart needs the join token");
        }
        self.kept.send_replace(Some(Arc::clone(&kept)));
        Ok(kept)
    }

    /// Renews the certificate. Over a connection of its own: one that has been there for longer was made with a certificate
    /// that may have ended.
    async fn renew(&self) -> Result<(), ConnectionError> {
        let Some(kept) = self.kept.borrow().clone() else { return Ok(()) };
        let channel = self.dial(Some(Some(&kept))).await?;
        self.certify(channel, "").await.map(drop)
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
        Credentials(inner).ended(&error);
    }
}

/// Tells what was given apart from what else might be: not what it is.
fn made_of(joining: &Joining, given: &[Fingerprint]) -> String {
    let token = joining.join_token.as_deref().unwrap_or_default();
    let given: String = given.iter().map(|it| format!("\n{it}")).collect();
    let text = format!("laneway join token\n{token}{given}");
    Fingerprint::of(text.as_bytes()).to_string()
}
