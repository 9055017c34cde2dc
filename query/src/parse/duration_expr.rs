//! Durations as they stand in the syntax tree, and what they come to.
//!
//! Where it sits: part of the syntax tree. Durations with arithmetic are resolved when a query is planned,
//! because they may refer to its step and range.

use super::ast::Span;

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
