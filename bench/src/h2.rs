//! As much of HTTP/2 as an upstream and a client of the benchmark need: frames, flow control of answers, heads that
//! are the same bytes each time. Heads of requests are not read: every request is answered alike.

use std::collections::VecDeque;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of body in an answer.
pub const BODY_BYTES: usize = 128;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// What may be sent before the peer allows more, unless it says otherwise.
const WINDOW_BYTES: i64 = 65_535;
/// Received bytes after which the peer is allowed as many again.
const REPLENISHED_BYTES: u32 = 16 * 1024;

/// `:status: 200`, `content-type: text/plain`, not to be indexed.
const PLAIN_HEAD: &[u8] = b"\x88\x0f\x10\x0atext/plain";
/// `:status: 200`, `content-type: application/grpc`.
const GRPC_HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// `grpc-status: 0`.
const GRPC_TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";
/// `:status: 200`, the first field of an answer.
const STATUS_200: u8 = 0x88;
/// `:method: GET`, `:scheme: http`; then `:path: /a`, `:authority: a`, `canary: gray`, which are to be indexed.
const GET_HEAD: (&[u8], &[u8], u8) = (b"\x82\x86", b"\x44\x02/a\x41\x01a\x40\x06canary\x04gray", 3);
/// `:method: POST`, `:scheme: http`; then the same of a call, with `content-type` and `te`.
const CALL_HEAD: (&[u8], &[u8], u8) = (
    b"\x83\x86",
    b"\x44\x11/bench.Echo/Unary\x41\x01a\x40\x06canary\x04gray\x5f\x10application/grpc\x40\x02te\x08trailers",
    5,
);
/// The first field that was indexed last.
const INDEXED: u8 = 0x80 | 62;
/// What stands before a message of gRPC of that many bytes.
const GRPC_PREFIX: &[u8] = &[0, 0, 0, 0, 128];

/// One frame.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame in `bytes`, if all of it is there, and how long it is.
    fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD_BYTES)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + length)?;
        let stream = number(&head[5..9]) & 0x7fff_ffff;
        Some((Self { kind: head[3], flags: head[4], stream, payload }, HEAD_BYTES + length))
    }
}

/// Four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// What came without a body: plain text.
    Plain,
    /// What came with one: a message of gRPC and its trailers.
    Grpc,
}

/// The upstream's side of a connection: bytes in, bytes out.
#[derive(Debug)]
pub struct Server {
    pending: Vec<u8>,
    greeted: bool,
    /// Bytes that may be sent on the connection.
    window: i64,
    /// Bytes received since the peer was last allowed more.
    received: u32,
    /// Requests whose answers wait for the window.
    waiting: VecDeque<(u32, Answer)>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            greeted: false,
            window: WINDOW_BYTES,
            received: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl Server {
    /// Takes what has arrived and writes what is to be sent. `None` when the connection is over.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.greeted && pending.len() >= PREFACE.len() {
            at = pending.starts_with(PREFACE).then_some(PREFACE.len())?;
            write(out, SETTINGS, 0, 0, &[]);
            self.greeted = true;
        }
        while self.greeted
            && let Some((frame, length)) = Frame::first(&pending[at..])
        {
            self.frame(frame, out)?;
            at += length;
        }
        pending.drain(..at);
        self.pending = pending;
        if self.received >= REPLENISHED_BYTES {
            write(out, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        self.answer(out);
        Some(())
    }

    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Option<()> {
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => write(out, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => write(out, PING, ACK, 0, frame.payload),
            WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(number(frame.payload)),
            HEADERS if ends => self.waiting.push_back((frame.stream, Answer::Plain)),
            DATA => {
                self.received += u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
                if ends {
                    self.waiting.push_back((frame.stream, Answer::Grpc));
                }
            }
            GOAWAY => return None,
            _ => {}
        }
        Some(())
    }

    /// Answers as many as the window allows; the windows of streams are never smaller than an answer.
    fn answer(&mut self, out: &mut Vec<u8>) {
        const BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
        while let Some((stream, answer)) = self.waiting.front().copied() {
            let prefix: &[u8] = match answer {
                Answer::Plain => &[],
                Answer::Grpc => GRPC_PREFIX,
            };
            let message = [prefix, &BODY[..]].concat();
            let length = i64::try_from(message.len()).unwrap_or(i64::MAX);
            if length > self.window {
                return;
            }
            self.window -= length;
            self.waiting.pop_front();
            match answer {
                Answer::Plain => {
                    write(out, HEADERS, END_HEADERS, stream, PLAIN_HEAD);
                    write(out, DATA, END_STREAM, stream, &message);
                }
                Answer::Grpc => {
                    write(out, HEADERS, END_HEADERS, stream, GRPC_HEAD);
                    write(out, DATA, 0, stream, &message);
                    write(out, HEADERS, END_HEADERS | END_STREAM, stream, GRPC_TRAILERS);
                }
            }
        }
    }
}

/// A client's side of a connection: requests one after the other.
#[derive(Debug)]
pub struct Client {
    asks: Asks,
    /// The stream of the latest request.
    stream: Option<u32>,
    pending: Vec<u8>,
    /// Bytes of the answer's body.
    body_bytes: usize,
    /// Bytes received since the peer was last allowed more.
    received: u32,
}

/// What a client asks for, every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// GET of `/a`.
    Get,
    /// The call `/bench.Echo/Unary` of gRPC, with a message of [`BODY_BYTES`].
    Call,
}

