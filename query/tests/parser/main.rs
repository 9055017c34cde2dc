//! The parser from outside: generated queries, the differential run against promql-parser, rubbish.
//!
//! `PROPTEST_CASES=10000000 cargo test --release -p marigram-query --test parser` fuzzes lexer, parser,
//! printer and prettifier for as long as the number says; `fuzz/` has targets guided by coverage.

mod again;
mod corpus;
mod differential;
mod feed;
mod generate;
mod limits;
mod roundtrip;

/// Cases a property is tried on: `PROPTEST_CASES` if it is set.
fn cases(default: u32) -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}
