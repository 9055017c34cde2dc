//! What is wrong with a query, where, in Prometheus' words.
//!
//! Where it sits: handed out by every entry of the parser. One query may have several errors; shown as
//! text only the first one is told, as Prometheus does.

use super::ast::Span;
use std::fmt;

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
