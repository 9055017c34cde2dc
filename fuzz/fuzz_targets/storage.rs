//! Fuzz target: `targets::storage`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::storage(data));
