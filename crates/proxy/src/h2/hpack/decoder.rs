//! Reads blocks of header fields.

use thiserror::Error;

use super::{huffman, static_table, table::Table};

/// Bytes beyond its first that a number may take: 28 bits, more than any length here.
const NUMBER_BYTES_MAX: usize = 4;

/// Memory for a name or a value that is kept between blocks: most are shorter.
const TEXT_BYTES_KEPT: usize = 1024;

/// A block that means nothing. The connection cannot go on: what both sides remember may differ (RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Undecodable {
    /// It ends within a field.
    #[error("a header block that ends within a field")]
    Truncated,
    /// More than any length needs.
    #[error("a header block with an oversized number")]
    Number,
    /// No field has this index.
    #[error("a header block that names an unknown field")]
    Index,
    /// A text of another code.
    #[error("a header block with a malformed Huffman text")]
    Huffman,
    /// Larger than was allowed, or not at the beginning of a block.
    #[error("a header block that changes the size of the table wrongly")]
    TableSize,
}

/// What one side has had us remember.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// What was announced to the other side.
    table_bytes_max: usize,
    /// A field's name and value, while it is read.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Indexed,
    Remembered,
    TableSize,
    /// Not remembered, perhaps never to be.
    Literal,
}

impl Form {
    /// The form, and the bits of its first byte that are a number.
    fn of(byte: u8) -> (Self, u32) {
        match byte.leading_zeros() {
            0 => (Self::Indexed, 7),
            1 => (Self::Remembered, 6),
            2 => (Self::TableSize, 5),
            _ => (Self::Literal, 4),
        }
    }
}

impl Decoder {
    pub(crate) fn new(table_bytes_max: usize) -> Self {
        Self {
            table: Table::new(table_bytes_max),
            table_bytes_max,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Reads a whole block, and shows every field of it in order.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut show: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Undecodable> {
        let mut rest = block;
        let mut has_fields = false;
        while let Some(byte) = rest.first() {
            let (form, prefix_bits) = Form::of(*byte);
            let number = read_number(&mut rest, prefix_bits)?;
            match form {
                Form::TableSize if has_fields || number > self.table_bytes_max => {
                    return Err(Undecodable::TableSize);
                }
                Form::TableSize => {
                    self.table.resize(number);
                    continue;
                }
                Form::Indexed => {
                    let (name, value) = self.field(number)?;
                    show(name, value);
                }
                Form::Remembered | Form::Literal => {
                    self.read_literal(number, &mut rest)?;
                    show(&self.name, &self.value);
                    if form == Form::Remembered {
                        self.table.insert(&self.name, &self.value);
                    }
                }
            }
            has_fields = true;
        }
        self.name.shrink_to(TEXT_BYTES_KEPT);
        self.value.shrink_to(TEXT_BYTES_KEPT);
        Ok(())
    }

    /// The field that both sides know under this index.
    fn field(&self, index: usize) -> Result<(&[u8], &[u8]), Undecodable> {
        let from_zero = index.checked_sub(1).ok_or(Undecodable::Index)?;
        match static_table::FIELDS.get(from_zero) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => {
                self.table.get(from_zero - static_table::FIELDS.len()).ok_or(Undecodable::Index)
            }
        }
    }

    /// Reads a field whose name has this index, or stands there where it is 0.
    fn read_literal(&mut self, name_index: usize, rest: &mut &[u8]) -> Result<(), Undecodable> {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        if name_index == 0 {
            read_text(rest, &mut name)?;
        } else {
            name.extend_from_slice(self.field(name_index)?.0);
        }
        self.name = name;
        self.value.clear();
        read_text(rest, &mut self.value)
    }
}

/// A number whose first bits stand in the low bits of a byte (RFC 7541 §5.1).
fn read_number(rest: &mut &[u8], prefix_bits: u32) -> Result<usize, Undecodable> {
    let (first, mut after) = rest.split_first().ok_or(Undecodable::Truncated)?;
    let prefix_max = (1 << prefix_bits) - 1;
    let mut number = usize::from(*first) & prefix_max;
    if number == prefix_max {
        let mut shift = 0;
        loop {
            let (byte, left) = after.split_first().ok_or(Undecodable::Truncated)?;
            after = left;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift == 7 * NUMBER_BYTES_MAX {
                return Err(Undecodable::Number);
            }
        }
    }
    *rest = after;
    Ok(number)
}

/// Appends a text (RFC 7541 §5.2).
fn read_text(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let is_coded = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let bytes = read_number(rest, 7)?;
    let (text, after) = rest.split_at_checked(bytes).ok_or(Undecodable::Truncated)?;
    *rest = after;
    if is_coded {
        huffman::decode(text, out).map_err(|huffman::Wrong| Undecodable::Huffman)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn decoded(decoder: &mut Decoder, hex: &str) -> Result<String, Undecodable> {
        let mut text = String::new();
        decoder.decode(&bytes(hex), |name, value| {
            text.push_str(&String::from_utf8_lossy(name));
            text.push('=');
            text.push_str(&String::from_utf8_lossy(value));
            text.push('\n');
        })?;
        Ok(text)
    }

    #[test]
    fn the_standards_requests_are_read() {
        // RFC 7541 Appendix C.3 in plain text, C.4 with Huffman.
        let plain = [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ];
        let coded = [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ];
        let expected = [
            ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n",
            ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\ncache-control=no-cache\n",
            ":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\ncustom-key=custom-value\n",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new(4096);
            for (block, expected) in blocks.iter().zip(expected) {
                assert_eq!(decoded(&mut decoder, block).unwrap(), expected);
            }
        }
    }

    #[test]
    fn the_standards_answers_are_read_with_a_table_that_overflows() {
        // RFC 7541 Appendix C.5: 256 bytes.
        let mut decoder = Decoder::new(256);
        let first = "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d";
        let second = "4803333037c1c0bf";
        let third = "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31";
        let date = "date=Mon, 21 Oct 2013 20:13:21 GMT\n";
        let location = "location=https://www.example.com\n";
        assert_eq!(
            decoded(&mut decoder, first).unwrap(),
            format!(":status=302\ncache-control=private\n{date}{location}")
        );
        assert_eq!(
            decoded(&mut decoder, second).unwrap(),
            format!(":status=307\ncache-control=private\n{date}{location}")
        );
        assert_eq!(
            decoded(&mut decoder, third).unwrap(),
            format!(
                ":status=200\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:22 GMT\n{location}content-encoding=gzip\nset-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"
            )
        );
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (block, expected) in [
            ("80", Undecodable::Index),
            ("be", Undecodable::Index),
            ("ffffffffff7f", Undecodable::Number),
            ("7f", Undecodable::Truncated),
            ("400a6375", Undecodable::Truncated),
            ("4003616263", Undecodable::Truncated),
            ("3fe21f", Undecodable::TableSize),
            ("8220", Undecodable::TableSize),
            ("4001618118", Undecodable::Huffman),
        ] {
            assert_eq!(decoded(&mut Decoder::new(4096), block), Err(expected), "{block}");
        }
        // The size that was announced, and less, at the beginning of a block.
        assert!(decoded(&mut Decoder::new(4096), "203fe11f82").is_ok());
    }
}
