//! What an exchange needs of its two sides. Neither sockets nor any protocol's bytes appear here: a codec per protocol
//! and direction gives them, chosen at compile time.
//!
//! Pieces of bodies are lent: the side that received a piece gets it back when the other side has sent it, so that a
//! buffer is neither copied nor held by a connection that waits.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use lanes::ServiceId;
use routes::{
    Edits,
    entrance::{CorrelationHeaders, Head, Written},
};
use smallvec::SmallVec;
use telemetry::Role;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    affinity::{AnswerEdits, Owed},
    error::{Kind, ProxyError},
    observed::Caller,
    passthrough::Cut,
    peers::Refused,
    plan::{NoPlan, Plan, Protocol, Tunnel, Version},
    published::Published,
    worker::Worker,
};

/// Who decides what becomes of the requests that come in somewhere.
pub(crate) trait Decide {
    /// What the process is to these requests.
    const ROLE: Role;

    /// Decides from a head and one picture, and adds the fields that go on besides those that are kept. With no plan the
    /// exchange finds out what is missing, and asks again.
    fn plan<'p, 'b>(
        &'p self,
        worker: &Worker,
        picture: &'p Published,
        head: &mut impl Head<'b>,
        found: &Found,
        written: &mut Written,
    ) -> Result<Plan<'p>, NoPlan>;

    /// The application and service that requests without a plan are counted under.
    fn counted_as(&self) -> (&str, &str) {
        ("", "")
    }

    /// Where the ids of a request are by which its hops are put together.
    fn correlation(&self) -> &CorrelationHeaders;

    /// Who asks, for whoever is told single requests.
    fn caller(&self) -> Caller;

    /// The tag of the application beside a sidecar, to which requests without a service go; empty is the base.
    fn own_tag(&self) -> &str {
        ""
    }

    /// Fields that do not go on as trailers, besides those that Laneway knows.
    fn no_trailers(&self) -> Option<&CorrelationHeaders> {
        None
    }

    /// Whether clients may speak HTTP/2 here from their first byte.
    fn speaks_http2(&self, _picture: &Published) -> bool {
        false
    }

    /// Whether whoever calls here is a stranger, who has others work for nothing at his own account.
    fn serves_strangers(&self, _: &Worker) -> bool {
        Self::ROLE == Role::Gateway
    }

    /// Nobody shall be served here any more: its listener was taken away.
    fn is_leaving(&self) -> bool {
        false
    }
}

/// What was found out for a request since it arrived.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What its host resolved to.
    pub(crate) resolved: SmallVec<[SocketAddr; 2]>,
    /// Which of these answers.
    pub(crate) reached: Option<SocketAddr>,
    /// Nobody told in time what its address means: it is nobody's.
    pub(crate) address_is_unknown: bool,
}

/// A part of a body.
pub(crate) trait Piece: Default {
    /// Nothing of it goes on.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of it go on.
    fn len(&self) -> usize;

    /// The same once more, to be sent again.
    fn duplicate(&self) -> Self;

    /// How a call of gRPC ended, where its trailers say so.
    fn grpc_status(&self) -> Option<u32> {
        None
    }
}

/// A request as its client's side has read it.
pub(crate) trait Request {
    type Body: RequestBody;

    /// What its client speaks.
    const PROTOCOL: Protocol;

    /// The version of HTTP that it came in.
    fn version(&self) -> &'static str {
        match Self::PROTOCOL.version {
            Version::Http1 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }

    /// Its sides may be silent for as long as those of a tunnel may, unless a route says otherwise: they tell each other
    /// how long they wait.
    fn is_conversation(&self) -> bool {
        false
    }

    /// How long its caller waits for all of the answer, where it says so.
    fn caller_waits(&self) -> Option<Duration> {
        None
    }

    /// It asks for another protocol, which one answer begins: no method that means the same when it is sent twice.
    fn asks_to_switch(&self) -> bool {
        false
    }

