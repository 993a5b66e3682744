//! Answers to a client: an instance's, or the proxy's own.

use std::{cell::Cell, io::Write as _, time::Instant};

use smallvec::SmallVec;
use telemetry::Count;

use crate::{
    affinity::{AnswerEdits, Owed},
    buffers::Buffer,
    date,
    deadlines::HasDeadline as _,
    error::{Kind, reason},
    exchange::sides::{AnswerSink, Client, Gone, OwnAnswer, Piece as _},
    h1::{
        fields::Framing,
        piece::Piece,
        request::RequestHead,
        write::{write_field, write_kept},
    },
    peers::REFUSED,
    plan::CONNECT,
    transport::{Connection, Transport as _},
    upstream::Answer,
    worker::Worker,
};

/// Says that the proxy itself answered, not an instance.
const ORIGIN: &str = "server: laneway\r\n";

/// Digits of a status.
const STATUS_DIGITS: usize = 3;

/// Where the answer to one request goes.
#[derive(Debug)]
pub(super) struct Answers<'c> {
    worker: &'c Worker,
    connection: &'c Connection,
    is_head: bool,
    minor_version: u8,
    /// The client may send another request on this connection, as far as its head says.
    keep_alive: bool,
    /// The protocol the client asks for.
    upgrade: Option<SmallVec<[u8; 16]>>,
    /// What the answer's head told the client about the connection.
    stays: Cell<bool>,
}

impl<'c> Answers<'c> {
    pub(super) fn new(
        worker: &'c Worker,
        connection: &'c Connection,
        head: &RequestHead,
        received: &[u8],
        keep_alive: bool,
    ) -> Self {
        Self {
            worker,
            connection,
            is_head: head.method.of(received) == b"HEAD",
            minor_version: head.minor_version,
            // A client that wants a tunnel may go on in another protocol, whatever it is told.
            keep_alive: keep_alive && head.method.of(received) != CONNECT.as_bytes(),
            upgrade: head.upgrade.map(|protocol| SmallVec::from_slice(protocol.of(received))),
            stays: Cell::new(false),
        }
    }

    /// Whether the client was told that it may send another request.
    pub(super) fn connection_stays(&self) -> bool {
        self.stays.get()
    }

    /// Decides it, for the head that is about to be written.
    fn decide_stay(&self, may_go_on: bool, is_framed: bool) -> bool {
        let stays = may_go_on && is_framed && self.keep_alive && !self.worker.draining.get();
        self.stays.set(stays);
        stays
    }

    /// Appends an answer of the proxy's own without a body.
    fn write_empty(&self, status: u16, location: Option<&[u8]>, stays: bool, out: &mut Vec<u8>) {
        let _ = write!(out, "HTTP/1.1 {status} {}\r\n{ORIGIN}", reason(status));
        write_field("date", &self.worker.date(), out);
        if let Some(location) = location {
            write_field("location", location, out);
        }
        out.extend_from_slice(b"content-length: 0\r\n");
        write_persistence(stays, self.minor_version, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Sends a head and a piece behind it, in the time a client has to take them; one that does not is cut off.
    async fn send_all(&self, mut head: Vec<u8>, piece: &mut Piece) -> Result<(), Gone> {
        self.worker.recorder.add(Count::BytesSent, (head.len() + piece.len()) as u64);
        let deadline = self.connection.deadline();
        self.worker.deadlines.arm_sending(deadline, self.worker.timeouts.body);
        let sent = piece.send_after(&mut head, self.connection).await;
        deadline.disarm();
        self.worker.buffers.give_write(head);
        sent.map_err(|_| {
            self.connection.reset_when_closed();
            Gone
        })
    }
}

impl Client for Answers<'_> {
    async fn own(&self, answer: &OwnAnswer, may_go_on: bool) -> Result<(), Gone> {
        let is_outdated = matches!(answer, OwnAnswer::Refusal(Kind::Outdated));
        let may_go_on = may_go_on && self.upgrade.is_none() && !is_outdated;
        let stays = self.decide_stay(may_go_on, true);
        let mut out = self.worker.buffers.take_write();
        match answer {
            OwnAnswer::Refusal(kind) => {
                let date = self.worker.date();
                write_error(kind, stays, self.minor_version, self.is_head, &date, &mut out);
            }
            OwnAnswer::Established(_) => {
                out.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
            }
            OwnAnswer::Redirect { status, location } => {
                self.write_empty(*status, Some(location), stays, &mut out);
            }
            OwnAnswer::Options => self.write_empty(answer.status(), None, stays, &mut out),
        }
        let deadline = self.connection.deadline();
        self.worker.deadlines.arm_sending(deadline, self.worker.timeouts.body);
        let (out, _, sent) = self.connection.send(out, Buffer::default(), 0).await;
        self.worker.buffers.give_write(out);
        sent.map_err(|_| Gone)
    }

    fn cut(&self, _: &Kind) {
        self.connection.reset_when_closed();
    }
}

impl AnswerSink<Answer> for Answers<'_> {
    type Piece = Piece;
    type Head = Vec<u8>;

