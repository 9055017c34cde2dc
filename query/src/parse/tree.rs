//! The syntax tree as plain data, for `parse_query`.
//!
//! Where it sits: above the tree; the server writes it as JSON. Shapes, each with its `type`:
//! `aggregation` {op, expr, param, grouping, without}; `binaryExpr` {op, lhs, rhs, bool, matching: null or
//! {card, labels, on, include, fillValues: {lhs, rhs}}}; `call` {func: {name, argTypes, variadic,
//! returnType}, args}; `matrixSelector` and `vectorSelector` {name, matchers: [{name, value, type}],
//! offset (ms), offsetExpr, timestamp (ms), startOrEnd, anchored, smoothed}, the former with {range (ms),
//! rangeExpr}; `subquery` {expr, range, rangeExpr, step, stepExpr, offset, offsetExpr, timestamp,
//! startOrEnd}; `numberLiteral` and `stringLiteral` {val}; `parenExpr` {expr}; `unaryExpr` {op, expr};
//! `durationExpr` {op, lhs, rhs, wrapped}, inside which a `numberLiteral` has {duration} too.
//! A duration without arithmetic stands in the number, else in the expression, and the number is 0.

use super::ast::{At, DurationExpr, DurationKind, Expr, VectorMatching, VectorSelector};
use super::text::float;

