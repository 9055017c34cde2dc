//! Matchers carried over from one side of a binary operator to the other.
//!
//! Samples meet where the labels they are matched by are equal, so what one side demands of such a label
//! holds for whatever the other side contributes. It is carried over only where nothing else could show:
//! onto a plain selector (which has nothing to say but its samples), and of arithmetic and comparisons only
//! onto the "many" side, and only from a "one" side that cannot have duplicates: these are an error also where
//! they meet nobody, but none where the other side is empty.

use super::{Node, Plan};
use crate::execute::is_metadata;
use crate::functions::math::number_function;
use crate::functions::table::range_function;
use crate::parse::{AggregateOp, BinaryOp, Card, FunctionId, ValueType, VectorMatching};
use engine::{MatchOp, Matcher};
use storage_format::model::METRIC_NAME;

/// Carries matchers over, everywhere in a plan.
pub(super) fn propagate(node: &mut Node) {
    match &mut node.plan {
        Plan::Number(_) | Plan::Text(_) | Plan::Select(_) | Plan::Window(..) => {}
        Plan::Subquery(s) => propagate(&mut s.input),
        Plan::Negate(inner) | Plan::Invariant(inner) => propagate(inner),
        Plan::Aggregate(a) => {
            a.param.iter_mut().for_each(propagate);
            propagate(&mut a.input);
        }
        Plan::Call(_, _, args) => args.iter_mut().for_each(propagate),
        Plan::Binary(b) => {
            propagate(&mut b.lhs);
            propagate(&mut b.rhs);
            let vectors = [&b.lhs, &b.rhs].into_iter().all(|side| side.value_type == ValueType::Vector);
            let default = VectorMatching::default();
            let matching = b.matching.as_ref().unwrap_or(&default);
            let filled = matching.fill_lhs.is_some() || matching.fill_rhs.is_some();
            if !vectors || filled {
                return;
            }
            let (to_left, to_right) = match b.op {
                BinaryOp::Or => (false, false),
                BinaryOp::And => (true, true),
                BinaryOp::Unless => (false, true),
                _ => {
                    let swapped = matching.card == Card::OneToMany;
                    let one = if swapped { &b.lhs } else { &b.rhs };
                    let safe = is_unique(one, matching);
                    (safe && !swapped, safe && swapped)
                }
            };
            let carried = |from: &Node| {
                let mut known = demanded(from);
                known.retain(|m| joins(&m.name, matching));
                known
            };
            let (of_left, of_right) = (carried(&b.lhs), carried(&b.rhs));
            if to_left {
                restrict(&mut b.lhs, of_right);
            }
            if to_right {
                restrict(&mut b.rhs, of_left);
            }
        }
    }
}

/// Whether samples that meet are equal in the label `name`.
fn joins(name: &str, matching: &VectorMatching) -> bool {
    !is_metadata(name) && matching.on == matching.labels.iter().any(|l| l == name)
}

/// Whether no two series of a node can be equal in the labels that are matched by.
fn is_unique(node: &Node, matching: &VectorMatching) -> bool {
    match &node.plan {
        Plan::Select(s) | Plan::Window(s, _) => {
            let is_name =
                |m: &Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty();
            !matching.on && matching.labels.is_empty() && s.matchers.iter().any(is_name)
        }
        Plan::Negate(inner) | Plan::Invariant(inner) => is_unique(inner, matching),
        Plan::Subquery(s) => is_unique(&s.input, matching),
        Plan::Aggregate(a) => {
            use AggregateOp as A;
            let listed = |label: &String| matching.labels.contains(label);
            match a.op {
                A::Topk | A::Bottomk | A::Limitk | A::LimitRatio => is_unique(&a.input, matching),
                A::CountValues => false,
                _ if a.without => !matching.on && matching.labels.is_empty(),
                _ => a.grouping.iter().all(|label| listed(label) == matching.on && !is_metadata(label)),
            }
        }
        Plan::Call(id, _, args) if keeps_labels(*id) => {
            let vector = args.iter().find(|a| matches!(a.value_type, ValueType::Vector | ValueType::Matrix));
            vector.is_some_and(|vector| is_unique(vector, matching))
        }
        _ => false,
    }
}

