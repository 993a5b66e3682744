//! Connections behind a small owned-buffer trait: a buffer goes in and comes back, so that completion-based
//! input and output (io_uring) can stand beside the readiness-based one.

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    os::fd::AsFd as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use lanes::ServiceId;
use socket2::TcpKeepalive;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::{
    buffers::{Buffer, Buffers},
    deadlines::{Deadline, Deadlines, HasDeadline, Late},
    error::Lost,
    limits::{DEPARTURE_ASKED, UNSENT_BYTES_MAX},
    original_destination::original_destination,
    passthrough::Cut,
    tls::session::Session,
};

/// No answer is awaited.
const NOT_AWAITED: u64 = u64::MAX;

/// A stream of bytes in both directions. Buffers are owned by whoever works on them.
pub(crate) trait Transport {
    /// Receives into a buffer that is taken only when bytes are there. Empty: the other side closed.
    /// `wanted_bytes` are known to come: many get a large buffer. Nothing is lost when nobody polls again.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &Buffers,
        wanted_bytes: u64,
    ) -> Poll<io::Result<Buffer>>;

    /// Receives after what `buffer` holds already.
    async fn receive_more(&self, buffer: Buffer) -> (Buffer, io::Result<usize>);

    /// Sends all of `head`, then the first `body_bytes` of `body`, in as few system calls as possible.
    async fn send(
        &self,
        head: Vec<u8>,
        body: Buffer,
        body_bytes: usize,
    ) -> (Vec<u8>, Buffer, io::Result<()>);

    /// Tells the other side that no more bytes follow.
    fn close_write(&self);
}

