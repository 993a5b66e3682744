//! Connects to an HTTP proxy whatever the URI says, as `http_proxy` makes ordinary clients do.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

/// A connector that goes through a proxy, where there is one.
#[derive(Debug, Clone)]
pub(crate) struct ThroughProxy {
    direct: HttpConnector,
    proxy: Option<Uri>,
}

/// A connection that remembers whether a proxy is at its other end: requests then name the whole URI.
#[derive(Debug)]
pub(crate) struct Connect {
    stream: TokioIo<TcpStream>,
    proxied: bool,
}

impl ThroughProxy {
    pub(crate) fn new(proxy: Option<SocketAddr>) -> Self {
        let proxy = proxy.map(|address| {
            Uri::try_from(format!("http://{address}/")).expect("an address makes a URI")
        });
        let mut direct = HttpConnector::new();
        direct.set_nodelay(true);
        Self { direct, proxy }
    }
}

impl Service<Uri> for ThroughProxy {
    type Response = Connect;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Connect, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.direct.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxied = self.proxy.is_some();
        let connecting = self.direct.call(self.proxy.clone().unwrap_or(uri));
        Box::pin(async move { Ok(Connect { stream: connecting.await?, proxied }) })
    }
}

impl Connection for Connect {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.proxied)
    }
}

impl Read for Connect {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Connect {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
