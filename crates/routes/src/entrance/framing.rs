//! What `Content-Length` and `Transfer-Encoding` say together: the one reading of where a body ends.

use super::name::Name;

/// Digits of a length: so many fit 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

/// The longest body: most servers and languages count in signed 64 bits, and take a longer one for something else.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// Why it is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// No length, or several.
    ContentLength,
    /// Other codings before `chunked`.
    TransferEncoding,
    /// Codings of which `chunked` is not the last, and the only one of its kind: nobody can tell where the body ends.
    NotChunkedLast,
    /// A length and chunks.
    TwoFramings,
}

/// What the fields of one head have said so far.
#[derive(Debug, Default)]
pub struct FramingReader {
    length: Option<u64>,
    codings: usize,
    /// How many of them are `chunked`.
    chunked: usize,
    is_chunked_last: bool,
}

impl FramingReader {
    /// Takes in a field; false when it only says again what was said.
    pub fn read(&mut self, name: Name, value: &[u8]) -> Result<bool, FramingError> {
        match name {
            Name::ContentLength => {
                let length = content_length(value).ok_or(FramingError::ContentLength)?;
                match self.length.replace(length) {
                    Some(first) if first != length => Err(FramingError::ContentLength),
                    first => Ok(first.is_none()),
                }
            }
            Name::TransferEncoding => {
                for coding in value.split(|byte| *byte == b',') {
                    self.is_chunked_last = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
                    self.codings += 1;
                    self.chunked += usize::from(self.is_chunked_last);
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// What all fields say; `None` when none of them says anything.
    pub fn end(self) -> Result<Option<Framing>, FramingError> {
        let is_chunked = self.codings > 0;
        if is_chunked && (self.chunked != 1 || !self.is_chunked_last) {
            return Err(FramingError::NotChunkedLast);
        }
        if self.codings > 1 {
            return Err(FramingError::TransferEncoding);
        }
        match (self.length, is_chunked) {
            (Some(_), true) => Err(FramingError::TwoFramings),
            (Some(bytes), false) => Ok(Some(Framing::Length(bytes))),
            (None, true) => Ok(Some(Framing::Chunked)),
            (None, false) => Ok(None),
        }
    }
}

fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    let length = value.iter().try_fold(0, |length: u64, digit| match digit {
        b'0'..=b'9' => Some(length * 10 + u64::from(digit - b'0')),
        _ => None,
    });
    length.filter(|length| *length <= LENGTH_MAX)
}
