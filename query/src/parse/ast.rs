//! The syntax tree of PromQL 3.14, every node with its place in the query.
//!
//! Where it sits: made by the parser, read by the printer and the planner. Nothing is evaluated here
//! except durations ([`DurationExpr::resolve`]), which need the query's step and range.
//! Invariants: a tree that the parser returns is type-checked; its depth is limited by the parser.

use super::functions::Function;
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

/// `-` or `+` before an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
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

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `</`: drops the observations of a histogram above the operand.
    TrimUpper,
    /// `>/`: drops the observations of a histogram below the operand.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Lt => "<",
            Self::Ge => ">=",
            Self::Le => "<=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
    /// Whether it compares (`==` and its like; the trim operators do not).
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Gt | Self::Lt | Self::Ge | Self::Le)
    }
    /// Whether it is `and`, `or` or `unless`.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// Aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `bottomk`
    Bottomk,
    /// `quantile`
    Quantile,
    /// `count_values`
    CountValues,
    /// `limitk` (experimental)
    Limitk,
    /// `limit_ratio` (experimental)
    LimitRatio,
}

impl AggregateOp {
    /// As written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::Quantile => "quantile",
            Self::CountValues => "count_values",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
    /// Whether a parameter stands before the expression.
    #[must_use]
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk | Self::Bottomk | Self::Quantile | Self::CountValues | Self::Limitk | Self::LimitRatio
        )
    }
    /// Whether the gate of experimental functions guards it.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// A duration as written: a number (seconds), a duration literal, or arithmetic on them.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Whether it stands in parentheses.
    pub wrapped: bool,
    /// Where it stands.
    pub span: Span,
}

/// Operators between durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `min_of(a, b)`
    MinOf,
    /// `max_of(a, b)`
    MaxOf,
}

impl DurationOp {
    /// As written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::MinOf => "min_of",
            Self::MaxOf => "max_of",
        }
    }
}

/// Forms of durations.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// Seconds; `duration` tells whether they were written as a duration (`5m`).
    Number {
        /// Seconds.
        seconds: f64,
        /// Written as a duration.
        duration: bool,
    },
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    /// `-a`
    Neg(Box<DurationExpr>),
    /// `a op b`, `min_of(a, b)`, `max_of(a, b)`
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
}

/// What durations may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurationContext {
    /// The query's step, milliseconds (0 for an instant query).
    pub step_ms: i64,
    /// The query's end minus its start, milliseconds (0 for an instant query).
    pub range_ms: i64,
}

impl DurationExpr {
    /// A plain number of seconds or duration literal.
    #[must_use]
    pub fn literal(seconds: f64, duration: bool, span: Span) -> Self {
        Self { kind: DurationKind::Number { seconds, duration }, wrapped: false, span }
    }
    /// Whether it is a plain literal, without operators.
    #[must_use]
    pub fn as_literal(&self) -> Option<f64> {
        match self.kind {
            DurationKind::Number { seconds, .. } => Some(seconds),
            _ => None,
        }
    }
    /// Its value in whole milliseconds; ranges and steps must be positive, offsets need not be
    /// (`allow_negative`).
    ///
    /// # Errors
    /// Prometheus' text, the offending part in front as `start:end: ` (bytes): division by zero, not
    /// positive, not finite, out of range.
    pub fn resolve(&self, context: DurationContext, allow_negative: bool) -> Result<i64, String> {
        let fail = |(span, what): (Span, &str)| format!("{}:{}: {what}", span.start, span.end);
        if let DurationKind::Number { seconds, .. } = self.kind {
            // A literal is exact to the nanosecond before it is cut to milliseconds.
            return Ok((seconds * 1e9).round() as i64 / 1_000_000);
        }
        let seconds = self.seconds(context).map_err(fail)?;
        if !seconds.is_finite() {
            return Err(fail((self.span, "duration is NaN or infinite")));
        }
        if seconds <= 0.0 && !allow_negative {
            return Err(fail((self.span, "duration must be greater than 0")));
        }
        const SECONDS_MAX: f64 = 9_223_372_036.854_776;
        if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) {
            return Err(fail((self.span, "duration is out of range")));
        }
        Ok((seconds * 1000.0) as i64)
    }
    fn seconds(&self, context: DurationContext) -> Result<f64, (Span, &'static str)> {
        Ok(match &self.kind {
            DurationKind::Number { seconds, .. } => *seconds,
            DurationKind::Step => context.step_ms as f64 / 1000.0,
            DurationKind::Range => context.range_ms as f64 / 1000.0,
            DurationKind::Neg(inner) => -inner.seconds(context)?,
            DurationKind::Binary(op, lhs, rhs) => {
                let (l, r) = (lhs.seconds(context)?, rhs.seconds(context)?);
                match op {
                    DurationOp::Add => l + r,
                    DurationOp::Sub => l - r,
                    DurationOp::Mul => l * r,
                    DurationOp::Div if r == 0.0 => return Err((self.span, "division by zero")),
                    DurationOp::Div => l / r,
                    DurationOp::Mod if r == 0.0 => return Err((self.span, "modulo by zero")),
                    DurationOp::Mod => l % r,
                    DurationOp::Pow => l.powf(r),
                    DurationOp::MinOf if l.is_nan() || r.is_nan() => f64::NAN,
                    DurationOp::MinOf => l.min(r),
                    DurationOp::MaxOf if l.is_nan() || r.is_nan() => f64::NAN,
                    DurationOp::MaxOf => l.max(r),
                }
            }
        })
    }
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
