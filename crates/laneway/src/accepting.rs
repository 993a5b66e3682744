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

use control::Arrived;
use futures_util::Stream;
use parking_lot::Mutex;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use telemetry::{Metrics, names};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a caller may take to begin: the head of a request to the API, the preface of HTTP/2 to discovery. Nothing but
/// a machine in trouble needs longer than one lost packet and its second copy.
pub(crate) const FIRST_WORDS: Duration = Duration::from_secs(10);

/// The bytes every HTTP/2 connection begins with.
const PREFACE_BYTES: usize = 24;

/// The byte every connection in TLS begins with; none in HTTP/2 does.
const TLS_HANDSHAKE: u8 = 22;

/// How often is told that data planes are refused which connect in the clear.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(60);

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
    pub(crate) fn of_http2(self, tls: Tls) -> impl Stream<Item = io::Result<OfHttp2>> {
        // Those that agree on TLS do not keep others waiting.
        let (ready, taken) = mpsc::channel(1);
        tokio::spawn(async move {
            let tls = Arc::new(tls);
            loop {
                let admitted = tokio::select! {
                    admitted = self.next() => admitted,
                    () = ready.closed() => return,
                };
                let (ready, tls) = (ready.clone(), Arc::clone(&tls));
                tokio::spawn(async move {
                    let peer = admitted.peer;
                    match tls.begin(admitted).await {
                        Ok(begun) => drop(ready.send(Ok(begun)).await),
                        Err(error) => {
                            tracing::debug!(%peer, %error, "a connection to discovery has not begun")
                        }
                    }
                });
            }
        });
        ReceiverStream::new(taken)
    }
}

/// Which connections to discovery are in TLS.
pub(crate) struct Tls {
    /// None: nobody signs for it.
    acceptor: Option<TlsAcceptor>,
    /// Whether those of other machines may be in the clear.
    takes_plain_text: bool,
    /// When somebody was last refused who was.
    told: Mutex<Option<Instant>>,
}

impl Tls {
    pub(crate) fn new(config: Option<ServerConfig>, takes_plain_text: bool) -> Self {
        let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        Self { acceptor, takes_plain_text, told: Mutex::new(None) }
    }

    /// Waits for the first words, and agrees on TLS where they are of it.
    async fn begin(&self, admitted: Admitted) -> io::Result<OfHttp2> {
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        let until = Instant::now() + FIRST_WORDS;
        let mut first = [0];
        let peeked = tokio::time::timeout_at(until, admitted.stream.peek(&mut first)).await;
        let is_tls = peeked.map_err(timed_out)?? == 1 && first[0] == TLS_HANDSHAKE;
        let connection = match &self.acceptor {
            Some(acceptor) if is_tls => {
                let agreed = tokio::time::timeout_at(until, acceptor.accept(admitted)).await;
                Connection::Tls(Box::new(agreed.map_err(timed_out)??))
            }
            _ if !self.takes_plain_text && !admitted.peer.ip().to_canonical().is_loopback() => {
                self.tell_refused(admitted.peer);
                return Err(io::Error::other("it is in the clear"));
            }
            _ => Connection::Clear(admitted),
        };
        let until = Box::pin(tokio::time::sleep_until(until));
        let beginning = Some(Beginning { missing_bytes: PREFACE_BYTES, until });
        Ok(OfHttp2 { connection, beginning })
    }

    fn tell_refused(&self, peer: SocketAddr) {
        let mut told = self.told.lock();
        if told.is_none_or(|told| told.elapsed() > REFUSED_TOLD_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(%peer, "a data plane is refused that connects in the clear (discovery-plain-text false): give it a token of `laneway token create`, or --control-ca");
        }
    }
}

/// A connection to discovery.
pub(crate) struct OfHttp2 {
    connection: Connection,
    beginning: Option<Beginning>,
}

enum Connection {
    Clear(Admitted),
    Tls(Box<TlsStream<Admitted>>),
}

impl OfHttp2 {
    fn read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.connection {
            Connection::Clear(stream) => Pin::new(stream).poll_read(context, into),
            Connection::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }

    fn written(&mut self) -> &mut (dyn AsyncWrite + Unpin) {
        match &mut self.connection {
            Connection::Clear(stream) => stream,
            Connection::Tls(stream) => stream,
        }
    }
}

impl Connected for OfHttp2 {
    type ConnectInfo = Arrived;

    fn connect_info(&self) -> Arrived {
        let (admitted, shown) = match &self.connection {
            Connection::Clear(admitted) => (admitted, None),
            Connection::Tls(stream) => {
                let (admitted, session) = stream.get_ref();
                (admitted, Some(session.peer_certificates().and_then(<[_]>::first)))
            }
        };
        Arrived {
            local: admitted.local_address(),
            peer: Some(admitted.peer),
            in_tls: shown.is_some(),
            certificate: shown.flatten().map(|certificate| certificate.as_ref().into()),
        }
    }
}

/// A connection that was let in; its place is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    stream: TcpStream,
    pub(crate) peer: SocketAddr,
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
        Self { stream, peer, _place: place }
    }

    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncRead for OfHttp2 {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let Some(beginning) = &mut this.beginning else { return this.read(context, into) };
        if beginning.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(this.read(context, into))?;
        let came = into.filled().len() - before;
        if let Some(beginning) = &mut this.beginning {
            beginning.missing_bytes = beginning.missing_bytes.saturating_sub(came);
            if beginning.missing_bytes == 0 {
                this.beginning = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OfHttp2 {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().written()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().written()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.connection {
            Connection::Clear(stream) => stream.is_write_vectored(),
            Connection::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().written()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().written()).poll_shutdown(context)
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
