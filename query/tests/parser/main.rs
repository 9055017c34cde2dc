//! The parser from outside: generated queries, the differential run against promql-parser, rubbish.

mod differential;
mod generate;
mod limits;
mod roundtrip;
