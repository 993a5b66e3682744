//! Connections that a data plane opens for itself: marked, so that a capturing sidecar does not capture its own.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::client::TlsStream;
use tonic::codegen::{Service, http::Uri};

use crate::credentials::tls::InTls;

/// How long what was sent may stay unconfirmed before the connection ends: the other side has vanished.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// Connects, with this `SO_MARK` where there is one.
pub(crate) async fn dial(address: SocketAddr, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(mark) = mark {
        SockRef::from(&socket).set_mark(mark)?;
    }
    socket.connect(address).await
}

/// Connects to a control plane: to the first address of its name that answers.
#[derive(Debug, Clone)]
pub(crate) struct ToControlPlane {
    pub(crate) mark: Option<u32>,
    /// None: in the clear.
    pub(crate) tls: Option<InTls>,
}

/// A connection to a control plane.
pub(crate) enum Dialed {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ToControlPlane {
    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Dialed>> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in tokio::net::lookup_host(authority).await? {
            match dial(address, self.mark).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    SockRef::from(&stream).set_tcp_user_timeout(Some(UNCONFIRMED))?;
                    return Ok(TokioIo::new(match self.tls {
                        None => Dialed::Clear(stream),
                        Some(tls) => Dialed::Tls(Box::new(tls.agree(stream).await?)),
                    }));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl AsyncRead for Dialed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Service<Uri> for ToControlPlane {
    type Response = TokioIo<Dialed>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
