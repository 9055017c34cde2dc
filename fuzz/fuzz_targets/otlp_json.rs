//! Fuzz target: `targets::otlp_json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::otlp_json(data));
