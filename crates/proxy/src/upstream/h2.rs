//! Requests to instances in HTTP/2: each a stream, many of them on one connection.

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use lanes::ServiceId;
use routes::{
    Edits,
    entrance::{Name, Written},
};
use telemetry::Count;
use tokio::{sync::oneshot, task::spawn_local};

use crate::{
    buffers::Buffer,
    deadlines::Late as _,
    error::{Kind, ProxyError},
    h1::{
        fields::Framing,
        head::Field,
        piece::Piece,
        write::{Fields, ReadHead, write_fields, write_target},
    },
    h2::{
        Limits,
        driver::Driver,
        error::Code,
        grpc, hpack,
        incoming::Incoming,
        outgoing::{Outgoing, Stopped},
        session::{Lost, Session, SharedSession},
        tunnelled::Tunnelled,
    },
    limits::{
        ABANDONED_AFTER, H2_CONNECTION_WINDOW, H2_FIRST_WINDOW, H2_STREAM_WINDOW,
        H2_TABLE_BYTES_MAX, HELD_HUNG_AFTER,
    },
    plan::{CONNECT, Protocol},
    transport::Connection,
    upstream::{
        h1::Answer,
        sessions::{Opening, Shared},
    },
    websocket,
    worker::Worker,
};

use super::{pool::Place, tls};

/// What instances are allowed.
const LIMITS: Limits = Limits {
    streams_max: 0,
    stream_window: H2_STREAM_WINDOW,
    first_window: H2_FIRST_WINDOW,
    connection_window: H2_CONNECTION_WINDOW,
    head_bytes_max: crate::h1::head::HEAD_BYTES_MAX as u32,
    table_bytes_max: H2_TABLE_BYTES_MAX,
    is_shared: false,
};

/// How long a sign of life must have been due before an instance is called mute.
const MUTE_AFTER: Duration = Duration::from_millis(ABANDONED_AFTER.as_millis() as u64 / 2);

/// Moves a connection's bytes to its end. Others wait until they can use it, as long as it is `opening`.
async fn drive(worker: Rc<Worker>, shared: Shared, opening: Rc<Opening>) {
    let Shared { session, connection } = &shared;
    let mut opening = Some(opening);
    // Who ends it when nobody uses it any more is whoever hands it out: else a request could begin in the same moment.
    let mut driver = Driver::new(&worker, connection, session, None, Buffer::default());
    let ended: io::Result<()> = poll_fn(|context| {
        session.borrow_mut().set_driver(context.waker());
        if connection.lost.get().is_some() {
            session.borrow_mut().give_up_waiting();
        }
        loop {
            let has_received = driver.receive(context)?;
            if has_received {
                // Whoever says anything is there.
                connection.is_answered();
                worker.heard_of(connection.peer);
                opening.take_if(|_| session.borrow().is_greeted());
            }
            let has_sent = driver.send(context)?;
            if driver.has_ended || session.borrow().is_done() {
                return Poll::Ready(Ok(()));
            }
            if !has_received && !has_sent {
                driver.wait();
                connection.await_answers(session.borrow().awaits_answer());
                connection.set_keeper(context.waker());
                return Poll::Pending;
            }
        }
    })
    .await;
    if ended.is_err() && !connection.was_ended_here() {
        driver.hear_out().await;
    }
    if let Some(opening) = opening {
        opening.failed(&ProxyError::unsent(Kind::Reset(io::ErrorKind::ConnectionReset.into())));
    }
    session.borrow_mut().close();
    // Nobody waits for what cannot be sent any more.
    if ended.is_ok() {
        let _ = driver.farewell().await;
    }
    // Whoever still takes what came of it holds it open.
    connection.shut_down(Shutdown::Both);
}

/// A request's head as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    block: Vec<u8>,
    is_head: bool,
    is_grpc: bool,
    /// It asks for a WebSocket.
    asks_for: Option<AsksFor>,
    /// Until when its caller waits, by the thread's clock: what is left of it is told with each attempt.
    told_ms: Option<u64>,
}