/// A TCP connection on this thread's epoll.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: RefCell<TcpStream>,
    /// What stands between the stream and bytes in the clear.
    tls: OnceCell<Box<RefCell<Session>>>,
    deadline: Deadline,
    deadlines: Rc<Deadlines<Connection>>,
    key: Cell<u32>,
    /// Bytes of the current request have gone out on it.
    pub(crate) sent: Cell<bool>,
    /// The service whose instance it leads to.
    instance_of: OnceCell<ServiceId>,
    /// It leads to the application beside this sidecar.
    is_of_application: Cell<bool>,
    /// Since when an answer is awaited on it, by the thread's coarse clock; [`NOT_AWAITED`] where none is.
    awaited_since_ms: Cell<u64>,
    /// Nothing is expected of the instance any more.
    pub(crate) lost: Cell<Option<Lost>>,
    /// The instance has taken its leave: it answers what it has.
    pub(crate) is_leaving: Cell<bool>,
    /// A client connection between two requests.
    pub(crate) idle: Cell<bool>,
    /// The application beside the sidecar calls others on it.
    pub(crate) is_outbound: Cell<bool>,
    /// It is ended before its time: nothing on it is whole any more.
    is_cut: Cell<bool>,
    /// Its end is no end in order.
    is_reset: Cell<bool>,
    /// Whoever waits for room to send.
    sender: RefCell<Option<Waker>>,
    /// Whoever looks after what many share on it, and ends it in order.
    keeper: RefCell<Option<Waker>>,
    /// The kernel takes little more than it can send at once.
    takes_little: Cell<bool>,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        deadlines: &Rc<Deadlines<Self>>,
    ) -> Rc<Self> {
        // Small messages go out at once; a socket that cannot is dead and the next use says so.
        let _ = stream.set_nodelay(true);
        let connection = Rc::new(Self {
            stream: RefCell::new(stream),
            tls: OnceCell::new(),
            deadline: Deadline::default(),
            deadlines: Rc::clone(deadlines),
            key: Cell::new(0),
            sent: Cell::new(false),
            instance_of: OnceCell::new(),
            is_of_application: Cell::new(false),
            awaited_since_ms: Cell::new(NOT_AWAITED),
            lost: Cell::new(None),
            is_leaving: Cell::new(false),
            idle: Cell::new(false),
            is_outbound: Cell::new(false),
            is_cut: Cell::new(false),
            is_reset: Cell::new(false),
            sender: RefCell::default(),
            keeper: RefCell::default(),
            takes_little: Cell::new(false),
            peer,
        });
        connection.key.set(deadlines.enter(Rc::downgrade(&connection)));
        connection
    }

    /// From now on its bytes are in records.
    pub(crate) fn speak_tls(&self, session: Session) {
        let _ = self.tls.set(Box::new(RefCell::new(session)));
    }

    /// It leads to an instance of this service; the first that is named stays.
    #[inline]
    pub(crate) fn leads_to(&self, service: &ServiceId) {
        self.instance_of.get_or_init(|| service.clone());
    }

    /// It leads to the application beside this sidecar.
    pub(crate) fn leads_to_application(&self) {
        self.is_of_application.set(true);
    }

    /// Whether it leads to an instance, or to the application beside this sidecar: to no host outside the mesh.
    pub(crate) fn is_within_mesh(&self) -> bool {
        self.is_of_application.get() || self.instance_of.get().is_some()
    }

    /// The service of the instance that an answer is awaited from.
    pub(crate) fn awaits(&self) -> Option<&ServiceId> {
        self.instance_of.get().filter(|_| self.awaited_since_ms.get() != NOT_AWAITED)
    }

    /// An answer is awaited from now on.
    pub(crate) fn await_answer(&self) {
        self.awaited_since_ms.set(self.deadlines.now_ms());
    }

    /// Answers to some requests are awaited, or none is: since the last time that anything came.
    pub(crate) fn await_answers(&self, any: bool) {
        match (any, self.awaited_since_ms.get()) {
            (true, NOT_AWAITED) => self.await_answer(),
            (true, _) => {}
            (false, _) => self.is_answered(),
        }
    }

    /// It has come.
    pub(crate) fn is_answered(&self) {
        self.awaited_since_ms.set(NOT_AWAITED);
    }

    /// For how long an answer has been awaited.
    pub(crate) fn awaited_for(&self) -> Duration {
        let since_ms = self.awaited_since_ms.get();
        Duration::from_millis(self.deadlines.now_ms().saturating_sub(since_ms))
    }

    /// Ends the wait for an answer that will not come. What many share goes on for those who have one.
    pub(crate) fn lose(&self, why: Lost) {
        self.lost.set(Some(why));
        match self.keeper.take() {
            Some(keeper) => keeper.wake(),
            None => self.shut_down(Shutdown::Both),
        }
    }

    /// Waits for bytes holding no buffer. Empty: the other side closed.
    pub(crate) async fn receive(&self, buffers: &Buffers) -> io::Result<Buffer> {
        poll_fn(|context| self.poll_receive(context, buffers, 0)).await
    }

    /// The same, with a large buffer where many bytes are known to come.
    pub(crate) async fn receive_sized(
        &self,
        buffers: &Buffers,
        wanted_bytes: u64,
    ) -> io::Result<Buffer> {
        poll_fn(|context| self.poll_receive(context, buffers, wanted_bytes)).await
    }

    /// Whether nothing has arrived on a pooled connection, neither stray bytes nor the end. Costs no system call
    /// in the usual case.
    pub(crate) fn is_quiet(&self) -> bool {
        if let Some(tls) = self.tls.get() {
            return tls.borrow_mut().is_quiet(&self.stream.borrow());
        }
        let mut byte = [0];
        matches!(self.stream.borrow().try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Where it is bound on this side.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.stream.borrow().local_addr().ok()
    }

    /// Where the caller wanted to connect to, where the kernel redirected it.
    pub(crate) fn original_destination(&self) -> io::Result<Option<SocketAddr>> {
        let stream = self.stream.borrow();
        original_destination(&*stream, stream.local_addr()?)
    }

    /// Whether it ends because this side ended it.
    pub(crate) fn was_ended_here(&self) -> bool {
        self.is_cut.get() || self.deadline.is_expired()
    }

    /// Whoever is woken sees that it must end, or that nothing is expected of the instance.
    pub(crate) fn set_keeper(&self, waker: &Waker) {
        self.keeper.replace(Some(waker.clone()));
    }

    /// Nothing more is to be asked for here: whoever serves it says so, where its protocol has a word for that without
    /// being asked.
    pub(crate) fn tell(&self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
    }

    /// Nothing more is served: it ends between two requests, and where its protocol has a farewell, with one.
    pub(crate) fn let_go(&self) {
        match self.keeper.take() {
            Some(keeper) => keeper.wake(),
            None if self.idle.get() => self.shut_down(Shutdown::Read),
            None => {}
        }
    }

    /// Ends it at the end of the grace. What is in the midst of something must not seem whole.
    pub(crate) fn give_up(&self) {
        if self.idle.get() {
            return self.shut_down(Shutdown::Both);
        }
        self.cut();
        self.shut_down(Shutdown::Read);
    }

    /// Has the kernel take little more than the other side does, for long bodies: else megabytes wait in the kernel, and
    /// whoever sends them cannot see whether they move.
    pub(crate) fn take_little(&self) {
        if !self.takes_little.replace(true) {
            // Where it fails, slow readers are seen later.
            let _ = socket2::SockRef::from(&*self.stream.borrow())
                .set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        }
    }

    /// Has the connection reset when it is closed: an orderly close could pass for the end of what was sent.
    pub(crate) fn reset_when_closed(&self) {
        self.is_reset.set(true);
        // Where it fails, the connection is gone already.
        let _ = socket2::SockRef::from(&*self.stream.borrow()).set_linger(Some(Duration::ZERO));
    }

    /// Ready when the other side, which has ended its sending, is known to be gone: it resets the connection, or the
    /// kernel asks and it no longer answers.
    pub(crate) fn departure(&self) -> impl Future<Output = ()> + use<> {
        let stream = self.stream.borrow();
        let keepalive =
            TcpKeepalive::new().with_time(DEPARTURE_ASKED).with_interval(DEPARTURE_ASKED);
        // Where it fails, the next send finds out.
        let _ = socket2::SockRef::from(&*stream).set_tcp_keepalive(&keepalive);
        // A stream that has ended tells nothing more of itself: a second descriptor does.
        let watched = stream.as_fd().try_clone_to_owned();
        let watched = watched.and_then(|watched| TcpStream::from_std(watched.into()));
        async move {
            match watched {
                Ok(watched) => drop(watched.ready(Interest::ERROR).await),
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Receives after what `buffer` holds already, in which there is room.
    pub(crate) fn poll_receive_more(
        &self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.poll_read(context, buffer.spare_mut()))?;
        buffer.fill(received);
        Poll::Ready(Ok(received))
    }

    #[inline]
    fn poll_read(&self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.tls.get() {
            Some(tls) => self.poll_read_records(tls, context, room),
            None => {
                let mut read = ReadBuf::new(room);
                ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, &mut read))?;
                Poll::Ready(Ok(read.filled().len()))
            }
        }
    }

    /// Apart from what is read in the clear, which is to stay within its callers.
    #[inline(never)]
    fn poll_read_records(
        &self,
        tls: &RefCell<Session>,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        tls.borrow_mut().poll_read(context, &mut self.stream.borrow_mut(), room)
    }

    /// Says that nothing more comes, where the end alone could be anybody's.
    fn say_goodbye(&self) {
        if let Some(tls) = self.tls.get().filter(|_| !self.is_reset.get()) {
            tls.borrow_mut().say_goodbye(&self.stream.borrow());
        }
    }

    #[inline]
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let stream = Pin::new(&mut *stream);
        let sent = match (self.tls.get(), head.is_empty(), body.is_empty()) {
            (Some(tls), ..) => {
                let moved = || {
                    // Whatever becomes of the rest: the other side may act on a part.
                    self.sent.set(true);
                    self.deadlines.moved(&self.deadline, Instant::now());
                };
                tls.borrow_mut().poll_send(context, stream.get_mut(), [head, body], moved)
            }
            (None, false, false) => {
                stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(body)])
            }
            (None, false, true) => stream.poll_write(context, head),
            (None, true, _) => stream.poll_write(context, body),
        };
        match sent {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                self.sent.set(true);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.is_cut.get() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => {
                self.sender.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Sends as much of `bytes` as goes at once, and at least some.
    pub(crate) fn poll_send_some(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_send(context, bytes, &[]))?;
        if sent < bytes.len() {
            self.deadlines.moved(&self.deadline, Instant::now());
        }
        Poll::Ready(Ok(sent))
    }
}

