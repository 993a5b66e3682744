//! What a sidecar itself says in Dubbo 2: errors, signs of life, and that it leaves.

use super::{
    frame::{Frame, FrameHead, HESSIAN2},
    hessian,
    jsonb::{self, FASTJSON2},
};

/// How Dubbo's answers begin.
pub(crate) mod status {
    pub(crate) const OK: u8 = 20;
    pub(crate) const SERVER_TIMEOUT: u8 = 31;
    pub(crate) const BAD_REQUEST: u8 = 40;
    pub(crate) const SERVICE_ERROR: u8 = 70;
    pub(crate) const SERVER_ERROR: u8 = 80;
}

/// What begins the words by which a sidecar refuses what its lane does not lead to its application. Sidecars of callers know
/// it, and so do people.
pub(crate) const MISROUTED: &str = "laneway: misrouted: ";

/// Of a server: it takes no more requests on this connection, or does again.
const READ_ONLY: &[u8] = b"\x01R";
const WRITABLE: &[u8] = b"\x01W";

/// The same in fastjson2, behind its length.
const READ_ONLY_JSONB: &[u8] = b"\0\0\0\x02\x4aR";
const WRITABLE_JSONB: &[u8] = b"\0\0\0\x02\x4aW";

/// Nothing, as signs of life have it.
const NULL: &[u8] = b"N";

/// An event that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    SignOfLife,
    Leaving,
    Staying,
}

impl Event {
    pub(crate) fn of(frame: &Frame) -> Self {
        match frame.body() {
            READ_ONLY | READ_ONLY_JSONB => Self::Leaving,
            WRITABLE | WRITABLE_JSONB => Self::Staying,
            _ => Self::SignOfLife,
        }
    }
}

/// Answers a request with an error, in its own serialization where that is read; who speaks another sees the status.
pub(crate) fn error(request: &FrameHead, status: u8, words: &str) -> Frame {
    let mut body = Vec::new();
    match request.serialization() {
        HESSIAN2 => hessian::write_string(words, &mut body),
        FASTJSON2 => {
            let mut text = Vec::new();
            jsonb::write_string(words, &mut text);
            body.extend_from_slice(&(text.len() as u32).to_be_bytes());
            body.extend_from_slice(&text);
        }
        _ => {}
    }
    Frame::new(request.answer(status, body.len()), &body)
}

/// Answers a sign of life, in the words it was asked for in: nothing is the same both ways in every serialization.
pub(crate) fn alive(asked: &Frame) -> Frame {
    Frame::new(asked.head.answer(status::OK, asked.body().len()), asked.body())
}

/// Asks for a sign of life.
pub(crate) fn are_you_alive(id: u64) -> Frame {
    Frame::new(FrameHead::event(true, id, NULL.len()), NULL)
}

/// Says that no more requests are taken on a connection.
pub(crate) fn leaving() -> Frame {
    Frame::new(FrameHead::event(false, 0, READ_ONLY.len()), READ_ONLY)
}

/// Why an answer is one of a sidecar that its request was misrouted to.
pub(crate) fn is_misrouted(answer: &Frame) -> bool {
    if answer.head.status == status::OK {
        return false;
    }
    let words = match answer.head.serialization() {
        HESSIAN2 => hessian::Reader::new(answer.body()).string(),
        FASTJSON2 => {
            let value = jsonb::Reader::new(answer.body()).measured();
            value.and_then(|value| jsonb::Reader::new(value).plain())
        }
        _ => return false,
    };
    words.is_ok_and(|words| words.is_some_and(|it| it.starts_with(MISROUTED.as_bytes())))
}

/// The status of HTTP that an answer counts as.
pub(crate) fn counts_as(answer: &Frame) -> u16 {
    const CLIENT_TIMEOUT: u8 = 30;
    const BAD_RESPONSE: u8 = 50;
    const SERVICE_NOT_FOUND: u8 = 60;
    const EXHAUSTED: u8 = 100;
    match answer.head.status {
        // The method has thrown (0), with attachments or not (3).
        status::OK
            if matches!(answer.body(), [0x90 | 0x93, ..] | [0, 0, 0, 2, 0xbd, 0 | 3, ..]) =>
        {
            500
        }
        status::OK => 200,
        CLIENT_TIMEOUT | status::SERVER_TIMEOUT => 504,
        status::BAD_REQUEST => 400,
        BAD_RESPONSE => 502,
        SERVICE_NOT_FOUND => 404,
        EXHAUSTED => 503,
        _ => 500,
    }
}
