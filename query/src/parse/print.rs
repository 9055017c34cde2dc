//! `Display` of the syntax tree: the text Prometheus prints for it, which parses to the same tree.
//!
//! Where it sits: above the tree; the prettifier breaks these texts into lines. Quirks kept from upstream:
//! matchers are sorted, empty `by ()` disappears, `@` and `offset` have a fixed order, durations are cut to
//! milliseconds.

use super::ast::{
    Aggregate, At, Binary, BinaryOp, Card, DurationExpr, DurationKind, DurationOp, Expr, MatrixSelector,
    NumberLiteral, Subquery, Unary, VectorSelector,
};
use super::text::{duration, float, float_v, quote};
use engine::{MatchOp, Matcher};
use std::fmt::{self, Display, Formatter, Write as _};
use storage_format::model::METRIC_NAME;
use storage_format::model::labels::is_legacy_name;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(e) => e.fmt(f),
            Self::String(e) => f.write_str(&quote(&e.value)),
            Self::Vector(e) => e.fmt(f),
            Self::Matrix(e) => e.fmt(f),
            Self::Subquery(e) => write!(f, "{}{}", e.expr, SubquerySuffix(e)),
            Self::Unary(e) => e.fmt(f),
            Self::Binary(e) => {
                match &e.lhs {
                    // The sign of `+Inf` would be read as one of the whole power.
                    Self::Number(n) if e.op == BinaryOp::Pow && n.value == f64::INFINITY => {
                        f.write_str("Inf")?
                    }
                    lhs => lhs.fmt(f)?,
                }
                write!(f, " {} {}", BinaryHead(e), e.rhs)
            }
            Self::Aggregate(e) => e.fmt(f),
            Self::Call(e) => {
                write!(f, "{}(", e.function.name)?;
                comma_separated(f, &e.args)?;
                f.write_char(')')
            }
            Self::Paren(e) => write!(f, "({})", e.expr),
        }
    }
}

/// Whether it is a power of `+Inf`, whose sign would be read as one of the whole power.
pub(super) fn has_infinite_base(binary: &Binary) -> bool {
    binary.op == BinaryOp::Pow && matches!(&binary.lhs, Expr::Number(n) if n.value == f64::INFINITY)
}

fn comma_separated(f: &mut Formatter<'_>, items: impl IntoIterator<Item: Display>) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// A label name, in quotes where it needs them.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_legacy_name(self.0) { f.write_str(self.0) } else { f.write_str(&quote(self.0)) }
    }
}

/// `(a, b)`
struct NameList<'a>(&'a [String]);

impl Display for NameList<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        comma_separated(f, self.0.iter().map(|name| Name(name)))?;
        f.write_char(')')
    }
}

/// Milliseconds of a literal, cut as upstream cuts them.
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e9) as i64 / 1_000_000
}

fn number(f: &mut Formatter<'_>, value: f64, is_duration: bool) -> fmt::Result {
    if !is_duration {
        return f.write_str(&float(value));
    }
    if value < 0.0 {
        f.write_char('-')?;
    }
    f.write_str(&duration(milliseconds(value.abs())))
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        number(f, self.value, self.duration)
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped {
            f.write_char('(')?;
        }
        match &self.kind {
            DurationKind::Number { seconds, duration } => number(f, *seconds, *duration)?,
            DurationKind::Step => f.write_str("step()")?,
            DurationKind::Range => f.write_str("range()")?,
            DurationKind::Neg(inner) => write!(f, "-{inner}")?,
            DurationKind::Binary(op @ (DurationOp::MinOf | DurationOp::MaxOf), a, b) => {
                write!(f, "{}({a}, {b})", op.as_str())?;
            }
            DurationKind::Binary(op, a, b) => write!(f, "{a} {} {b}", op.as_str())?,
        }
        if self.wrapped { f.write_char(')') } else { Ok(()) }
    }
}

/// A duration where upstream keeps literals as whole durations: ranges, steps, offsets.
struct Whole<'a>(&'a DurationExpr);

impl Display for Whole<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.as_literal() {
            Some(seconds) => f.write_str(&duration((seconds * 1e9).round() as i64 / 1_000_000)),
            None => self.0.fmt(f),
        }
    }
}

/// ` @ 1.000`
struct AtSuffix(Option<At>);

impl Display for AtSuffix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
            Some(At::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        }
    }
}

/// ` offset 5m`
struct OffsetSuffix<'a>(&'a Option<DurationExpr>);

impl Display for OffsetSuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) if offset.as_literal() != Some(0.0) => write!(f, " offset {}", Whole(offset)),
            _ => Ok(()),
        }
    }
}

/// Name and matchers, without what may follow.
struct Bare<'a>(&'a VectorSelector);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = &self.0.name;
        // The matcher of the name in front is not written again, but an explicit empty one is.
        let implied = |m: &&Matcher| {
            m.name == METRIC_NAME && m.op == MatchOp::Equal && m.value == *name && !m.value.is_empty()
        };
        let mut matchers: Vec<String> = self
            .0
            .matchers
            .iter()
            .filter(|m| !implied(m))
            .map(|m| format!("{}{}{}", Name(&m.name), m.op, quote(&m.value)))
            .collect();
        f.write_str(name)?;
        if matchers.is_empty() {
            // Without name and matchers (as in `info(x, {})`) the braces are all there is.
            return if name.is_empty() { f.write_str("{}") } else { Ok(()) };
        }
        matchers.sort_unstable();
        write!(f, "{{{}}}", matchers.join(","))
    }
}