    /// Its head, for whoever decides. What is dropped there does not go on.
    fn head(&mut self) -> impl Head<'_>;

    /// From here on nobody needs its head. `keeps_framing`: chunks of its body go on as they are, or are made; else its
    /// data alone goes on, and trailers beside it.
    fn into_body(self, keeps_framing: bool) -> Self::Body;
}

/// The body of a request, and what its client does after it.
pub(crate) trait RequestBody {
    type Piece: Piece;
    type Stream: AsyncRead + AsyncWrite + Unpin + Cut;

    /// What of it has arrived already. Never waits.
    fn arrived(&mut self) -> Result<Self::Piece, Kind>;

    /// Waits for the next piece.
    async fn next(&mut self) -> Result<Self::Piece, Kind>;

    /// All of it was handed out.
    fn is_done(&self) -> bool;

    /// Takes back a piece that was sent, or never will be.
    fn give_back(&mut self, piece: Self::Piece);

    /// Ready when the client is gone. What it sends meanwhile of its next request is kept.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// The client's side of a connection that speaks another protocol from now on, and what came of it already.
    fn into_stream(self) -> (Self::Stream, impl AsRef<[u8]>);
}

/// The client is gone; nothing can be told to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

/// An answer that comes from nobody but the proxy.
#[derive(Debug)]
pub(crate) enum OwnAnswer {
    Refusal(Kind),
    Redirect {
        status: u16,
        location: Vec<u8>,
    },
    /// To OPTIONS that was to come no further.
    Options,
    Established(Tunnel),
}

impl OwnAnswer {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Refusal(kind) => kind.status(),
            Self::Redirect { status, .. } => *status,
            Self::Options | Self::Established(_) => 200,
        }
    }
}

/// Where the answer to one request goes, whoever gives it. `may_go_on`: all of the request was read, so that its client
/// may send another.
pub(crate) trait Client {
    /// Answers in the proxy's own name.
    async fn own(&self, answer: &OwnAnswer, may_go_on: bool) -> Result<(), Gone>;

    /// Makes the client see that the answer is not whole.
    fn cut(&self, why: &Kind);
}

/// The same, for answers as `A` reads them.
pub(crate) trait AnswerSink<A>: Client {
    type Piece: Piece;
    /// An answer's head, ready to go out.
    type Head;

    /// It takes the framing of bodies as it comes along with the data; else data alone.
    fn keeps_framing(&self) -> bool;

    /// Hands on an answer before the answer.
    async fn interim(&self, answer: &A) -> Result<(), Gone>;

    /// Readies an answer's head, edited.
    fn head(&self, answer: &mut A, edits: AnswerEdits<'_>, may_go_on: bool) -> Self::Head;

    /// Readies the head of an answer that switches protocols; `None` when the client asked for nothing like it. `owed`:
    /// what its client is told besides.
    fn switch(&self, answer: &A, owed: &Owed) -> Option<Self::Head>;

    /// Sends a head, and the first piece with it. `is_last`: nothing follows.
    async fn begin(
        &self,
        head: Self::Head,
        first: &mut Self::Piece,
        is_last: bool,
    ) -> Result<(), Gone>;

    /// Sends another piece.
    async fn send(&self, piece: &mut Self::Piece, is_last: bool) -> Result<(), Gone>;
}

/// The way to instances, for requests as `R` reads them.
pub(crate) trait Upstream<R: Request> {
    type Call: Call<Piece = <R::Body as RequestBody>::Piece>;

    /// Readies a request to be sent in some protocol, as often as it takes. `told_ms`: until this time of the thread's
    /// clock its caller waits, as the instance is told. An error: it asks for what that protocol has, in a wrong way.
    fn message(
        &self,
        protocol: Protocol,
        request: &R,
        told_ms: Option<u64>,
        written: &Written,
        edits: &Edits<'_>,
    ) -> Result<<Self::Call as Call>::Message, Kind>;

