//! The door of fuzzers to what nobody else may see: `fuzz/fuzz_targets` calls these, a test with the seeds of `fuzz/seeds`.
//! Each takes any bytes, and panics when something does not hold that always does.

use crate::{dubbo, h1, h2};

/// Between a field's name and its value, in what [`translation`] reads.
const UNIT: u8 = 0x1f;

/// Between two fields.
const RECORD: u8 = 0x1e;

/// The head of a request.
pub fn request(bytes: &[u8]) {
    h1::properties::check_request(bytes, some_cut(bytes));
}

/// The head of an answer, to a GET and to a HEAD.
pub fn response(bytes: &[u8]) {
    for to_head in [false, true] {
        h1::properties::check_response(bytes, some_cut(bytes), to_head);
    }
}

/// A body in chunks.
pub fn chunked_body(bytes: &[u8]) {
    h1::properties::check_chunked(bytes, some_cut(bytes));
}

/// Fields of HTTP/2, on their way to HTTP/1.1: names and values parted by 0x1f, fields by 0x1e.
pub fn translation(bytes: &[u8]) {
    let parted = |field: &[u8]| {
        let at = field.iter().position(|byte| *byte == UNIT).unwrap_or(field.len());
        (field[..at].to_vec(), field.get(at + 1..).unwrap_or_default().to_vec())
    };
    let fields: Vec<_> = bytes.split(|byte| *byte == RECORD).map(parted).collect();
    h2::properties::check_translation(&fields);
}

/// A compressed block of fields of HTTP/2.
pub fn header_block(bytes: &[u8]) {
    h2::properties::check_block(bytes);
}

/// What a client of HTTP/2 sends after the words that begin a connection.
pub fn http2_session(bytes: &[u8]) {
    h2::properties::check_session(bytes, some_cut(bytes));
}

/// What a caller of Dubbo 2 sends: frames, and requests in them.
pub fn dubbo(bytes: &[u8]) {
    dubbo::properties::check(bytes, some_cut(bytes));
}

/// A place in the bytes, the same for the same bytes.
fn some_cut(bytes: &[u8]) -> usize {
    let sum = bytes.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
    sum % (bytes.len() + 1)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    type Target = fn(&[u8]);

    #[test]
    fn what_holds_for_everything_holds_for_the_seeds() {
        let targets: [(&str, Target); 7] = [
            ("request", request),
            ("response", response),
            ("chunked_body", chunked_body),
            ("translation", translation),
            ("header_block", header_block),
            ("http2_session", http2_session),
            ("dubbo", dubbo),
        ];
        for (name, target) in targets {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
            let seeds = fs::read_dir(&seeds).unwrap_or_else(|error| panic!("{name}: {error}"));
            let seeds: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                target(&fs::read(&seed).unwrap());
            }
        }
    }
}
