//! What this parser and the promql-parser crate both accept must mean the same.

use crate::generate::{Dialect, query};
use promql_parser::label::MatchOp as PeerMatchOp;
use promql_parser::parser as peer;
use proptest::prelude::*;
use query::parse::{
    At, Card, DurationContext, DurationExpr, Expr, Options, UnaryOp, VectorMatching, VectorSelector, parse,
};
use std::time::{Duration, UNIX_EPOCH};

/// A tree in a form that both parsers' trees can be brought to.
fn ours(expr: &Expr) -> String {
    let ms = |d: &DurationExpr| d.resolve(DurationContext::default(), true).expect("a literal duration");
    let selector = |s: &VectorSelector| {
        let matchers = s.matchers.iter().map(|m| format!("{}{}{:?}", m.name, m.op, m.value));
        (sorted(matchers.collect()), s.offset.as_ref().map_or(0, ms), s.at.map(our_at).unwrap_or_default())
    };
    match expr {
        Expr::Number(e) => format!("{:?}", e.value),
        Expr::String(e) => format!("{:?}", e.value),
        Expr::Paren(e) => format!("paren({})", ours(&e.expr)),
        // The peer drops a plus.
        Expr::Unary(e) if e.op == UnaryOp::Plus => ours(&e.expr),
        Expr::Unary(e) => format!("minus({})", ours(&e.expr)),
        Expr::Vector(s) => format!("{:?}", selector(s)),
        Expr::Matrix(m) => format!("{:?}[{}]", selector(&m.selector), ms(&m.range)),
        Expr::Subquery(s) => format!(
            "({}[{}:{:?}] {} {})",
            ours(&s.expr),
            ms(&s.range),
            s.step.as_ref().map(ms),
            s.offset.as_ref().map_or(0, ms),
            s.at.map(our_at).unwrap_or_default()
        ),
        Expr::Call(c) => format!("{}{:?}", c.function.name, c.args.iter().map(ours).collect::<Vec<_>>()),
        Expr::Aggregate(a) => format!(
            "{}({:?} {} {} {:?})",
            a.op,
            a.param.as_ref().map(ours),
            ours(&a.expr),
            a.without,
            a.grouping
        ),
        Expr::Binary(b) => {
            let default = VectorMatching::default();
            let m = b.matching.as_ref().unwrap_or(&default);
            let card = if b.op.is_set() { Card::ManyToMany } else { m.card };
            format!(
                "({} {} {} {} {} {:?} {:?} {:?} {})",
                ours(&b.lhs),
                b.op,
                b.return_bool,
                card.as_str(),
                m.on,
                m.labels,
                m.include,
                (m.fill_lhs, m.fill_rhs),
                ours(&b.rhs)
            )
        }
    }
}

