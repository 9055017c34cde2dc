//! Selection: matchers in, series out.

pub(crate) mod literals;
pub mod matcher;
pub(crate) mod postings;
mod re2;

pub use matcher::{MatchOp, Matcher, MatcherError};