/// A WebSocket that a request asks for.
#[derive(Debug, Clone)]
pub(super) struct AsksFor {
    /// What its client, which speaks HTTP/1.1, must be shown.
    accept: Option<Box<str>>,
}

impl AsksFor {
    /// `needs_key`: its client speaks HTTP/1.1, and this proxy is the server that it shakes hands with.
    pub(super) fn read(request: &impl ReadHead, needs_key: bool) -> Result<Option<Self>, Kind> {
        let (head, bytes) = request.read_head();
        if !websocket::is_asked_for(head, bytes) {
            return Ok(None);
        }
        let accept = websocket::accept_of(head.fields(), bytes).filter(|_| needs_key);
        if needs_key && accept.is_none() {
            return Err(Kind::WebSocketKey);
        }
        Ok(Some(Self { accept }))
    }
}

impl Message {
    /// A request's head, edited.
    pub(super) fn new(
        worker: &Worker,
        scheme: &[u8],
        request: &impl ReadHead,
        asks_for: Option<AsksFor>,
        told_ms: Option<u64>,
        written: &Written,
        edits: &Edits<'_>,
    ) -> Self {
        let (head, bytes) = request.read_head();
        let mut block = worker.buffers.take_write();
        if asks_for.is_some() {
            hpack::write_field(b":method", CONNECT.as_bytes(), &mut block);
            hpack::write_field(b":protocol", websocket::NAME, &mut block);
        } else {
            hpack::write_field(b":method", head.method.of(bytes), &mut block);
        }
        hpack::write_field(b":scheme", scheme, &mut block);
        let host = written.value(Name::Host).or_else(|| {
            let mut kept = head.fields().iter().filter(|field| field.keep);
            kept.find(|field| field.name == Name::Host).map(|field| field.value.of(bytes))
        });
        hpack::write_field(b":authority", host.unwrap_or_default(), &mut block);
        let mut path = worker.buffers.take_write();
        write_target(head, bytes, edits, &mut path);
        hpack::write_field(b":path", &path, &mut block);
        worker.buffers.give_write(path);
        let is_told = told_ms.is_some();
        let is_websocket = asks_for.is_some();
        let mut fields = BlockOfFields { block: &mut block, is_grpc: false, is_websocket, is_told };
        write_fields(head, bytes, written, edits, &mut fields);
        let is_grpc = fields.is_grpc && !is_websocket;
        if is_grpc {
            // Said for one connection alone, and so not taken over; its servers insist on it.
            hpack::write_field(b"te", b"trailers", &mut block);
        }
        Self { block, is_head: request.is_head(), is_grpc, asks_for, told_ms }
    }

    pub(super) fn give_back(self, worker: &Worker) {
        worker.buffers.give_write(self.block);
    }
}

/// The fields of a request but its host, which has gone before.
struct BlockOfFields<'b> {
    block: &'b mut Vec<u8>,
    is_grpc: bool,
    /// It is asked for without a key.
    is_websocket: bool,
    /// How long its caller waits is said anew.
    is_told: bool,
}

/// Whether a field is about a body, which no CONNECT has: even a length of 0 counts what comes in the stream.
fn is_of_body(name: Name) -> bool {
    matches!(name, Name::ContentLength | Name::Expect)
}

impl Fields for BlockOfFields<'_> {
    fn written(&mut self, written: &Written) {
        for (name, value) in written.iter().filter(|(name, _)| *name != "host") {
            hpack::write_field(name.as_bytes(), value, self.block);
        }
    }

    fn kept(&mut self, bytes: &[u8], fields: &[Field]) {
        for field in fields.iter().filter(|field| field.keep && field.name != Name::Host) {
            if self.is_told && field.name == Name::GrpcTimeout {
                continue;
            }
            let (name, value) = (field.name_of(bytes), field.value.of(bytes));
            if self.is_websocket && (is_of_body(field.name) || websocket::is_of_handshake(name)) {
                continue;
            }
            self.is_grpc |= field.name == Name::ContentType && grpc::is_grpc(value);
            hpack::write_field(name, value, self.block);
        }
    }

    fn added(&mut self, name: &str, value: &[u8]) {
        hpack::write_field(name.as_bytes(), value, self.block);
    }
}

