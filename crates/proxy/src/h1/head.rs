//! Reads a head line by line, as bytes arrive, into offsets. Strict: CRLF only, no folding, no control
//! characters, token names, bounded.

use lanes::is_token_byte;
use routes::entrance::{self, FramingError, NOMINATIONS_MAX, Name, Names};
use thiserror::Error;

pub(crate) use routes::entrance::{FIELDS_MAX, HEAD_BYTES_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX};

/// Part of a head, as offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: u32,
    /// One past the last byte.
    pub(crate) end: u32,
}

impl Span {
    /// From two offsets; heads are far smaller than 4 GiB.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= HEAD_BYTES_MAX * 2, "spans lie within a head");
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes it means.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Whether it means no bytes.
    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// The whole line, with its CRLF.
    pub(crate) line: Span,
    /// The value without surrounding white space.
    pub(crate) value: Span,
    /// Bytes of the name.
    pub(crate) name_bytes: u16,
    /// Which name.
    pub(crate) name: Name,
    /// Whether it goes on to the other side, and whether rules see it.
    pub(crate) keep: bool,
}

impl Field {
    /// The name as sent.
    pub(crate) fn name_of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let start = self.line.start as usize;
        &bytes[start..start + usize::from(self.name_bytes)]
    }

    /// Its text, in the bytes it was read from.
    pub(super) fn text<'b>(&self, bytes: &'b [u8]) -> entrance::Field<'b> {
        entrance::Field {
            name: self.name,
            written: self.name_of(bytes),
            value: self.value.of(bytes),
        }
    }
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HeadError {
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
    /// A target whose authority is no host, with a port or without: one with a user is refused, too.
    #[error("the target's host is none: HOST or HOST:PORT, and no user, stands behind http://")]
    TargetHost,
    /// No number, or several that differ.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Both framings at once.
    #[error("both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// Other codings before `chunked`.
    #[error("Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// Codings of which `chunked` is not the last.
    #[error("Transfer-Encoding whose last coding is not chunked")]
    NotChunkedLast,
    /// Something but `100-continue` is expected.
    #[error("an expectation other than 100-continue")]
    Expect,
    /// Too many.
    #[error("Connection that names more than {NOMINATIONS_MAX} fields")]
    Connection,
}

impl From<FramingError> for HeadError {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::ContentLength => Self::ContentLength,
            FramingError::TransferEncoding => Self::TransferEncoding,
            FramingError::NotChunkedLast => Self::NotChunkedLast,
            FramingError::TwoFramings => Self::TwoFramings,
        }
    }
}

/// Whether a head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head ends after this many bytes.
    Complete(usize),
}

/// Reads one head. Give it all bytes received so far, from the head's first on; it never reads a byte twice.
#[derive(Debug, Default)]
pub(crate) struct HeadParser {
    /// Where the current line starts.
    line_start: usize,
    /// Up to where the current line holds no control character.
    scanned: usize,
    /// The first line without CRLF, once seen.
    start_line: Option<Span>,
    /// Fields in order.
    pub(crate) fields: Vec<Field>,
    /// The names of all of them.
    pub(crate) names: Names,
}

impl HeadParser {
    /// Ready for the next head, keeping its memory.
    pub(crate) fn reset(&mut self) {
        self.line_start = 0;
        self.scanned = 0;
        self.start_line = None;
        self.fields.clear();
        self.names = Names::default();
    }

    /// The first line without CRLF.
    pub(crate) fn start_line(&self) -> Span {
        self.start_line.unwrap_or_default()
    }

    /// Takes in what has been received so far.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Progress, HeadError> {
        loop {
            let control = find_control(bytes, self.scanned);
            let ends = bytes.get(control) == Some(&b'\r') && bytes.get(control + 1) == Some(&b'\n');
            if !ends {
                match bytes.get(control) {
                    Some(b'\n') => return Err(HeadError::BareLineFeed),
                    // Perhaps the line feed is still on its way.
                    Some(b'\r') if control + 1 == bytes.len() => {}
                    Some(_) if self.start_line.is_some() => return Err(HeadError::FieldValue),
                    // The start line is judged as a whole.
                    Some(_) => {
                        self.scanned = control + 1;
                        continue;
                    }
                    None => {}
                }
                self.scanned = control;
                let line_bytes = bytes.len() - self.line_start;
                if self.start_line.is_none() && line_bytes > TARGET_BYTES_MAX + METHOD_BYTES_MAX {
                    return Err(HeadError::TargetTooLong);
                }
                if bytes.len() > HEAD_BYTES_MAX {
                    return Err(HeadError::TooLarge);
                }
                return Ok(Progress::Partial);
            }
            let end = control + 2;
            if end > HEAD_BYTES_MAX {
                return Err(HeadError::TooLarge);
            }
            let line = Span::new(self.line_start, control);
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
            let field = field(bytes, line)?;
            self.names = self.names.with(field.name);
            self.fields.push(field);
        }
    }
}

/// Where the next control character other than a tab is, from `from` on; the length when there is none. Lines end at
/// one, and must not hold any other, so that one pass finds both. Eight bytes at a time.
fn find_control(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let mut at = from;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // A borrow can only spoil flags above a true one, and the lowest is taken.
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let delete = word ^ (ONES * 0x7f);
        let is_delete = delete.wrapping_sub(ONES) & !delete & HIGH;
        let found = below_space | is_delete;
        if found == 0 {
            at += 8;
            continue;
        }
        at += (found.trailing_zeros() / 8) as usize;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_control).unwrap_or(rest.len())
}

/// Takes a line apart that is not empty and holds no control characters.
fn field(bytes: &[u8], line: Span) -> Result<Field, HeadError> {
    let text = line.of(bytes);
    // Of what sorts as low as a space, such a line holds tabs and spaces alone.
    let is_visible = |byte: &u8| *byte > b' ';
    if !text.first().is_some_and(is_visible) {
        return Err(HeadError::Folded);
    }
    let colon = text.iter().position(|byte| !is_token_byte(*byte)).ok_or(HeadError::FieldName)?;
    if colon == 0 || text[colon] != b':' || colon > usize::from(u16::MAX) {
        return Err(HeadError::FieldName);
    }
    let value = &text[colon + 1..];
    let leading = value.iter().position(is_visible).unwrap_or(value.len());
    let end = value.iter().rposition(is_visible).map_or(leading, |last| last + 1);
    let start = line.start as usize + colon + 1;
    Ok(Field {
        line: Span { start: line.start, end: line.end + 2 },
        value: Span::new(start + leading, start + end),
        name_bytes: colon as u16,
        name: Name::of(&text[..colon]),
        keep: true,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_wherever_they_are() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let is_control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                    let expected = if is_control { at } else { length };
                    assert_eq!(find_control(&bytes, 0), expected, "{byte:#x} at {at} of {length}");
                    bytes[length - 1] = b'\n';
                    let expected = if is_control { at } else { length - 1 };
                    assert_eq!(find_control(&bytes, 0), expected, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }
}