/// A piece of plain data.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Named pieces.
    Map(Vec<(&'static str, Node)>),
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The tree of `expr`.
#[must_use]
pub fn tree(expr: &Expr) -> Node {
    let map = match expr {
        Expr::Number(e) => vec![("type", "numberLiteral".into()), ("val", Node::Text(float(e.value)))],
        Expr::String(e) => vec![("type", "stringLiteral".into()), ("val", e.value.as_str().into())],
        Expr::Paren(e) => vec![("type", "parenExpr".into()), ("expr", tree(&e.expr))],
        Expr::Unary(e) => {
            vec![("type", "unaryExpr".into()), ("op", e.op.as_str().into()), ("expr", tree(&e.expr))]
        }
        Expr::Binary(e) => vec![
            ("type", "binaryExpr".into()),
            ("op", e.op.as_str().into()),
            ("lhs", tree(&e.lhs)),
            ("rhs", tree(&e.rhs)),
            ("matching", e.matching.as_ref().map_or(Node::Null, matching)),
            ("bool", Node::Bool(e.return_bool)),
        ],
        Expr::Aggregate(e) => vec![
            ("type", "aggregation".into()),
            ("op", e.op.as_str().into()),
            ("expr", tree(&e.expr)),
            ("param", e.param.as_ref().map_or(Node::Null, tree)),
            ("grouping", texts(&e.grouping)),
            ("without", Node::Bool(e.without)),
        ],
        Expr::Call(e) => vec![
            ("type", "call".into()),
            (
                "func",
                Node::Map(vec![
                    ("name", e.function.name.into()),
                    ("argTypes", Node::List(e.function.args.iter().map(|t| t.as_str().into()).collect())),
                    ("variadic", Node::Int(i64::from(e.function.variadic))),
                    ("returnType", e.function.returns.as_str().into()),
                ]),
            ),
            ("args", Node::List(e.args.iter().map(tree).collect())),
        ],
        Expr::Vector(e) => {
            let mut map = vec![("type", "vectorSelector".into())];
            selector(&mut map, e);
            map
        }
        Expr::Matrix(e) => {
            let mut map = vec![("type", "matrixSelector".into())];
            duration(&mut map, "range", "rangeExpr", Some(&e.range));
            selector(&mut map, &e.selector);
            map
        }
        Expr::Subquery(e) => {
            let mut map = vec![("type", "subquery".into()), ("expr", tree(&e.expr))];
            duration(&mut map, "range", "rangeExpr", Some(&e.range));
            duration(&mut map, "step", "stepExpr", e.step.as_ref());
            duration(&mut map, "offset", "offsetExpr", e.offset.as_ref());
            at(&mut map, e.at);
            map
        }
    };
    Node::Map(map)
}

fn texts(list: &[String]) -> Node {
    Node::List(list.iter().map(|text| text.as_str().into()).collect())
}

fn matching(matching: &VectorMatching) -> Node {
    let fill = |value: Option<f64>| value.map_or(Node::Null, Node::Float);
    Node::Map(vec![
        ("card", matching.card.as_str().into()),
        ("labels", texts(&matching.labels)),
        ("on", Node::Bool(matching.on)),
        ("include", texts(&matching.include)),
        ("fillValues", Node::Map(vec![("lhs", fill(matching.fill_lhs)), ("rhs", fill(matching.fill_rhs))])),
    ])
}

fn selector(map: &mut Vec<(&'static str, Node)>, selector: &VectorSelector) {
    let matchers = selector.matchers.iter().map(|m| {
        Node::Map(vec![
            ("name", m.name.as_str().into()),
            ("value", m.value.as_str().into()),
            ("type", Node::Text(m.op.to_string())),
        ])
    });
    map.push(("name", selector.name.as_str().into()));
    duration(map, "offset", "offsetExpr", selector.offset.as_ref());
    map.push(("matchers", Node::List(matchers.collect())));
    at(map, selector.at);
    map.push(("anchored", Node::Bool(selector.anchored)));
    map.push(("smoothed", Node::Bool(selector.smoothed)));
}

fn at(map: &mut Vec<(&'static str, Node)>, at: Option<At>) {
    map.push(("timestamp", if let Some(At::Timestamp(ms)) = at { Node::Int(ms) } else { Node::Null }));
    map.push((
        "startOrEnd",
        match at {
            Some(At::Start) => "start".into(),
            Some(At::End) => "end".into(),
            _ => Node::Null,
        },
    ));
}

/// A duration twice: as milliseconds if it is a literal, as an expression if it is none.
fn duration(
    map: &mut Vec<(&'static str, Node)>,
    number: &'static str,
    expression: &'static str,
    duration: Option<&DurationExpr>,
) {
    let literal = duration.and_then(DurationExpr::as_literal);
    let ms = literal.map_or(0, |seconds| (seconds * 1e9).round() as i64 / 1_000_000);
    map.push((number, Node::Int(ms)));
    map.push((expression, duration.filter(|_| literal.is_none()).map_or(Node::Null, duration_expr)));
}

fn duration_expr(duration: &DurationExpr) -> Node {
    let (op, lhs, rhs) = match &duration.kind {
        DurationKind::Number { seconds, duration } => {
            return Node::Map(vec![
                ("type", "numberLiteral".into()),
                ("val", Node::Text(float(*seconds))),
                ("duration", Node::Bool(*duration)),
            ]);
        }
        DurationKind::Step => ("step", Node::Null, Node::Null),
        DurationKind::Range => ("range", Node::Null, Node::Null),
        DurationKind::Neg(inner) => ("-", Node::Null, duration_expr(inner)),
        DurationKind::Binary(op, a, b) => (op.as_str(), duration_expr(a), duration_expr(b)),
    };
    Node::Map(vec![
        ("type", "durationExpr".into()),
        ("op", op.into()),
        ("lhs", lhs),
        ("rhs", rhs),
        ("wrapped", Node::Bool(duration.wrapped)),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::{Options, parse};
    use super::*;

    fn field<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, name| match node {
            Node::Map(map) => &map.iter().find(|(key, _)| key == name).expect("the field is there").1,
            _ => panic!("{name}: no map"),
        })
    }

    #[test]
    fn durations_stand_as_number_or_expression() {
        let query = "sum(rate(x{a='b'}[5m] offset (step()*2))) + on(a) y @ end()";
        let node = tree(&parse(query, &Options::all_features()).expect("a valid query"));
        assert_eq!(field(&node, &["matching", "card"]), &Node::from("one-to-one"));
        assert_eq!(field(&node, &["rhs", "startOrEnd"]), &Node::from("end"));
        let Node::List(args) = field(&node, &["lhs", "expr", "args"]) else { panic!("args are a list") };
        assert_eq!(field(&args[0], &["range"]), &Node::Int(300_000));
        assert_eq!(field(&args[0], &["rangeExpr"]), &Node::Null);
        assert_eq!(field(&args[0], &["offset"]), &Node::Int(0));
        assert_eq!(field(&args[0], &["offsetExpr", "op"]), &Node::from("*"));
        assert_eq!(field(&args[0], &["offsetExpr", "rhs", "val"]), &Node::from("2"));
    }
}
