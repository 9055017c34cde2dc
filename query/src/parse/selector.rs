//! Selectors, matchers and label lists: the parts of the parser between braces and parentheses.
//!
//! Where it sits: beside `parser`, which it extends; also the entries for selectors (`match[]`) and metrics.

use super::ast::{BinaryOp, Span, VectorSelector};
use super::error::ParseErrors;
use super::parser::{Parser, Step};
use super::token::{Tok, Token};
use super::{Options, number, text};
use engine::{MatchOp, Matcher};
use storage_format::model::{Labels, METRIC_NAME};

/// Parses a selector such as `up{job="x"}` into its matchers; that they may all match the empty string is
/// for the caller to refuse.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_metric_selector(input: &str, options: &Options) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser::new(input, options)?;
    let selector = parser.vector_selector();
    if selector.is_ok() && !parser.at_end() {
        let _ = parser.syntax_error();
    }
    parser.finish(selector.map(|s| s.matchers).unwrap_or_default())
}

/// Parses several selectors, as in repeated `match[]` parameters.
///
/// # Errors
/// Those of the first selector that has some.
pub fn parse_metric_selectors<S: AsRef<str>>(
    inputs: &[S],
    options: &Options,
) -> Result<Vec<Vec<Matcher>>, ParseErrors> {
    inputs.iter().map(|input| parse_metric_selector(input.as_ref(), options)).collect()
}

