//! The prettifier: a query broken into indented lines where it is longer than a line.
//!
//! Where it sits: above the printer, behind `format_query`. Layout as upstream: an expression whose text
//! has more than 100 bytes gives its operands lines of their own, two spaces deeper.

use super::ast::Expr;
use super::print::{AggregateHead, BinaryHead, SubquerySuffix, has_infinite_base};
use std::fmt::Write as _;

const LINE_BYTES_MAX: usize = 100;

/// The query in canonical form with line breaks.
#[must_use]
pub fn prettify(expr: &Expr) -> String {
    let mut out = String::new();
    write(&mut out, expr, 0);
    out
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}

fn write(out: &mut String, expr: &Expr, level: usize) {
    let plain = expr.to_string();
    let split = plain.len() > LINE_BYTES_MAX;
    match expr {
        Expr::Subquery(e) if split => {
            write(out, &e.expr, level);
            put!(out, "{}", SubquerySuffix(e));
        }
        Expr::Unary(e) => {
            indent(out, level);
            out.push_str(e.op.as_str());
            // The sign stands where the operand's indentation would.
            let mut operand = String::new();
            write(&mut operand, &e.expr, level);
            out.push_str(operand.trim());
        }
        Expr::Binary(e) if split => {
            if has_infinite_base(e) {
                indent(out, level + 1);
                out.push_str("Inf");
            } else {
                write(out, &e.lhs, level + 1);
            }
            out.push('\n');
            indent(out, level);
            put!(out, "{}", BinaryHead(e));
            out.push('\n');
            write(out, &e.rhs, level + 1);
        }
        Expr::Aggregate(e) if split => {
            indent(out, level);
            put!(out, "{}(\n", AggregateHead(e));
            if let Some(param) = &e.param {
                write(out, param, level + 1);
                out.push_str(",\n");
            }
            write(out, &e.expr, level + 1);
            close(out, level);
        }
        Expr::Call(e) if split => {
            indent(out, level);
            put!(out, "{}(\n", e.function.name);
            for (i, arg) in e.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n");
                }
                write(out, arg, level + 1);
            }
            close(out, level);
        }
        Expr::Paren(e) if split => {
            indent(out, level);
            out.push_str("(\n");
            write(out, &e.expr, level + 1);
            close(out, level);
        }
        // Upstream forgets the indentation here.
        Expr::Subquery(_) => out.push_str(&plain),
        _ => {
            indent(out, level);
            out.push_str(&plain);
        }
    }
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}

#[cfg(test)]
mod tests {
    use super::super::{Options, parse};
    use super::*;

    fn pretty(query: &str) -> String {
        prettify(&parse(query, &Options::all_features()).expect("a valid query"))
    }

    #[test]
    fn short_queries_stay_on_one_line() {
        assert_eq!(pretty("sum ( rate(x [5m]) )by(job) # why"), "sum by (job) (rate(x[5m]))");
    }

    #[test]
    fn long_queries_are_broken() {
        let long = "a_metric_name_that_is_quite_long_already{label_one=\"value\",label_two=\"value\"}";
        let query = format!("sum by (job) (rate({long}[5m])) / on (job) -topk(5, {long} + {long})");
        let expected = format!(
            "  sum by (job) (\n    rate({long}[5m])\n  )\n/ on (job)\n  -topk(\n    5,\n      {long}\n    +\n      {long}\n  )"
        );
        // The rate itself has fewer than 100 bytes; the sum around it has more.
        assert_eq!(pretty(&query), expected);
        assert_eq!(pretty(&expected), expected);
    }
}
