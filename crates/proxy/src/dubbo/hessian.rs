//! Passes over values of Hessian 2.0 without making them: what comes behind a request's arguments is wanted, not these.
//!
//! Strings count UTF-16 units, as Java has them, whether those beyond the first plane are written as two surrogates of three
//! bytes each or as one character of four. Of classes that are defined on the way the number of their fields is kept, and
//! nothing else: references name what came before and have no bytes of their own.

use smallvec::SmallVec;

/// Values within values. Java's own readers call themselves for each, and have no stack for many more.
const DEPTH_MAX: usize = 1024;

/// Classes that one request may define. Those of large graphs of objects are some dozens.
const CLASSES_MAX: usize = 4096;

const NULL: u8 = b'N';
const END: u8 = b'Z';

/// Why something cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It ends within a value.
    #[error("it ends within a value")]
    Short,
    /// A byte that begins no such value.
    #[error("byte {0:#04x} begins no value that may be there")]
    Tag(u8),
    /// A length, or a number of a class, that cannot be.
    #[error("a number that cannot be")]
    Number,
    #[error("values more than {DEPTH_MAX} deep within one another")]
    TooDeep,
    #[error("more than {CLASSES_MAX} classes")]
    TooManyClasses,
}

/// A value within which others are.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// So many are still to come.
    Count(u32),
    List,
    Map {
        /// A key has come.
        is_value_next: bool,
    },
}

