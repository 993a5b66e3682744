//! A request of a client in HTTP/2: its head as text, and its body as it arrives.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use routes::entrance::{CorrelationHeaders, Head, Name};
use telemetry::Role;

use super::Served;
use crate::{
    buffers::Buffer,
    downstream::policy,
    error::Kind,
    exchange::sides,
    h1::{
        fields::Framing,
        head::HeadError,
        piece::Piece,
        request::{Received, RequestHead},
        write::ReadHead,
    },
    h2::{grpc, head::HeadText, incoming::Incoming, tunnelled::Tunnelled},
    plan::Protocol,
};

/// A request whose head was read.
#[derive(Debug)]
pub(super) struct Request<'c> {
    served: &'c Served<'c>,
    head: Box<RequestHead>,
    text: Vec<u8>,
    is_grpc: bool,
    is_websocket: bool,
    caller_waits: Option<Duration>,
    role: Role,
    no_trailers: Option<&'c CorrelationHeaders>,
}

impl<'c> Request<'c> {
    /// Understands a head. With the error it is given back.
    pub(super) fn read(
        served: &'c Served<'c>,
        read: HeadText,
        is_grpc: bool,
        no_trailers: Option<&'c CorrelationHeaders>,
        role: Role,
    ) -> Result<Self, (HeadError, HeadText)> {
        let mut head = served.worker.take_request_head();
        match head.advance(&read.text, policy(role)) {
            Ok(is_whole) => debug_assert!(is_whole, "a head in HTTP/2 is whole"),
            Err(error) => return Err((error, read)),
        }
        let is_websocket = read.asks_for.is_some();
        let has_body = !is_websocket && !served.session.borrow().has_ended_empty(served.id);
        head.framing = match read.content_length {
            Some(bytes) if bytes > 0 => Framing::Length(bytes),
            None if has_body => Framing::Chunked,
            Some(_) | None => Framing::None,
        };
        let mut caller_waits = None;
        if is_grpc {
            let mut timeouts = head.fields().iter().filter(|it| it.name == Name::GrpcTimeout);
            caller_waits = timeouts.next().and_then(|it| grpc::timeout(it.value.of(&read.text)));
        }
        let text = read.text;
        Ok(Self { served, head, text, is_grpc, is_websocket, caller_waits, role, no_trailers })
    }

    pub(super) fn has_method(&self, method: &[u8]) -> bool {
        self.head.method.of(&self.text) == method
    }
}

impl<'c> sides::Request for Request<'c> {
    type Body = RequestBody<'c>;

    const PROTOCOL: Protocol = Protocol::HTTP2;

    fn is_conversation(&self) -> bool {
        self.is_grpc
    }

    fn caller_waits(&self) -> Option<Duration> {
        self.caller_waits
    }

    fn asks_to_switch(&self) -> bool {
        self.is_websocket
    }

    fn head(&mut self) -> impl Head<'_> {
        Received::new(&mut self.head, &self.text)
    }

    fn into_body(self, keeps_framing: bool) -> RequestBody<'c> {
        let Self { served, head, text, is_grpc, is_websocket, role, no_trailers, .. } = self;
        let Served { worker, session, id, .. } = served;
        let is_framed = keeps_framing && head.framing == Framing::Chunked;
        // What may be a conversation is silent for as long as an answer may be. From outside it is none by its own word.
        let patience = match head.framing {
            _ if is_grpc && role != Role::Gateway => worker.timeouts.tunnel,
            Framing::Length(_) => worker.timeouts.body,
            _ => worker.timeouts.answer_body,
        };
        worker.give_request_head(head);
        worker.buffers.give_write(text);
        RequestBody {
            served,
            is_websocket,
            patience,
            incoming: Incoming::new(worker, Rc::clone(session), *id, is_framed, no_trailers),
        }
    }
}

impl ReadHead for Request<'_> {
    fn read_head(&self) -> (&RequestHead, &[u8]) {
        (&self.head, &self.text)
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct RequestBody<'c> {
    served: &'c Served<'c>,
    /// There is none: what comes is of the other protocol, and waits until the instance has agreed to it.
    is_websocket: bool,
    /// How long the next of it may take to arrive.
    patience: Duration,
    incoming: Incoming<'c>,
}

impl<'c> sides::RequestBody for RequestBody<'c> {
    type Piece = Piece;
    type Stream = Tunnelled<'c>;

    fn arrived(&mut self) -> Result<Piece, Kind> {
        Ok(if self.is_websocket { Piece::default() } else { self.incoming.arrived() })
    }

    async fn next(&mut self) -> Result<Piece, Kind> {
        let mut next = pin!(poll_fn(|context| self.incoming.poll_next(context)));
        let (mut patience, tunnel) = (self.patience, self.served.worker.timeouts.tunnel);
        loop {
            if let Ok(next) = tokio::time::timeout(patience, next.as_mut()).await {
                return next.map_err(|_| Kind::ClientGone);
            }
            if !self.served.converses.get() || patience >= tunnel {
                return Err(Kind::RequestTimeout);
            }
            patience = tunnel;
        }
    }

    fn is_done(&self) -> bool {
        self.is_websocket || self.incoming.is_done()
    }

    fn give_back(&mut self, piece: Piece) {
        self.served.worker.buffers.give(piece.into_rest());
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.served.session.borrow_mut().poll_lost(self.served.id, context).map(|_| ())
    }

    fn into_stream(self) -> (Tunnelled<'c>, impl AsRef<[u8]>) {
        let Served { worker, session, id, .. } = self.served;
        (Tunnelled::new(worker, Rc::clone(session), *id), Buffer::default())
    }
}
