//! Requests to instances in HTTP/1.1, one at a time on a connection.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use lanes::ServiceId;
use routes::{Edits, entrance::Written};

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    error::{Kind, ProxyError},
    exchange::sides,
    h1::{
        body::Body,
        fields::Framing,
        head::{HEAD_BYTES_MAX, HeadError},
        piece::Piece,
        response::ResponseHead,
        write::{ReadHead, write_request},
    },
    h2::grpc,
    limits::HELD_HUNG_AFTER,
    peers::Refused,
    plan::Protocol,
    transport::{Connection, Transport as _, Unread},
    websocket::{self, Handshake},
    worker::Worker,
};

use super::{pool::Place, tls};

/// A request's head as it is sent, with a small body behind it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    is_head: bool,
    /// What the instance must show that is asked for a WebSocket; none: its client sees to that.
    handshake: Option<Box<Handshake>>,
}

/// One request on a connection, and its answer. The connection serves another only when both have passed whole.
#[derive(Debug)]
pub(crate) struct Call<'w> {
    worker: &'w Worker,
    connection: Rc<Connection>,
    /// Which it was asked for; the pool's key.
    place: Place,
    is_head: Cell<bool>,
    request_is_sent: Cell<bool>,
    /// The instance takes another request after this answer.
    keeps_connection: Cell<bool>,
    answer_body: Cell<Option<Body<'static>>>,
    handshake: OnceCell<Box<Handshake>>,
    /// What was received of the answer and not handed out yet.
    received: RefCell<Buffer>,
}

/// An answer's head with the bytes it was read from.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Box<ResponseHead>,
    pub(crate) received: Buffer,
}

impl sides::Answer for Answer {
    fn status(&self) -> u16 {
        self.head.status
    }

    fn refused(&self) -> Option<Refused> {
        self.head.refused
    }

    fn begins_websocket(&self) -> bool {
        let protocol = self.head.upgrade.map(|protocol| protocol.of(self.received.filled()));
        protocol.is_some_and(websocket::is_name)
    }

    fn grpc_status(&self) -> Option<u32> {
        grpc::status_in(&self.received.filled()[..self.head.head_bytes])
    }
}

impl Message {
    /// A request's head, edited.
    pub(super) fn new(
        worker: &Worker,
        request: &impl ReadHead,
        written: &Written,
        edits: &Edits<'_>,
    ) -> Self {
        let mut bytes = worker.buffers.take_write();
        let (head, received) = request.read_head();
        write_request(head, received, written, edits, &mut bytes);
        Self { bytes, is_head: request.is_head(), handshake: None }
    }

    /// Asks for a WebSocket in its client's place, which speaks HTTP/2, where it wants one.
    pub(super) fn begin_handshake(&mut self, worker: &Worker, request: &impl ReadHead) {
        let (head, bytes) = request.read_head();
        if websocket::is_asked_for(head, bytes) {
            let handshake = Handshake::begin(worker.random_bytes(), &mut self.bytes);
            self.handshake = Some(Box::new(handshake));
        }
    }

    #[inline]
    pub(super) fn join(&mut self, first: &mut Piece) {
        first.join(&mut self.bytes);
    }

    #[inline]
    pub(super) fn give_back(self, worker: &Worker) {
        worker.buffers.give_write(self.bytes);
    }
}

impl<'w> Call<'w> {
    #[inline]
    pub(super) fn pooled(worker: &'w Worker, place: Place) -> Option<Self> {
        worker.pooled(place).map(|connection| Self::on(worker, connection, place))
    }

    pub(super) async fn connect(
        worker: &'w Worker,
        protocol: Protocol,
        address: SocketAddr,
    ) -> Result<Self, ProxyError> {
        let connection = worker.open(address).await?;
        if protocol.tls.is_some() {
            Box::pin(tls::secure(worker, &connection, protocol)).await?;
        }
        Ok(Self::on(worker, connection, Place { address, tls: protocol.tls }))
    }

    #[inline]
    fn on(worker: &'w Worker, connection: Rc<Connection>, place: Place) -> Self {
        connection.sent.set(false);
        Self {
            worker,
            connection,
            place,
            is_head: Cell::new(false),
            request_is_sent: Cell::new(false),
            keeps_connection: Cell::new(false),
            answer_body: Cell::new(None),
            handshake: OnceCell::new(),
            received: RefCell::default(),
        }
    }
}

impl Call<'_> {
    /// What a broken connection means.
    fn broken(&self, error: io::Error) -> Kind {
        if let Some(lost) = self.connection.lost.get() {
            Kind::Lost(lost)
        } else if self.connection.deadline().is_expired() {
            Kind::AnswerTimeout
        } else {
            Kind::Reset(error)
        }
    }

    fn sent(&self, sent: io::Result<()>, is_last: bool) -> Result<(), ProxyError> {
        match sent {
            Ok(()) => {
                self.request_is_sent.set(is_last);
                Ok(())
            }
            Err(error) => {
                let sent_bytes = self.connection.sent.get();
                Err(ProxyError { kind: self.broken(error), sent_bytes })
            }
        }
    }

    /// Receives into an empty buffer that is taken when bytes are there, or behind what was received already.
    /// `None`: the instance has closed.
    async fn receive(
        &self,
        mut received: Buffer,
        wanted_bytes: u64,
        bytes_max: usize,
    ) -> Result<Option<Buffer>, Kind> {
        let buffers = &self.worker.buffers;
        if received.is_empty() {
            buffers.give(received);
            let received = self.connection.receive_sized(buffers, wanted_bytes).await;
            let received = received.map_err(|error| self.broken(error))?;
            return Ok((!received.is_empty()).then_some(received));
        }
        if !received.make_room(bytes_max) {
            return Err(Kind::AnswerHead(HeadError::TooLarge));
        }
        let outcome;
        (received, outcome) = self.connection.receive_more(received).await;
        let bytes = outcome.map_err(|error| self.broken(error))?;
        Ok((bytes > 0).then_some(received))
    }

    fn ended(&self) -> Kind {
        self.broken(io::ErrorKind::UnexpectedEof.into())
    }

    fn keep(&self, rest: Buffer) {
        if rest.is_empty() {
            self.worker.buffers.give(rest);
        } else {
            self.received.replace(rest);
        }
    }

    fn piece(&self, mut body: Body<'static>, received: Buffer) -> Result<Piece, Kind> {
        let piece = Piece::of(&mut body, received)
            .map_err(|_| Kind::AnswerHead(HeadError::TransferEncoding))?;
        self.answer_body.set(Some(body));
        Ok(piece)
    }
}

