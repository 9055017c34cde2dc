//! The syntax tree of PromQL 3.14, every node with its place in the query.
//!
//! Where it sits: made by the parser, read by the printer and the planner. Nothing is evaluated here
//! except durations ([`DurationExpr::resolve`]), which need the query's step and range.
//! Invariants: a tree that the parser returns is type-checked; its depth is limited by the parser.

use super::functions::Function;

pub use super::duration_expr::{DurationContext, DurationExpr, DurationKind, DurationOp};
pub use super::operator::{AggregateOp, BinaryOp, UnaryOp};
use engine::Matcher;
use std::fmt;

/// A piece of the query: bytes `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// First byte after.
    pub end: u32,
}

impl Span {
    /// Bytes `start..end`.
    #[must_use]
    pub fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }
    /// From the beginning of `self` to the end of `last`.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
    /// Line and column (bytes), both from 1, of `start` in `query`: how errors and annotations tell it.
    #[must_use]
    pub fn line_column(self, query: &str) -> (usize, usize) {
        let before = query.as_bytes().get(..self.start as usize).unwrap_or(query.as_bytes());
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        (line, column)
    }
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Nothing; only for broken expressions.
    None,
    /// One number.
    Scalar,
    /// One string.
    String,
    /// Instant vector: at most one sample a series.
    Vector,
    /// Range vector: a window of samples a series.
    Matrix,
}

impl ValueType {
    /// The word of the HTTP API: `scalar`, `string`, `vector`, `matrix`, `none`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
    /// The words of the documentation and of error texts: `instant vector`, `range vector`, …
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1F`, `1h30m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `up{job="x"}`
    Vector(VectorSelector),
    /// `up[5m]`
    Matrix(MatrixSelector),
    /// `expr[1h:5m]`
    Subquery(Box<Subquery>),
    /// `-expr`
    Unary(Box<Unary>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `sum by (job) (expr)`
    Aggregate(Box<Aggregate>),
    /// `rate(up[5m])`
    Call(Call),
    /// `(expr)`
    Paren(Box<Paren>),
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberLiteral {
    /// Its value; for durations in seconds.
    pub value: f64,
    /// Whether it was written as a duration (`1h30m`), and is to be printed so.
    pub duration: bool,
    /// Where it stands.
    pub span: Span,
}

/// A string, unquoted. Bytes that are no UTF-8 became U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringLiteral {
    /// Its text.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// The time of an `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// `@ 1603774568.123`: milliseconds since the epoch.
    Timestamp(i64),
    /// `@ start()`: of the query.
    Start,
    /// `@ end()`: of the query.
    End,
}

/// Selects series and, at a time, the newest sample of each.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The metric name if written outside or quoted inside the braces; else empty.
    pub name: String,
    /// All conditions, in the order written; the one from `name` (`__name__="…"`) is the last.
    pub matchers: Vec<Matcher>,
    /// `offset`; `None` when not written. May be negative.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<At>,
    /// Extended range selector: boundaries taken from the samples just outside or inside.
    pub anchored: bool,
    /// Extended range selector: boundaries interpolated.
    pub smoothed: bool,
    /// Whether it is the second argument of `info()`, where all conditions may match the empty string.
    pub bypass_empty_matcher_check: bool,
    /// Where it stands, `offset` and `@` included unless it is part of a matrix selector.
    pub span: Span,
}

/// Selects a window of samples of each series; offset, `@`, `anchored` and `smoothed` stand in `selector`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// Which series.
    pub selector: VectorSelector,
    /// Length of the window.
    pub range: DurationExpr,
    /// Where it stands, with its modifiers.
    pub span: Span,
}

/// Evaluates an instant-vector expression repeatedly: `expr[range:step]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// Length of the window.
    pub range: DurationExpr,
    /// Distance of evaluations; `None`: the engine's default.
    pub step: Option<DurationExpr>,
    /// `offset`; `None` when not written. May be negative.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<At>,
    /// From the expression to the end of the modifiers.
    pub span: Span,
}

/// A sign before a scalar or instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// Which.
    pub op: UnaryOp,
    /// Of what.
    pub expr: Expr,
    /// From the sign to the end of the expression.
    pub span: Span,
}

/// `(expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// What stands inside.
    pub expr: Expr,
    /// With the parentheses.
    pub span: Span,
}

/// How many samples of one side may meet one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Card {
    /// The default.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Card {
    /// `one-to-one` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// How samples of two instant vectors find each other.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatching {
    /// Cardinality.
    pub card: Card,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` are those that must agree (`on`) or those that need not (`ignoring`, the default).
    pub on: bool,
    /// Labels taken over from the "one" side (`group_left(…)`).
    pub include: Vec<String>,
    /// Stands in for missing samples of the left side (`fill_left`, `fill`).
    pub fill_lhs: Option<f64>,
    /// Stands in for missing samples of the right side (`fill_right`, `fill`).
    pub fill_rhs: Option<f64>,
}

impl Default for VectorMatching {
    fn default() -> Self {
        Self {
            card: Card::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_lhs: None,
            fill_rhs: None,
        }
    }
}

/// `lhs op rhs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
    /// Whether a comparison answers 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// Present if and only if both operands are instant vectors.
    pub matching: Option<VectorMatching>,
    /// From the left operand to the right one.
    pub span: Span,
}

/// `op by (grouping) (param, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// What is aggregated, an instant vector.
    pub expr: Expr,
    /// Parameter (a scalar expression, for `count_values` a string) of those that have one.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` are the labels to drop.
    pub without: bool,
    /// From the operator to the closing parenthesis.
    pub span: Span,
}

/// `function(args)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which.
    pub function: &'static Function,
    /// Arguments, of the types and number the function takes.
    pub args: Vec<Expr>,
    /// From the name to the closing parenthesis.
    pub span: Span,
}

impl Expr {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Number(e) => e.span,
            Self::String(e) => e.span,
            Self::Vector(e) => e.span,
            Self::Matrix(e) => e.span,
            Self::Subquery(e) => e.span,
            Self::Unary(e) => e.span,
            Self::Binary(e) => e.span,
            Self::Aggregate(e) => e.span,
            Self::Call(e) => e.span,
            Self::Paren(e) => e.span,
        }
    }
    /// What it evaluates to.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Unary(e) => e.expr.value_type(),
            Self::Paren(e) => e.expr.value_type(),
            Self::Call(e) => e.function.returns,
            Self::Binary(e) => {
                let scalar = |e: &Self| e.value_type() == ValueType::Scalar;
                if scalar(&e.lhs) && scalar(&e.rhs) { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }
    /// Without the parentheses around it.
    #[must_use]
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }
    /// The expressions directly inside, in the order of the query; a matrix selector's selector is not an
    /// expression of its own.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(e) => vec![&e.expr],
            Self::Unary(e) => vec![&e.expr],
            Self::Paren(e) => vec![&e.expr],
            Self::Binary(e) => vec![&e.lhs, &e.rhs],
            Self::Aggregate(e) => e.param.iter().chain([&e.expr]).collect(),
            Self::Call(e) => e.args.iter().collect(),
        }
    }
    /// Calls `visit` on every selector inside, those of matrix selectors included.
    pub fn for_each_selector<'a>(&'a self, visit: &mut dyn FnMut(&'a VectorSelector)) {
        match self {
            Self::Vector(selector) => visit(selector),
            Self::Matrix(matrix) => visit(&matrix.selector),
            _ => self.children().into_iter().for_each(|child| child.for_each_selector(visit)),
        }
    }
}
