//! The plan as text, one node a line, children indented: what `explain` answers.

use super::{Node, Plan, Selector};
use std::fmt;

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_node(self, 0, f)
    }
}

fn write_selector(s: &Selector, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (i, m) in s.matchers.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        write!(f, "{comma}{m}")?;
    }
    f.write_str("}")?;
    write_anchor(s.anchor, f)?;
    match s.extension {
        Some(extension) => write!(f, " {extension:?}"),
        None => Ok(()),
    }
}

fn write_anchor(anchor: crate::execute::select::Anchor, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(at) = anchor.at {
        write!(f, " at {at} ms")?;
    }
    if anchor.offset != 0 {
        write!(f, " offset {} ms", anchor.offset)?;
    }
    Ok(())
}

fn write_node(node: &Node, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:1$}", "", depth * 2)?;
    let mut children: Vec<&Node> = Vec::new();
    match &node.plan {
        Plan::Number(n) => write!(f, "number {n}")?,
        Plan::Text(t) => write!(f, "text {t:?}")?,
        Plan::Select(s) => {
            f.write_str("select ")?;
            write_selector(s, f)?;
        }
        Plan::Window(s, range) => {
            write!(f, "window {range} ms of ")?;
            write_selector(s, f)?;
        }
        Plan::Subquery(s) => {
            write!(f, "subquery {} ms, step {} ms", s.range, s.step)?;
            write_anchor(s.anchor, f)?;
            children.push(&s.input);
        }
        Plan::Negate(inner) => {
            f.write_str("negate")?;
            children.push(inner);
        }
        Plan::Binary(b) => {
            write!(f, "binary {}{}", b.op, if b.return_bool { " bool" } else { "" })?;
            if let Some(m) = &b.matching {
                let word = if m.on { "on" } else { "ignoring" };
                write!(f, " {} {word} {:?}", m.card.as_str(), m.labels)?;
            }
            children.extend([&b.lhs, &b.rhs]);
        }
        Plan::Aggregate(a) => {
            write!(f, "aggregate {} {} {:?}", a.op, if a.without { "without" } else { "by" }, a.grouping)?;
            children.extend(a.param.iter().chain([&a.input]));
        }
        Plan::Call(_, name, args) => {
            write!(f, "call {name}")?;
            children.extend(args);
        }
        Plan::Invariant(inner) => {
            f.write_str("once")?;
            children.push(inner);
        }
    }
    f.write_str("\n")?;
    children.into_iter().try_for_each(|child| write_node(child, depth + 1, f))
}
