//! Foreign write formats (remote write, OTLP) decoded, validated and handed to the engine.
//!
//! Where it sits: between the server (which owns HTTP) and the engine. Never knows PromQL or files.
//! Invariants: one pass over the body, no allocation per series or sample in the steady state, memory
//! bounded by [`Limits`] whatever the body says, and one bad sample never costs the others.

mod compression;
mod decoded;
mod error;
mod histogram;
mod keys;
mod labels;
mod limits;
mod merge;
mod metadata;
pub mod otlp;
mod refusals;
pub mod relabel;
pub mod remote_write;
mod wire;

pub use compression::Encoding;
pub use decoded::Decoded;
pub use error::Error;
pub use limits::{Limits, refusals};
