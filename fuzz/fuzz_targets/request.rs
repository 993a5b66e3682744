//! Heads of requests: the parser against a slow one, read in pieces, written again, and never believed too much.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::request(bytes));