impl Transport for Connection {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &Buffers,
        wanted_bytes: u64,
    ) -> Poll<io::Result<Buffer>> {
        buffers.receive(wanted_bytes, |spare| self.poll_read(context, spare))
    }

    async fn receive_more(&self, mut buffer: Buffer) -> (Buffer, io::Result<usize>) {
        let outcome = poll_fn(|context| self.poll_receive_more(context, &mut buffer)).await;
        (buffer, outcome)
    }

    async fn send(
        &self,
        head: Vec<u8>,
        body: Buffer,
        body_bytes: usize,
    ) -> (Vec<u8>, Buffer, io::Result<()>) {
        let total = head.len() + body_bytes;
        let mut sent = 0;
        let outcome = poll_fn(|context| {
            while sent < total {
                let head_left = &head[sent.min(head.len())..];
                let body_left = &body.filled()[sent.saturating_sub(head.len())..body_bytes];
                sent += ready!(self.poll_send(context, head_left, body_left))?;
                if sent < total {
                    self.deadlines.moved(&self.deadline, Instant::now());
                }
            }
            Poll::Ready(Ok(()))
        })
        .await;
        (head, body, outcome)
    }

    fn close_write(&self) {
        self.say_goodbye();
        self.shut_down(Shutdown::Write);
    }
}

impl Late for Connection {
    fn shut_down(&self, how: Shutdown) {
        // A connection that is gone already needs no shutting down.
        let _ = socket2::SockRef::from(&*self.stream.borrow()).shutdown(how);
    }

    fn cut(&self) {
        self.is_cut.set(true);
        self.reset_when_closed();
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

impl HasDeadline for Connection {
    fn deadline(&self) -> &Deadline {
        &self.deadline
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.say_goodbye();
        self.deadlines.leave(self.key.get());
    }
}

/// A connection whose bytes pass unread.
#[derive(Debug)]
pub(crate) struct Unread(Rc<Connection>);

impl Cut for Unread {
    fn cut(&self) {
        Late::cut(&*self.0);
    }
}

impl Unread {
    /// From now on. How long a side may take nothing is the tunnel's affair, not the kernel's.
    pub(crate) fn new(connection: Rc<Connection>) -> Self {
        // Where it fails, the connection is gone already.
        let _ = socket2::SockRef::from(&*connection.stream.borrow()).set_tcp_user_timeout(None);
        Self(connection)
    }

    /// Once it is given up, nothing that passes is the end of anything.
    fn check(&self) -> io::Result<()> {
        if self.0.is_cut.get() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Unread {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let received = ready!(self.0.poll_read(context, into.initialize_unfilled()))?;
        into.advance(received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unread {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.0.poll_send(context, bytes, &[])
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.0.say_goodbye();
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(context)
    }
}
