//! Why a request was not served: whose fault, whether it may be tried again, which status.

use std::{fmt, io, net::SocketAddr};

use lanes::NoEndpoint;
use thiserror::Error;

use crate::{
    h1::{body::BodyError, head::HeadError},
    h2::{
        error::{Code, Fatal},
        head::Malformed,
    },
    peers::Refused,
    websocket::NotAgreed,
};

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The caller's.
    Client,
    /// Ours: rules, configuration, nothing to send to.
    Proxy,
    /// The instance's.
    Upstream,
}

/// What went wrong.
#[derive(Debug, Error)]
pub(crate) enum Kind {
    /// The request's head.
    #[error("{0}")]
    RequestHead(HeadError),
    /// The request's body.
    #[error("{0}")]
    RequestBody(BodyError),
    /// The same in HTTP/2.
    #[error("malformed request: {0}")]
    RequestFields(Malformed),
    /// The client's connection in HTTP/2.
    #[error("{0}")]
    Connection(#[source] Fatal),
    /// The request did not arrive in time.
    #[error("the request took too long to arrive")]
    RequestTimeout,
    /// The caller went away.
    #[error("the caller went away")]
    ClientGone,
    /// The connection was made for another host: what is asked for is shown by another certificate, or asks more of
    /// clients.
    #[error("this connection is for another host: connect for this one")]
    Misdirected,
    /// The connection was made when its port asked less of clients: it ends.
    #[error("this port asks more than when this connection was made: connect again")]
    Outdated,
    /// CONNECT.
    #[error("CONNECT is not supported here")]
    ConnectMethod,
    /// TRACE that was to come no further.
    #[error("TRACE is not supported here, where its Max-Forwards ends")]
    TraceMethod,
    /// CONNECT that asks for another protocol than WebSocket (RFC 8441).
    #[error("a stream can be a WebSocket, and nothing else: its :protocol is not supported")]
    StreamProtocol,
    /// An upgrade in HTTP/1.1 for which the proxy itself is the WebSocket's server (RFC 6455 §4.2.1).
    #[error("a WebSocket is asked for with one Sec-WebSocket-Key, which is 16 bytes in base64")]
    WebSocketKey,
    /// A request to a forward proxy that does not name its server.
    #[error("a forward proxy needs an absolute http:// target")]
    NotAbsolute,
    /// Somebody else's application used this forward proxy.
    #[error("this forward proxy serves local applications only")]
    NotLocal,
    /// A target that a forward proxy must not reach.
    #[error("{0} may not be reached through this proxy")]
    Forbidden(SocketAddr),
    /// Nobody has told this gateway yet what it serves, or there is no Gateway of its name.
    #[error("this gateway has no configuration yet")]
    NoConfiguration,
    /// The host has no listener, or no rule matches.
    #[error("no route for this host and path")]
    NoRoute,
    /// The rule has no backend, or its reference does not resolve.
    #[error("the route has no usable backend: {0}")]
    NoBackend(String),
    /// The service is not there at all.
    #[error("service {0} is not known")]
    NoService(String),
    /// Several sources have the service.
    #[error("service {name} is known to several sources ({sources}); name one with a Backend")]
    Ambiguous {
        /// The name called.
        name: String,
        /// Who has it.
        sources: String,
    },
    /// Nobody told in time what the name means.
    #[error("nothing is known about {0} yet")]
    NotLearned(String),
    /// No instance may serve it.
    #[error("{0}")]
    NoEndpoint(NoEndpoint),
    /// This process, or its host, is short of something: no instance is to blame.
    #[error("this proxy cannot open a connection for want of something of its own: {0}")]
    Shortage(#[source] io::Error),
    /// A request came where it must not be served.
    #[error("this instance does not serve the request: {reason}")]
    Misrouted {
        /// What it is, and who came.
        reason: String,
        /// A proxy of Laneway sent it, and chooses again.
        chooses_again: bool,
    },
    /// A request in HTTP, for a port of which its application says that it speaks something else.
    #[error(
        "service {0} is at a port of protocol tcp: its requests are not read, and none in HTTP is handed to it"
    )]
    NotHttp(String),
    /// A request in Dubbo's protocol of which nothing says its lane, where the operator wants none to pass so.
    #[error("the request cannot be read, and what cannot be read is refused here: {0}")]
    NotRead(String),
    /// The instance refused the request as misrouted, and there is no other.
    #[error(
        "no other instance of {0} may serve the request: the one that was chosen refused it as misrouted"
    )]
    RefusedAsMisrouted(String),
    /// The request goes round.
    #[error("the request has come round to this proxy too often: a backend leads back to it")]
    Loop,
    /// No such host.
    #[error("host {0} cannot be resolved")]
    Unresolvable(String),
    /// Connecting failed.
    #[error("cannot connect to the instance")]
    Connect(#[source] io::Error),
    /// Nobody there is believed, or nothing could be agreed on.
    #[error("{0}")]
    UpstreamTls(String),
    /// The same of the application beside a sidecar: nothing of the request has reached it.
    #[error("cannot connect to the application")]
    Application(#[source] io::Error),
    /// The application beside a sidecar has left several requests unanswered and gives no sign of life: nothing of the
    /// request has reached it.
    #[error("the application gives no sign of life")]
    ApplicationMute,
    /// The application beside a sidecar closed the connection before an answer.
    #[error("the application closed the connection without an answer")]
    ApplicationUnanswered(#[source] io::Error),
    /// The application beside a sidecar has the request, and gives no sign of life any more.
    #[error("the application has the request and gives no sign of life any more")]
    ApplicationFrozen,
    /// The application beside a sidecar has not answered by the deadline that the caller told.
    #[error("the caller's deadline has passed")]
    ApplicationLate {
        /// It may be blamed for that.
        is_silent: bool,
    },
    /// The connection broke before an answer.
    #[error("the instance closed the connection without an answer")]
    Reset(#[source] io::Error),
    /// The instance reset the stream: it has looked at the request, and said so.
    #[error("the instance reset the request's stream")]
    StreamReset,
    /// It reset the stream of a CONNECT for a WebSocket: it does not want this one.
    #[error("the instance opened no WebSocket: it reset the stream with {0}")]
    WebSocketReset(Code),
    /// The instance says that it has not looked at the request: any may be sent again.
    #[error("the instance took no more requests on the connection")]
    Unprocessed,
    /// A connection to the instance has no room for the request, or will be closed: nothing of it was sent.
    #[error("there is no room for the request on the connection to the instance")]
    NoStream,
    /// The answer's head.
    #[error("the instance's answer is malformed: {0}")]
    AnswerHead(HeadError),
    /// The same of an answer in HTTP/2.
    #[error("the instance's answer is malformed: {0}")]
    Answer(Malformed),
    /// One 1xx after the other.
    #[error("the instance's answer is malformed: too many interim answers")]
    InterimAnswers,
    /// A 101 nobody asked for, or to another protocol.
    #[error("the instance switched to a protocol that was not asked for")]
    UnexpectedUpgrade,
    /// Asked for by way of HTTP/2, at either side.
    #[error("the instance opened no WebSocket: {0}")]
    NoWebSocket(&'static str),
    /// The picture says that nothing is to be expected of the instance any more.
    #[error("the instance {0} before it answered")]
    Lost(Lost),
    /// No answer in time.
    #[error("the instance did not answer in time")]
    AnswerTimeout,
    /// The caller has said how long it waits, and that is over.
    #[error("the caller's deadline has passed")]
    DeadlineExceeded,
}

/// Why nothing is expected of an instance any more that has a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its source says so.
    Unhealthy,
    /// It is registered no more, without having taken its leave.
    Vanished,
    /// Its source does not hear from it, and nor does this proxy.
    Silent,
    /// It was asked for a sign of life, and nothing has come on its connection for long.
    Mute,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "became unhealthy",
            Self::Vanished => "was lost",
            Self::Silent => "fell silent",
            Self::Mute => "gave no sign of life any more",
        })
    }
}

