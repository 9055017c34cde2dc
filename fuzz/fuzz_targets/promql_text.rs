//! Any text into the lexer and every entry of the parser: no panic, no hang, errors with positions inside.
//!
//! `cargo +nightly fuzz run promql_text`
#![no_main]

#[path = "../../query/tests/parser/feed.rs"]
mod feed;

libfuzzer_sys::fuzz_target!(|text: &str| feed::feed(text));
