//! How a client's connection in TLS begins: which name it asks for, what it is shown, what is agreed on.

use std::{fmt, net::Shutdown, sync::Arc, time::Instant};

use routes::tls::TlsVersion;
use rustls::{
    Error, ServerConfig,
    server::{Acceptor, UnbufferedServerConnection},
};
use telemetry::Count;
use tokio::sync::watch;

use super::linger;
use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    tls::{
        computing::Stage,
        session::{self, Session},
        shown::{Met, Shown},
    },
    transport::{Connection, Transport as _},
    worker::Worker,
};

/// Bytes of a client's first message at most, as the standard has it, with the headers of its records.
const HELLO_BYTES_MAX: usize = 0xffff + 64 * 5;

/// Bytes of it that are looked at together: more than a record of them at once is not held, before the first was.
const FED_BYTES: usize = 4096;

/// What the first byte of a client that speaks TLS says: a handshake's record.
const HANDSHAKE: u8 = 22;

/// A fatal alert in the clear, but for what it says (RFC 8446 §6).
const ALERT: [u8; 6] = [21, 3, 1, 0, 2, 2];

/// What a fatal alert says of what went wrong.
const UNRECOGNIZED_NAME: u8 = 112;
const INTERNAL_ERROR: u8 = 80;

/// What is answered to a client that speaks HTTP in the clear.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nserver: laneway\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\nconnection: close\r\n\r\nthis port speaks TLS: ask for it with https://\n";

/// How a client's connection has begun.
pub(crate) enum Begun {
    /// From now on it is in the clear to whoever works on it.
    Agreed(Agreed),
    /// TLS is not ended here.
    Passes(Greeting),
}

/// What a client whose TLS is not ended here has said so far.
pub(crate) struct Greeting {
    /// The name it asks for, in lower case. Of one that hides the name that it means (ECH), the one that it shows.
    pub(crate) server_name: Option<Box<str>>,
    /// All that was received, to be passed on.
    pub(crate) received: Buffer,
}

/// What was agreed on with a client.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// The name it asked for, in lower case.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) speaks_http2: bool,
    pub(crate) version: TlsVersion,
    /// What it met.
    pub(crate) met: Met,
}

