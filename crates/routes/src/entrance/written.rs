//! Fields that Laneway writes itself: a codec puts them on the wire.

use std::net::IpAddr;

use super::name::Name;

/// Fields in the order they are sent, before those that are kept. Kept as the lines of a head in text: the usual codec
/// takes them in one copy, and whoever asks for one field reads the few lines there are.
#[derive(Debug, Default)]
pub struct Written(Vec<u8>);

/// Ends a line of a head.
const LINE_END: &[u8] = b"\r\n";

impl Written {
    /// None yet; they will lie in `memory`, which is empty.
    pub fn in_memory(memory: Vec<u8>) -> Self {
        debug_assert!(memory.is_empty(), "all of it is fields");
        Self(memory)
    }

    /// All of them, each as `name: value CRLF`.
    pub fn lines(&self) -> &[u8] {
        &self.0
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.each_line().filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, &line[colon + ": ".len()..]))
        })
    }

    /// The value of a field, if it is among them.
    pub fn value(&self, wanted: Name) -> Option<&[u8]> {
        let start = wanted.as_str().map(|_| wanted.line_start().as_bytes())?;
        self.each_line().find_map(|line| line.strip_prefix(start))
    }

    /// Leaves a field out after all. The lane context and the host stay: nothing could be routed without them.
    pub fn remove(&mut self, unwanted: Name) {
        if matches!(unwanted, Name::Baggage | Name::Host) || self.value(unwanted).is_none() {
            return;
        }
        // Rare: all are written anew but this one.
        let before = std::mem::take(self);
        let start = unwanted.line_start().as_bytes();
        for line in before.each_line().filter(|line| !line.starts_with(start)) {
            self.0.extend_from_slice(line);
            self.0.extend_from_slice(LINE_END);
        }
    }

    /// The memory, to be used again.
    pub fn into_memory(self) -> Vec<u8> {
        self.0
    }

    /// Adds a field with the value that `write` appends, unless it appends nothing. No value holds an end of line: what
    /// a client sent was read as one line, and everything else is Laneway's own.
    #[inline]
    pub(super) fn push_with(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        let line_start = self.0.len();
        self.0.extend_from_slice(name.line_start().as_bytes());
        let start = self.0.len();
        write(&mut self.0);
        if self.0.len() == start {
            self.0.truncate(line_start);
            return;
        }
        debug_assert!(!self.0[start..].contains(&b'\n'), "a value is one line");
        self.0.extend_from_slice(LINE_END);
    }

    /// The same with a value that is there. Always inlined: names, and the lengths of most values, are known where it is
    /// called, and short copies of a known length are a few moves.
    #[inline(always)]
    pub(super) fn push(&mut self, name: Name, value: &[u8]) {
        self.push_with(name, |text| text.extend_from_slice(value));
    }

    /// The lines without their ends.
    fn each_line(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = self.0.as_slice();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\r', left)?;
            let (line, rest) = (&left[..end], &left[end + LINE_END.len()..]);
            left = rest;
            Some(line)
        })
    }
}

/// Every octet in decimal with a dot behind it, and how many bytes that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let mut from = if octet >= 100 {
            0
        } else if octet >= 10 {
            1
        } else {
            2
        };
        let (text, length) = &mut octets[octet];
        while from < 3 {
            text[*length as usize] = b'0' + digits[from] as u8;
            *length += 1;
            from += 1;
        }
        text[*length as usize] = b'.';
        *length += 1;
        octet += 1;
    }
    octets
};

/// Appends an address as text. Formatting is slow; nearly all callers are IPv4.
pub(super) fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let (mut text, mut end) = ([0; 16], 0);
            for octet in address.octets() {
                let (digits, length) = OCTETS[usize::from(octet)];
                text[end..end + 4].copy_from_slice(&digits);
                end += usize::from(length);
            }
            out.extend_from_slice(&text[..end - 1]);
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
        for octet in 0..=255 {
            let mut out = Vec::new();
            write_address([octet; 4].into(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), IpAddr::from([octet; 4]).to_string());
        }
        let mut out = Vec::new();
        write_address("::ffff:1.2.3.4".parse().unwrap(), &mut out);
        assert_eq!(out, b"1.2.3.4");
    }
}
