//! Frames of a client of HTTP/2: the same however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::http2_session(bytes));