fn extended(selector: &VectorSelector) -> &'static str {
    match (selector.anchored, selector.smoothed) {
        (true, _) => " anchored",
        (_, true) => " smoothed",
        _ => "",
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (at, offset) = (AtSuffix(self.at), OffsetSuffix(&self.offset));
        write!(f, "{}{at}{}{offset}", Bare(self), extended(self))
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        let (at, offset) = (AtSuffix(selector.at), OffsetSuffix(&selector.offset));
        write!(f, "{}[{}]{}{at}{offset}", Bare(selector), Whole(&self.range), extended(selector))
    }
}

/// `[range:step] @ … offset …`
pub(super) struct SubquerySuffix<'a>(pub(super) &'a Subquery);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", Whole(&self.0.range))?;
        if let Some(step) = &self.0.step {
            Whole(step).fmt(f)?;
        }
        write!(f, "]{}{}", AtSuffix(self.0.at), OffsetSuffix(&self.0.offset))
    }
}

impl Display for Unary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.op.as_str(), self.expr)
    }
}

/// Operator, `bool` and matching of a binary expression.
pub(super) struct BinaryHead<'a>(pub(super) &'a Binary);

impl Display for BinaryHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.op.fmt(f)?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        let Some(matching) = &self.0.matching else { return Ok(()) };
        let grouped = matches!(matching.card, Card::ManyToOne | Card::OneToMany);
        if !matching.labels.is_empty() || matching.on || grouped {
            let word = if matching.on { "on" } else { "ignoring" };
            write!(f, " {word} {}", NameList(&matching.labels))?;
        }
        if grouped {
            let side = if matching.card == Card::ManyToOne { "left" } else { "right" };
            write!(f, " group_{side} {}", NameList(&matching.include))?;
        }
        match (matching.fill_lhs, matching.fill_rhs) {
            (Some(lhs), Some(rhs)) if lhs == rhs => write!(f, " fill ({})", float_v(lhs)),
            (lhs, rhs) => {
                if let Some(lhs) = lhs {
                    write!(f, " fill_left ({})", float_v(lhs))?;
                }
                rhs.map_or(Ok(()), |rhs| write!(f, " fill_right ({})", float_v(rhs)))
            }
        }
    }
}

/// Operator and grouping of an aggregation.
pub(super) struct AggregateHead<'a>(pub(super) &'a Aggregate);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.op.fmt(f)?;
        if self.0.without {
            write!(f, " without {} ", NameList(&self.0.grouping))
        } else if self.0.grouping.is_empty() {
            Ok(())
        } else {
            write!(f, " by {} ", NameList(&self.0.grouping))
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", AggregateHead(self))?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, parse};

    fn printed(query: &str) -> String {
        parse(query, &Options::all_features()).expect("a valid query").to_string()
    }

    #[test]
    fn prints_as_prometheus_does() {
        for (query, expected) in [
            ("sum by() (task:errors:rate10s{job=\"s\"})", "sum(task:errors:rate10s{job=\"s\"})"),
            ("sum(task:errors:rate10s) without(instance)", "sum without (instance) (task:errors:rate10s)"),
            ("topk( 5 , x)", "topk(5, x)"),
            ("count_values('value', x)", "count_values(\"value\", x)"),
            ("a - ON(b) group_left(x) c", "a - on (b) group_left (x) c"),
            ("a - IGNORING(\"b c\") group_right c", "a - ignoring (\"b c\") group_right () c"),
            ("a > BOOL 1", "a > bool 1"),
            ("a</2 + b", "a </ 2 + b"),
            ("a + fill_left(-1) b", "a + fill_left (-1) b"),
            ("a + fill(0) b", "a + fill (0) b"),
            (
                r#"up{b!='x', a=~"y\\d"}[5m:] offset -1h30m @ end()"#,
                r#"up{a=~"y\\d",b!="x"}[5m:] @ end() offset -1h30m"#,
            ),
            ("foo[1m1s] offset 1w @ 10", "foo[1m1s] @ 10.000 offset 1w"),
            ("foo @ -100", "foo @ -100.000"),
            ("foo anchored @ 1 offset 2m", "foo @ 1.000 anchored offset 2m"),
            ("rate(foo[5m] smoothed)", "rate(foo[5m] smoothed)"),
            ("foo[(5m+1)*2:STEP()]", "foo[(5m + 1) * 2:step()]"),
            ("foo offset -min_of(5s,step()+8s)", "foo offset -min_of(5s, step() + 8s)"),
            ("1h30m * 1e21 + 0x10", "1h30m * 1000000000000000000000 + 16"),
            ("-1^2 + +foo", "-1 ^ 2 + +foo"),
            ("{\"a.b\", \"c.d\"='e'}", "{\"c.d\"=\"e\",__name__=\"a.b\"}"),
            ("info(x, {})", "info(x, {})"),
            ("\"a\\n☺\"", "\"a\\n☺\""),
        ] {
            assert_eq!(printed(query), expected, "{query}");
            assert_eq!(printed(expected), expected);
        }
    }
}