/// Parses a metric such as `up{job="x"}` into its labels.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_metric(input: &str, options: &Options) -> Result<Labels, ParseErrors> {
    let mut parser = Parser::new(input, options)?;
    let labels = parser.metric();
    if labels.is_ok() && !parser.at_end() {
        let _ = parser.syntax_error();
    }
    parser.finish(labels.unwrap_or_default())
}

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Step<VectorSelector> {
        let mut selector = VectorSelector {
            name: String::new(),
            matchers: Vec::new(),
            offset: None,
            at: None,
            anchored: false,
            smoothed: false,
            bypass_empty_matcher_check: false,
            span: self.peek().span,
        };
        if self.kind().is_metric_identifier() {
            let token = self.take();
            self.text(token).clone_into(&mut selector.name);
            if self.kind() == Tok::LeftBrace {
                let braces = self.label_matchers(&mut selector.matchers)?;
                selector.span = token.span.to(braces);
            }
            selector.matchers.extend(Matcher::new(MatchOp::Equal, METRIC_NAME, &selector.name));
        } else {
            selector.span = self.label_matchers(&mut selector.matchers)?;
        }
        Ok(selector)
    }

    /// `{…}`
    fn label_matchers(&mut self, matchers: &mut Vec<Matcher>) -> Step<Span> {
        let open = self.expect(Tok::LeftBrace)?;
        if let Some(close) = self.accept(Tok::RightBrace) {
            return Ok(open.span.to(close.span));
        }
        loop {
            matchers.extend(self.label_matcher());
            if self.accept(Tok::Comma).is_none() && self.kind() != Tok::RightBrace {
                if self.at_end() {
                    return Err(self.syntax_error_in("label matching", "\",\" or \"}\""));
                }
                self.recoverable("label matching", "\",\" or \"}\"");
                while !self.at_end() && !matches!(self.kind(), Tok::Comma | Tok::RightBrace) {
                    self.skip();
                }
                self.accept(Tok::Comma);
            }
            if let Some(close) = self.accept(Tok::RightBrace) {
                return Ok(open.span.to(close.span));
            }
        }
    }

    /// One matcher; `None` when it is broken.
    fn label_matcher(&mut self) -> Option<Matcher> {
        let (name_token, name) = match self.kind() {
            Tok::String => {
                let token = self.take();
                let name = number::unquote(self.text(token));
                if self.match_op().is_none() {
                    return Matcher::new(MatchOp::Equal, METRIC_NAME, &name).ok();
                }
                (token, name)
            }
            Tok::Identifier => {
                let token = self.take();
                (token, self.text(token).to_owned())
            }
            _ => {
                self.recoverable("label matching", "identifier or \"}\"");
                return None;
            }
        };
        let Some(op) = self.match_op() else {
            self.recoverable("label matching", "label matching operator");
            return None;
        };
        self.take();
        let Some(value_token) = self.accept(Tok::String) else {
            self.recoverable("label matching", "string");
            return None;
        };
        let value = number::unquote(self.text(value_token));
        match Matcher::new(op, &name, &value) {
            Ok(matcher) => Some(matcher),
            Err(error) => {
                self.fail(name_token.span.to(value_token.span), error.to_string());
                None
            }
        }
    }

    fn match_op(&self) -> Option<MatchOp> {
        match self.kind() {
            Tok::Assign => Some(MatchOp::Equal),
            Tok::Op(BinaryOp::Ne) => Some(MatchOp::NotEqual),
            Tok::MatchRegex => Some(MatchOp::Regex),
            Tok::MatchNotRegex => Some(MatchOp::NotRegex),
            _ => None,
        }
    }

    /// `(a, b, "c.d")` of `by`, `on` and their like.
    pub(super) fn grouping_labels(&mut self) -> Step<Vec<String>> {
        if self.accept(Tok::LeftParen).is_none() {
            return Err(self.syntax_error_in("grouping opts", "\"(\""));
        }
        let mut labels = Vec::new();
        if self.accept(Tok::RightParen).is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.grouping_label()?);
            let comma = self.accept(Tok::Comma).is_some();
            if self.accept(Tok::RightParen).is_some() {
                return Ok(labels);
            }
            if !comma {
                return Err(self.syntax_error_in("grouping opts", "\",\" or \")\""));
            }
        }
    }

    fn grouping_label(&mut self) -> Step<String> {
        let (token, name) = match self.kind() {
            Tok::String => {
                let token = self.take();
                (token, number::unquote(self.text(token)))
            }
            kind if kind.is_label() => {
                let token = self.take();
                (token, self.text(token).to_owned())
            }
            _ => return Err(self.syntax_error_in("grouping opts", "label")),
        };
        if name.is_empty() {
            self.fail(token.span, format!("invalid label name for grouping: {}", text::quote(&name)));
        }
        Ok(name)
    }

    /// A metric: name, labels, or both.
    pub(super) fn metric(&mut self) -> Step<Labels> {
        let name = self.kind().is_metric_identifier().then(|| self.take());
        let mut pairs: Vec<(String, String)> = Vec::new();
        if self.accept(Tok::LeftBrace).is_some() {
            self.label_set(&mut pairs)?;
        }
        if let Some(name) = name {
            pairs.push((METRIC_NAME.to_owned(), self.text(name).to_owned()));
        }
        Ok(Labels::from_pairs(pairs))
    }

    /// What follows `{` in a metric, up to `}`.
    fn label_set(&mut self, pairs: &mut Vec<(String, String)>) -> Step<()> {
        if self.accept(Tok::RightBrace).is_some() {
            return Ok(());
        }
        loop {
            let (quoted, token) = match self.kind() {
                Tok::String => (true, self.take()),
                Tok::Identifier => (false, self.take()),
                _ => return Err(self.syntax_error_in("label set", "identifier or \"}\"")),
            };
            let text = self.text(token);
            let name = if quoted { number::unquote(text) } else { text.to_owned() };
            if self.accept(Tok::Assign).is_some() {
                pairs.push((name, self.label_value()?));
            } else if quoted {
                pairs.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err(self.syntax_error_in("label set", "\"=\""));
            }
            let comma = self.accept(Tok::Comma).is_some();
            if self.accept(Tok::RightBrace).is_some() {
                return Ok(());
            }
            if !comma {
                return Err(self.syntax_error_in("label set", "\",\" or \"}\""));
            }
        }
    }

    fn label_value(&mut self) -> Step<String> {
        let token: Option<Token> = self.accept(Tok::String);
        match token {
            Some(token) => Ok(number::unquote(self.text(token))),
            None => Err(self.syntax_error_in("label set", "string")),
        }
    }
}
