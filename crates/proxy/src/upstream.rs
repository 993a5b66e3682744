//! The instances' side: a codec per protocol, chosen for each request. What only passes on to the usual one has no future
//! of its own.

pub(crate) mod h1;
mod h2;
pub(crate) mod pool;
pub(crate) mod sessions;
mod tls;

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use lanes::ServiceId;
use routes::{Edits, entrance::Written};

use crate::{
    buffers::Buffer,
    error::{Kind, ProxyError},
    exchange::sides,
    h1::{piece::Piece, write::ReadHead},
    h2::tunnelled::Tunnelled,
    passthrough::Cut,
    plan::{Protocol, Version},
    transport::Unread,
    worker::Worker,
};

pub(crate) use h1::Answer;
use pool::Place;

/// The way to instances over this thread's connections.
#[derive(Debug)]
pub(crate) struct Instances<'w>(pub(crate) &'w Worker);

/// A request's head as it is sent.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Http1(h1::Message),
    Http2(h2::Message),
}

/// One request to one instance, and its answer.
#[derive(Debug)]
pub(crate) enum Call<'w> {
    Http1(h1::Call<'w>),
    /// Rarer, and larger.
    Http2(Box<h2::Call<'w>>),
}

/// The same method of whichever call it is.
macro_rules! either {
    ($self:ident, $call:ident => $then:expr) => {
        match $self {
            Self::Http1($call) => $then,
            Self::Http2($call) => $then,
        }
    };
}

impl<'w, R> sides::Upstream<R> for Instances<'w>
where
    R: sides::Request<Body: sides::RequestBody<Piece = Piece>> + ReadHead,
{
    type Call = Call<'w>;

    #[inline]
    fn message(
        &self,
        protocol: Protocol,
        request: &R,
        told_ms: Option<u64>,
        written: &Written,
        edits: &Edits<'_>,
    ) -> Result<Message, Kind> {
        Ok(match protocol.version {
            Version::Http1 => {
                let mut message = h1::Message::new(self.0, request, written, edits);
                if R::PROTOCOL.version == Version::Http2 {
                    message.begin_handshake(self.0, request);
                }
                Message::Http1(message)
            }
            Version::Http2 => {
                let scheme = protocol.scheme();
                // What a client in HTTP/1.1 calls its key is part of the request.
                let needs_key = R::PROTOCOL.version == Version::Http1;
                let asks_for = h2::AsksFor::read(request, needs_key)?;
                let message =
                    h2::Message::new(self.0, scheme, request, asks_for, told_ms, written, edits);
                Message::Http2(message)
            }
        })
    }

    #[inline]
    fn join(&self, message: &mut Message, first: &mut Piece) {
        // Data has frames of its own in HTTP/2.
        if let Message::Http1(message) = message {
            message.join(first);
        }
    }

    #[inline]
    fn give_back(&self, message: Message) {
        match message {
            Message::Http1(message) => message.give_back(self.0),
            Message::Http2(message) => message.give_back(self.0),
        }
    }

    #[inline]
    fn keeps_framing(&self, protocol: Protocol) -> bool {
        protocol.version == Version::Http1
    }

    #[inline]
    fn pooled(&self, protocol: Protocol, address: SocketAddr) -> Option<Call<'w>> {
        let place = Place { address, tls: protocol.tls };
        match protocol.version {
            Version::Http1 => h1::Call::pooled(self.0, place).map(Call::Http1),
            Version::Http2 => {
                h2::Call::pooled(self.0, place).map(|call| Call::Http2(Box::new(call)))
            }
        }
    }

    async fn connect(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        blamed: Option<SocketAddr>,
    ) -> Result<(Call<'w>, bool), ProxyError> {
        match protocol.version {
            Version::Http1 => {
                let call = h1::Call::connect(self.0, protocol, address).await?;
                Ok((Call::Http1(call), false))
            }
            Version::Http2 => {
                let (call, is_joined) =
                    h2::Call::connect(self.0, protocol, address, blamed).await?;
                Ok((Call::Http2(Box::new(call)), is_joined))
            }
        }
    }
}

