//! Fuzz target: `targets::remote_write_v1`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::remote_write_v1(data));
