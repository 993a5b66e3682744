//! Bodies in chunks: data and end against a slow reading, in pieces, with and without their framing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::chunked_body(bytes));