/// Why there is no agreement.
#[derive(Debug)]
enum Failure {
    /// The client left without a word.
    NoClient,
    /// It left in the midst of it.
    BrokenOff,
    TimedOut,
    /// It speaks HTTP in the clear.
    PlainHttp,
    /// It asked for a name that nobody has.
    UnknownName,
    /// Nothing can be shown to it, for this reason.
    NothingToShow(String),
    Tls(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClient => f.write_str("the client left without a word"),
            Self::BrokenOff => f.write_str("the client left in the midst of the handshake"),
            Self::TimedOut => f.write_str("the handshake took too long"),
            Self::PlainHttp => f.write_str("the client speaks HTTP in the clear"),
            Self::UnknownName => f.write_str("no listener has the name that the client asks for"),
            Self::NothingToShow(why) => f.write_str(why),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl Failure {
    fn count(&self) -> Option<Count> {
        Some(match self {
            Self::NoClient => return None,
            Self::BrokenOff => Count::TlsBrokenOff,
            Self::TimedOut => Count::TlsTimedOut,
            Self::PlainHttp => Count::TlsPlainHttp,
            Self::UnknownName => Count::TlsUnknownName,
            Self::NothingToShow(_) => Count::TlsNoCertificate,
            Self::Tls(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {
                Count::TlsClientCertificate
            }
            Self::Tls(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
                Count::TlsIncompatible
            }
            Self::Tls(Error::AlertReceived(_)) => Count::TlsRefused,
            Self::Tls(_) => Count::TlsMalformed,
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

/// Shakes hands with a client, unless the name that it asks for is one of which TLS passes. None: it has ended.
pub(crate) async fn agree(
    worker: &Worker,
    connection: &Connection,
    shown: &watch::Sender<Arc<Shown>>,
    port: u16,
) -> Option<Begun> {
    worker.deadlines.set_now(Instant::now());
    worker.deadlines.arm(connection.deadline(), worker.timeouts.head, Shutdown::Both);
    let mut handshake = Handshake { worker, connection, said: Vec::new() };
    let failure = match handshake.begin(shown, port).await {
        Ok(begun) => {
            connection.deadline().disarm();
            return Some(begun);
        }
        Err(_) if connection.deadline().is_expired() => Failure::TimedOut,
        Err(failure) => failure,
    };
    if let Some(count) = failure.count() {
        worker.recorder.count(count);
        tracing::debug!(peer = %connection.peer, port, reason = %failure, "no TLS with a client");
    }
    say_last(worker, connection, handshake.said).await;
    None
}

/// Tells a client whose TLS is not ended here that nobody has its connection.
pub(crate) async fn refuse(worker: &Worker, connection: &Connection, why: Refused) {
    let (count, description) = match why {
        Refused::UnknownName => (Count::TlsUnknownName, UNRECOGNIZED_NAME),
        Refused::NoInstance(_) => (Count::TlsNoInstance, INTERNAL_ERROR),
    };
    worker.recorder.count(count);
    say_last(worker, connection, [&ALERT[..], &[description]].concat()).await;
}

/// Why nobody has a connection.
pub(crate) enum Refused {
    /// No route has the name that its client asks for.
    UnknownName,
    /// Nobody is there whom a route names, for this reason.
    NoInstance(String),
}

async fn say_last(worker: &Worker, connection: &Connection, said: Vec<u8>) {
    if !said.is_empty() && connection.send(said, Buffer::default(), 0).await.2.is_ok() {
        linger(worker, connection).await;
    }
}

/// A handshake under way.
struct Handshake<'c> {
    worker: &'c Worker,
    connection: &'c Connection,
    /// The last that is said to the client when it fails.
    said: Vec<u8>,
}

impl Handshake<'_> {
    async fn begin(
        &mut self,
        shown: &watch::Sender<Arc<Shown>>,
        port: u16,
    ) -> Result<Begun, Failure> {
        let (server_name, received) = self.hello().await?;
        if self.worker.picture().routes.passes_tls(port, server_name.as_deref()) {
            return Ok(Begun::Passes(Greeting { server_name, received }));
        }
        self.shake_hands(shown, port, server_name, received).await.map(Begun::Agreed)
    }

    async fn shake_hands(
        &mut self,
        shown: &watch::Sender<Arc<Shown>>,
        port: u16,
        server_name: Option<Box<str>>,
        received: Buffer,
    ) -> Result<Agreed, Failure> {
        let shown = self.latest(shown, port).await?;
        let (config, met) = self.config(&shown, port, server_name.as_deref())?;
        let session = self.agree(config, received).await?;
        let speaks_http2 = session.protocol() == Some(b"h2");
        let version = if session.is_newest_version() { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
        let is_resumed = session.is_resumed();
        self.worker.recorder.count(if is_resumed { Count::TlsResumed } else { Count::TlsFull });
        self.connection.speak_tls(session);
        Ok(Agreed { server_name, speaks_http2, version, met })
    }

    /// The name that the client asks for, and all that it has sent.
    async fn hello(&mut self) -> Result<(Option<Box<str>>, Buffer), Failure> {
        let Self { worker, connection, .. } = *self;
        connection.idle.set(true);
        let received = connection.receive(&worker.buffers).await;
        connection.idle.set(false);
        let mut received = received.map_err(|_| Failure::NoClient)?;
        match received.filled().first() {
            None => return Err(Failure::NoClient),
            Some(&HANDSHAKE) => {}
            Some(first) if first.is_ascii_uppercase() => {
                self.said = SPEAK_TLS.to_vec();
                return Err(Failure::PlainHttp);
            }
            // What it is, is said below.
            Some(_) => {}
        }
        let mut acceptor = Acceptor::default();
        let mut fed = 0;
        loop {
            while fed < received.filled().len() {
                let mut part =
                    received.filled()[fed..].chunks(FED_BYTES).next().unwrap_or_default();
                let read = acceptor.read_tls(&mut part);
                fed += read.map_err(|error| Error::General(error.to_string()))?;
                match acceptor.accept() {
                    Ok(Some(accepted)) => {
                        let name =
                            accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                        return Ok((name.map(Into::into), received));
                    }
                    Ok(None) => {}
                    Err((error, mut alert)) => {
                        let _ = alert.write_all(&mut self.said);
                        return Err(error.into());
                    }
                }
            }
            if !received.make_room(HELLO_BYTES_MAX) {
                return Err(Failure::BrokenOff);
            }
            let outcome;
            (received, outcome) = connection.receive_more(received).await;
            if !matches!(outcome, Ok(bytes) if bytes > 0) {
                return Err(Failure::BrokenOff);
            }
        }
    }

    /// What is shown on the port by now: a picture that has just come is not made ready yet.
    async fn latest(
        &self,
        shown: &watch::Sender<Arc<Shown>>,
        port: u16,
    ) -> Result<Arc<Shown>, Failure> {
        let mut shown = shown.subscribe();
        let known = shown.wait_for(|shown| shown.knows(port));
        match tokio::time::timeout(self.worker.timeouts.head, known).await {
            Ok(Ok(shown)) => Ok(Arc::clone(&shown)),
            _ => Err(Failure::NothingToShow("the listener is not ready yet".to_owned())),
        }
    }

    /// What the handshake goes by, and what the client meets.
    fn config(
        &mut self,
        shown: &Shown,
        port: u16,
        server_name: Option<&str>,
    ) -> Result<(Arc<ServerConfig>, Met), Failure> {
        let Some(listener) = shown.listener(port, server_name) else {
            self.said = [&ALERT[..], &[UNRECOGNIZED_NAME]].concat();
            return Err(Failure::UnknownName);
        };
        let config = listener.config().map_err(|why| {
            self.said = [&ALERT[..], &[INTERNAL_ERROR]].concat();
            Failure::NothingToShow(why.to_owned())
        })?;
        Ok((Arc::clone(config), listener.met(server_name)))
    }

    /// Goes on until both sides agree.
    async fn agree(
        &mut self,
        config: Arc<ServerConfig>,
        received: Buffer,
    ) -> Result<Session, Failure> {
        let Self { worker, connection, .. } = *self;
        let side = UnbufferedServerConnection::new(config)?;
        let mut handshake = session::Handshake::new(side);
        let hello = Stage::Hello(connection.peer.ip());
        let (mut stage, mut asked_again, mut received) = (hello, false, received);
        loop {
            let taken_in = handshake.take_in(received.filled());
            worker.buffers.give(received);
            taken_in?;
            let computing = worker.tls.computing.run(stage, move || {
                let outcome = handshake.go_on();
                (handshake, outcome)
            });
            // What comes too late is not computed at all.
            let computed = tokio::time::timeout(worker.timeouts.head, computing).await;
            let outcome;
            (handshake, outcome) = computed.map_err(|_| Failure::TimedOut)?;
            // A second hello has its turn among the others again, once.
            let is_asked_again = stage == hello && handshake.asks_for_another_hello();
            stage = if is_asked_again && !asked_again { hello } else { Stage::Begun };
            asked_again |= is_asked_again;
            let sending = handshake.take_sending();
            let is_done = match outcome {
                Ok(is_done) => is_done,
                Err(error) => {
                    self.said = sending;
                    return Err(error.into());
                }
            };
            if !sending.is_empty() {
                let (_, _, sent) = connection.send(sending, Buffer::default(), 0).await;
                sent.map_err(|_| Failure::BrokenOff)?;
            }
            if is_done {
                return Ok(handshake.into_session(&worker.tls.scratch));
            }
            received = connection.receive(&worker.buffers).await.map_err(|_| Failure::BrokenOff)?;
            if received.is_empty() {
                return Err(Failure::BrokenOff);
            }
        }
    }
}
