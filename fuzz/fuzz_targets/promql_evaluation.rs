//! Bytes choose series and a query: the engine answers as the slow evaluator does.
//!
//! `cargo +nightly fuzz run promql_evaluation`
#![no_main]

#[path = "../../query/tests/reference/check.rs"]
mod check;
#[path = "../../query/tests/reference/data.rs"]
mod data;
#[path = "../../query/tests/reference/functions.rs"]
mod functions;
#[path = "../../query/tests/reference/naive.rs"]
mod naive;
#[path = "../../query/tests/reference/queries.rs"]
mod queries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check_bytes(bytes));
