//! Label matchers, with regular expressions in RE2's dialect, fully anchored.

use super::pattern::{Pattern, Shape, compile};
use super::re2;
use regex::Regex;
use std::fmt;
use std::sync::Arc;

/// The four ways to compare a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// One condition on one label. An absent label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// How to compare.
    pub op: MatchOp,
    /// Literal or regular expression, as written.
    pub value: String,
    pattern: Option<Arc<Pattern>>,
}

/// A regular expression that does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatcherError(pub String);

impl fmt::Display for MatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MatcherError {}

impl Matcher {
    /// A matcher on label `name`.
    ///
    /// # Errors
    /// When `op` takes a regular expression and `value` is none.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, MatcherError> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Pattern::new(value)?)),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), pattern })
    }
    /// Whether a label with this value (empty: absent) fulfils the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(pattern)) => pattern.is_match(value),
            (MatchOp::NotRegex, Some(pattern)) => !pattern.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }
    /// What is known about the expression, if it has one.
    pub(crate) fn shape(&self) -> Option<&Shape> {
        self.pattern.as_ref().map(|pattern| pattern.shape())
    }
    /// Whether series without the label fulfil the condition.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.name == other.name && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op, self.value)
    }
}

/// Compiles `pattern`, in RE2's dialect, as Prometheus does: anchored at both ends, `.` matching newlines.
///
/// # Errors
/// When it does not compile or is too large.
pub fn anchored(pattern: &str) -> Result<Regex, MatcherError> {
    compile(&format!("^(?s:{})$", re2::translate(pattern)?))
}
