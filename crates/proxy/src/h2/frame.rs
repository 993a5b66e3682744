//! Frames: their heads, and what goes out of them (RFC 9113 §4, §6).

use super::error::Code;

/// What both sides begin with; the client's side of it.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;

/// Bytes of a frame beside its head that everybody must take, and the most that we take (§4.2).
pub(super) const FRAME_BYTES_MAX: usize = 16_384;

/// The largest window, and the largest stream.
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// Flags. What one means depends on the kind of frame.
pub(super) mod flag {
    pub(in crate::h2) const END_STREAM: u8 = 0x1;
    pub(in crate::h2) const ACKNOWLEDGED: u8 = 0x1;
    pub(in crate::h2) const END_HEADERS: u8 = 0x4;
    pub(in crate::h2) const PADDED: u8 = 0x8;
    pub(in crate::h2) const PRIORITY: u8 = 0x20;
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// To be ignored (§4.1).
    Unknown,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    /// Bytes that follow.
    pub(super) bytes: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0 is the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    /// Reads one from its nine bytes.
    pub(super) fn read(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Self {
            bytes: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame's head.
pub(super) fn write_head(bytes: usize, kind: Kind, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, a, b, c] = (bytes as u32).to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind as u8, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends frames with a head or trailers: `block` is as long as it is, and each frame may have `bytes_max`.
pub(super) fn write_headers(
    block: &[u8],
    stream: u32,
    ends_stream: bool,
    bytes_max: usize,
    out: &mut Vec<u8>,
) {
    let mut rest = block;
    let mut kind = Kind::Headers;
    loop {
        let (part, after) = rest.split_at(rest.len().min(bytes_max));
        let mut flags = if after.is_empty() { flag::END_HEADERS } else { 0 };
        if kind == Kind::Headers && ends_stream {
            flags |= flag::END_STREAM;
        }
        write_head(part.len(), kind, flags, stream, out);
        out.extend_from_slice(part);
        if after.is_empty() {
            return;
        }
        (rest, kind) = (after, Kind::Continuation);
    }
}

pub(super) fn write_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    write_head(4, Kind::Reset, 0, stream, out);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

pub(super) fn write_window_update(stream: u32, bytes: u32, out: &mut Vec<u8>) {
    write_head(4, Kind::WindowUpdate, 0, stream, out);
    out.extend_from_slice(&bytes.to_be_bytes());
}

pub(super) fn write_ping(is_answer: bool, said: [u8; 8], out: &mut Vec<u8>) {
    write_head(8, Kind::Ping, if is_answer { flag::ACKNOWLEDGED } else { 0 }, 0, out);
    out.extend_from_slice(&said);
}

pub(super) fn write_go_away(last_stream: u32, code: Code, out: &mut Vec<u8>) {
    write_head(8, Kind::GoAway, 0, 0, out);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written() {
        let mut out = Vec::new();
        write_head(FRAME_BYTES_MAX, Kind::Continuation, flag::END_HEADERS, 0x7fff_ffff, &mut out);
        out[5] |= 0x80;
        let head = FrameHead::read(out.first_chunk().unwrap());
        assert_eq!((head.bytes, head.kind), (FRAME_BYTES_MAX, Kind::Continuation));
        assert!(head.has(flag::END_HEADERS) && !head.has(flag::PADDED));
        assert_eq!(head.stream, 0x7fff_ffff, "the reserved bit is ignored");
    }

    #[test]
    fn long_heads_go_on() {
        let mut out = Vec::new();
        write_headers(&[7; 25], 3, true, 10, &mut out);
        let mut frames = Vec::new();
        let mut rest = out.as_slice();
        while let Some(head) = rest.first_chunk() {
            let head = FrameHead::read(head);
            frames.push((head.kind, head.bytes, head.flags));
            rest = &rest[HEAD_BYTES + head.bytes..];
        }
        assert_eq!(
            frames,
            [
                (Kind::Headers, 10, flag::END_STREAM),
                (Kind::Continuation, 10, 0),
                (Kind::Continuation, 5, flag::END_HEADERS)
            ]
        );
    }
}