/// One request in a stream, and its answer. What is not at its end when it is dropped ends then.
#[derive(Debug)]
pub(crate) struct Call<'w> {
    worker: &'w Worker,
    session: SharedSession,
    /// Not this call's alone.
    connection: Rc<Connection>,
    /// Of its stream, from the moment it has one.
    id: OnceCell<u32>,
    outgoing: OnceCell<Outgoing<'w>>,
    incoming: OnceCell<Incoming<'w>>,
    /// Its answer has no body.
    is_head: Cell<bool>,
    is_grpc: Cell<bool>,
    /// Its stream is to be a WebSocket.
    asks_for: OnceCell<AsksFor>,
    /// It was held against the instance that its answer has not begun.
    is_held: Cell<bool>,
    /// What had been heard of the instance when a sign of life was asked for that is due since.
    asked_at: Cell<Option<u64>>,
    /// Half of the time for it is over. What came while this process stood still is read before the other half is.
    is_half_over: Cell<bool>,
    /// At this time of the thread's clock it is given up.
    deadline_ms: Cell<u64>,
    /// How long the instance may take none of the request.
    patience: Cell<Duration>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.release(Code::Cancel);
    }
}

impl<'w> Call<'w> {
    pub(super) fn pooled(worker: &'w Worker, place: Place) -> Option<Self> {
        let found = worker.sessions.find(place, worker.deadlines.now_ms());
        worker.recorder.count(match found {
            Some(_) => Count::PoolReused,
            None => Count::PoolMissed,
        });
        found.map(|shared| Self::on(worker, shared))
    }

    /// A call on a new connection; on one at a time for those who come together. Whether another has opened it.
    pub(super) async fn connect(
        worker: &'w Worker,
        protocol: Protocol,
        address: SocketAddr,
        blamed: Option<SocketAddr>,
    ) -> Result<(Self, bool), ProxyError> {
        let place = Place { address, tls: protocol.tls };
        while let Some(outcome) = worker.sessions.opening(place) {
            // An instance that says nothing, or whose opener does not go on, holds nobody else up.
            let Ok(outcome) = tokio::time::timeout(worker.timeouts.connect, outcome.wait()).await
            else {
                break;
            };
            outcome?;
            if let Some(shared) = worker.sessions.find(place, worker.deadlines.now_ms()) {
                return Ok((Self::on(worker, shared), true));
            }
        }
        let shared = open_for_all(worker, protocol, address, blamed).await?;
        Ok((Self::on(worker, shared), false))
    }

    fn on(worker: &'w Worker, Shared { session, connection }: Shared) -> Self {
        Self {
            worker,
            session,
            connection,
            id: OnceCell::new(),
            outgoing: OnceCell::new(),
            incoming: OnceCell::new(),
            is_head: Cell::new(false),
            is_grpc: Cell::new(false),
            asks_for: OnceCell::new(),
            is_held: Cell::new(false),
            asked_at: Cell::new(None),
            is_half_over: Cell::new(false),
            deadline_ms: Cell::new(u64::MAX),
            patience: Cell::new(worker.timeouts.backend),
        }
    }

    fn release(&self, code: Code) {
        if let Some(id) = self.id.get() {
            self.session.borrow_mut().release(*id, code, &self.worker.buffers);
        }
    }