fn our_at(at: At) -> String {
    match at {
        At::Start => "start".to_owned(),
        At::End => "end".to_owned(),
        At::Timestamp(ms) => ms.to_string(),
    }
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

fn theirs(expr: &peer::Expr) -> String {
    let ms = |d: &Duration| d.as_millis() as i64;
    let offset = |o: &Option<peer::Offset>| match o {
        None => 0,
        Some(peer::Offset::Pos(d)) => ms(d),
        Some(peer::Offset::Neg(d)) => -ms(d),
    };
    let selector = |s: &peer::VectorSelector| {
        let name = s.name.iter().map(|name| format!("__name__={name:?}"));
        let matchers = s.matchers.matchers.iter().map(|m| {
            let op = match &m.op {
                PeerMatchOp::Equal => "=",
                PeerMatchOp::NotEqual => "!=",
                PeerMatchOp::Re(_) => "=~",
                PeerMatchOp::NotRe(_) => "!~",
            };
            format!("{}{op}{:?}", m.name, m.value)
        });
        let at = s.at.as_ref().map(their_at).unwrap_or_default();
        (sorted(name.chain(matchers).collect()), offset(&s.offset), at)
    };
    match expr {
        peer::Expr::NumberLiteral(e) => format!("{:?}", e.val),
        peer::Expr::StringLiteral(e) => format!("{:?}", e.val),
        peer::Expr::Paren(e) => format!("paren({})", theirs(&e.expr)),
        peer::Expr::Unary(e) => format!("minus({})", theirs(&e.expr)),
        peer::Expr::VectorSelector(s) => format!("{:?}", selector(s)),
        peer::Expr::MatrixSelector(m) => format!("{:?}[{}]", selector(&m.vs), ms(&m.range)),
        peer::Expr::Subquery(s) => format!(
            "({}[{}:{:?}] {} {})",
            theirs(&s.expr),
            ms(&s.range),
            s.step.as_ref().map(ms),
            offset(&s.offset),
            s.at.as_ref().map(their_at).unwrap_or_default()
        ),
        peer::Expr::Call(c) => {
            format!("{}{:?}", c.func.name, c.args.args.iter().map(|a| theirs(a)).collect::<Vec<_>>())
        }
        peer::Expr::Aggregate(a) => {
            let (without, labels) = grouping(&a.modifier);
            format!(
                "{}({:?} {} {without} {labels:?})",
                a.op,
                a.param.as_ref().map(|p| theirs(p)),
                theirs(&a.expr)
            )
        }
        peer::Expr::Binary(b) => their_binary(b),
        peer::Expr::Extension(_) => "extension".to_owned(),
    }
}

fn their_binary(b: &peer::BinaryExpr) -> String {
    let op = b.op.to_string();
    let set = matches!(op.as_str(), "and" | "or" | "unless");
    let modifier = b.modifier.as_ref();
    let (ignoring, labels) = grouping(&modifier.and_then(|m| m.matching.clone()));
    let on = modifier.is_some_and(|m| m.matching.is_some()) && !ignoring;
    let (card, include) = match modifier.map(|m| &m.card) {
        _ if set => (Card::ManyToMany, Vec::new()),
        Some(peer::VectorMatchCardinality::ManyToOne(l)) => (Card::ManyToOne, l.labels.clone()),
        Some(peer::VectorMatchCardinality::OneToMany(l)) => (Card::OneToMany, l.labels.clone()),
        Some(peer::VectorMatchCardinality::ManyToMany) => (Card::ManyToMany, Vec::new()),
        Some(peer::VectorMatchCardinality::OneToOne) | None => (Card::OneToOne, Vec::new()),
    };
    let fill = modifier.map(|m| (m.fill_values.lhs, m.fill_values.rhs)).unwrap_or_default();
    format!(
        "({} {op} {} {} {on} {labels:?} {include:?} {fill:?} {})",
        theirs(&b.lhs),
        modifier.is_some_and(|m| m.return_bool),
        card.as_str(),
        theirs(&b.rhs)
    )
}

fn their_at(at: &peer::AtModifier) -> String {
    match at {
        peer::AtModifier::Start => "start".to_owned(),
        peer::AtModifier::End => "end".to_owned(),
        peer::AtModifier::At(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis().to_string(),
            Err(before) => format!("-{}", before.duration().as_millis()),
        },
    }
}

/// Whether the labels are excluded, and which they are.
fn grouping(modifier: &Option<peer::LabelModifier>) -> (bool, Vec<String>) {
    match modifier {
        Some(peer::LabelModifier::Include(l)) => (false, l.labels.clone()),
        Some(peer::LabelModifier::Exclude(l)) => (true, l.labels.clone()),
        None => (false, Vec::new()),
    }
}

fn compare(text: &str) -> Result<bool, String> {
    let (Ok(a), Ok(b)) = (parse(text, &Options::all_features()), peer::parse(text)) else { return Ok(false) };
    let (a, b) = (ours(&a), theirs(&b));
    if a == b { Ok(true) } else { Err(format!("{text}\n  ours: {a}\ntheirs: {b}")) }
}

proptest! {
    #![proptest_config(crate::cases(3000))]

    #[test]
    fn what_both_accept_means_the_same(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Err(difference) = compare(&query(&bytes, Dialect::Common)) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

#[test]
fn both_accept_most_of_the_common_language() {
    let mut state = 3_u64;
    let both = (0..500).filter(|_| {
        let bytes: Vec<u8> = (0..60)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        compare(&query(&bytes, Dialect::Common)).unwrap_or_else(|difference| panic!("{difference}"))
    });
    let both = both.count();
    assert!(both > 480, "only {both} of 500");
}
