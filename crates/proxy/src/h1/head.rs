//! Reads a head line by line, as bytes arrive, into offsets. Strict: CRLF only, no folding, no control
//! characters, token names, bounded.

use memchr::memchr;
use thiserror::Error;

use super::name::Name;

/// Bytes of a whole head. Cookies and tokens of large estates stay below 32 KiB; twice that is generous.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields of one head. Browsers behind three proxies send about 40.
pub const FIELDS_MAX: usize = 100;

/// Bytes of a request target; what common servers accept.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a method; the longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Part of a head, as offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From two offsets; heads are far smaller than 4 GiB.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= HEAD_BYTES_MAX * 2, "spans lie within a head");
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes it means.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Whether it means no bytes.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The whole line, with its CRLF.
    pub line: Span,
    /// The value without surrounding white space.
    pub value: Span,
    /// Bytes of the name.
    pub name_bytes: u16,
    /// Which name.
    pub name: Name,
    /// Whether it goes on to the other side, and whether rules see it.
    pub keep: bool,
}

impl Field {
    /// The name as sent.
    pub fn name_of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let start = self.line.start as usize;
        &bytes[start..start + usize::from(self.name_bytes)]
    }
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Above [`HEAD_BYTES_MAX`].
    #[error("head larger than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    /// Above [`FIELDS_MAX`].
    #[error("more than {FIELDS_MAX} header fields")]
    TooManyFields,
    /// Above [`TARGET_BYTES_MAX`].
    #[error("request target longer than {TARGET_BYTES_MAX} bytes")]
    TargetTooLong,
    /// A line feed without carriage return.
    #[error("line that does not end in CR LF")]
    BareLineFeed,
    /// The first line.
    #[error("malformed start line")]
    StartLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// A name that is no token, or no colon.
    #[error("malformed header field name")]
    FieldName,
    /// A control character in a value.
    #[error("control character in a header field")]
    FieldValue,
    /// A line that begins with white space.
    #[error("folded header field")]
    Folded,
    /// A target with a fragment, control or non-ASCII characters, or of the wrong form.
    #[error("malformed request target")]
    Target,
    /// A path with `%2F`, `%5C`, `\` or dot segments, which servers resolve differently.
    #[error("ambiguous path (encoded slash, backslash or dot segment)")]
    AmbiguousPath,
    /// No Host, several, or no valid one.
    #[error("exactly one valid Host is required")]
    Host,
    /// No number, or several that differ.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Both framings at once.
    #[error("both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// Not exactly `chunked`.
    #[error("Transfer-Encoding other than chunked")]
    TransferEncoding,
}

/// Whether a head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head ends after this many bytes.
    Complete(usize),
}

/// Reads one head. Give it all bytes received so far, from the head's first on; it never reads a byte twice.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Where the current line starts.
    line_start: usize,
    /// Up to where the current line holds no line feed.
    scanned: usize,
    /// The first line without CRLF, once seen.
    start_line: Option<Span>,
    /// Fields in order.
    pub fields: Vec<Field>,
}

impl HeadParser {
    /// Ready for the next head, keeping its memory.
    pub fn reset(&mut self) {
        self.line_start = 0;
        self.scanned = 0;
        self.start_line = None;
        self.fields.clear();
    }

    /// The first line without CRLF.
    pub fn start_line(&self) -> Span {
        self.start_line.unwrap_or_default()
    }

    /// Whether nothing but the empty line that may precede a request was seen.
    pub fn is_untouched(&self, received: usize) -> bool {
        self.start_line.is_none() && self.line_start == received
    }

    /// Takes in what has been received so far.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, HeadError> {
        loop {
            let Some(found) = memchr(b'\n', &bytes[self.scanned..]) else {
                self.scanned = bytes.len();
                if self.start_line.is_none()
                    && bytes.len() - self.line_start > TARGET_BYTES_MAX + METHOD_BYTES_MAX
                {
                    return Err(HeadError::TargetTooLong);
                }
                if bytes.len() > HEAD_BYTES_MAX {
                    return Err(HeadError::TooLarge);
                }
                return Ok(Progress::Partial);
            };
            let feed = self.scanned + found;
            let end = feed + 1;
            if end > HEAD_BYTES_MAX {
                return Err(HeadError::TooLarge);
            }
            if feed == self.line_start || bytes[feed - 1] != b'\r' {
                return Err(HeadError::BareLineFeed);
            }
            let line = Span::new(self.line_start, feed - 1);
            self.line_start = end;
            self.scanned = end;
            if line.is_empty() {
                if self.start_line.is_some() {
                    return Ok(Progress::Complete(end));
                }
                // One empty line before a request is tolerated (RFC 9112 §2.2), no more.
                if line.start > 0 {
                    return Err(HeadError::StartLine);
                }
                continue;
            }
            if self.start_line.is_none() {
                self.start_line = Some(line);
                continue;
            }
            if self.fields.len() == FIELDS_MAX {
                return Err(HeadError::TooManyFields);
            }
            self.fields.push(field(bytes, line)?);
        }
    }
}

fn field(bytes: &[u8], line: Span) -> Result<Field, HeadError> {
    let text = line.of(bytes);
    if matches!(text[0], b' ' | b'\t') {
        return Err(HeadError::Folded);
    }
    let colon = text.iter().position(|byte| !is_token(*byte)).ok_or(HeadError::FieldName)?;
    if colon == 0 || text[colon] != b':' || colon > usize::from(u16::MAX) {
        return Err(HeadError::FieldName);
    }
    let value = &text[colon + 1..];
    // No early exit: the compiler makes vector instructions of it.
    let controls = value
        .iter()
        .fold(false, |seen, byte| seen | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    if controls {
        return Err(HeadError::FieldValue);
    }
    let leading = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let trailing =
        value[leading..].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let value_start = line.start as usize + colon + 1 + leading;
    let value_end = line.end as usize - trailing;
    Ok(Field {
        line: Span { start: line.start, end: line.end + 2 },
        value: Span::new(value_start, value_end),
        name_bytes: colon as u16,
        name: Name::of(&text[..colon]),
        keep: true,
    })
}

/// Characters of names and methods (RFC 9110 `tchar`).
pub fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// The digits of `HTTP/1.x`: the minor version.
pub(super) fn minor_version(text: &[u8]) -> Result<u8, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(1),
        b"HTTP/1.0" => Ok(0),
        other if other.starts_with(b"HTTP/") && other.len() == 8 => Err(HeadError::Version),
        _ => Err(HeadError::StartLine),
    }
}
