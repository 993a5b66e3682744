//! Where in its frames a WebSocket stands (RFC 6455 §5.2), so that a side can be told at the end that it ends. Heads of frames
//! alone are read, to know how long these are; nothing is kept of what passes.

use smallvec::SmallVec;

/// That a server goes away, or a browser leaves a page (RFC 6455 §7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// The last frame of a message, which says farewell.
const CLOSE: u8 = 0x88;

const IS_LAST: u8 = 0x80;
const IS_MASKED: u8 = 0x80;
const KEY_BYTES: u8 = 4;

/// Longer than this no frame between others is, which Close, Ping and Pong are.
const CONTROL_BYTES_MAX: u8 = 125;

/// One direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    /// What its client sends is masked, and nothing else.
    is_masked: bool,
    /// All that came are frames.
    is_known: bool,
    /// One of them was a farewell.
    has_closed: bool,
    /// Bytes of the next frame's head that have passed, and how many it has.
    at: u8,
    head_bytes: u8,
    /// Of the frame whose head passes.
    first: u8,
    length: u64,
    /// Bytes of the frame that are still to pass behind its head.
    left: u64,
}

impl Frames {
    /// Of what an instance sends to its client.
    pub(crate) fn to_client() -> Self {
        Self::new(false)
    }

    /// Of what a client sends to its instance.
    pub(crate) fn to_instance() -> Self {
        Self::new(true)
    }

    fn new(is_masked: bool) -> Self {
        Self {
            is_masked,
            is_known: true,
            has_closed: false,
            at: 0,
            head_bytes: 0,
            first: 0,
            length: 0,
            left: 0,
        }
    }

    /// These have passed.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first()
            && self.is_known
        {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() as u64);
                self.left -= passed;
                bytes = &bytes[passed as usize..];
            } else {
                self.pass_head(*byte);
                bytes = rest;
            }
        }
    }

    fn pass_head(&mut self, byte: u8) {
        let key_bytes = if self.is_masked { KEY_BYTES } else { 0 };
        match self.at {
            0 => {
                let kind = byte & 0xf;
                self.is_known = matches!(kind, 0..=2 | 8..=10) && !self.has_closed;
                self.has_closed = kind == CLOSE & 0xf;
                self.first = byte;
            }
            1 => {
                let length = byte & !IS_MASKED;
                (self.head_bytes, self.length) = match length {
                    126 => (4 + key_bytes, 0),
                    127 => (10 + key_bytes, 0),
                    length => (2 + key_bytes, u64::from(length)),
                };
                let is_control = self.first & 8 != 0;
                let is_too_long = length > CONTROL_BYTES_MAX || self.first & IS_LAST == 0;
                let is_masked = byte & IS_MASKED != 0;
                self.is_known = is_masked == self.is_masked && !(is_control && is_too_long);
            }
            at if at < self.head_bytes - key_bytes => {
                self.length = self.length << 8 | u64::from(byte);
            }
            _ => {}
        }
        self.at += 1;
        if self.at > 1 && self.at == self.head_bytes {
            self.at = 0;
            self.left = self.length;
            self.is_known &= self.length <= i64::MAX as u64;
        }
    }

    /// Whether all that passed were frames.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// The frame that says farewell, masked with `key` where it must be; nothing where it was said already. `None` where it
    /// cannot be said: within a frame, and to whoever speaks something else.
    pub(crate) fn farewell(&self, key: [u8; KEY_BYTES as usize]) -> Option<SmallVec<[u8; 8]>> {
        let is_between = self.at == 0 && self.left == 0;
        if !is_between || !self.is_known {
            return None;
        }
        if self.has_closed {
            return Some(SmallVec::new());
        }
        let length = GOING_AWAY.len() as u8;
        let [high, low] = GOING_AWAY;
        Some(if self.is_masked {
            let masked = [high ^ key[0], low ^ key[1]];
            let parts = [&[CLOSE, IS_MASKED | length][..], &key, &masked];
            parts.into_iter().flatten().copied().collect()
        } else {
            SmallVec::from_slice(&[CLOSE, length, high, low])
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, coding::Data, coding::OpCode};

    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// Frames as somebody else writes them, of these sizes.
    fn written(sizes: &[usize], is_masked: bool) -> Vec<(Vec<u8>, usize)> {
        let frames = sizes.iter().enumerate().map(|(at, size)| {
            let mut frame =
                Frame::message(vec![0x88; *size], OpCode::Data(Data::Binary), at % 2 == 0);
            if is_masked {
                frame.header_mut().mask = Some(KEY);
            }
            let mut bytes = Vec::new();
            frame.format(&mut bytes).unwrap();
            (bytes, *size)
        });
        frames.collect()
    }

    #[test]
    fn farewell_is_said_between_frames_alone_however_they_come() {
        for is_masked in [false, true] {
            let all = written(&[0, 1, 125, 126, 65_535, 65_536, 3, 70_000, 0], is_masked);
            let bytes: Vec<u8> = all.iter().flat_map(|(frame, _)| frame.clone()).collect();
            let mut ends: Vec<usize> = vec![0];
            ends.extend(all.iter().scan(0, |end, (frame, _)| {
                *end += frame.len();
                Some(*end)
            }));
            for part in [1, 2, 3, 7, 1_000, 16_384, bytes.len()] {
                let mut frames = Frames::new(is_masked);
                let mut passed = 0;
                for chunk in bytes.chunks(part) {
                    frames.pass(chunk);
                    passed += chunk.len();
                    let is_between = frames.farewell(KEY).is_some();
                    assert_eq!(is_between, ends.contains(&passed), "{passed} of {}", bytes.len());
                }
                assert_eq!(passed, bytes.len());
            }
        }
    }

    #[test]
    fn farewell_is_said_as_others_read_it() {
        for (frames, is_masked) in [(Frames::to_client(), false), (Frames::to_instance(), true)] {
            let said = frames.farewell(KEY).unwrap();
            let mut close =
                Frame::close(Some(tokio_tungstenite::tungstenite::protocol::CloseFrame {
                    code: tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::Away,
                    reason: "".into(),
                }));
            if is_masked {
                close.header_mut().mask = Some(KEY);
            }
            let mut expected = Vec::new();
            close.format(&mut expected).unwrap();
            assert_eq!(said[..], expected);
            // And once.
            let mut frames = frames;
            frames.pass(&said);
            assert!(frames.is_known() && frames.farewell(KEY).unwrap().is_empty());
            frames.pass(&[0x81]);
            assert!(!frames.is_known());
        }
    }

    #[test]
    fn what_is_no_frame_is_told_nothing() {
        let long = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        // A kind that nobody knows, a mask where there is none, a farewell in parts or too long, a length beyond all.
        for bytes in [&b"word"[..], &[0x82, 0x81], &[0x08, 2], &[0x89, 126], &long] {
            let mut frames = Frames::to_client();
            frames.pass(bytes);
            assert!(!frames.is_known() && frames.farewell(KEY).is_none(), "{bytes:?}");
        }
        let mut frames = Frames::to_instance();
        frames.pass(&[0x82, 1]);
        assert!(!frames.is_known());
    }
}
