//! OTLP against an engine: what is sent as JSON or protobuf, and the series it becomes, written by hand.
//!
//! One file a topic. The expected series follow from Prometheus' documented translation, never from the
//! code under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod delta;
mod delta_crash;
mod exemplars;
mod fixture;
mod formats;
mod histograms;
mod labels;
mod laws;
mod names;
mod refusals;
mod robustness;
mod summaries;
mod target_info;
mod values;
