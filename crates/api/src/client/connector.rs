//! How the client connects: over TCP, and where it is told to, only to whom it trusts. Nothing is said before.

use std::{
    error::Error,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower_service::Service;

/// How long until the other end is looked at again which nobody has taken yet.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(10);

/// What is thought of the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It may be told.
    Trusted,
    /// No process has taken the connection yet: look again.
    Unknown,
    /// It may not, and why.
    Distrusted(String),
}

/// Looks at a connection before anything is said over it: at the other end and at this one. May wait for the disk.
pub type PeerCheck = Arc<dyn Fn(SocketAddr, SocketAddr) -> Trust + Send + Sync>;

/// Nothing was said: the other end is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Distrusted(pub(super) String);

/// A connector that looks at whom it has reached.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    check: Option<PeerCheck>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("is_checked", &self.check.is_some()).finish()
    }
}

impl Connector {
    pub(super) fn new(connect_timeout: Duration, check: Option<PeerCheck>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.set_nodelay(true);
        Self { tcp, check }
    }
}

type Failed = Box<dyn Error + Send + Sync>;
type Connected = TokioIo<TcpStream>;

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri);
        let check = self.check.clone();
        Box::pin(async move {
            let stream = connecting.await?;
            if let Some(check) = check {
                trust(check, stream.inner().peer_addr()?, stream.inner().local_addr()?).await?;
            }
            Ok(stream)
        })
    }
}

/// Waits until it is known who has taken a connection; whoever asks bounds how long.
async fn trust(check: PeerCheck, peer: SocketAddr, local: SocketAddr) -> Result<(), Failed> {
    loop {
        let check = Arc::clone(&check);
        match tokio::task::spawn_blocking(move || check(peer, local)).await? {
            Trust::Trusted => return Ok(()),
            Trust::Unknown => tokio::time::sleep(LOOKED_AT_EVERY).await,
            Trust::Distrusted(why) => return Err(Distrusted(why).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use crate::client::{CallError, Client, Trust};

    use super::*;

    #[tokio::test]
    async fn whoever_is_not_trusted_is_told_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let looked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&looked);
        let check: PeerCheck = Arc::new(move |peer, local| {
            assert!(peer.ip().is_loopback() && local.ip().is_loopback() && peer != local);
            match counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Trust::Unknown,
                _ => Trust::Distrusted("it is somebody else's".to_owned()),
            }
        });
        let client = Client::new(&server).unwrap().with_token("a secret").with_peer_check(check);
        let (refused, taken) = tokio::join!(client.session(), listener.accept());
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, CallError::Distrusted { .. }), "{refused:?}");
        assert!(refused.to_string().contains("it is somebody else's"), "{refused}");
        assert!(!refused.is_passing());
        let mut said = Vec::new();
        taken.unwrap().0.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(looked.load(std::sync::atomic::Ordering::Relaxed), 2);
    }
}