    fn keeps_framing(&self) -> bool {
        self.minor_version == 1
    }

    async fn interim(&self, answer: &Answer) -> Result<(), Gone> {
        if self.minor_version == 0 {
            return Ok(());
        }
        let mut out = self.worker.buffers.take_write();
        write_status(answer, &mut out);
        write_kept(answer.received.filled(), answer.head.fields(), &mut out);
        out.extend_from_slice(b"\r\n");
        let (out, _, sent) = self.connection.send(out, Buffer::default(), 0).await;
        self.worker.buffers.give_write(out);
        sent.map_err(|_| Gone)
    }

    fn head(&self, answer: &mut Answer, edits: AnswerEdits<'_>, may_go_on: bool) -> Vec<u8> {
        let mut out = self.worker.buffers.take_write();
        write_status(answer, &mut out);
        let Answer { head, received } = answer;
        let bytes = received.filled();
        if !edits.say_when(head) {
            write_field("date", &self.worker.date(), &mut out);
        }
        for headers in edits.headers {
            headers.replaced().for_each(|name| head.drop_named(bytes, name.as_bytes()));
        }
        write_kept(bytes, head.fields(), &mut out);
        edits.write(bytes, head.fields(), |name, value| write_field(name, value, &mut out));
        let is_framed = match head.framing {
            Framing::UntilClose => false,
            Framing::Chunked => self.keeps_framing(),
            Framing::None | Framing::Length(_) => true,
        };
        if head.framing == Framing::Chunked && self.keeps_framing() {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        write_persistence(self.decide_stay(may_go_on, is_framed), self.minor_version, &mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    fn switch(&self, answer: &Answer, owed: &Owed) -> Option<Vec<u8>> {
        let (bytes, asked) = (answer.received.filled(), self.upgrade.as_ref()?);
        let switched = answer.head.upgrade?.of(bytes);
        if !switched.eq_ignore_ascii_case(asked) {
            return None;
        }
        let mut out = self.worker.buffers.take_write();
        write_status(answer, &mut out);
        write_kept(bytes, answer.head.fields(), &mut out);
        out.extend_from_slice(b"connection: upgrade\r\n");
        write_field("upgrade", switched, &mut out);
        let edits = AnswerEdits { headers: &[], owed };
        edits.write(bytes, answer.head.fields(), |name, value| write_field(name, value, &mut out));
        out.extend_from_slice(b"\r\n");
        Some(out)
    }

    async fn begin(&self, mut head: Vec<u8>, first: &mut Piece, _: bool) -> Result<(), Gone> {
        first.join(&mut head);
        self.send_all(head, first).await
    }

    async fn send(&self, piece: &mut Piece, _: bool) -> Result<(), Gone> {
        if piece.is_empty() {
            return Ok(());
        }
        self.connection.take_little();
        self.worker.deadlines.set_now(Instant::now());
        self.send_all(Vec::new(), piece).await
    }
}

/// Appends a short answer that names the reason; details are in the log.
pub(super) fn write_error(
    kind: &Kind,
    stays: bool,
    minor_version: u8,
    is_head: bool,
    date: &date::Text,
    out: &mut Vec<u8>,
) {
    let status = kind.status();
    let text = format!("{kind}\n");
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\n{ORIGIN}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n",
        reason(status),
        text.len()
    );
    write_field("date", date, out);
    if status == 405 {
        // What is refused so is no resource, and allows nothing (RFC 9110 §10.2.1).
        out.extend_from_slice(b"allow: \r\n");
    }
    if let Some(refused) = kind.refused() {
        write_field(REFUSED, refused.as_str().as_bytes(), out);
    }
    write_persistence(stays, minor_version, out);
    out.extend_from_slice(b"\r\n");
    if !is_head {
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_status(answer: &Answer, out: &mut Vec<u8>) {
    let text = answer.head.status_text.of(answer.received.filled());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(text);
    // Without a reason the space stays (RFC 9112 §4).
    out.extend_from_slice(if text.len() == STATUS_DIGITS { b" \r\n" } else { b"\r\n" });
}

fn write_persistence(stays: bool, minor_version: u8, out: &mut Vec<u8>) {
    match (stays, minor_version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, 0) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
}