impl Client {
    /// One of a new connection.
    #[must_use]
    pub fn new(asks: Asks) -> Self {
        Self { asks, stream: None, pending: Vec::new(), body_bytes: 0, received: 0 }
    }

    /// What is to be sent for the next request, at once.
    pub fn ask(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (begin, fields, count) = match self.asks {
            Asks::Get => GET_HEAD,
            Asks::Call => CALL_HEAD,
        };
        let mut head = begin.to_vec();
        let stream = match self.stream {
            None => {
                bytes.extend_from_slice(PREFACE);
                write(&mut bytes, SETTINGS, 0, 0, &[]);
                write(&mut bytes, SETTINGS, ACK, 0, &[]);
                head.extend_from_slice(fields);
                1
            }
            Some(latest) => {
                head.extend((0..count).rev().map(|field| INDEXED + field));
                latest + 2
            }
        };
        if self.received >= REPLENISHED_BYTES {
            write(&mut bytes, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        let ends = if self.asks == Asks::Get { END_STREAM } else { 0 };
        write(&mut bytes, HEADERS, END_HEADERS | ends, stream, &head);
        if self.asks == Asks::Call {
            let message = [GRPC_PREFIX, &[0; BODY_BYTES]].concat();
            write(&mut bytes, DATA, END_STREAM, stream, &message);
        }
        self.stream = Some(stream);
        self.body_bytes = 0;
        bytes
    }

    /// Takes what has arrived; whether the latest request is answered with all of it. `None` if it is with anything but 200,
    /// without a body, or never will be.
    pub fn take(&mut self, bytes: &[u8]) -> Option<bool> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        let mut is_answered = false;
        while let Some((frame, length)) = Frame::first(&self.pending[at..]) {
            at += length;
            match frame.kind {
                GOAWAY | RST_STREAM => return None,
                DATA => {
                    self.body_bytes += frame.payload.len();
                    self.received += u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
                }
                HEADERS if self.body_bytes == 0 && frame.payload.first() != Some(&STATUS_200) => {
                    return None;
                }
                _ => {}
            }
            let ends = frame.flags & END_STREAM != 0 && matches!(frame.kind, DATA | HEADERS);
            is_answered |= ends && Some(frame.stream) == self.stream;
        }
        self.pending.drain(..at);
        if is_answered && self.body_bytes < BODY_BYTES { None } else { Some(is_answered) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_however_they_are_cut() {
        for asks in [Asks::Get, Asks::Call] {
            let mut client = Client::new(asks);
            let (mut at_once, mut in_pieces) = (Server::default(), Server::default());
            for _ in 0..2 {
                let request = client.ask();
                let (mut whole, mut cut) = (Vec::new(), Vec::new());
                at_once.take(&request, &mut whole).unwrap();
                for byte in &request {
                    in_pieces.take(&[*byte], &mut cut).unwrap();
                }
                assert_eq!(whole, cut);
                let (last, most) = whole.split_last().unwrap();
                assert_eq!(client.take(most), Some(false));
                assert_eq!(client.take(&[*last]), Some(true));
            }
        }
    }

    #[test]
    fn what_is_no_answer_with_all_of_it_is_none() {
        let answered = |kind, flags, payload: &[u8]| {
            let mut client = Client::new(Asks::Get);
            client.ask();
            let mut bytes = Vec::new();
            write(&mut bytes, kind, flags, 1, payload);
            client.take(&bytes)
        };
        assert_eq!(answered(HEADERS, END_HEADERS, b"\x88"), Some(false));
        assert_eq!(answered(HEADERS, END_HEADERS, b"\x8d"), None);
        assert_eq!(answered(HEADERS, END_HEADERS | END_STREAM, b"\x88"), None);
        assert_eq!(answered(RST_STREAM, 0, &[0; 4]), None);
        assert_eq!(answered(GOAWAY, 0, &[0; 8]), None);
    }

    #[test]
    fn an_answer_waits_until_the_peer_allows_it() {
        let mut server = Server { window: 100, ..Server::default() };
        let mut client = Client::new(Asks::Get);
        let mut out = Vec::new();
        server.take(&client.ask(), &mut out).unwrap();
        assert_eq!(client.take(&out), Some(false));
        let mut update = Vec::new();
        write(&mut update, WINDOW_UPDATE, 0, 0, &1000_u32.to_be_bytes());
        out.clear();
        server.take(&update, &mut out).unwrap();
        assert_eq!(client.take(&out), Some(true));
    }

    #[test]
    fn what_has_a_body_is_answered_in_grpc_and_may_go_on() {
        let mut request = PREFACE.to_vec();
        write(&mut request, HEADERS, END_HEADERS, 1, CALL_HEAD.1);
        write(&mut request, DATA, END_STREAM, 1, &vec![0; 20_000]);
        let mut out = Vec::new();
        Server::default().take(&request, &mut out).unwrap();
        assert!(out.ends_with(GRPC_TRAILERS));
        let allowed = |bytes: &[u8]| {
            let mut rest = bytes;
            while let Some((frame, length)) = Frame::first(rest) {
                if frame.kind == WINDOW_UPDATE {
                    return number(frame.payload);
                }
                rest = &rest[length..];
            }
            0
        };
        assert_eq!(allowed(&out), 20_000);
    }
}