    /// Waits, but not for ever. The deadline may be put off meanwhile.
    async fn within<T>(&self, work: impl Future<Output = Result<T, Kind>>) -> Result<T, Kind> {
        let mut work = std::pin::pin!(work);
        // Whoever leaves soon may leave because of its silence: by then it must be known whether it is there.
        let mut pause = if self.is_grpc.get() { self.asks_after() } else { HELD_HUNG_AFTER };
        loop {
            let deadlines = &self.worker.deadlines;
            deadlines.set_now(Instant::now());
            let at_ms = self.deadline_ms.get();
            let left = Duration::from_millis(at_ms.saturating_sub(deadlines.now_ms()));
            let may_hang = self.may_hang(at_ms) && pause < left;
            let is_asked = may_hang && (self.is_grpc.get() || self.is_asked());
            let wait = if may_hang { pause } else { left };
            if let Ok(done) = tokio::time::timeout(wait, work.as_mut()).await {
                return done;
            }
            if is_asked {
                self.note_silence();
            } else if !may_hang && self.deadline_ms.get() <= at_ms {
                return Err(Kind::AnswerTimeout);
            }
            pause = match self.asked_at.get() {
                Some(_) => self.worker.timeouts.sign_of_life / 2,
                None => HELD_HUNG_AFTER,
            };
        }
    }

    /// How long after its beginning the instance is asked for a sign of life.
    fn asks_after(&self) -> Duration {
        let deadlines = &self.worker.deadlines;
        deadlines.set_now(Instant::now());
        let left = self.deadline_ms.get().saturating_sub(deadlines.now_ms());
        (ABANDONED_AFTER / 2).min(Duration::from_millis(left) / 2)
    }

    /// Whether its caller may wait as long as it likes, or much longer than others; whether the instance hangs must be known
    /// all the same. Once is enough.
    fn may_hang(&self, at_ms: u64) -> bool {
        (at_ms == u64::MAX || self.is_grpc.get())
            && !self.is_held.get()
            && self.incoming.get().is_none()
    }

    /// The answer has not begun for some time. It is held against the instance, unless it was one of gRPC, which may have
    /// nothing to say for long: then its connection must be silent as well, though a sign of life is due. Nobody who waits on
    /// such a connection for an answer waits any longer.
    #[cold]
    fn note_silence(&self) {
        let owes_an_answer = self.owes_an_answer();
        if owes_an_answer && (!self.is_grpc.get() || self.is_half_over.get()) {
            self.is_held.set(true);
            if self.is_grpc.get() && self.connection.is_within_mesh() {
                return self.worker.free_from_mute(&self.connection);
            }
            return self.worker.hangs(&self.connection, Instant::now());
        }
        self.is_half_over.set(owes_an_answer);
        if owes_an_answer {
            return;
        }
        let mut session = self.session.borrow_mut();
        let is_due = session.ask(self.worker.deadlines.now_ms());
        self.asked_at.set(is_due.then(|| session.heard()));
    }

    /// Whether the instance may be blamed for its silence.
    pub(super) fn owes_an_answer(&self) -> bool {
        !self.is_grpc.get() || self.asked_at.get() == Some(self.session.borrow().heard())
    }

    /// Whether a sign of life has been due for some time, and nothing at all has come on the connection. It is asked for,
    /// where nobody has: callers that wait for a short time leave before.
    pub(super) fn is_mute(&self) -> bool {
        if !self.is_grpc.get() {
            return false;
        }
        let now_ms = self.worker.deadlines.now_ms();
        let mut session = self.session.borrow_mut();
        session.ask(now_ms);
        session.is_mute_for(MUTE_AFTER.as_millis() as u64, now_ms)
    }

    /// Whether the instance has all of the request.
    fn is_asked(&self) -> bool {
        self.id.get().is_some_and(|id| self.session.borrow().has_said_all(*id))
    }

    fn sent(&self, sent: Result<(), Stopped>) -> Result<(), ProxyError> {
        sent.map_err(|stopped| {
            ProxyError::sent(match stopped {
                Stopped::Lost(lost) => self.broken(lost),
                Stopped::Late => Kind::AnswerTimeout,
            })
        })
    }

