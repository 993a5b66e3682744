//! Writes blocks of header fields: by the static table where it has the name, else as plain text. Nothing is kept from
//! one block to the next. Huffman codes would save a fifth of the bytes and cost more than all the rest.

use super::static_table::FIELDS;

/// A literal that is not remembered.
const LITERAL: u8 = 0x00;
/// A literal that nobody on the way may remember either (RFC 7541 §7.1.3).
const NEVER_INDEXED: u8 = 0x10;
/// A field of the table as it is.
const INDEXED: u8 = 0x80;

/// The index of `:status: 200`; the other statuses of the table follow.
const STATUS_INDEX: usize = 8;
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// Appends `:status`.
pub(crate) fn write_status(status: u16, out: &mut Vec<u8>) {
    match STATUSES.iter().position(|known| *known == status) {
        Some(at) => out.push(INDEXED | (STATUS_INDEX + at) as u8),
        None => {
            write_number(LITERAL, 4, STATUS_INDEX, out);
            let digits = [status / 100 % 10, status / 10 % 10, status % 10];
            out.push(3);
            out.extend(digits.map(|digit| b'0' + digit as u8));
        }
    }
}

/// Appends a field. Its name is written in lower case, as HTTP/2 has it.
pub(crate) fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let index = index_of(name);
    let form = if is_secret(index) { NEVER_INDEXED } else { LITERAL };
    write_number(form, 4, index, out);
    if index == 0 {
        write_number(0, 7, name.len(), out);
        let start = out.len();
        out.extend_from_slice(name);
        out[start..].make_ascii_lowercase();
    }
    write_number(0, 7, value.len(), out);
    out.extend_from_slice(value);
}

/// The names of the table by their lengths: for each the indices of those that long, then zeros.
static BY_LENGTH: [[u8; NAMES_OF_A_LENGTH_MAX]; NAME_BYTES_MAX + 1] = by_length();

const NAME_BYTES_MAX: usize = 27;
const NAMES_OF_A_LENGTH_MAX: usize = 8;

const fn by_length() -> [[u8; NAMES_OF_A_LENGTH_MAX]; NAME_BYTES_MAX + 1] {
    let mut by_length = [[0; NAMES_OF_A_LENGTH_MAX]; NAME_BYTES_MAX + 1];
    let mut at = 0;
    while at < FIELDS.len() {
        let (name, _) = FIELDS[at];
        let names = &mut by_length[name.len()];
        let mut place = 0;
        while names[place] != 0 {
            place += 1;
        }
        // Of a name with several values the first is enough.
        if at == 0 || !is_same(FIELDS[at - 1].0, name) {
            names[place] = at as u8 + 1;
        }
        at += 1;
    }
    by_length
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The index of a name, 0 where the table has none.
fn index_of(name: &[u8]) -> usize {
    let Some(indices) = BY_LENGTH.get(name.len()) else { return 0 };
    let is_known = |index: &&u8| {
        **index > 0 && FIELDS[usize::from(**index) - 1].0.as_bytes().eq_ignore_ascii_case(name)
    };
    indices.iter().find(is_known).map_or(0, |index| usize::from(*index))
}

/// `authorization`, `cookie`, `proxy-authorization`, `set-cookie`.
fn is_secret(index: usize) -> bool {
    matches!(index, 23 | 32 | 49 | 55)
}

/// Appends a number whose first bits stand in the low bits of a byte (RFC 7541 §5.1).
fn write_number(form: u8, prefix_bits: u32, number: usize, out: &mut Vec<u8>) {
    let prefix_max = (1_usize << prefix_bits) - 1;
    if number < prefix_max {
        out.push(form | number as u8);
        return;
    }
    out.push(form | prefix_max as u8);
    let mut left = number - prefix_max;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack::Decoder;

    fn read_back(block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut decoder = Decoder::new(0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decoder.decode(block, |name, value| fields.push((text(name), text(value)))).unwrap();
        fields
    }

    #[test]
    fn fields_are_read_back_as_they_were_written() {
        let long = "x".repeat(70_000);
        let mut block = Vec::new();
        for status in [100, 200, 204, 206, 304, 400, 404, 500, 503, 999] {
            write_status(status, &mut block);
        }
        let fields = [
            ("Content-Type", "text/plain"),
            ("x-long", long.as_str()),
            ("Cookie", "a=b"),
            (":path", "/"),
            ("via", ""),
        ];
        for (name, value) in fields {
            write_field(name.as_bytes(), value.as_bytes(), &mut block);
        }
        let read = read_back(&block);
        let statuses: Vec<&str> = read[..10].iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            statuses,
            ["100", "200", "204", "206", "304", "400", "404", "500", "503", "999"]
        );
        for ((name, value), (read_name, read_value)) in fields.iter().zip(&read[10..]) {
            assert_eq!((&name.to_ascii_lowercase(), *value), (read_name, read_value.as_str()));
        }
    }

    #[test]
    fn every_known_name_is_found() {
        for (at, (name, _)) in FIELDS.iter().enumerate() {
            let index = index_of(name.as_bytes());
            assert!(index > 0 && index <= at + 1 && FIELDS[index - 1].0 == *name);
        }
        let secrets: Vec<&str> =
            (1..=FIELDS.len()).filter(|at| is_secret(*at)).map(|at| FIELDS[at - 1].0).collect();
        assert_eq!(secrets, ["authorization", "cookie", "proxy-authorization", "set-cookie"]);
    }
}
