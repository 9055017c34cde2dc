//! Calls, aggregations, and the modifiers of binary operators: `bool`, `on`, `group_left`, `fill`.
//!
//! Where it sits: beside `parser`, which it extends.

use super::ast::{Aggregate, AggregateOp, Call, Card, Expr, Span, VectorMatching};
use super::parser::{Abort, Parser, Step, Tree, placeholder};
use super::token::Tok;
use super::{functions, text};

impl Parser<'_> {
    pub(super) fn call(&mut self) -> Step<Tree> {
        let token = self.take();
        let name = self.text(token);
        let (args, below) = self.arguments()?;
        let function = functions::function(name);
        match function {
            None => {
                let message = format!("unknown function with name {}", text::quote(name));
                self.fail(token.span, message);
            }
            Some(f) if f.experimental && !self.options.experimental_functions => {
                self.fail(token.span, format!("function {} is not enabled", text::quote(name)));
            }
            Some(_) => {}
        }
        let span = Span::new(token.span.start, self.last_closing);
        let expr = match function {
            Some(function) => Expr::Call(Call { function, args, span }),
            None => placeholder(span),
        };
        self.tree(expr, below)
    }

    /// Arguments in parentheses, and how deep the deepest one is.
    fn arguments(&mut self) -> Step<(Vec<Expr>, usize)> {
        self.expect(Tok::LeftParen)?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.accept(Tok::RightParen).is_some() {
            return Ok((args, depth));
        }
        loop {
            let tree = self.expression(1)?;
            depth = depth.max(tree.depth);
            args.push(tree.expr);
            if let Some(comma) = self.accept(Tok::Comma) {
                if !self.kind().starts_expression() {
                    self.fail(comma.span, "trailing commas not allowed in function call args");
                    self.expect(Tok::RightParen)?;
                    return Ok((args, depth));
                }
                continue;
            }
            self.expect(Tok::RightParen)?;
            return Ok((args, depth));
        }
    }

    pub(super) fn aggregate(&mut self, op: AggregateOp) -> Step<Tree> {
        let token = self.take();
        let context = self.contexts.len() + 1;
        let parts = self.within("aggregation", "", Self::aggregate_parts);
        let (grouping, without, args, below) = match parts {
            Ok(parts) => parts,
            Err(abort) => {
                // The words were those of the aggregation: what is left of it has no arguments.
                if abort.0 == Some(context) {
                    let span = Span::new(token.span.start, self.last_closing.max(token.span.end));
                    self.fail(span, "no arguments for aggregate expression provided");
                    return Err(Abort(None));
                }
                return Err(abort);
            }
        };
        let span = Span::new(token.span.start, self.last_closing);
        let expr = self.new_aggregate(op, grouping, without, args, span);
        self.tree(expr, below)
    }

    fn aggregate_parts(&mut self) -> Step<(Vec<String>, bool, Vec<Expr>, usize)> {
        let before = self.grouping_clause()?;
        let (args, depth) = self.arguments()?;
        let clause = if before.is_none() { self.grouping_clause()? } else { before };
        let (grouping, without) = clause.unwrap_or_default();
        Ok((grouping, without, args, depth))
    }

    /// `by (…)` or `without (…)`, if that comes next.
    fn grouping_clause(&mut self) -> Step<Option<(Vec<String>, bool)>> {
        let without = match self.kind() {
            Tok::By => false,
            Tok::Without => true,
            _ => return Ok(None),
        };
        self.take();
        Ok(Some((self.grouping_labels()?, without)))
    }

    fn new_aggregate(
        &mut self,
        op: AggregateOp,
        grouping: Vec<String>,
        without: bool,
        args: Vec<Expr>,
        span: Span,
    ) -> Expr {
        let wanted = if op.has_param() { 2 } else { 1 };
        let got = args.len();
        if got == 0 {
            self.fail(span, "no arguments for aggregate expression provided");
        } else if op.is_experimental() && !self.options.experimental_functions {
            self.fail(
                span,
                format!(
                    "{op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
                ),
            );
        } else if got != wanted {
            self.fail(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
                ),
            );
        }
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next() } else { None };
        let expr = args.next().unwrap_or_else(|| placeholder(span));
        Expr::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without, span }))
    }

    pub(super) fn binary_modifiers(&mut self) -> Step<(bool, VectorMatching)> {
        let mut matching = VectorMatching::default();
        let return_bool = self.accept(Tok::Bool).is_some();
        if matches!(self.kind(), Tok::On | Tok::Ignoring) {
            matching.on = self.take().kind == Tok::On;
            matching.labels = self.grouping_labels()?;
            if matches!(self.kind(), Tok::GroupLeft | Tok::GroupRight) {
                let left = self.take().kind == Tok::GroupLeft;
                matching.card = if left { Card::ManyToOne } else { Card::OneToMany };
                let next = self.kind();
                if next == Tok::LeftParen || !(next.starts_expression() || next.is_fill()) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match self.kind() {
            Tok::Fill => {
                self.take();
                let value = self.fill_value()?;
                matching.fill_lhs = Some(value);
                matching.fill_rhs = Some(value);
            }
            first @ (Tok::FillLeft | Tok::FillRight) => {
                self.take();
                let value = self.fill_value()?;
                let (mine, other, second) = if first == Tok::FillLeft {
                    (&mut matching.fill_lhs, &mut matching.fill_rhs, Tok::FillRight)
                } else {
                    (&mut matching.fill_rhs, &mut matching.fill_lhs, Tok::FillLeft)
                };
                *mine = Some(value);
                if self.accept(second).is_some() {
                    *other = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok((return_bool, matching))
    }

    fn fill_value(&mut self) -> Step<f64> {
        self.expect(Tok::LeftParen)?;
        let value = self.signed_number()?;
        self.expect(Tok::RightParen)?;
        Ok(value)
    }
}
