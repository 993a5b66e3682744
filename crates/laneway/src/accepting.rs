//! Connections to the API, an admin address or discovery. A guard holds each from its accept to its end: there are only
//! so many, whoever says nothing in time is let go, and one whose peer has vanished is noticed.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, stream};
use socket2::{SockRef, TcpKeepalive};
use telemetry::{Metrics, names};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a caller may take to begin: the head of a request to the API, the preface of HTTP/2 to discovery. Nothing but
/// a machine in trouble needs longer than one lost packet and its second copy.
pub(crate) const FIRST_WORDS: Duration = Duration::from_secs(10);

/// The bytes every HTTP/2 connection begins with.
const PREFACE_BYTES: usize = 24;

/// How long what was sent may stay unanswered, and a silent peer is left alone, before the connection ends: the other
/// side has vanished, or takes nothing any more.
const UNANSWERED: Duration = Duration::from_secs(15);

/// Between two questions whether a silent peer is there.
const ASKED: Duration = Duration::from_secs(5);

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts on one listener, as long as there is room.
pub(crate) struct Acceptor {
    what: &'static str,
    listener: TcpListener,
    room: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(crate) fn new(
        what: &'static str,
        listener: TcpListener,
        connections_max: usize,
        metrics: &Metrics,
    ) -> Self {
        let refused = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&refused);
        metrics.collect_from(move |samples| {
            let labels = [(names::label::LISTENER, what)];
            let refused = counted.load(Ordering::Relaxed);
            samples.add(names::LISTENER_REFUSED, &labels, refused as f64);
        });
        Self { what, listener, room: Arc::new(Semaphore::new(connections_max)), refused }
    }

    /// The next connection that there is room for; the others are closed at once.
    pub(crate) async fn next(&self) -> Admitted {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = self.what, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&self.room).try_acquire_owned() {
                Ok(place) => return Admitted::new(stream, peer, place),
                Err(_) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(listener = self.what, %peer, "too many connections: one is closed at once");
                }
            }
        }
    }

    /// All connections that will come, for a server of HTTP/2; each must begin as such in time.
    pub(crate) fn of_http2(self) -> impl Stream<Item = io::Result<Admitted>> {
        stream::unfold(self, |acceptor| async move {
            let mut admitted = acceptor.next().await;
            let until = Box::pin(tokio::time::sleep(FIRST_WORDS));
            admitted.beginning = Some(Beginning { missing_bytes: PREFACE_BYTES, until });
            Some((Ok(admitted), acceptor))
        })
    }
}

/// A connection that was let in; its place is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    stream: TcpStream,
    pub(crate) peer: SocketAddr,
    beginning: Option<Beginning>,
    _place: OwnedSemaphorePermit,
}

/// What must have come until some time.
#[derive(Debug)]
struct Beginning {
    missing_bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl Admitted {
    fn new(stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let _ = stream.set_nodelay(true);
        // Where the kernel takes none of it, a vanished peer is noticed later.
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(UNANSWERED - ASKED).with_interval(ASKED);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let _ = socket.set_tcp_user_timeout(Some(UNANSWERED));
        Self { stream, peer, beginning: None, _place: place }
    }

    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.local_address(), remote_addr: Some(self.peer) }
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let Some(beginning) = &mut this.beginning else {
            return Pin::new(&mut this.stream).poll_read(context, into);
        };
        if beginning.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        let came = into.filled().len() - before;
        beginning.missing_bytes = beginning.missing_bytes.saturating_sub(came);
        if beginning.missing_bytes == 0 {
            this.beginning = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
