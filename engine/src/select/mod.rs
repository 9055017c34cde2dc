//! Selection: matchers in, series out.

pub mod matcher;
pub(crate) mod pattern;
pub(crate) mod postings;
mod re2;

pub use matcher::{MatchOp, Matcher, MatcherError};