    /// Puts a small first piece into the message itself, so that it can be given back before the answer.
    fn join(
        &self,
        message: &mut <Self::Call as Call>::Message,
        first: &mut <R::Body as RequestBody>::Piece,
    );

    /// The message is needed no more.
    fn give_back(&self, message: <Self::Call as Call>::Message);

    /// Whether chunks of a body go on with its data in this protocol.
    fn keeps_framing(&self, protocol: Protocol) -> bool;

    /// A call on a connection to an instance that is there already and speaks this protocol.
    fn pooled(&self, protocol: Protocol, address: SocketAddr) -> Option<Self::Call>;

    /// A call on a new one, and whether that is of another call, which it joins. `blamed`: against whom it is held where
    /// connecting fails only when nobody waits for it any more.
    async fn connect(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        blamed: Option<SocketAddr>,
    ) -> Result<(Self::Call, bool), ProxyError>;
}

/// One request to one instance, and its answer.
pub(crate) trait Call {
    type Message: Clone;
    type Piece: Piece;
    type Answer: Answer;
    type Stream: AsyncRead + AsyncWrite + Unpin + Cut;

    /// Its connection leads to an instance of this service.
    fn leads_to(&self, service: &ServiceId);

    /// Its connection leads to the application beside this sidecar.
    fn leads_to_application(&self);

    /// At this time of the thread's clock it is given up; [`u64::MAX`] is never.
    fn expect_by(&self, at_ms: u64);

    /// It is given up when nothing of the request's body moves for a `period`, and at some time in any case.
    fn expect_moves(&self, period: Duration, until_ms: u64);

    /// The request will never be whole; the instance must not take it for one.
    fn cut(&self);

    /// Whether the instance may be blamed where nobody waits for its answer any more: it may be there, and have nothing to
    /// say yet.
    fn owes_an_answer(&self) -> bool;

    /// Whether the instance gives no sign of life for some time though it was asked for one, whatever it has to say to this
    /// request. Asks for one where nobody has.
    fn is_mute(&self) -> bool;

    /// Sends a request's head, and the first piece of its body with it.
    async fn begin(
        &self,
        message: &mut Self::Message,
        first: &mut Self::Piece,
        is_last: bool,
    ) -> Result<(), ProxyError>;

    /// Sends another piece of its body.
    async fn send(&self, piece: &mut Self::Piece, is_last: bool) -> Result<(), ProxyError>;

    /// Waits for the next head: of an interim answer, or of the answer.
    async fn answer(&self) -> Result<Self::Answer, Kind>;

    /// An interim answer was handed on.
    fn pass_over(&self, interim: Self::Answer);

    /// The head was read: what of the answer's body has arrived.
    fn begin_body(&self, answer: Self::Answer, keeps_framing: bool) -> Result<Self::Piece, Kind>;

    /// Waits for the next piece of the answer's body.
    async fn next(&self) -> Result<Self::Piece, Kind>;

    /// All of the answer's body was handed out.
    fn is_done(&self) -> bool;

    /// Takes back a piece that was sent.
    fn give_back(&self, piece: Self::Piece);

    /// Nothing more is expected of it. Only the call knows whether its connection is good for another.
    fn finish(self);

    /// The instance's side of a connection that speaks another protocol from now on, and what came of it already.
    fn into_stream(self) -> (Self::Stream, impl AsRef<[u8]>);
}

/// The head of an answer.
pub(crate) trait Answer {
    fn status(&self) -> u16;

    /// The sidecar of the instance did not hand the request to its application.
    fn refused(&self) -> Option<Refused> {
        None
    }

    /// What it switches to is a WebSocket.
    fn begins_websocket(&self) -> bool {
        false
    }

    /// How a call of gRPC ended, where the head says so: nothing comes after it.
    fn grpc_status(&self) -> Option<u32> {
        None
    }

    /// It comes before the answer: 100, 103 and their like.
    fn is_interim(&self) -> bool {
        self.status() < 200 && self.status() != 101
    }
}
