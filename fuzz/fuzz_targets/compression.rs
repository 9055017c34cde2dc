//! Fuzz target: `targets::compression`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::compression(data));
