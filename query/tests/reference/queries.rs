//! Random queries, made so that most of them have an answer.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

fn one_of(words: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(words).prop_map(str::to_owned).boxed()
}

fn duration() -> BoxedStrategy<String> {
    one_of(&["15s", "30s", "1m", "2m30s", "5m", "10m", "1ms"])
}

fn modifier() -> BoxedStrategy<String> {
    one_of(&["", "", "", "", " offset 1m", " offset -30s", " @ 300", " @ start()", " @ end() offset 10s"])
}

fn selector() -> BoxedStrategy<String> {
    let metric = one_of(&["m", "n", "o", "m", "n", "missing"]);
    let matchers = one_of(&["", "", r#"{a="x"}"#, r#"{b!="1"}"#, r#"{a=~"x|y"}"#, r#"{b=~"[12]",a=""}"#]);
    (metric, matchers).prop_map(|(m, l)| format!("{m}{l}")).boxed()
}

fn number() -> BoxedStrategy<String> {
    one_of(&["0", "1", "2", "-3", "0.5", "7.25", "NaN", "Inf", "time()", "scalar(m{a=\"x\",b=\"1\"})"])
}

const RANGE_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "deriv",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "absent_over_time",
];

fn over_range(range: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![
        8 => (one_of(RANGE_FUNCTIONS), range.clone()).prop_map(|(f, r)| format!("{f}({r})")),
        1 => (one_of(&["0.5", "0", "1", "0.33"]), range.clone())
            .prop_map(|(q, r)| format!("quantile_over_time({q}, {r})")),
        1 => range.prop_map(|r| format!("predict_linear({r}, 60)")),
    ]
    .boxed()
}

fn leaf() -> BoxedStrategy<String> {
    let instant = (selector(), modifier()).prop_map(|(s, m)| format!("{s}{m}")).boxed();
    let range = (selector(), duration(), modifier()).prop_map(|(s, d, m)| format!("{s}[{d}]{m}")).boxed();
    prop_oneof![
        3 => instant,
        4 => over_range(range),
        1 => number().prop_map(|n| format!("vector({n})")),
    ]
    .boxed()
}

fn grouping() -> BoxedStrategy<String> {
    one_of(&["", " by (a)", " by (b)", " by (a, b)", " without (a)", " without (b)", " by (c)"])
}

fn aggregate(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let plain = one_of(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
    let quantile = one_of(&["0.5", "0.9", "0", "1"]).prop_map(|q| format!("quantile({q}, "));
    prop_oneof![
        8 => (plain, grouping(), inner.clone()).prop_map(|(op, g, e)| format!("{op}{g} ({e})")),
        1 => (quantile, inner.clone(), grouping()).prop_map(|(q, e, g)| format!("{q}{e}){g}")),
        // Only what is exact: the value becomes a label.
        1 => (selector(), grouping()).prop_map(|(e, g)| format!("count_values(\"v\", {e}){g}")),
    ]
    .boxed()
}

fn function(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![
        3 => (one_of(&["abs", "sgn", "-", "absent", "timestamp", "sort", "sqrt"]), inner.clone())
            .prop_map(|(f, e)| format!("{f}({e})")),
        1 => inner.clone().prop_map(|e| format!("clamp({e}, 1, 20)")),
        1 => inner.clone().prop_map(|e| format!("round({e}, 5)")),
        1 => inner.clone().prop_map(|e| format!(r#"label_replace({e}, "c", "$1-z", "a", "(.*)")"#)),
        1 => inner.prop_map(|e| format!(r#"label_join({e}, "a", "-", "b", "a")"#)),
    ]
    .boxed()
}

fn binary(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let arithmetic = one_of(&["+", "-", "*", "/", "%", "^", "atan2"]);
    let comparison = one_of(&["==", "!=", ">", "<=", "> bool", "== bool"]);
    let operator = prop_oneof![arithmetic, comparison].boxed();
    let set = one_of(&["and", "or", "unless"]);
    let matching = one_of(&["", "", " on (a)", " on (a, b)", " ignoring (a)", " ignoring (b)", " on ()"]);
    let group = one_of(&["", "", " group_left ()", " group_right ()", " group_left (c)", " group_right (a)"]);
    let join = (inner.clone(), operator.clone(), matching.clone(), group, inner.clone());
    prop_oneof![
        3 => (inner.clone(), operator.clone(), number()).prop_map(|(l, o, r)| format!("({l}) {o} ({r})")),
        2 => (number(), operator, inner.clone()).prop_map(|(l, o, r)| format!("({l}) {o} ({r})")),
        4 => join.prop_filter_map("labels of on cannot be included", |(l, o, m, g, r)| {
            let clash = g.contains("(a)") && m.contains("on (a");
            let bare = !g.is_empty() && m.is_empty();
            (!clash && !bare).then(|| format!("({l}) {o}{m}{g} ({r})"))
        }),
        3 => (inner.clone(), set, matching, inner).prop_map(|(l, o, m, r)| format!("({l}) {o}{m} ({r})")),
    ]
    .boxed()
}

/// An expression that evaluates to an instant vector.
pub(crate) fn vector() -> BoxedStrategy<String> {
    leaf()
        .prop_recursive(3, 12, 2, |inner| {
            let inner = inner.boxed();
            let subquery = (inner.clone(), duration(), one_of(&["30s", "1m", "7s", ""]), modifier())
                .prop_map(|(e, range, step, m)| format!("({e})[{range}:{step}]{m}"))
                .boxed();
            prop_oneof![
                3 => aggregate(inner.clone()),
                2 => function(inner.clone()),
                4 => binary(inner),
                2 => over_range(subquery),
            ]
        })
        .boxed()
}
