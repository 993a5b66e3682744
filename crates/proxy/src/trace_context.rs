//! Trace headers: W3C `traceparent`, `x-request-id`, and the ids by which requests of one call chain are recognised.

use std::fmt;

use smallvec::SmallVec;

/// The W3C header.
pub const TRACEPARENT: &str = "traceparent";
/// Travels with `traceparent`; meaningless without it, so whoever replaces one drops the other.
pub const TRACESTATE: &str = "tracestate";
/// The request id that applications without tracing forward.
pub const REQUEST_ID: &str = "x-request-id";
/// The single-header form of Zipkin's B3.
pub const B3: &str = "b3";

/// Bytes of a version 00 `traceparent`.
pub const TRACEPARENT_BYTES: usize = 55;

/// Bytes a correlation id may have. UUIDs have 36, B3 and W3C trace ids 32, cloud load balancers' ids below 80;
/// longer ones are not remembered, so that a table of 65 536 ids stays within 8 MiB of ids.
pub const CORRELATION_ID_BYTES_MAX: usize = 128;

/// Headers that may be configured as correlation ids. A request is looked up under each of them.
pub const CORRELATION_HEADERS_MAX: usize = 8;

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
        let mut new = Self { trace_id: [0; 16], parent_id: [0; 8], flags: 1 };
        new.trace_id.copy_from_slice(&random[..16]);
        new.parent_id.copy_from_slice(&random[16..]);
        new
    }

    /// The header value, always in version 00.
    pub fn to_bytes(self) -> [u8; TRACEPARENT_BYTES] {
        let mut value = *b"00-................................-................-..";
        encode_hex(&self.trace_id, &mut value[3..35]);
        encode_hex(&self.parent_id, &mut value[36..52]);
        encode_hex(&[self.flags], &mut value[53..]);
        value
    }
}

/// A new `x-request-id`: a version 4 UUID from random bytes.
pub fn new_request_id(mut random: [u8; 16]) -> [u8; 36] {
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

/// Whether a value can serve as an id: visible ASCII, not empty, at most [`CORRELATION_ID_BYTES_MAX`].
pub fn is_valid_id(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= CORRELATION_ID_BYTES_MAX
        && value.iter().all(u8::is_ascii_graphic)
}

/// An id that requests of one call chain share.
pub type CorrelationId = SmallVec<[u8; 40]>;

/// Which headers carry ids that requests of one call chain share, most trusted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationHeaders {
    headers: Vec<CorrelationHeader>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CorrelationHeader {
    /// Lower-case.
    name: String,
    form: Form,
}

/// Where in the value the id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The trace id of a valid `traceparent`.
    TraceParent,
    /// Before the first `-` of B3's single header.
    B3Single,
    /// All of it.
    Whole,
}

/// Why a list of correlation headers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCorrelationHeader {
    name: String,
    reason: &'static str,
}

impl fmt::Display for BadCorrelationHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        write!(
            f,
            "correlation header `{name}`: {reason}; name request headers such as traceparent, x-request-id or b3"
        )
    }
}

impl std::error::Error for BadCorrelationHeader {}

impl Default for CorrelationHeaders {
    /// `traceparent`, which every tracing library forwards, then `x-request-id`, which entrances also create.
    fn default() -> Self {
        Self {
            headers: vec![
                CorrelationHeader { name: TRACEPARENT.to_owned(), form: Form::TraceParent },
                CorrelationHeader { name: REQUEST_ID.to_owned(), form: Form::Whole },
            ],
        }
    }
}

