//! Fields of HTTP/2 as the head of an HTTP/1.1 request, an answer, or as trailers: these fields and no others.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::translation(bytes));
