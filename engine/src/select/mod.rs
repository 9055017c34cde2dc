//! Selection: matchers in, series out.

pub mod matcher;
mod re2;

pub use matcher::{MatchOp, Matcher, MatcherError};
