//! What may follow an expression: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.
//!
//! Where it sits: beside `parser`, which it extends; durations are in `duration`.

use super::ast::{At, BinaryOp, DurationExpr, Expr, MatrixSelector, Span, Subquery, VectorSelector};
use super::parser::{Parser, Step, Tree};
use super::text;
use super::token::Tok;

const RANGE: (&str, &str) = ("subquery or range selector", "number, duration, step(), or range()");
const STEP: (&str, &str) = ("subquery selector", "number, duration, step(), range(), or \"]\"");
const OFFSET: (&str, &str) = ("offset", "number, duration, step(), or range()");
const NO_RANGE: &str = "ranges only allowed for vector selectors";

/// Where a modifier writes to.
struct Target<'e> {
    offset: &'e mut Option<DurationExpr>,
    at: &'e mut Option<At>,
    end: &'e mut u32,
}

impl Parser<'_> {
    pub(super) fn postfix(&mut self, mut tree: Tree) -> Step<Tree> {
        loop {
            match self.kind() {
                Tok::LeftBracket => tree = self.bracket(tree)?,
                Tok::Offset => self.offset(&mut tree.expr)?,
                Tok::At => self.at(&mut tree.expr)?,
                Tok::Anchored => {
                    self.take();
                    self.extended(&mut tree.expr, true);
                }
                Tok::Smoothed => {
                    self.take();
                    self.extended(&mut tree.expr, false);
                }
                _ => return Ok(tree),
            }
        }
    }

    /// `[range]` or `[range:step]`
    fn bracket(&mut self, tree: Tree) -> Step<Tree> {
        let open = self.take();
        if !self.kind().starts_duration() {
            return Err(self.syntax_error_in(RANGE.0, RANGE.1));
        }
        let range = self.within(RANGE.0, RANGE.1, Self::positive_duration)?;
        if self.accept(Tok::Colon).is_some() {
            return self.subquery(tree, range);
        }
        let Some(close) = self.accept(Tok::RightBracket) else {
            return Err(self.syntax_error_in("subquery or range", "\":\" or \"]\""));
        };
        let span = Span::new(tree.expr.span().start, close.span.end);
        let (selector, wrong) = match tree.expr {
            Expr::Vector(selector) => {
                let wrong = match (&selector.offset, selector.at) {
                    (Some(_), _) => Some("no offset modifiers allowed before range"),
                    (None, Some(_)) => Some("no @ modifiers allowed before range"),
                    (None, None) => None,
                };
                (selector, wrong)
            }
            other => {
                self.broken.push(span);
                (broken_selector(other.span()), Some(NO_RANGE))
            }
        };
        if let Some(wrong) = wrong {
            self.fail(open.span.to(close.span), wrong);
        }
        self.tree(Expr::Matrix(MatrixSelector { selector, range, span }), 0)
    }

    fn subquery(&mut self, tree: Tree, range: DurationExpr) -> Step<Tree> {
        let (step, close) = if let Some(close) = self.accept(Tok::RightBracket) {
            (None, close)
        } else {
            if !self.kind().starts_duration() {
                return Err(self.syntax_error_in(STEP.0, STEP.1));
            }
            let step = self.within(STEP.0, STEP.1, Self::positive_duration)?;
            let Some(close) = self.accept(Tok::RightBracket) else {
                return Err(self.syntax_error_in("subquery selector", "\"]\""));
            };
            (Some(step), close)
        };
        let span = Span::new(tree.expr.span().start, close.span.end);
        let subquery = Subquery { expr: tree.expr, range, step, offset: None, at: None, span };
        self.tree(Expr::Subquery(Box::new(subquery)), tree.depth)
    }

    fn offset(&mut self, expr: &mut Expr) -> Step<()> {
        self.take();
        let offset = self.within(OFFSET.0, OFFSET.1, |p| {
            if !p.kind().starts_duration() {
                return Err(p.syntax_error());
            }
            p.offset_duration()
        })?;
        // An offset of nothing leaves room for another one.
        let put = |target: &mut Target<'_>| {
            let set = target.offset.as_ref().is_some_and(|o| o.as_literal() != Some(0.0));
            if !set {
                *target.offset = Some(offset);
            }
            set
        };
        self.modify(expr, "offset modifier", "offset may not be set multiple times", put);
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Step<()> {
        self.take();
        let span = expr.span();
        let at = self.within("@", "timestamp", |p| match p.kind() {
            kind @ (Tok::Start | Tok::End) => {
                p.take();
                p.expect(Tok::LeftParen)?;
                p.expect(Tok::RightParen)?;
                Ok(if kind == Tok::Start { At::Start } else { At::End })
            }
            _ => {
                let seconds = p.signed_number()?;
                if !(seconds > i64::MIN as f64 && seconds < i64::MAX as f64) {
                    let shown =
                        if seconds.is_finite() { format!("{seconds:.6}") } else { text::float(seconds) };
                    p.fail(span, format!("timestamp out of bounds for @ modifier: {shown}"));
                }
                // Beyond the representable milliseconds the conversion saturates.
                Ok(At::Timestamp((seconds * 1000.0).round() as i64))
            }
        })?;
        let put = |target: &mut Target<'_>| target.at.replace(at).is_some();
        self.modify(expr, "@ modifier", "@ <timestamp> may not be set multiple times", put);
        Ok(())
    }

    /// Lets `put` write a modifier to the selector or subquery before it; `put` tells whether there was one
    /// already, which is an error (`twice`).
    fn modify(
        &mut self,
        expr: &mut Expr,
        modifier: &str,
        twice: &str,
        put: impl FnOnce(&mut Target<'_>) -> bool,
    ) {
        let span = expr.span();
        if self.broken.contains(&span) {
            self.fail(span, NO_RANGE);
            return;
        }
        let end = self.last_closing;
        let Some(mut target) = target(expr) else {
            let wanted = "an instant vector selector or range vector selector or a subquery";
            self.fail(span, format!("{modifier} must be preceded by {wanted}"));
            return;
        };
        let set = put(&mut target);
        *target.end = end;
        if set {
            self.fail(span, twice);
        }
    }

    /// A number or duration with at most one sign.
    pub(super) fn signed_number(&mut self) -> Step<f64> {
        let negative = self.accept(Tok::Op(BinaryOp::Sub)).is_some();
        if !negative {
            self.accept(Tok::Op(BinaryOp::Add));
        }
        if !matches!(self.kind(), Tok::Number | Tok::Duration) {
            return Err(self.syntax_error());
        }
        let value = self.number_or_duration().value;
        Ok(if negative { -value } else { value })
    }

    /// `anchored` or `smoothed`
    fn extended(&mut self, expr: &mut Expr, anchored: bool) {
        let word = if anchored { "anchored" } else { "smoothed" };
        let span = expr.span();
        if !self.options.extended_range_selectors {
            self.fail(span, format!("{word} modifier is experimental and not enabled"));
            return;
        }
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => {
                self.fail(span, format!("{word} modifier is not supported for subqueries"));
                return;
            }
            _ => {
                self.fail(span, format!("{word} modifier not implemented"));
                return;
            }
        };
        selector.anchored |= anchored;
        selector.smoothed |= !anchored;
        if selector.anchored && selector.smoothed {
            self.fail(span, "anchored and smoothed modifiers cannot be used together");
        }
    }
}

fn target(expr: &mut Expr) -> Option<Target<'_>> {
    match expr {
        Expr::Vector(VectorSelector { offset, at, span, .. }) => {
            Some(Target { offset, at, end: &mut span.end })
        }
        Expr::Matrix(MatrixSelector { selector, span, .. }) => {
            Some(Target { offset: &mut selector.offset, at: &mut selector.at, end: &mut span.end })
        }
        Expr::Subquery(subquery) => {
            let Subquery { offset, at, span, .. } = &mut **subquery;
            Some(Target { offset, at, end: &mut span.end })
        }
        _ => None,
    }
}

fn broken_selector(span: Span) -> VectorSelector {
    VectorSelector {
        name: String::new(),
        matchers: Vec::new(),
        offset: None,
        at: None,
        anchored: false,
        smoothed: false,
        bypass_empty_matcher_check: false,
        span,
    }
}
