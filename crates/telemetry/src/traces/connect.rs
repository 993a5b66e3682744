//! Connections to a collector, in TLS where it is asked for: the same for both protocols.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::Endpoint;

/// How long connecting may take, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// A connection, whatever it is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Connects to one collector, wherever a URI points.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    pub(super) fn new(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        let (host, port) = endpoint.place();
        Self { host: host.to_owned(), port, tls }
    }

    async fn dial(self) -> io::Result<TokioIo<Box<dyn Io>>> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it lets nobody connect in time");
        let stream = timeout(CONNECT_MAX, self.connect()).await.map_err(|_| late())??;
        Ok(TokioIo::new(stream))
    }

    async fn connect(self) -> io::Result<Box<dyn Io>> {
        let Self { host, port, tls } = self;
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}
