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
use tokio::net::{TcpSocket, TcpStream};
use tonic::codegen::{Service, http::Uri};

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
}

impl ToControlPlane {
    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in tokio::net::lookup_host(authority).await? {
            match dial(address, self.mark).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    SockRef::from(&stream).set_tcp_user_timeout(Some(UNCONFIRMED))?;
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl Service<Uri> for ToControlPlane {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
