//! Connections to a server, in TLS where it is asked for: the same for HTTP and for gRPC.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tonic::codegen::{Service, http::Uri};

use crate::settings::Tls;

/// How long connecting may take, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long what was sent may stay unconfirmed before the connection ends: the other side has vanished.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A connection, in the clear or in TLS.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects to the first address of a host that answers.
pub(crate) async fn dial(host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Stream> {
    let connecting = async {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in tokio::net::lookup_host((host, port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return secured(stream, tls).await,
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| late())?
}

async fn secured(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNCONFIRMED))?;
    let Some(Tls { config, name }) = tls else { return Ok(Either::Left(stream)) };
    let connector = TlsConnector::from(std::sync::Arc::clone(config));
    Ok(Either::Right(Box::new(connector.connect(name.clone(), stream).await?)))
}

/// Connects for gRPC, wherever its URI points.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { host, port, tls } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(&host, port, tls.as_ref()).await?)) })
    }
}
