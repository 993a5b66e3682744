//! Frames of Dubbo 2: a head of 16 bytes, and a body as long as it says.

use crate::limits::DUBBO_BODY_BYTES_MAX;

/// What every frame begins with.
pub(crate) const MAGIC: [u8; 2] = [0xda, 0xbb];

/// Bytes of a head: magic, flags, status, id (8), length (4).
pub(crate) const HEAD_BYTES: usize = 16;

/// Bytes that a frame is given room for before they have come.
const FIRST_ROOM_BYTES: usize = 4 * 1024;

const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;
const SERIALIZATION: u8 = 0x1f;

/// The number that Hessian 2 goes by.
pub(crate) const HESSIAN2: u8 = 2;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    flags: u8,
    /// Of an answer.
    pub(crate) status: u8,
    pub(crate) id: u64,
    pub(crate) body_bytes: u32,
}

/// Bytes that begin no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no frame of Dubbo")]
pub(crate) struct NoFrame;

impl FrameHead {
    fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Self, NoFrame> {
        let [m0, m1, flags, status, id @ .., l0, l1, l2, l3] = *bytes;
        if [m0, m1] != MAGIC {
            return Err(NoFrame);
        }
        let body_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
        Ok(Self { flags, status, id: u64::from_be_bytes(id), body_bytes })
    }

    /// An answer to it, in the serialization that it is written in.
    pub(crate) fn answer(&self, status: u8, body_bytes: usize) -> Self {
        let flags = self.flags & (SERIALIZATION | EVENT);
        Self { flags, status, id: self.id, body_bytes: body_bytes as u32 }
    }

    /// An event that nobody asked for.
    pub(crate) fn event(is_two_way: bool, id: u64, body_bytes: usize) -> Self {
        let two_way = if is_two_way { TWO_WAY } else { 0 };
        let flags = REQUEST | EVENT | two_way | HESSIAN2;
        Self { flags, status: 0, id, body_bytes: body_bytes as u32 }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = self.flags;
        bytes[3] = self.status;
        bytes[4..12].copy_from_slice(&self.id.to_be_bytes());
        bytes[12..].copy_from_slice(&self.body_bytes.to_be_bytes());
        bytes
    }

    pub(crate) fn is_request(&self) -> bool {
        self.flags & REQUEST != 0
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_two_way(&self) -> bool {
        self.flags & TWO_WAY != 0
    }

    /// A sign of life, or word that a server leaves: nothing of an application.
    pub(crate) fn is_event(&self) -> bool {
        self.flags & EVENT != 0
    }

    pub(crate) fn serialization(&self) -> u8 {
        self.flags & SERIALIZATION
    }
}

/// A frame, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) head: FrameHead,
    /// Head and body as they came.
    bytes: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(head: FrameHead, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend_from_slice(&head.to_bytes());
        bytes.extend_from_slice(body);
        Self { head, bytes }
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }

    /// The bytes, to be sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many these are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives it another id.
    pub(crate) fn renumber(&mut self, id: u64) {
        self.head.id = id;
        self.bytes[4..12].copy_from_slice(&id.to_be_bytes());
    }

    /// Puts bytes into its body instead of those in `place`.
    pub(crate) fn replace(&mut self, place: std::ops::Range<usize>, with: &[u8]) {
        let place = HEAD_BYTES + place.start..HEAD_BYTES + place.end;
        self.bytes.splice(place, with.iter().copied());
        self.head.body_bytes = (self.bytes.len() - HEAD_BYTES) as u32;
        self.bytes[12..HEAD_BYTES].copy_from_slice(&self.head.body_bytes.to_be_bytes());
    }
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    Frame(Frame),
    /// A frame with more than [`DUBBO_BODY_BYTES_MAX`], which nobody has kept.
    TooLarge(FrameHead),
}

/// Makes frames of bytes, however these are cut.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    head: Option<FrameHead>,
    /// Of a body that is too large: what is still to come.
    left: u32,
}

impl Splitter {
    /// Takes bytes until there is a frame; what follows stays. `None`: it has taken all, and needs more.
    pub(crate) fn take(&mut self, from: &mut &[u8]) -> Result<Option<Came>, NoFrame> {
        let head = match self.head {
            Some(head) => head,
            None => match self.take_head(from)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if head.body_bytes > DUBBO_BODY_BYTES_MAX {
            let passed = (self.left as usize).min(from.len());
            *from = &from[passed..];
            self.left -= passed as u32;
            if self.left > 0 {
                return Ok(None);
            }
            self.head = None;
            return Ok(Some(Came::TooLarge(head)));
        }
        let whole = HEAD_BYTES + head.body_bytes as usize;
        self.take_up_to(whole, from);
        if self.bytes.len() < whole {
            return Ok(None);
        }
        self.head = None;
        Ok(Some(Came::Frame(Frame { head, bytes: std::mem::take(&mut self.bytes) })))
    }

    fn take_head(&mut self, from: &mut &[u8]) -> Result<Option<FrameHead>, NoFrame> {
        self.take_up_to(HEAD_BYTES, from);
        let begun = self.bytes.len().min(MAGIC.len());
        if self.bytes[..begun] != MAGIC[..begun] {
            return Err(NoFrame);
        }
        let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = FrameHead::read(head)?;
        self.head = Some(head);
        if head.body_bytes > DUBBO_BODY_BYTES_MAX {
            self.bytes.clear();
            self.left = head.body_bytes;
        } else {
            // Most are whole with their first bytes; nobody's word alone is worth megabytes.
            self.bytes
                .reserve_exact((head.body_bytes as usize).min(from.len().max(FIRST_ROOM_BYTES)));
        }
        Ok(Some(head))
    }

    fn take_up_to(&mut self, bytes: usize, from: &mut &[u8]) {
        let (taken, rest) = from.split_at((bytes - self.bytes.len()).min(from.len()));
        self.bytes.extend_from_slice(taken);
        *from = rest;
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_within(&self) -> bool {
        self.head.is_some() || !self.bytes.is_empty()
    }
}
