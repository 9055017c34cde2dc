//! Tokens: their kinds, the words that are keywords, what may stand where, and how errors name them.
//!
//! Where it sits: below the lexer, which makes them, and the parser, which reads them.

use super::ast::{AggregateOp, BinaryOp, Span};
use super::text;

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tok {
    Eof,
    Error,
    Identifier,
    MetricIdentifier,
    String,
    Number,
    Duration,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Assign,
    MatchRegex,
    MatchNotRegex,
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Offset,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Anchored,
    Smoothed,
    Fill,
    FillLeft,
    FillRight,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Tok,
    pub(crate) span: Span,
}

/// The keyword that `word` is in any case, if it is one.
pub(crate) fn keyword(word: &str) -> Option<Tok> {
    const LONGEST: usize = 12;
    if word.len() > LONGEST {
        return None;
    }
    let mut buffer = [0; LONGEST];
    let lower = &mut buffer[..word.len()];
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"and" => Tok::Op(BinaryOp::And),
        b"or" => Tok::Op(BinaryOp::Or),
        b"unless" => Tok::Op(BinaryOp::Unless),
        b"atan2" => Tok::Op(BinaryOp::Atan2),
        b"sum" => Tok::Aggregate(AggregateOp::Sum),
        b"avg" => Tok::Aggregate(AggregateOp::Avg),
        b"count" => Tok::Aggregate(AggregateOp::Count),
        b"min" => Tok::Aggregate(AggregateOp::Min),
        b"max" => Tok::Aggregate(AggregateOp::Max),
        b"group" => Tok::Aggregate(AggregateOp::Group),
        b"stddev" => Tok::Aggregate(AggregateOp::Stddev),
        b"stdvar" => Tok::Aggregate(AggregateOp::Stdvar),
        b"topk" => Tok::Aggregate(AggregateOp::Topk),
        b"bottomk" => Tok::Aggregate(AggregateOp::Bottomk),
        b"count_values" => Tok::Aggregate(AggregateOp::CountValues),
        b"quantile" => Tok::Aggregate(AggregateOp::Quantile),
        b"limitk" => Tok::Aggregate(AggregateOp::Limitk),
        b"limit_ratio" => Tok::Aggregate(AggregateOp::LimitRatio),
        b"offset" => Tok::Offset,
        b"smoothed" => Tok::Smoothed,
        b"anchored" => Tok::Anchored,
        b"by" => Tok::By,
        b"without" => Tok::Without,
        b"on" => Tok::On,
        b"ignoring" => Tok::Ignoring,
        b"group_left" => Tok::GroupLeft,
        b"group_right" => Tok::GroupRight,
        b"bool" => Tok::Bool,
        b"fill" => Tok::Fill,
        b"fill_left" => Tok::FillLeft,
        b"fill_right" => Tok::FillRight,
        b"start" => Tok::Start,
        b"end" => Tok::End,
        b"step" => Tok::Step,
        b"range" => Tok::Range,
        b"max_of" => Tok::MaxOf,
        b"min_of" => Tok::MinOf,
        b"inf" | b"nan" => Tok::Number,
        _ => return None,
    })
}

impl Tok {
    /// Whether it may name a metric.
    pub(crate) fn is_metric_identifier(self) -> bool {
        matches!(
            self,
            Self::Aggregate(_)
                | Self::Identifier
                | Self::MetricIdentifier
                | Self::By
                | Self::Without
                | Self::Offset
                | Self::Fill
                | Self::FillLeft
                | Self::FillRight
                | Self::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
                | Self::Start
                | Self::End
                | Self::Step
                | Self::Range
                | Self::Anchored
                | Self::Smoothed
                | Self::MaxOf
                | Self::MinOf
        )
    }

    /// Whether it may name a label in a grouping.
    pub(crate) fn is_label(self) -> bool {
        (self.is_metric_identifier() && self != Self::Without)
            || matches!(
                self,
                Self::Bool
                    | Self::GroupLeft
                    | Self::GroupRight
                    | Self::Ignoring
                    | Self::On
                    | Self::Op(BinaryOp::Atan2)
            )
    }

    /// Whether it may name a function when a parenthesis follows.
    pub(crate) fn is_function_name(self) -> bool {
        matches!(
            self,
            Self::Identifier | Self::Start | Self::End | Self::Step | Self::Range | Self::MaxOf | Self::MinOf
        )
    }

    /// Whether an expression may begin with it.
    pub(crate) fn starts_expression(self) -> bool {
        self.is_metric_identifier()
            || matches!(
                self,
                Self::LeftParen
                    | Self::LeftBrace
                    | Self::String
                    | Self::Number
                    | Self::Duration
                    | Self::Op(BinaryOp::Add | BinaryOp::Sub)
            )
    }

    /// Whether it is one of the fill modifiers.
    pub(crate) fn is_fill(self) -> bool {
        matches!(self, Self::Fill | Self::FillLeft | Self::FillRight)
    }

    /// Whether a duration may begin with it.
    pub(crate) fn starts_duration(self) -> bool {
        matches!(
            self,
            Self::Number
                | Self::Duration
                | Self::Op(BinaryOp::Add | BinaryOp::Sub)
                | Self::LeftParen
                | Self::Step
                | Self::Range
                | Self::MaxOf
                | Self::MinOf
        )
    }

    /// The token as error texts name it.
    pub(crate) fn describe(self, text: &str) -> String {
        match self {
            Self::Eof => "end of input".to_owned(),
            Self::Error => "error".to_owned(),
            Self::Identifier => format!("identifier {}", text::quote(text)),
            Self::MetricIdentifier => format!("metric identifier {}", text::quote(text)),
            Self::String => format!("string {}", shortened(text)),
            Self::Number => format!("number {}", shortened(text)),
            Self::Duration => format!("duration {}", shortened(text)),
            Self::Op(_) | Self::At | Self::MatchRegex | Self::MatchNotRegex => format!("<op:{text}>"),
            Self::Aggregate(_) => format!("<aggr:{text}>"),
            Self::Offset
            | Self::By
            | Self::Without
            | Self::On
            | Self::Ignoring
            | Self::GroupLeft
            | Self::GroupRight
            | Self::Bool
            | Self::Anchored
            | Self::Smoothed
            | Self::Fill
            | Self::FillLeft
            | Self::FillRight => format!("<{text}>"),
            _ => shortened(text),
        }
    }
}

/// Quoted, cut after ten characters.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return text::quote(text);
    }
    let cut: String = text.chars().take(10).collect();
    format!("{}...", text::quote(&cut))
}
