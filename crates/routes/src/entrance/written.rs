//! Fields that Laneway writes itself: a codec puts them on the wire.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::name::Name;

/// Fields in the order they are sent, before those that are kept.
#[derive(Debug, Default)]
pub struct Written {
    /// All fields as the lines of a head in text: the usual codec takes them in one copy.
    text: Vec<u8>,
    /// Names, and where in the text their values are. At most a host, the lane context, two ids, what is said of the
    /// client, and by which proxies it came.
    fields: SmallVec<[(Name, u32, u32); 8]>,
}

/// Ends a line of a head.
const LINE_END: &[u8] = b"\r\n";

impl Written {
    /// None yet; they will lie in `memory`, which is empty.
    pub fn in_memory(memory: Vec<u8>) -> Self {
        debug_assert!(memory.is_empty(), "fields are counted from its start");
        Self { text: memory, fields: SmallVec::new() }
    }

    /// All of them, each as `name: value CRLF`.
    pub fn lines(&self) -> &[u8] {
        &self.text
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.fields.iter().map(|(name, start, end)| {
            (name.as_str().unwrap_or_default(), &self.text[*start as usize..*end as usize])
        })
    }

    /// The value of a field, if it is among them.
    pub fn value(&self, wanted: Name) -> Option<&[u8]> {
        let (_, start, end) = self.fields.iter().find(|(name, ..)| *name == wanted)?;
        Some(&self.text[*start as usize..*end as usize])
    }

    /// Leaves a field out after all. The lane context and the host stay: nothing could be routed without them.
    pub fn remove(&mut self, unwanted: Name) {
        if matches!(unwanted, Name::Baggage | Name::Host) {
            return;
        }
        // Rare: all are written anew but this one.
        let before = std::mem::take(self);
        for (name, start, end) in before.fields.into_iter().filter(|(name, ..)| *name != unwanted) {
            self.push(name, &before.text[start as usize..end as usize]);
        }
    }

    /// The memory, to be used again.
    pub fn into_memory(self) -> Vec<u8> {
        self.text
    }

    /// Adds a field with the value that `write` appends, unless it appends nothing.
    pub(super) fn push_with(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        let line_start = self.text.len();
        self.text.extend_from_slice(name.line_start().as_bytes());
        let start = self.text.len();
        write(&mut self.text);
        let end = self.text.len();
        if end == start {
            self.text.truncate(line_start);
            return;
        }
        self.text.extend_from_slice(LINE_END);
        self.fields.push((name, start as u32, end as u32));
    }

    pub(super) fn push(&mut self, name: Name, value: &[u8]) {
        self.push_with(name, |text| text.extend_from_slice(value));
    }
}

/// Appends an address as text. Formatting is slow; nearly all callers are IPv4.
pub(super) fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                if octet >= 100 {
                    out.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    out.push(b'0' + octet / 10 % 10);
                }
                out.push(b'0' + octet % 10);
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for text in ["0.0.0.0", "1.2.3.4", "10.20.30.40", "100.101.209.255", "::1", "2001:db8::1"] {
            let mut out = Vec::new();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let mut out = Vec::new();
        write_address("::ffff:1.2.3.4".parse().unwrap(), &mut out);
        assert_eq!(out, b"1.2.3.4");
    }
}