    /// A connection that is no good any more, or has no room, before anything was sent.
    fn unusable() -> ProxyError {
        ProxyError::unsent(Kind::NoStream)
    }

    pub(super) fn into_tunnelled(mut self) -> Tunnelled<'w> {
        // The stream is the tunnel's from now on, to end.
        let id = self.id.take().unwrap_or_default();
        Tunnelled::new(self.worker, Rc::clone(&self.session), id)
    }
}

/// Opens a connection, also for those who come later: it is opened, or found not to open, although whoever asked for it
/// waits no longer. What fails then is held against the `blamed` instance here.
async fn open_for_all(
    worker: &Worker,
    protocol: Protocol,
    address: SocketAddr,
    blamed: Option<SocketAddr>,
) -> Result<Shared, ProxyError> {
    // From here on others wait for it.
    let opening = worker.sessions.begin_to_open(Place { address, tls: protocol.tls });
    let Some(of_task) = worker.shared() else {
        return open(worker, protocol, address, opening).await;
    };
    let (tell, told) = oneshot::channel();
    spawn_local(async move {
        let untold = tell.send(open(&of_task, protocol, address, opening).await);
        if let (Err(Err(error)), Some(blamed)) = (untold, blamed)
            && error.may_retry()
        {
            of_task.eject(blamed, Instant::now());
        }
    });
    told.await.unwrap_or_else(|_| Err(Call::unusable()))
}

/// Opens a connection, and has it served.
async fn open(
    worker: &Worker,
    protocol: Protocol,
    address: SocketAddr,
    opening: Rc<Opening>,
) -> Result<Shared, ProxyError> {
    let place = Place { address, tls: protocol.tls };
    let connection = worker.open(address).await.inspect_err(|error| opening.failed(error))?;
    if protocol.tls.is_some() {
        let secured = Box::pin(tls::secure(worker, &connection, protocol)).await;
        secured.inspect_err(|error| opening.failed(error))?;
    }
    let session = Session::client(LIMITS, worker.deadlines.now_ms());
    let shared = Shared { session: Rc::new(RefCell::new(session)), connection };
    worker.sessions.add(place, shared.clone(), worker.deadlines.now_ms());
    if let Some(worker) = worker.shared() {
        spawn_local(drive(worker, shared.clone(), opening));
    }
    Ok(shared)
}

/// A place for a stream that waits for the other side's greeting: nobody else is given it.
struct Reserved<'s>(&'s SharedSession);

impl<'s> Reserved<'s> {
    fn keep(session: &'s SharedSession) -> Self {
        session.borrow_mut().reserve();
        Self(session)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().unreserve();
    }
}