impl CorrelationHeaders {
    /// From the operator's list.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, BadCorrelationHeader> {
        let mut headers: Vec<CorrelationHeader> = Vec::new();
        for written in names {
            let bad = |reason| BadCorrelationHeader { name: written.to_owned(), reason };
            let name = written.trim().to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(bad("is no header name"));
            }
            if name == "baggage" {
                return Err(bad("carries the lane context itself and is no id"));
            }
            if headers.iter().any(|known| known.name == name) {
                return Err(bad("is named twice"));
            }
            if headers.len() == CORRELATION_HEADERS_MAX {
                return Err(bad("is the ninth, and at most 8 are looked up"));
            }
            let form = match name.as_str() {
                TRACEPARENT => Form::TraceParent,
                B3 => Form::B3Single,
                _ => Form::Whole,
            };
            headers.push(CorrelationHeader { name, form });
        }
        if headers.is_empty() {
            return Err(BadCorrelationHeader { name: String::new(), reason: "the list is empty" });
        }
        Ok(Self { headers })
    }

    /// The names, lower-case, in order: what an untrusted entrance replaces or strips.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|header| header.name.as_str())
    }

    /// Whether `name` (any case) is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|header| header.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The ids of a request, in order of the list. `value` gives the first value of a header by lower-case name.
    pub fn ids<'a>(
        &self,
        value: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> SmallVec<[CorrelationId; 2]> {
        let mut ids = SmallVec::new();
        for header in &self.headers {
            if let Some(id) = value(&header.name).and_then(|value| header.id(value.trim_ascii())) {
                ids.push(id);
            }
        }
        ids
    }
}

impl CorrelationHeader {
    /// The id in a value. Ids of different headers share one table: an application may well take its request id
    /// from the trace id, and a chance meeting of two that differ is a conflict, which is base.
    fn id(&self, value: &[u8]) -> Option<CorrelationId> {
        let bytes = match self.form {
            Form::TraceParent => {
                TraceParent::parse(value)?;
                &value[3..35]
            }
            Form::B3Single => {
                let trace_id = value.split(|byte| *byte == b'-').next()?;
                // `b3: 0` and `b3: 1` carry a sampling decision and no id.
                if !matches!(trace_id.len(), 16 | 32) || !trace_id.iter().all(u8::is_ascii_hexdigit)
                {
                    return None;
                }
                trace_id
            }
            Form::Whole => is_valid_id(value).then_some(value)?,
        };
        Some(CorrelationId::from_slice(bytes))
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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

fn encode_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
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
        assert!(is_valid_id(&new_request_id([7; 16])));
        assert!(!is_valid_id(b""));
        assert!(!is_valid_id(b"with space"));
        assert!(!is_valid_id("zażółć".as_bytes()));
        assert!(is_valid_id(&[b'a'; 128]));
        assert!(!is_valid_id(&[b'a'; 129]));
    }

    #[track_caller]
    fn check_ids(names: &[&str], headers: &[(&str, &str)], ids: &[&str]) {
        let found = CorrelationHeaders::new(names.iter().copied()).unwrap().ids(|name| {
            headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes())
        });
        let found: Vec<_> = found.iter().map(|id| std::str::from_utf8(id).unwrap()).collect();
        assert_eq!(found, ids, "{names:?} {headers:?}");
    }

    #[test]
    fn ids_are_taken_from_the_configured_headers_in_order() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        check_ids(&["traceparent"], &[("traceparent", VALID)], &[trace]);
        check_ids(&["traceparent"], &[("traceparent", "nonsense")], &[]);
        check_ids(
            &["traceparent", "X-Request-Id"],
            &[("x-request-id", " 17 "), ("traceparent", VALID)],
            &[trace, "17"],
        );
        check_ids(&["x-request-id"], &[("traceparent", VALID)], &[]);
        check_ids(&["x-request-id"], &[("x-request-id", "two words")], &[]);
        check_ids(
            &["b3"],
            &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")],
            &["80f198ee56343ba864fe8b2a57d3eff7"],
        );
        check_ids(&["b3"], &[("b3", "0")], &[]);
        check_ids(
            &["X-B3-TraceId"],
            &[("x-b3-traceid", "463ac35c9f6413ad")],
            &["463ac35c9f6413ad"],
        );
    }

    #[test]
    fn bad_lists_are_refused_with_the_name() {
        for (names, reason) in [
            (vec![], "the list is empty"),
            (vec!["a b"], "`a b`: is no header name"),
            (vec![""], "is no header name"),
            (vec!["baggage"], "`baggage`: carries the lane context itself"),
            (vec!["b3", "B3"], "`B3`: is named twice"),
            (vec!["a", "b", "c", "d", "e", "f", "g", "h", "i"], "`i`: is the ninth"),
        ] {
            let error = CorrelationHeaders::new(names).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(
            CorrelationHeaders::default(),
            CorrelationHeaders::new(["traceparent", "x-request-id"]).unwrap()
        );
    }
}