/// What holds for the labels of every series that a node gives.
fn demanded(node: &Node) -> Vec<Matcher> {
    match &node.plan {
        Plan::Select(s) | Plan::Window(s, _) => s.matchers.clone(),
        Plan::Negate(inner) | Plan::Invariant(inner) => demanded(inner),
        Plan::Subquery(s) => demanded(&s.input),
        Plan::Aggregate(a) => {
            use AggregateOp as A;
            let mut known = demanded(&a.input);
            match a.op {
                A::Topk | A::Bottomk | A::Limitk | A::LimitRatio => {}
                // Its own label may stand in for one of the input's.
                A::CountValues => known.clear(),
                _ => known.retain(|m| a.grouping.contains(&m.name) != a.without),
            }
            known
        }
        Plan::Call(id, _, args) if keeps_labels(*id) => {
            let vector = args.iter().find(|a| matches!(a.value_type, ValueType::Vector | ValueType::Matrix));
            vector.map_or_else(Vec::new, demanded)
        }
        _ => Vec::new(),
    }
}

/// Whether a function leaves all labels but those of the metric as they are.
fn keeps_labels(id: FunctionId) -> bool {
    id != FunctionId::AbsentOverTime && (range_function(id).is_some() || number_function(id).is_some())
}

/// Adds matchers to a plain selector.
fn restrict(node: &mut Node, known: Vec<Matcher>) {
    match &mut node.plan {
        Plan::Invariant(inner) => restrict(inner, known),
        Plan::Select(s) if s.extension.is_none() => {
            let same = |a: &Matcher, b: &Matcher| (a.op, &a.name, &a.value) == (b.op, &b.name, &b.value);
            for matcher in known {
                if !s.matchers.iter().any(|m| same(m, &matcher)) {
                    s.matchers.push(matcher);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{Options, parse};
    use crate::plan::{QueryTimes, build};

    fn plan(query: &str) -> String {
        let expr = parse(query, &Options::all_features()).unwrap();
        build(&expr, QueryTimes { start: 0, end: 0, step: 0 }, 60_000).unwrap().to_string()
    }

    /// How often `matcher` stands in the plan.
    fn times(query: &str, matcher: &str) -> usize {
        plan(query).matches(matcher).count()
    }

    #[test]
    fn matchers_cross_where_nothing_else_can_show() {
        for (query, matcher, expected) in [
            // From the "one" side to the "many" side.
            (r#"a / b{x="1"}"#, r#"x="1""#, 2),
            (r#"a / on (x) sum by (x) (b{x="1"})"#, r#"x="1""#, 2),
            (r#"a / ignoring (y) sum by (x) (b{x="1"})"#, r#"x="1""#, 2),
            (r#"a * on (x) group_left () sum by (x) (rate(b{x=~"1|2"}[5m]))"#, r#"x=~"1|2""#, 2),
            (r#"max by (x) (b{x="1"}) * on (x) group_right () a"#, r#"x="1""#, 2),
            (r#"a @ 5 / b{x="1"}"#, r#"x="1""#, 2),
            // Duplicates on the "one" side are an error wherever they stand.
            (r#"a{x="1"} / b"#, r#"x="1""#, 1),
            // There may be such, and where nothing is left on the other side they would not be seen.
            (r#"a / on (x) b{x="1"}"#, r#"x="1""#, 1),
            (r#"a / ignoring (y) b{x="1"}"#, r#"x="1""#, 1),
            (r#"a / {__name__=~"b.*", x="1"}"#, r#"x="1""#, 1),
            (r#"a * on (x) group_left (y) sum by (x, y) (rate(b{x="1"}[5m]))"#, r#"x="1""#, 1),
            (r#"b{x="1"} * on (x) group_right () a"#, r#"x="1""#, 1),
            // Not by this label.
            (r#"a / on (y) b{x="1"}"#, r#"x="1""#, 1),
            (r#"a / ignoring (x) b{x="1"}"#, r#"x="1""#, 1),
            (r#"a / sum by (y) (b{x="1"})"#, r#"x="1""#, 1),
            (r#"a / sum without (x) (b{x="1"})"#, r#"x="1""#, 1),
            (r#"a / label_replace(b{x="1"}, "x", "2", "", "")"#, r#"x="1""#, 1),
            // What is filled in has no partner.
            (r#"a + fill(0) b{x="1"}"#, r#"x="1""#, 1),
            // A function has something to say about series that meet nobody.
            (r#"rate(a[5m]) / b{x="1"}"#, r#"x="1""#, 1),
            // Sets have no duplicates.
            (r#"a{x="1"} and b"#, r#"x="1""#, 2),
            (r#"a and b{x="1"}"#, r#"x="1""#, 2),
            (r#"a{x="1"} unless b"#, r#"x="1""#, 2),
            (r#"a unless b{x="1"}"#, r#"x="1""#, 1),
            (r#"a{x="1"} or b"#, r#"x="1""#, 1),
            // The metric's name is not matched by.
            (r#"{__name__=~"a.*"} and b"#, r#"__name__=~"a.*""#, 1),
        ] {
            assert_eq!(times(query, matcher), expected, "{query}\n{}", plan(query));
        }
    }
}
