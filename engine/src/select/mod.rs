//! Selection: matchers in, series out.

pub mod matcher;

pub use matcher::{MatchOp, Matcher, MatcherError};