impl Call<'_> {
    /// What the end of a stream means.
    fn broken(&self, lost: Lost) -> Kind {
        match lost {
            Lost::Unprocessed => Kind::Unprocessed,
            Lost::Malformed(malformed) => Kind::Answer(malformed),
            Lost::Reset(code) => match code {
                // Any reset may be how a server declines a handshake, but for those that are about itself.
                Code::Internal | Code::EnhanceYourCalm => Kind::StreamReset,
                _ if self.asks_for.get().is_some() => Kind::WebSocketReset(code),
                _ => Kind::StreamReset,
            },
            Lost::Closed => Kind::Reset(io::ErrorKind::UnexpectedEof.into()),
            Lost::GivenUp => match self.connection.lost.get() {
                Some(lost) => Kind::Lost(lost),
                None => Kind::Reset(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }

    pub(super) fn leads_to(&self, service: &ServiceId) {
        self.connection.leads_to(service);
    }

    pub(super) fn leads_to_application(&self) {
        self.connection.leads_to_application();
    }

    pub(super) fn expect_by(&self, at_ms: u64) {
        self.deadline_ms.set(at_ms);
    }

    pub(super) fn expect_moves(&self, period: Duration, until_ms: u64) {
        self.worker.deadlines.set_now(Instant::now());
        self.patience.set(period);
        self.deadline_ms.set(self.worker.at_ms(period).min(until_ms));
    }

    pub(super) fn cut(&self) {
        self.release(Code::Cancel);
    }

    pub(super) async fn begin(
        &self,
        message: &mut Message,
        first: &mut Piece,
        is_last: bool,
    ) -> Result<(), ProxyError> {
        if let Some(asks_for) = &message.asks_for {
            return self.begin_websocket(asks_for, &message.block).await;
        }
        // Callers of gRPC end even an empty stream with a frame of data, and there are servers that wait for it.
        let is_all = !message.is_grpc && Outgoing::is_all(first, is_last);
        let block_bytes = message.block.len();
        if let Some(told_ms) = message.told_ms {
            // Its connection may have taken long to open.
            self.worker.deadlines.set_now(Instant::now());
            let left = told_ms.saturating_sub(self.worker.deadlines.now_ms());
            let value = grpc::timeout_value(left);
            hpack::write_field(b"grpc-timeout", value.as_bytes(), &mut message.block);
        }
        let opened = {
            let mut session = self.session.borrow_mut();
            session.lend(&self.worker.buffers);
            session.open(&message.block, message.is_head, is_all)
        };
        message.block.truncate(block_bytes);
        let id = opened.ok_or_else(Self::unusable)?;
        self.is_head.set(message.is_head);
        self.is_grpc.set(message.is_grpc);
        self.has_opened(id);
        if is_all { Ok(()) } else { self.send(first, is_last).await }
    }

    fn has_opened(&self, id: u32) {
        let session = Rc::clone(&self.session);
        let outgoing = Outgoing::new(self.worker, session, id, self.patience.get());
        let _ = (self.id.set(id), self.outgoing.set(outgoing));
    }

    /// Asks for a WebSocket, once the instance has said that it may be asked for one.
    async fn begin_websocket(&self, asks_for: &AsksFor, block: &[u8]) -> Result<(), ProxyError> {
        let place = Reserved::keep(&self.session);
        let takes = poll_fn(|context| self.session.borrow_mut().poll_takes_protocols(context));
        let takes = self.within(async { takes.await.map_err(|lost| self.broken(lost)) }).await;
        if !takes.map_err(ProxyError::unsent)? {
            return Err(ProxyError::unsent(Kind::NoWebSocket(
                "it speaks HTTP/2 without CONNECT for other protocols (RFC 8441)",
            )));
        }
        drop(place);
        let opened = self.session.borrow_mut().open_for_protocol(block);
        self.has_opened(opened.ok_or_else(Self::unusable)?);
        let _ = self.asks_for.set(asks_for.clone());
        Ok(())
    }

    pub(super) async fn send(&self, piece: &mut Piece, is_last: bool) -> Result<(), ProxyError> {
        let outgoing = self.outgoing.get().ok_or_else(Self::unusable)?;
        self.sent(outgoing.send_piece(piece, is_last).await)
    }

    pub(super) async fn answer(&self) -> Result<Answer, Kind> {
        let id = *self.id.get().ok_or(Kind::Unprocessed)?;
        let head = poll_fn(|context| self.session.borrow_mut().poll_head(id, context));
        let read = self.within(async { head.await.map_err(|lost| self.broken(lost)) }).await?;
        let mut head = self.worker.take_response_head();
        let mut received = self.worker.buffers.take();
        match self.asks_for.get() {
            Some(AsksFor { accept }) if (200..300).contains(&read.status) => {
                let mut switched = self.worker.buffers.take_write();
                websocket::write_switched(&read.text, accept.as_deref(), &mut switched);
                received.append(&switched);
                self.worker.buffers.give_write(switched);
            }
            _ => received.append(&read.text),
        }
        self.worker.buffers.give_write(read.text);
        let is_whole =
            head.advance(received.filled(), self.is_head.get()).map_err(Kind::AnswerHead)?;
        debug_assert!(is_whole, "a head in HTTP/2 is whole");
        // Its end is told, be it at once.
        if head.framing == Framing::UntilClose {
            head.framing = Framing::Chunked;
        }
        Ok(Answer { head, received })
    }

    pub(super) fn pass_over(&self, interim: Answer) {
        self.give_back_head(interim);
    }

    fn give_back_head(&self, answer: Answer) {
        self.worker.give_response_head(answer.head);
        self.worker.buffers.give(answer.received);
    }

    pub(super) fn begin_body(&self, answer: Answer, keeps_framing: bool) -> Result<Piece, Kind> {
        let id = *self.id.get().ok_or(Kind::Unprocessed)?;
        let is_framed = keeps_framing && answer.head.framing == Framing::Chunked;
        self.give_back_head(answer);
        let session = Rc::clone(&self.session);
        let incoming =
            self.incoming.get_or_init(|| Incoming::new(self.worker, session, id, is_framed, None));
        Ok(incoming.arrived())
    }

    pub(super) async fn next(&self) -> Result<Piece, Kind> {
        let incoming = self.incoming.get().ok_or(Kind::Unprocessed)?;
        let next = poll_fn(|context| incoming.poll_next(context));
        self.within(async { next.await.map_err(|lost| self.broken(lost)) }).await
    }

    pub(super) fn is_done(&self) -> bool {
        self.incoming.get().is_some_and(Incoming::is_done)
    }

    pub(super) fn give_back(&self, piece: Piece) {
        self.worker.buffers.give(piece.into_rest());
    }

    /// Whatever is left of it is of no use.
    pub(super) fn finish(self) {}
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// The first that an instance says.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    /// How often in a row an instance has left a request unanswered, of those that put it aside.
    fn take_unanswered(worker: &Worker, address: SocketAddr) -> usize {
        let more = (1..=3).find(|_| worker.unanswered(address, Instant::now()));
        worker.answered(address);
        3 - more.expect("three put it aside")
    }

    /// A call that was sent, whole or not.
    async fn begun<'w>(
        worker: &'w Worker,
        listener: &TcpListener,
        is_grpc: bool,
        is_whole: bool,
    ) -> Call<'w> {
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let connection = Connection::new(stream, address, &worker.deadlines);
        let session = Rc::new(RefCell::new(Session::client(LIMITS, 0)));
        let call = Call::on(worker, Shared { session, connection });
        let block = Vec::new();
        let mut message = Message { block, is_head: false, is_grpc, asks_for: None, told_ms: None };
        call.begin(&mut message, &mut Piece::default(), is_whole).await.unwrap();
        call
    }

    #[tokio::test]
    async fn what_is_left_of_a_deadline_is_what_is_left_when_it_is_told() {
        let metrics = telemetry::Metrics::default();
        let worker = Worker::alone(&metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let call = begun(&worker, &listener, true, true).await;
        let Call { session, connection, .. } = &call;
        session.borrow_mut().receive(&SETTINGS, &worker.buffers, 0).unwrap();
        let shared = Shared { session: Rc::clone(session), connection: Rc::clone(connection) };
        worker.deadlines.set_now(Instant::now());
        let told_ms = Some(worker.deadlines.now_ms() + 99);
        // It took this long to connect.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let block = Vec::new();
        let mut message = Message { block, is_head: false, is_grpc: true, asks_for: None, told_ms };
        let late = Call::on(&worker, shared);
        late.begin(&mut message, &mut Piece::default(), true).await.unwrap();
        let said = late.session.borrow_mut().take_out(Vec::new());
        // The empty frame of data that ends a call comes after it.
        let end = b"\x0cgrpc-timeout\x020m\0\0\0\0\x01\0\0\0\x03";
        assert!(said.ends_with(end), "{}", said.escape_ascii());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_is_known_by_one_request_once() {
        let metrics = telemetry::Metrics::default();
        let worker = Worker::alone(&metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (never, hour) = (u64::MAX, 3_600_000);
        for (is_grpc, is_whole, at_ms, expected) in [
            (false, true, never, 1),
            (true, true, never, 1),
            (true, true, hour, 1),
            // Of others a route says how long they may take.
            (false, true, hour, 0),
            // It has not all of it; that it is asked for a sign of life has nothing to do with that.
            (false, false, never, 0),
            (true, false, hour, 1),
            (true, true, 9_000, 0),
        ] {
            let call = begun(&worker, &listener, is_grpc, is_whole).await;
            call.expect_by(at_ms);
            let waits = call.within(pending::<Result<(), Kind>>());
            let is_late = tokio::time::timeout(Duration::from_secs(600), waits).await.is_ok();
            assert_eq!(is_late, at_ms < 600_000);
            let unanswered = take_unanswered(&worker, address);
            assert_eq!(unanswered, expected, "{is_grpc} {is_whole} {at_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_on_a_websocket_is_known_too() {
        // The same with CONNECT for other protocols.
        const TAKES_PROTOCOLS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        let metrics = telemetry::Metrics::default();
        let worker = Worker::alone(&metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let connection = Connection::new(stream, address, &worker.deadlines);
        let session = Rc::new(RefCell::new(Session::client(LIMITS, 0)));
        session.borrow_mut().receive(&TAKES_PROTOCOLS, &worker.buffers, 0).unwrap();
        let call = Call::on(&worker, Shared { session, connection });
        let asks_for = Some(AsksFor { accept: None });
        let block = Vec::new();
        let mut message =
            Message { block, is_head: false, is_grpc: false, asks_for, told_ms: None };
        call.begin(&mut message, &mut Piece::default(), true).await.unwrap();
        call.expect_by(u64::MAX);
        let waits = call.within(pending::<Result<(), Kind>>());
        assert!(tokio::time::timeout(Duration::from_secs(600), waits).await.is_err());
        assert_eq!(take_unanswered(&worker, address), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_of_grpc_that_waits_on_a_connection_that_lives_is_held_against_nobody() {
        const PING_ACKNOWLEDGED: [u8; 9] = [0, 0, 8, 6, 1, 0, 0, 0, 0];
        let metrics = telemetry::Metrics::default();
        let worker = Worker::alone(&metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (is_answered, times_spoken, expected) in [
            (true, 0, 0),
            // Something else comes, while the answer to the ping does not; at last nothing comes.
            (false, 70, 0),
            (false, 4, 1),
            (false, 0, 1),
        ] {
            let call = begun(&worker, &listener, true, true).await;
            let told = |bytes: &[u8]| {
                let told = call.session.borrow_mut().receive(bytes, &worker.buffers, 0);
                assert_eq!(told.unwrap(), bytes.len());
            };
            told(&SETTINGS);
            let waits = call.within(pending::<Result<(), Kind>>());
            let meanwhile = async {
                assert!(!call.owes_an_answer(), "it was not asked for a sign of life yet");
                tokio::time::sleep(Duration::from_secs(10)).await;
                assert!(call.owes_an_answer());
                let said = call.session.borrow_mut().take_out(Vec::new());
                let ping = said.last_chunk::<17>().unwrap();
                assert_eq!(ping[3], 6);
                if is_answered {
                    told(&[&PING_ACKNOWLEDGED[..], &ping[9..]].concat());
                    assert!(!call.owes_an_answer(), "it is there");
                }
                for _ in 0..times_spoken {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                    told(&SETTINGS);
                }
                pending::<()>().await;
            };
            let both = async { tokio::join!(waits, meanwhile) };
            assert!(tokio::time::timeout(Duration::from_secs(599), both).await.is_err());
            assert_eq!(take_unanswered(&worker, address), expected, "{is_answered} {times_spoken}");
            let is_asked_again = call.session.borrow().has_out();
            assert!(!is_asked_again || times_spoken > 0, "a ping is no reason for the next");
        }
    }
}
