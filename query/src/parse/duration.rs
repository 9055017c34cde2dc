//! Durations in ranges, steps and offsets, with arithmetic.
//!
//! Where it sits: beside `parser`, which it extends. In an offset an operator ends the duration
//! (`foo offset 1m + 2` adds 2 to the samples); longer ones need parentheses there.

use super::ast::{BinaryOp, DurationExpr, DurationKind, DurationOp, Span};
use super::parser::{Parser, Step};
use super::token::Tok;

/// 2^63 nanoseconds, in seconds.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;
const MUL: u8 = 2;

impl Parser<'_> {
    /// A duration expression, greater than 0 as far as that is known yet.
    pub(super) fn positive_duration(&mut self) -> Step<DurationExpr> {
        self.duration_operators = 0;
        let duration = self.duration(1)?;
        if duration.as_literal().is_some_and(|seconds| seconds <= 0.0) {
            self.fail(duration.span, "duration must be greater than 0");
        }
        Ok(duration)
    }

    /// A duration after `offset`.
    pub(super) fn offset_duration(&mut self) -> Step<DurationExpr> {
        self.duration_operators = 0;
        let Some((sign, negative)) = self.sign() else { return self.operand() };
        let operand =
            if matches!(self.kind(), Tok::Op(_)) { self.duration(MUL + 1)? } else { self.operand()? };
        Ok(self.signed(sign, negative, operand))
    }

    fn sign(&mut self) -> Option<(Span, bool)> {
        let negative = match self.kind() {
            Tok::Op(BinaryOp::Add) => false,
            Tok::Op(BinaryOp::Sub) => true,
            _ => return None,
        };
        Some((self.take().span, negative))
    }

    /// Operators that bind at least as tightly as `least`: 1 sums, 2 products, 3 powers.
    fn duration(&mut self, least: u8) -> Step<DurationExpr> {
        self.enter(|p| {
            let mut lhs = match p.sign() {
                Some((sign, negative)) => {
                    let operand = p.duration(MUL + 1)?;
                    p.signed(sign, negative, operand)
                }
                None => p.operand()?,
            };
            while let Some((op, precedence)) = operator(p.kind()).filter(|(_, n)| *n >= least) {
                // A chain makes the tree deep without recursion.
                p.duration_operators += 1;
                if p.duration_operators > p.options.depth_max {
                    return Err(p.too_deep(p.options.depth_max));
                }
                let sign = p.take().span;
                let rhs = p.duration(if op == DurationOp::Pow { precedence } else { precedence + 1 })?;
                lhs = p.duration_binary(op, sign, lhs, rhs);
            }
            Ok(lhs)
        })
    }

    fn duration_binary(
        &mut self,
        op: DurationOp,
        sign: Span,
        lhs: DurationExpr,
        rhs: DurationExpr,
    ) -> DurationExpr {
        self.need_duration_expressions(lhs.span);
        if rhs.as_literal() == Some(0.0) {
            let wrong = match op {
                DurationOp::Div => Some("division by zero"),
                DurationOp::Mod => Some("modulo by zero"),
                _ => None,
            };
            if let Some(wrong) = wrong {
                self.fail(sign, wrong);
                return DurationExpr::literal(0.0, false, lhs.span.to(rhs.span));
            }
        }
        let span = lhs.span.to(rhs.span);
        let kind = DurationKind::Binary(op, Box::new(lhs), Box::new(rhs));
        DurationExpr { kind, wrapped: false, span }
    }

    fn need_duration_expressions(&mut self, span: Span) {
        if !self.options.duration_expressions {
            self.fail(span, "experimental duration expression is not enabled");
        }
    }

    /// A sign before a literal becomes part of it.
    fn signed(&mut self, sign: Span, negative: bool, operand: DurationExpr) -> DurationExpr {
        let span = sign.to(operand.span);
        let kind = match operand.kind {
            DurationKind::Number { seconds, duration } => {
                let seconds = if negative { -seconds } else { seconds };
                DurationKind::Number { seconds, duration }
            }
            _ if negative => DurationKind::Neg(Box::new(operand)),
            _ => return operand,
        };
        DurationExpr { kind, wrapped: false, span }
    }

    /// A literal, a function, or something in parentheses.
    fn operand(&mut self) -> Step<DurationExpr> {
        let token = self.peek();
        match token.kind {
            Tok::Number | Tok::Duration => {
                let mut literal = self.number_or_duration();
                if !(-SECONDS_MAX..=SECONDS_MAX).contains(&literal.value) {
                    self.fail(literal.span, "duration out of range");
                    literal.value = 0.0;
                }
                Ok(DurationExpr::literal(literal.value, literal.duration, literal.span))
            }
            Tok::Step | Tok::Range => {
                self.take();
                self.expect(Tok::LeftParen)?;
                let close = self.expect(Tok::RightParen)?;
                let kind = if token.kind == Tok::Step { DurationKind::Step } else { DurationKind::Range };
                Ok(DurationExpr { kind, wrapped: false, span: token.span.to(close.span) })
            }
            Tok::MaxOf | Tok::MinOf => {
                self.take();
                self.expect(Tok::LeftParen)?;
                let lhs = self.duration(1)?;
                self.expect(Tok::Comma)?;
                let rhs = self.duration(1)?;
                let close = self.expect(Tok::RightParen)?;
                let op = if token.kind == Tok::MaxOf { DurationOp::MaxOf } else { DurationOp::MinOf };
                let kind = DurationKind::Binary(op, Box::new(lhs), Box::new(rhs));
                Ok(DurationExpr { kind, wrapped: false, span: token.span.to(close.span) })
            }
            Tok::LeftParen => {
                self.take();
                let mut inner = self.duration(1)?;
                self.expect(Tok::RightParen)?;
                self.need_duration_expressions(inner.span);
                // Around a literal parentheses say nothing.
                inner.wrapped = inner.as_literal().is_none();
                Ok(inner)
            }
            _ => Err(self.syntax_error()),
        }
    }
}

fn operator(kind: Tok) -> Option<(DurationOp, u8)> {
    Some(match kind {
        Tok::Op(BinaryOp::Add) => (DurationOp::Add, 1),
        Tok::Op(BinaryOp::Sub) => (DurationOp::Sub, 1),
        Tok::Op(BinaryOp::Mul) => (DurationOp::Mul, MUL),
        Tok::Op(BinaryOp::Div) => (DurationOp::Div, MUL),
        Tok::Op(BinaryOp::Mod) => (DurationOp::Mod, MUL),
        Tok::Op(BinaryOp::Pow) => (DurationOp::Pow, MUL + 1),
        _ => return None,
    })
}
