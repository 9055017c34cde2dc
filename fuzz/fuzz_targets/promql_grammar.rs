//! Bytes choose productions of the grammar: what is made parses, and survives printing and prettifying.
//!
//! `cargo +nightly fuzz run promql_grammar`
#![no_main]

#[path = "../../query/tests/parser/again.rs"]
mod again;
#[path = "../../query/tests/parser/generate.rs"]
mod generate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| again::print_and_parse(bytes));