impl Call<'_> {
    #[inline]
    pub(super) fn leads_to(&self, service: &ServiceId) {
        self.connection.leads_to(service);
    }

    #[inline]
    pub(super) fn expect_by(&self, at_ms: u64) {
        let (deadlines, deadline) = (&self.worker.deadlines, self.connection.deadline());
        match at_ms {
            // Its caller may wait as long as it likes; whether the instance hangs must be known all the same.
            u64::MAX => deadlines.arm_note(deadline, HELD_HUNG_AFTER),
            _ => deadlines.arm_at(deadline, at_ms, Shutdown::Both),
        }
    }

    pub(super) fn expect_moves(&self, period: Duration, until_ms: u64) {
        self.worker.deadlines.set_now(Instant::now());
        self.worker.deadlines.arm_sending_until(self.connection.deadline(), period, until_ms);
    }

    pub(super) fn cut(&self) {
        self.connection.reset_when_closed();
    }

    pub(super) async fn begin(
        &self,
        message: &mut Message,
        first: &mut Piece,
        is_last: bool,
    ) -> Result<(), ProxyError> {
        self.is_head.set(message.is_head);
        if let Some(handshake) = &message.handshake {
            let _ = self.handshake.set(handshake.clone());
        }
        let sent = first.send_after(&mut message.bytes, &self.connection).await;
        self.sent(sent, is_last)
    }

    pub(super) async fn send(&self, piece: &mut Piece, is_last: bool) -> Result<(), ProxyError> {
        self.connection.take_little();
        let sent = piece.send_after(&mut Vec::new(), &self.connection).await;
        self.sent(sent, is_last)
    }

    pub(super) async fn answer(&self) -> Result<Answer, Kind> {
        let mut head = self.worker.take_response_head();
        let mut received = self.received.take();
        self.connection.await_answer();
        loop {
            if !received.is_empty()
                && head.advance(received.filled(), self.is_head.get()).map_err(Kind::AnswerHead)?
            {
                self.connection.is_answered();
                if let Some(handshake) = self.handshake.get() {
                    handshake.check(&head, received.filled()).map_err(Kind::from)?;
                }
                return Ok(Answer { head, received });
            }
            // One byte more than a head may have, so that the parser sees that it is too large.
            received =
                self.receive(received, 0, HEAD_BYTES_MAX + 1).await?.ok_or_else(|| self.ended())?;
        }
    }

    #[inline]
    pub(super) fn pass_over(&self, interim: Answer) {
        let Answer { head, mut received } = interim;
        received.consume(head.head_bytes);
        self.worker.give_response_head(head);
        self.keep(received);
    }

    #[inline]
    pub(super) fn begin_body(&self, answer: Answer, keeps_framing: bool) -> Result<Piece, Kind> {
        let Answer { head, mut received } = answer;
        received.consume(head.head_bytes);
        self.keeps_connection.set(head.keep_alive && head.framing != Framing::UntilClose);
        let body = Body::new(head.framing, keeps_framing).without_nominated(head.nominated);
        self.worker.give_response_head(head);
        self.piece(body, received)
    }

    pub(super) async fn next(&self) -> Result<Piece, Kind> {
        let Some(body) = self.answer_body.get() else { return Err(self.ended()) };
        match self.receive(self.received.take(), body.known_remaining(), 0).await? {
            Some(received) => self.piece(body, received),
            // Its end, unless it was this side that ended it.
            None if body.ends_by_close() && !self.connection.was_ended_here() => {
                self.answer_body.set(Some(Body::new(Framing::None, false)));
                Ok(Piece::default())
            }
            None => Err(self.ended()),
        }
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.answer_body.get().is_some_and(|body| body.is_done())
    }

    #[inline]
    pub(super) fn give_back(&self, piece: Piece) {
        self.keep(piece.into_rest());
    }

    #[inline]
    pub(super) fn finish(self) {
        self.connection.deadline().disarm();
        let received = self.received.take();
        // An instance that answered early still waits for the rest of the body, and would take the next request for
        // it; bytes after the answer's end would be taken for the next answer.
        if self.request_is_sent.get()
            && self.is_done()
            && self.keeps_connection.get()
            && received.is_empty()
        {
            let now_ms = self.worker.deadlines.now_ms();
            self.worker.upstreams.give(self.place, self.connection, now_ms);
        }
        self.worker.buffers.give(received);
    }

    pub(super) fn into_unread(self) -> (Unread, Buffer) {
        self.connection.deadline().disarm();
        (Unread::new(self.connection), self.received.take())
    }
}
