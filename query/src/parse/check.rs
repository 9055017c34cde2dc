//! The type check: what the grammar allows but means nothing.
//!
//! Where it sits: after the parser, only when that found nothing wrong. It also settles what depends on
//! types: vector matching is kept only between vectors, set operators are many-to-many, and the selector
//! of `info()` may match everything.

use super::ast::{Aggregate, AggregateOp, Binary, Call, Card, Expr, Span, ValueType, VectorSelector};
use super::error::ParseError;
use super::functions::FunctionId;
use super::text::quote;
use storage_format::model::METRIC_NAME;

/// Checks `expr` and everything in it; what is wrong is appended to `errors`.
pub(super) fn check(query: &str, expr: &mut Expr, errors: &mut Vec<ParseError>) {
    Checker { query, errors }.expression(expr);
}

struct Checker<'a> {
    query: &'a str,
    errors: &'a mut Vec<ParseError>,
}

impl Checker<'_> {
    fn fail(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    fn expression(&mut self, expr: &mut Expr) -> ValueType {
        let (typ, span) = (expr.value_type(), expr.span());
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Vector(selector) => self.selector(selector),
            Expr::Matrix(matrix) => self.selector(&matrix.selector),
            Expr::Paren(paren) => {
                self.expression(&mut paren.expr);
            }
            Expr::Unary(unary) => {
                let inner = self.expression(&mut unary.expr);
                if !matches!(inner, ValueType::Scalar | ValueType::Vector) {
                    let got = quote(inner.documented());
                    self.fail(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {got}"
                        ),
                    );
                }
            }
            Expr::Subquery(subquery) => {
                let inner = self.expression(&mut subquery.expr);
                if inner != ValueType::Vector {
                    self.fail(
                        span,
                        format!("subquery is only allowed on instant vector, got {inner} instead"),
                    );
                }
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Binary(binary) => self.binary(binary),
        }
        typ
    }

    fn expect(&mut self, expr: &mut Expr, want: ValueType, context: &str) {
        let got = self.expression(expr);
        if got != want {
            let message =
                format!("expected type {} in {context}, got {}", want.documented(), got.documented());
            self.fail(expr.span(), message);
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        if !selector.name.is_empty() {
            // The last matcher is the one of the name in front.
            let named = selector.matchers.iter().rev().skip(1).rev();
            for matcher in named.filter(|m| m.name == METRIC_NAME) {
                let message = format!(
                    "metric name must not be set twice: {} or {}",
                    quote(&selector.name),
                    quote(&matcher.value)
                );
                self.fail(selector.span, message);
            }
            return;
        }
        let selective = selector.matchers.iter().any(|m| !m.matches_empty());
        if !selective && !selector.bypass_empty_matcher_check {
            self.fail(selector.span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression");
        let want =
            if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        if let Some(param) = &mut aggregate.param {
            self.expect(param, want, "aggregation parameter");
        }
    }

    fn call(&mut self, call: &mut Call) {
        let (function, span) = (call.function, call.span);
        let (declared, got, name) = (function.args.len(), call.args.len(), quote(function.name));
        if function.variadic == 0 {
            if declared != got {
                self.fail(span, format!("expected {declared} argument(s) in call to {name}, got {got}"));
            }
        } else {
            let least = declared - 1;
            let most = usize::try_from(function.variadic).ok().map(|more| least + more);
            if least > got {
                let message = format!("expected at least {least} argument(s) in call to {name}, got {got}");
                self.fail(span, message);
            } else if let Some(most) = most.filter(|most| *most < got) {
                self.fail(span, format!("expected at most {most} argument(s) in call to {name}, got {got}"));
            }
        }
        if function.id == FunctionId::Info && got > 1 {
            self.info_selector(span, &mut call.args[1]);
        }
        for (i, arg) in call.args.iter_mut().enumerate() {
            let want = match function.args.get(i) {
                Some(want) => *want,
                None if function.variadic == 0 => break,
                None => function.args[declared - 1],
            };
            self.expect(arg, want, &format!("call to function {name}"));
        }
    }

    /// The second argument of `info()` is a selector without a name.
    fn info_selector(&mut self, call: Span, arg: &mut Expr) {
        let (typ, span) = (arg.value_type(), arg.span());
        if typ != ValueType::Vector {
            let message = format!(
                "expected type instant vector in call to function \"info\", got {}",
                typ.documented()
            );
            self.fail(call, message);
        }
        match arg {
            Expr::Vector(selector) if selector.name.is_empty() => selector.bypass_empty_matcher_check = true,
            Expr::Vector(_) => {
                self.fail(span, "expected label selectors only, got vector selector instead");
            }
            _ => self.fail(span, "expected label selectors only"),
        }
    }

    fn binary(&mut self, binary: &mut Binary) {
        let lhs = self.expression(&mut binary.lhs);
        let rhs = self.expression(&mut binary.rhs);
        let (op, span) = (binary.op, binary.span);
        if binary.return_bool && !op.is_comparison() {
            self.fail(self.operator_span(binary), "bool modifier can only be used on comparison operators");
        }
        let scalars = lhs == ValueType::Scalar && rhs == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            self.fail(self.operator_span(binary), "comparisons between scalars must use BOOL modifier");
        }
        let mut matching = binary.matching.take().unwrap_or_default();
        if op.is_set() && matching.card == Card::OneToOne {
            matching.card = Card::ManyToMany;
        }
        if matching.on {
            for label in matching.labels.iter().filter(|label| matching.include.contains(label)) {
                let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
                self.fail(self.operator_span(binary), message);
            }
        }
        for (typ, side) in [(lhs, &binary.lhs), (rhs, &binary.rhs)] {
            if !matches!(typ, ValueType::Scalar | ValueType::Vector) {
                self.fail(side.span(), "binary expression must contain only scalar and instant vector types");
            }
        }
        let filled = matching.fill_lhs.is_some() || matching.fill_rhs.is_some();
        if lhs != ValueType::Vector || rhs != ValueType::Vector {
            if !matching.labels.is_empty() {
                self.fail(span, "vector matching only allowed between instant vectors");
            }
            if filled {
                self.fail(span, "filling in missing series only allowed between instant vectors");
            }
        } else {
            if op.is_set() {
                if matching.card != Card::ManyToMany {
                    self.fail(span, format!("no grouping allowed for {} operation", quote(op.as_str())));
                    self.fail(span, "set operations must always be many-to-many");
                }
                if filled {
                    self.fail(span, "filling in missing series not allowed for set operators");
                }
            }
            binary.matching = Some(matching);
        }
        if op.is_set() && (lhs == ValueType::Scalar || rhs == ValueType::Scalar) {
            let op = quote(op.as_str());
            self.fail(span, format!("set operator {op} not allowed in binary scalar expression"));
        }
    }

    /// The operator with its modifiers.
    fn operator_span(&self, binary: &Binary) -> Span {
        let is_space = |b: &u8| b" \t\r\n".contains(b);
        let (from, to) = (binary.lhs.span().end, binary.rhs.span().start);
        let between = self.query.as_bytes().get(from as usize..to as usize).unwrap_or_default();
        let before = between.iter().take_while(|b| is_space(b)).count() as u32;
        let after = between.iter().rev().take_while(|b| is_space(b)).count() as u32;
        Span::new(from + before, to.saturating_sub(after).max(from + before))
    }
}
