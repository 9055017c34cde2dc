//! Fuzz target: `targets::otlp_protobuf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::otlp_protobuf(data));
