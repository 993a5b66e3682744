//! Bodies in fastjson2's JSONB, as Dubbo writes them: each value behind its length, so that arguments need no reading.

use super::hessian::Unreadable;

/// The number that it goes by.
pub(crate) const FASTJSON2: u8 = 23;

pub(crate) const NULL: u8 = 0xaf;
pub(crate) const MAP: u8 = 0xa6;
pub(crate) const MAP_END: u8 = 0xa5;

/// Bytes of a text that its tag says by itself.
const SHORT_TEXT_MAX: u8 = 47;
const SHORT_TEXT: u8 = 0x49;
const SHORT_TEXT_LAST: u8 = SHORT_TEXT + SHORT_TEXT_MAX;
const ASCII: u8 = 0x79;
const UTF8: u8 = 0x7a;

/// Reads values, and never beyond.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next value begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Unreadable> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Unreadable> {
        let taken = self.bytes[self.at..].get(..count).ok_or(Unreadable::Short)?;
        self.at += count;
        Ok(taken)
    }

    /// Passes the end of a map, if it is there.
    pub(crate) fn end(&mut self) -> Result<bool, Unreadable> {
        let next = self.bytes.get(self.at).ok_or(Unreadable::Short)?;
        let is_end = *next == MAP_END;
        self.at += usize::from(is_end);
        Ok(is_end)
    }

    /// A value behind its length.
    pub(crate) fn measured(&mut self) -> Result<&'b [u8], Unreadable> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        self.take(length as usize)
    }

    /// A text in ASCII or UTF-8; `None` of another value that has none within it, or a text in another encoding.
    pub(crate) fn plain(&mut self) -> Result<Option<&'b [u8]>, Unreadable> {
        let tag = self.byte()?;
        let passed = match tag {
            SHORT_TEXT..=SHORT_TEXT_LAST => {
                return self.take(usize::from(tag - SHORT_TEXT)).map(Some);
            }
            ASCII | UTF8 => {
                let length = self.length()?;
                return self.take(length).map(Some);
            }
            0x7b..=0x7e => self.length()?,
            0x00..=0x2f | 0xf0..=0xff | NULL | 0xb0 | 0xb1 | 0xd8..=0xef => 0,
            0x30..=0x3f | 0xc8..=0xd7 => 1,
            0x40..=0x47 | 0xc0..=0xc7 => 2,
            0x48 | 0xbf => 4,
            0xbe => 8,
            tag => return Err(Unreadable::Tag(tag)),
        };
        self.take(passed)?;
        Ok(None)
    }

    /// A length, as whole numbers are written.
    fn length(&mut self) -> Result<usize, Unreadable> {
        let tag = self.byte()?;
        let (high, more) = match tag {
            0x00..=0x2f => return Ok(usize::from(tag)),
            0x38..=0x3f => (tag - 0x38, 1),
            0x44..=0x47 => (tag - 0x44, 2),
            0x48 => (0, 4),
            _ => return Err(Unreadable::Number),
        };
        let low = self.take(more)?;
        Ok(low.iter().fold(usize::from(high), |length, byte| length << 8 | usize::from(*byte)))
    }
}

/// Writes a text.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    let length = text.len();
    match (text.is_ascii(), u8::try_from(length)) {
        (true, Ok(short @ 0..=SHORT_TEXT_MAX)) => out.push(SHORT_TEXT + short),
        (is_ascii, _) => {
            out.push(if is_ascii { ASCII } else { UTF8 });
            out.push(0x48);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}
