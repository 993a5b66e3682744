//! The values of `traceparent` (W3C) and `x-request-id`.

/// Bytes of a version 00 `traceparent`.
const TRACEPARENT_BYTES: usize = 55;

/// Bytes of a new `x-request-id`.
pub(super) const REQUEST_ID_BYTES: usize = 36;

/// The flag of a trace that is sampled.
const SAMPLED: u8 = 1;

/// A trace and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Which trace.
    pub trace_id: [u8; 16],
    /// Which span of it.
    pub parent_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceParent {
    /// Reads a header value as the W3C recommendation says: lower-case hex, no all-zero ids, version 00 exactly as
    /// long as it is, later versions at least as long, version ff never.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let [version] = decode_hex::<1>(&head[..2])?;
        let known_length = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !known_length {
            return None;
        }
        let trace_id = decode_hex::<16>(&head[3..35])?;
        let parent_id = decode_hex::<8>(&head[36..52])?;
        let [flags] = decode_hex::<1>(&head[53..])?;
        (trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self { trace_id, parent_id, flags })
    }

    /// A new trace from random bytes. It is marked as sampled: samplers downstream follow their parent, and an
    /// entrance that said "not sampled" would switch everybody's tracing off.
    pub fn create(mut random: [u8; 24]) -> Self {
        random[0] |= u8::from(random[..16] == [0; 16]); // all zero is invalid, and once in 2^128
        random[16] |= u8::from(random[16..] == [0; 8]);
        let mut new = Self { trace_id: [0; 16], parent_id: [0; 8], flags: SAMPLED };
        new.trace_id.copy_from_slice(&random[..16]);
        new.parent_id.copy_from_slice(&random[16..]);
        new
    }

    /// Whether those who follow their parent trace what comes of this.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The header value, always in version 00.
    pub(super) fn to_bytes(self) -> [u8; TRACEPARENT_BYTES] {
        let mut value = *b"00-................................-................-..";
        encode_hex(&self.trace_id, &mut value[3..35]);
        encode_hex(&self.parent_id, &mut value[36..52]);
        encode_hex(&[self.flags], &mut value[53..]);
        value
    }
}

/// A new `x-request-id`: a version 4 UUID from random bytes.
pub(super) fn new_request_id(mut random: [u8; 16]) -> [u8; REQUEST_ID_BYTES] {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut value = *b"........-....-....-....-............";
    for (bytes, place) in
        [(0..4, 0..8), (4..6, 9..13), (6..8, 14..18), (8..10, 19..23), (10..16, 24..36)]
    {
        encode_hex(&random[bytes], &mut value[place]);
    }
    value
}

fn decode_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Every byte in hexadecimal.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

pub(super) fn encode_hex(bytes: &[u8], text: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(text.as_chunks_mut::<2>().0) {
        *pair = HEX[usize::from(*byte)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[track_caller]
    fn check(value: &str, valid: bool) {
        assert_eq!(TraceParent::parse(value.as_bytes()).is_some(), valid, "{value}");
    }

    #[test]
    fn traceparent_is_read_as_the_recommendation_says() {
        check(VALID, true);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true);
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true);
        check(
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-holds",
            true,
        );
        check("", false);
        check("00", false);
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.tail", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-tail", false);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001", false);
        check("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false);
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let parsed = TraceParent::parse(VALID.as_bytes()).unwrap();
        assert_eq!(parsed.to_bytes(), VALID.as_bytes());
        for random in [[0; 24], [255; 24], std::array::from_fn(|index| index as u8)] {
            let new = TraceParent::create(random);
            assert_eq!(TraceParent::parse(&new.to_bytes()), Some(new));
            assert_eq!(new.flags, 1);
        }
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        assert_eq!(&new_request_id([0xff; 16]), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&new_request_id([0; 16]), b"00000000-0000-4000-8000-000000000000");
    }
}
