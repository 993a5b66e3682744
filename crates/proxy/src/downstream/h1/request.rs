//! A request of a client: its head, and its body as it arrives.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use routes::entrance::{CorrelationHeaders, Head};
use telemetry::Count;

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    error::Kind,
    exchange::sides::{self, Piece as _},
    h1::{
        body::Body,
        piece::Piece,
        request::{Received, RequestHead},
        write::ReadHead,
    },
    plan::Protocol,
    transport::{Connection, Transport as _, Unread},
    worker::Worker,
};

/// A request whose head was read.
#[derive(Debug)]
pub(super) struct Request<'c> {
    worker: &'c Worker,
    connection: &'c Rc<Connection>,
    head: Box<RequestHead>,
    received: Buffer,
    /// Fields that do not go on as trailers either.
    no_trailers: Option<&'c CorrelationHeaders>,
}

impl<'c> Request<'c> {
    pub(super) fn new(
        worker: &'c Worker,
        connection: &'c Rc<Connection>,
        head: Box<RequestHead>,
        received: Buffer,
        no_trailers: Option<&'c CorrelationHeaders>,
    ) -> Self {
        Self { worker, connection, head, received, no_trailers }
    }
}

impl<'c> sides::Request for Request<'c> {
    type Body = RequestBody<'c>;

    const PROTOCOL: Protocol = Protocol::HTTP1;

    fn version(&self) -> &'static str {
        if self.head.minor_version == 0 { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    fn asks_to_switch(&self) -> bool {
        self.head.upgrade.is_some()
    }

    fn head(&mut self) -> impl Head<'_> {
        Received::new(&mut self.head, self.received.filled())
    }

    fn into_body(self, keeps_framing: bool) -> RequestBody<'c> {
        let Self { worker, connection, head, mut received, no_trailers } = self;
        let body = Body::new(head.framing, keeps_framing)
            .without_trailers(no_trailers)
            .without_nominated(head.nominated);
        received.consume(head.head_bytes);
        // Given back before the wait, so that the next connection finds it in the cache.
        worker.give_request_head(head);
        RequestBody {
            worker,
            connection,
            body,
            received,
            early: Buffer::default(),
            departure: None,
        }
    }
}

impl ReadHead for Request<'_> {
    fn read_head(&self) -> (&RequestHead, &[u8]) {
        (&self.head, self.received.filled())
    }
}

/// The body of a request, and what the client sends after it.
pub(super) struct RequestBody<'c> {
    worker: &'c Worker,
    connection: &'c Rc<Connection>,
    body: Body<'c>,
    /// Received and not handed out yet.
    received: Buffer,
    /// Of the next request, received while this one is served. Then nothing more is read.
    early: Buffer,
    /// The client has ended its sending and may still read: ready when it is known to be gone.
    departure: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl RequestBody<'_> {
    /// What has arrived of the client's next request.
    pub(super) fn into_next(self) -> Buffer {
        let Self { worker, mut received, early, .. } = self;
        if received.is_empty() {
            worker.buffers.give(received);
            return early;
        }
        if !early.is_empty() {
            received.append(early.filled());
        }
        worker.buffers.give(early);
        received
    }

    fn piece(&mut self) -> Result<Piece, Kind> {
        let received = std::mem::take(&mut self.received);
        let piece = Piece::of(&mut self.body, received).map_err(Kind::RequestBody)?;
        self.worker.recorder.add(Count::BytesReceived, piece.len() as u64);
        Ok(piece)
    }

    /// Receives more of it. Nothing is lost when nobody waits for it any more.
    async fn receive(&mut self) -> io::Result<usize> {
        if self.received.is_empty() {
            self.worker.buffers.give(std::mem::take(&mut self.received));
            let wanted_bytes = self.body.known_remaining();
            let buffers = &self.worker.buffers;
            self.received = self.connection.receive_sized(buffers, wanted_bytes).await?;
            return Ok(self.received.filled().len());
        }
        let received = &mut self.received;
        if !received.make_room(0) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        poll_fn(|context| self.connection.poll_receive_more(context, received)).await
    }
}

impl sides::RequestBody for RequestBody<'_> {
    type Piece = Piece;
    type Stream = Unread;

    fn arrived(&mut self) -> Result<Piece, Kind> {
        self.piece()
    }

    async fn next(&mut self) -> Result<Piece, Kind> {
        let deadline = self.connection.deadline();
        self.worker.deadlines.arm(deadline, self.worker.timeouts.body, Shutdown::Read);
        let received = self.receive().await;
        if !matches!(received, Ok(bytes) if bytes > 0) {
            let late = deadline.is_expired();
            return Err(if late { Kind::RequestTimeout } else { Kind::ClientGone });
        }
        deadline.disarm();
        self.piece()
    }

    fn is_done(&self) -> bool {
        self.body.is_done()
    }

    fn give_back(&mut self, piece: Piece) {
        let rest = piece.into_rest();
        if rest.is_empty() {
            self.worker.buffers.give(rest);
        } else {
            self.received = rest;
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() {
            return Poll::Pending;
        }
        if let Some(departure) = &mut self.departure {
            return departure.as_mut().poll(context);
        }
        match self.connection.poll_receive(context, &self.worker.buffers, 0) {
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                self.early = bytes;
                Poll::Pending
            }
            // Nobody can tell a client that only sends no more from one that has left, until something is sent to it.
            Poll::Ready(Ok(end)) => {
                self.worker.buffers.give(end);
                let departure = self.departure.insert(Box::pin(self.connection.departure()));
                departure.as_mut().poll(context)
            }
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn into_stream(self) -> (Unread, impl AsRef<[u8]>) {
        self.connection.deadline().disarm();
        (Unread::new(Rc::clone(self.connection)), self.into_next())
    }
}
