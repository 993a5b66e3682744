//! Compressed blocks of fields of HTTP/2, whatever they say: heads of a bounded size.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::header_block(bytes));
