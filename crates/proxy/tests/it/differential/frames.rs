//! Frames of HTTP/2 (RFC 9113 §4.1) and blocks of fields (RFC 7541) as bytes, right or wrong. They share no code with the
//! proxy.

/// What a client's connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

/// A stream is no longer wanted.
pub(super) const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Bytes of a frame before its payload.
const HEAD_BYTES: usize = 9;

/// Names and values.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A frame that came.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.has(END_STREAM)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        frame(self.kind, self.flags, self.stream, &self.payload)
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The first frame of what was received, where it is whole.
pub(super) fn take(received: &mut Vec<u8>) -> Option<Frame> {
    let head = received.first_chunk::<HEAD_BYTES>()?;
    let bytes = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let (kind, flags) = (head[3], head[4]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
    if received.len() < HEAD_BYTES + bytes {
        return None;
    }
    let payload = received.drain(..HEAD_BYTES + bytes).skip(HEAD_BYTES).collect();
    Some(Frame { kind, flags, stream, payload })
}

/// Fields as plain text that nobody need remember.
pub(super) fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text);
        }
    }
    block
}

/// How long a text is that is not compressed (RFC 7541 §5.1, §5.2).
fn length(bytes: usize, block: &mut Vec<u8>) {
    if bytes < 127 {
        return block.push(bytes as u8);
    }
    block.push(127);
    let mut left = bytes - 127;
    while left >= 128 {
        block.push(left as u8 | 128);
        left >>= 7;
    }
    block.push(left as u8);
}

/// The status that a block begins with: one of the table, or three digits. A gateway compresses neither.
pub(super) fn status(block: &[u8]) -> Option<u16> {
    const OF_TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [indexed @ 0x88..=0x8e, ..] => Some(OF_TABLE[usize::from(*indexed) - 0x88]),
        [8, 3, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        _ => None,
    }
}

/// Frames for a block: in one, or in pieces that go on.
pub(super) fn head(stream: u32, flags: u8, block: &[u8], cut: Option<usize>) -> Vec<u8> {
    let Some(cut) = cut else { return frame(HEADERS, flags | END_HEADERS, stream, block) };
    let (first, rest) = block.split_at(cut.min(block.len()));
    let mut bytes = frame(HEADERS, flags, stream, first);
    bytes.extend(frame(CONTINUATION, END_HEADERS, stream, rest));
    bytes
}

/// A frame of data, perhaps with so many bytes of padding.
pub(super) fn data(stream: u32, flags: u8, bytes: &[u8], padding: Option<u8>) -> Vec<u8> {
    let Some(padding) = padding else { return frame(DATA, flags, stream, bytes) };
    let padded = [&[padding], bytes, &vec![0; usize::from(padding)]].concat();
    frame(DATA, flags | PADDED, stream, &padded)
}
