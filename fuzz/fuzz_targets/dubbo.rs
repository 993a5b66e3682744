//! Frames of Dubbo 2, whatever they say.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::dubbo(bytes));