impl<'w> sides::Call for Call<'w> {
    type Message = Message;
    type Piece = Piece;
    type Answer = Answer;
    type Stream = Stream<'w>;

    #[inline]
    fn leads_to(&self, service: &ServiceId) {
        either!(self, call => call.leads_to(service));
    }

    #[inline]
    fn leads_to_application(&self) {
        if let Self::Http2(call) = self {
            call.leads_to_application();
        }
    }

    #[inline]
    fn expect_by(&self, at_ms: u64) {
        either!(self, call => call.expect_by(at_ms));
    }

    fn expect_moves(&self, period: Duration, until_ms: u64) {
        either!(self, call => call.expect_moves(period, until_ms));
    }

    fn cut(&self) {
        either!(self, call => call.cut());
    }

    fn owes_an_answer(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(call) => call.owes_an_answer(),
        }
    }

    fn is_mute(&self) -> bool {
        match self {
            // A connection in HTTP/1.1 has nothing to ask with.
            Self::Http1(_) => false,
            Self::Http2(call) => call.is_mute(),
        }
    }

    #[inline]
    fn begin(
        &self,
        message: &mut Message,
        first: &mut Piece,
        is_last: bool,
    ) -> impl Future<Output = Result<(), ProxyError>> {
        match (self, message) {
            (Self::Http1(call), Message::Http1(message)) => {
                Either::Left(call.begin(message, first, is_last))
            }
            (Self::Http2(call), Message::Http2(message)) => {
                Either::Right(Box::pin(call.begin(message, first, is_last)))
            }
            _ => unreachable!("a message is sent in the protocol it was written in"),
        }
    }

    #[inline]
    fn send(
        &self,
        piece: &mut Piece,
        is_last: bool,
    ) -> impl Future<Output = Result<(), ProxyError>> {
        match self {
            Self::Http1(call) => Either::Left(call.send(piece, is_last)),
            Self::Http2(call) => Either::Right(Box::pin(call.send(piece, is_last))),
        }
    }

    #[inline]
    fn answer(&self) -> impl Future<Output = Result<Answer, Kind>> {
        match self {
            Self::Http1(call) => Either::Left(call.answer()),
            Self::Http2(call) => Either::Right(Box::pin(call.answer())),
        }
    }

    #[inline]
    fn pass_over(&self, interim: Answer) {
        either!(self, call => call.pass_over(interim));
    }

    #[inline]
    fn begin_body(&self, answer: Answer, keeps_framing: bool) -> Result<Piece, Kind> {
        either!(self, call => call.begin_body(answer, keeps_framing))
    }

    #[inline]
    fn next(&self) -> impl Future<Output = Result<Piece, Kind>> {
        match self {
            Self::Http1(call) => Either::Left(call.next()),
            Self::Http2(call) => Either::Right(Box::pin(call.next())),
        }
    }

    #[inline]
    fn is_done(&self) -> bool {
        either!(self, call => call.is_done())
    }

    #[inline]
    fn give_back(&self, piece: Piece) {
        either!(self, call => call.give_back(piece));
    }

    #[inline]
    fn finish(self) {
        either!(self, call => call.finish());
    }

    fn into_stream(self) -> (Stream<'w>, impl AsRef<[u8]>) {
        match self {
            Self::Http1(call) => {
                let (stream, received) = call.into_unread();
                (Stream::Left(stream), received)
            }
            Self::Http2(call) => (Stream::Right(call.into_tunnelled()), Buffer::default()),
        }
    }
}

/// The instance's side of a tunnel.
pub(crate) type Stream<'w> = tokio_util::either::Either<Unread, Tunnelled<'w>>;

impl Cut for Stream<'_> {
    fn cut(&self) {
        match self {
            Self::Left(stream) => stream.cut(),
            Self::Right(stream) => stream.cut(),
        }
    }

    fn poll_lost(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        match self {
            Self::Left(stream) => stream.poll_lost(context),
            Self::Right(stream) => stream.poll_lost(context),
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self, Self::Right(_))
    }
}