/// Why a request was not served.
#[derive(Debug, Error)]
#[error("{kind}")]
pub(crate) struct ProxyError {
    /// What went wrong.
    #[source]
    pub(crate) kind: Kind,
    /// Bytes of the request have reached an instance.
    pub(crate) sent_bytes: bool,
}

impl ProxyError {
    /// Before anything was sent.
    pub(crate) fn unsent(kind: Kind) -> Self {
        Self { kind, sent_bytes: false }
    }

    /// After all of the request was sent.
    pub(crate) fn sent(kind: Kind) -> Self {
        Self { sent_bytes: !matches!(kind, Kind::Unprocessed), kind }
    }

    /// A request that reached an instance may have had an effect; only an untouched one is safe to repeat.
    pub(crate) fn may_retry(&self) -> bool {
        self.kind.origin() == Origin::Upstream && !self.sent_bytes
    }

    /// Nobody listens there.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(&self.kind, Kind::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// The broken connection itself may have been at fault, so that an idempotent request can go out again.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.kind, Kind::Reset(_) | Kind::Unprocessed | Kind::NoStream)
    }
}

impl From<NotAgreed> for Kind {
    fn from(why: NotAgreed) -> Self {
        match why {
            NotAgreed::OtherProtocol => Self::UnexpectedUpgrade,
            NotAgreed::NoSwitch => Self::NoWebSocket("its success is no switch of protocols"),
            NotAgreed::OtherKey => {
                Self::NoWebSocket("its answer does not fit the key that it was sent")
            }
        }
    }
}

