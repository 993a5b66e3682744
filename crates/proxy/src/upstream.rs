//! The instances' side: a codec per protocol, chosen for each request.

pub(crate) mod h1;
mod h2;
pub(crate) mod pool;
pub(crate) mod sessions;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use lanes::ServiceId;
use routes::{Edits, entrance::Written};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    buffers::Buffer,
    error::{Kind, ProxyError},
    exchange::sides,
    h1::{piece::Piece, write::ReadHead},
    h2::tunnelled::Tunnelled,
    plan::Protocol,
    transport::Unread,
    tunnel::Cut,
    worker::Worker,
};

pub(crate) use h1::Answer;

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

    fn message(
        &self,
        protocol: Protocol,
        request: &R,
        written: &Written,
        edits: &Edits<'_>,
    ) -> Message {
        match protocol {
            Protocol::Http1 => Message::Http1(h1::Message::new(self.0, request, written, edits)),
            Protocol::Http2 => Message::Http2(h2::Message::new(self.0, request, written, edits)),
        }
    }

    fn join(&self, message: &mut Message, first: &mut Piece) {
        // Data has frames of its own in HTTP/2.
        if let Message::Http1(message) = message {
            message.join(first);
        }
    }

    fn give_back(&self, message: Message) {
        match message {
            Message::Http1(message) => message.give_back(self.0),
            Message::Http2(message) => message.give_back(self.0),
        }
    }

    fn keeps_framing(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Http1
    }

    async fn connect(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        fresh: bool,
    ) -> Result<(Call<'w>, bool), ProxyError> {
        match protocol {
            Protocol::Http1 => {
                let (call, reused) = h1::Call::connect(self.0, address, fresh).await?;
                Ok((Call::Http1(call), reused))
            }
            Protocol::Http2 => {
                let connecting = Box::pin(h2::Call::connect(self.0, address, fresh));
                let (call, reused) = connecting.await?;
                Ok((Call::Http2(Box::new(call)), reused))
            }
        }
    }
}

impl<'w> sides::Call for Call<'w> {
    type Message = Message;
    type Piece = Piece;
    type Answer = Answer;
    type Stream = Stream<'w>;

    fn leads_to(&self, service: &ServiceId) {
        either!(self, call => call.leads_to(service));
    }

    fn expect_by(&self, at_ms: u64) {
        either!(self, call => call.expect_by(at_ms));
    }

    fn expect_moves(&self, period: Duration, until_ms: u64) {
        either!(self, call => call.expect_moves(period, until_ms));
    }

    fn cut(&self) {
        either!(self, call => call.cut());
    }

    async fn begin(
        &self,
        message: &mut Message,
        first: &mut Piece,
        is_last: bool,
    ) -> Result<(), ProxyError> {
        match (self, message) {
            (Self::Http1(call), Message::Http1(message)) => {
                call.begin(message, first, is_last).await
            }
            (Self::Http2(call), Message::Http2(message)) => {
                Box::pin(call.begin(message, first, is_last)).await
            }
            _ => unreachable!("a message is sent in the protocol it was written in"),
        }
    }

    async fn send(&self, piece: &mut Piece, is_last: bool) -> Result<(), ProxyError> {
        either!(self, call => call.send(piece, is_last).await)
    }

    async fn answer(&self) -> Result<Answer, Kind> {
        match self {
            Self::Http1(call) => call.answer().await,
            Self::Http2(call) => Box::pin(call.answer()).await,
        }
    }

    fn pass_over(&self, interim: Answer) {
        either!(self, call => call.pass_over(interim));
    }

    fn begin_body(&self, answer: Answer, keeps_framing: bool) -> Result<Piece, Kind> {
        either!(self, call => call.begin_body(answer, keeps_framing))
    }

    async fn next(&self) -> Result<Piece, Kind> {
        either!(self, call => call.next().await)
    }

    fn is_done(&self) -> bool {
        either!(self, call => call.is_done())
    }

    fn give_back(&self, piece: Piece) {
        either!(self, call => call.give_back(piece));
    }

    fn finish(self) {
        either!(self, call => call.finish());
    }

    fn into_stream(self) -> (Stream<'w>, impl AsRef<[u8]>) {
        match self {
            Self::Http1(call) => {
                let (stream, received) = call.into_unread();
                (Stream::Http1(stream), received)
            }
            Self::Http2(call) => (Stream::Http2(call.into_tunnelled()), Buffer::default()),
        }
    }
}

/// The instance's side of a tunnel.
#[derive(Debug)]
pub(crate) enum Stream<'w> {
    Http1(Unread),
    Http2(Tunnelled<'w>),
}

impl Cut for Stream<'_> {
    fn cut(&self) {
        either!(self, stream => stream.cut());
    }
}

impl AsyncRead for Stream<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(stream) => Pin::new(stream).poll_read(context, into),
            Self::Http2(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http1(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Http2(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(stream) => Pin::new(stream).poll_flush(context),
            Self::Http2(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
