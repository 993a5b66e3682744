//! Heads of answers: read in pieces, their framing against a slow reading, written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::response(bytes));
