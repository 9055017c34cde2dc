//! What is wrong with a query, where, in Prometheus' words.
//!
//! Where it sits: handed out by every entry of the parser. One query may have several errors; shown as
//! text only the first one is told, as Prometheus does.

use super::ast::Span;
use std::fmt;

/// How the refusals of too large queries begin, and the limit each stands for.
pub(super) const TOO_LONG: &str = "query is longer than";
pub(super) const TOO_DEEP: &str = "query is nested deeper than";
pub(super) const TOO_MANY_TOKENS: &str = "query has more than";

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The offending part.
    pub span: Span,
    /// What is wrong with it, without position.
    pub message: String,
}

/// All errors of one query, never empty; `Display` gives the first, as `1:7: parse error: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors {
    /// The query.
    pub query: String,
    /// Its errors, in the order they were found.
    pub errors: Vec<ParseError>,
}

impl ParseErrors {
    /// The limit that the query exceeds, if it is too large: `length`, `tokens` or `nesting`.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        let limits = [(TOO_LONG, "length"), (TOO_DEEP, "nesting"), (TOO_MANY_TOKENS, "tokens")];
        let of = |e: &ParseError| limits.iter().find(|(begin, _)| e.message.starts_with(begin));
        self.errors.iter().find_map(of).map(|(_, limit)| *limit)
    }
    /// One of the errors with its line and column in front: `1:7: parse error: …`.
    #[must_use]
    pub fn describe(&self, error: &ParseError) -> String {
        if self.query.is_empty() {
            return format!("unknown position: parse error: {}", error.message);
        }
        let (line, column) = error.span.line_column(&self.query);
        format!("{line}:{column}: parse error: {}", error.message)
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.first() {
            Some(error) => f.write_str(&self.describe(error)),
            None => f.write_str("parse error"),
        }
    }
}

impl std::error::Error for ParseErrors {}