impl Kind {
    /// Whose fault it is.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::RequestHead(_)
            | Self::RequestFields(_)
            | Self::RequestBody(_)
            | Self::Connection(_)
            | Self::RequestTimeout
            | Self::ClientGone
            | Self::DeadlineExceeded
            | Self::ApplicationLate { .. }
            | Self::Misdirected
            | Self::Outdated
            | Self::ConnectMethod
            | Self::TraceMethod
            | Self::StreamProtocol
            | Self::WebSocketKey
            | Self::NotAbsolute
            | Self::NotLocal
            | Self::Forbidden(_) => Origin::Client,
            Self::NoConfiguration
            | Self::NoRoute
            | Self::NoBackend(_)
            | Self::NoService(_)
            | Self::Ambiguous { .. }
            | Self::NotLearned(_)
            | Self::NoEndpoint(_)
            | Self::Shortage(_)
            | Self::Misrouted { .. }
            | Self::NotHttp(_)
            | Self::NotRead(_)
            | Self::RefusedAsMisrouted(_)
            | Self::Loop
            | Self::Unresolvable(_) => Origin::Proxy,
            Self::Connect(_)
            | Self::UpstreamTls(_)
            | Self::Application(_)
            | Self::ApplicationMute
            | Self::ApplicationUnanswered(_)
            | Self::ApplicationFrozen
            | Self::Reset(_)
            | Self::Unprocessed
            | Self::NoStream
            | Self::StreamReset
            | Self::AnswerHead(_)
            | Self::Answer(_)
            | Self::InterimAnswers
            | Self::UnexpectedUpgrade
            | Self::NoWebSocket(_)
            | Self::WebSocketReset(_)
            | Self::Lost(_)
            | Self::AnswerTimeout => Origin::Upstream,
        }
    }

    /// The only place that knows which status an error has. No `_` arm: a new kind must choose.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::RequestHead(HeadError::TooLarge | HeadError::TooManyFields) => 431,
            Self::RequestHead(HeadError::TargetTooLong) => 414,
            Self::RequestHead(HeadError::Version) => 505,
            Self::RequestHead(HeadError::TransferEncoding) => 501,
            Self::RequestHead(HeadError::Expect) => 417,
            Self::RequestHead(
                HeadError::BareLineFeed
                | HeadError::StartLine
                | HeadError::FieldName
                | HeadError::FieldValue
                | HeadError::Folded
                | HeadError::Target
                | HeadError::AmbiguousPath
                | HeadError::Host
                | HeadError::TargetHost
                | HeadError::ContentLength
                | HeadError::NotChunkedLast
                | HeadError::Connection
                | HeadError::TwoFramings,
            )
            // Nobody is told it: its stream is reset.
            | Self::RequestFields(_)
            | Self::RequestBody(_)
            | Self::Connection(_)
            | Self::WebSocketKey
            | Self::NotAbsolute => 400,
            Self::RequestTimeout => 408,
            // Nobody reads it; it is what logs and counters show.
            Self::ClientGone => 499,
            Self::Misdirected | Self::Outdated => 421,
            Self::ConnectMethod => 405,
            Self::StreamProtocol | Self::TraceMethod => 501,
            Self::NotLocal | Self::Forbidden(_) => 403,
            Self::NoRoute => 404,
            Self::NoBackend(_) => 500,
            Self::NoConfiguration
            | Self::NoService(_)
            | Self::Ambiguous { .. }
            | Self::NotLearned(_)
            | Self::NoEndpoint(_)
            | Self::Shortage(_)
            | Self::NotHttp(_)
            | Self::NotRead(_)
            | Self::RefusedAsMisrouted(_)
            | Self::Lost(_)
            | Self::Misrouted { chooses_again: false, .. } => 503,
            Self::Misrouted { chooses_again: true, .. } => Refused::Misrouted.status(),
            Self::Loop => 508,
            Self::Unresolvable(_)
            | Self::Connect(_)
            | Self::UpstreamTls(_)
            | Self::Reset(_)
            | Self::Unprocessed
            | Self::NoStream
            | Self::StreamReset
            | Self::AnswerHead(_)
            | Self::Answer(_)
            | Self::InterimAnswers
            | Self::UnexpectedUpgrade
            | Self::NoWebSocket(_)
            | Self::WebSocketReset(_) => 502,
            Self::Application(_) | Self::ApplicationMute => Refused::Unreachable.status(),
            Self::ApplicationUnanswered(_) | Self::ApplicationFrozen => {
                Refused::Unanswered.status()
            }
            Self::ApplicationLate { .. } => Refused::Late.status(),
            Self::AnswerTimeout | Self::DeadlineExceeded => 504,
        }
    }
}

impl Kind {
    /// What a proxy of Laneway is told beside the status, so that it chooses somebody else.
    pub(crate) fn refused(&self) -> Option<Refused> {
        match self {
            Self::Misrouted { chooses_again: true, .. } => Some(Refused::Misrouted),
            Self::Application(_) | Self::ApplicationMute => Some(Refused::Unreachable),
            Self::ApplicationUnanswered(_) | Self::ApplicationFrozen => Some(Refused::Unanswered),
            Self::ApplicationLate { is_silent: false } => Some(Refused::Late),
            Self::ApplicationLate { is_silent: true } => Some(Refused::Silent),
            _ => None,
        }
    }
}

/// The reason phrase of the statuses the proxy itself answers with.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