/// Reads the body of a frame, and never beyond.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// How many fields each class has.
    classes: SmallVec<[u32; 16]>,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, classes: SmallVec::new() }
    }

    /// Where the next value begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The first byte of what is next.
    pub(crate) fn peek(&self) -> Result<u8, Unreadable> {
        self.bytes.get(self.at).copied().ok_or(Unreadable::Short)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Unreadable> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(Unreadable::Short)?;
        self.at += count;
        Ok(taken)
    }

    fn two(&mut self) -> Result<usize, Unreadable> {
        Ok(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    /// Passes the end of a map or list, if it is there.
    pub(crate) fn end(&mut self) -> Result<bool, Unreadable> {
        let is_end = self.peek()? == END;
        self.at += usize::from(is_end);
        Ok(is_end)
    }

    /// Begins an untyped or typed map; its keys and values follow, then its end.
    pub(crate) fn begin_map(&mut self) -> Result<(), Unreadable> {
        match self.byte()? {
            b'H' => Ok(()),
            b'M' => self.skip_type(),
            tag => Err(Unreadable::Tag(tag)),
        }
    }

    /// A string in one piece as it is written; empty where it is none. `None`: it is longer than a piece.
    pub(crate) fn string(&mut self) -> Result<Option<&'b [u8]>, Unreadable> {
        let tag = self.byte()?;
        match tag {
            NULL => Ok(Some(&[])),
            b'R' => {
                self.skip_string_from(tag)?;
                Ok(None)
            }
            _ => {
                let units = self.string_units(tag)?;
                self.units(units).map(Some)
            }
        }
    }

    /// Whether a string is next.
    fn is_string(&self) -> Result<bool, Unreadable> {
        Ok(matches!(self.peek()?, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S'))
    }

    /// A string as it is written; `None` of any other value, which is passed over, and of one that is longer than a piece.
    pub(crate) fn plain(&mut self) -> Result<Option<&'b [u8]>, Unreadable> {
        if self.is_string()? { self.string() } else { self.skip().map(|()| None) }
    }

    /// A whole number of 32 bits.
    fn int(&mut self) -> Result<i32, Unreadable> {
        let tag = self.byte()?;
        self.int_from(tag)
    }

    fn int_from(&mut self, tag: u8) -> Result<i32, Unreadable> {
        Ok(match tag {
            0x80..=0xbf => i32::from(tag) - 0x90,
            0xc0..=0xcf => (i32::from(tag) - 0xc8) * 256 + i32::from(self.byte()?),
            0xd0..=0xd7 => (i32::from(tag) - 0xd4) * 65_536 + self.two()? as i32,
            b'I' => {
                let bytes = self.take(4)?;
                i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            tag => return Err(Unreadable::Tag(tag)),
        })
    }

    fn count(&mut self) -> Result<u32, Unreadable> {
        u32::try_from(self.int()?).map_err(|_| Unreadable::Number)
    }

    /// UTF-16 units of a string's last piece.
    fn string_units(&mut self, tag: u8) -> Result<usize, Unreadable> {
        match tag {
            0x00..=0x1f => Ok(usize::from(tag)),
            0x30..=0x33 => Ok(usize::from(tag - 0x30) << 8 | usize::from(self.byte()?)),
            b'R' | b'S' => self.two(),
            tag => Err(Unreadable::Tag(tag)),
        }
    }

    fn skip_string_from(&mut self, mut tag: u8) -> Result<(), Unreadable> {
        loop {
            let units = self.string_units(tag)?;
            self.units(units)?;
            if tag != b'R' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    /// So many UTF-16 units.
    fn units(&mut self, units: usize) -> Result<&'b [u8], Unreadable> {
        let rest = &self.bytes[self.at..];
        // Most are ASCII.
        if let Some(text) = rest.get(..units)
            && text.is_ascii()
        {
            self.at += units;
            return Ok(text);
        }
        let (mut seen, mut bytes) = (0, 0);
        while seen < units {
            let first = *rest.get(bytes).ok_or(Unreadable::Short)?;
            let (more, worth) = match first {
                0x00..=0x7f => (0, 1),
                0xc0..=0xdf => (1, 1),
                0xe0..=0xef => (2, 1),
                0xf0..=0xf7 => (3, 2),
                _ => return Err(Unreadable::Tag(first)),
            };
            let others = rest.get(bytes + 1..bytes + 1 + more).ok_or(Unreadable::Short)?;
            if let Some(byte) = others.iter().find(|byte| **byte & 0xc0 != 0x80) {
                return Err(Unreadable::Tag(*byte));
            }
            bytes += 1 + more;
            seen += worth;
        }
        if seen > units {
            return Err(Unreadable::Number);
        }
        self.take(bytes)
    }

    fn skip_binary_from(&mut self, mut tag: u8) -> Result<(), Unreadable> {
        loop {
            let bytes = match tag {
                0x20..=0x2f => usize::from(tag - 0x20),
                0x34..=0x37 => usize::from(tag - 0x34) << 8 | usize::from(self.byte()?),
                b'A' | b'B' => self.two()?,
                tag => return Err(Unreadable::Tag(tag)),
            };
            self.take(bytes)?;
            if tag != b'A' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    /// The type of a map or list: its name, or which of those it is that were named before.
    fn skip_type(&mut self) -> Result<(), Unreadable> {
        let tag = self.byte()?;
        match tag {
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => self.skip_string_from(tag),
            tag => self.int_from(tag).map(drop),
        }
    }

    fn define_class(&mut self) -> Result<(), Unreadable> {
        if self.classes.len() == CLASSES_MAX {
            return Err(Unreadable::TooManyClasses);
        }
        let name = self.byte()?;
        self.skip_string_from(name)?;
        let fields = self.count()?;
        for _ in 0..fields {
            let name = self.byte()?;
            self.skip_string_from(name)?;
        }
        self.classes.push(fields);
        Ok(())
    }

    fn fields_of(&self, class: u32) -> Result<Open, Unreadable> {
        let fields = self.classes.get(class as usize).copied();
        fields.map(Open::Count).ok_or(Unreadable::Number)
    }

    /// Passes one value, with all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), Unreadable> {
        let mut open: SmallVec<[Open; 32]> = SmallVec::new();
        loop {
            if let Some(within) = self.begin()? {
                if open.len() == DEPTH_MAX {
                    return Err(Unreadable::TooDeep);
                }
                open.push(within);
            }
            // Whatever has all of its values is one itself.
            loop {
                let Some(within) = open.last_mut() else { return Ok(()) };
                match within {
                    Open::Count(0) => {}
                    Open::Count(left) => {
                        *left -= 1;
                        break;
                    }
                    Open::Map { is_value_next: is_value_next @ true } => {
                        *is_value_next = false;
                        break;
                    }
                    Open::List if self.end()? => {}
                    Open::List => break,
                    Open::Map { is_value_next } => {
                        if !self.end()? {
                            *is_value_next = true;
                            break;
                        }
                    }
                }
                open.pop();
            }
        }
    }

    /// Passes a value that has none within it, or the beginning of one that has.
    fn begin(&mut self) -> Result<Option<Open>, Unreadable> {
        let mut tag = self.byte()?;
        // Behind a class's definition is a value, as if there were none.
        while tag == b'C' {
            self.define_class()?;
            tag = self.byte()?;
        }
        let bytes = match tag {
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => {
                self.skip_string_from(tag)?;
                0
            }
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => {
                self.skip_binary_from(tag)?;
                0
            }
            NULL | b'T' | b'F' | 0x5b | 0x5c | 0x80..=0xbf | 0xd8..=0xef => 0,
            0x5d | 0xc0..=0xcf | 0xf0..=0xff => 1,
            0x38..=0x3f | 0x5e | 0xd0..=0xd7 => 2,
            0x4b | 0x59 | 0x5f | b'I' => 4,
            b'D' | 0x4a | b'L' => 8,
            b'Q' => {
                self.count()?;
                0
            }
            _ => return self.begin_others(tag).map(Some),
        };
        self.take(bytes)?;
        Ok(None)
    }

    fn begin_others(&mut self, tag: u8) -> Result<Open, Unreadable> {
        match tag {
            b'H' => Ok(Open::Map { is_value_next: false }),
            b'M' => {
                self.skip_type()?;
                Ok(Open::Map { is_value_next: false })
            }
            b'U' => {
                self.skip_type()?;
                Ok(Open::List)
            }
            b'W' => Ok(Open::List),
            b'V' => {
                self.skip_type()?;
                self.count().map(Open::Count)
            }
            b'X' => self.count().map(Open::Count),
            0x70..=0x77 => {
                self.skip_type()?;
                Ok(Open::Count(u32::from(tag - 0x70)))
            }
            0x78..=0x7f => Ok(Open::Count(u32::from(tag - 0x78))),
            b'O' => {
                let class = self.count()?;
                self.fields_of(class)
            }
            0x60..=0x6f => self.fields_of(u32::from(tag - 0x60)),
            tag => Err(Unreadable::Tag(tag)),
        }
    }
}

/// Writes a string in one piece, cut off where there is no room for more: each UTF-16 unit by itself, as Java does.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut units = 0;
    let end = text.char_indices().find(|(_, it)| {
        units += it.len_utf16();
        units > usize::from(u16::MAX)
    });
    let text = &text[..end.map_or(text.len(), |(at, _)| at)];
    let units = text.encode_utf16().count() as u16;
    match units {
        0..=0x1f => out.push(units as u8),
        0x20..=0x3ff => out.extend_from_slice(&(0x3000 | units).to_be_bytes()),
        _ => {
            out.push(b'S');
            out.extend_from_slice(&units.to_be_bytes());
        }
    }
    for unit in text.encode_utf16() {
        match unit {
            0..=0x7f => out.push(unit as u8),
            0x80..=0x7ff => out.extend_from_slice(&[0xc0 | (unit >> 6) as u8, low(unit)]),
            _ => out.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(unit >> 6), low(unit)]),
        }
    }
}

fn low(unit: u16) -> u8 {
    0x80 | (unit & 0x3f) as u8
}
