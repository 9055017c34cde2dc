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
    if let Some(extension) = s.extension {
        write!(f, " {extension:?}")?;
    }
    f.write_str(if s.stats { " counts and sums" } else { "" })
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

impl Node {
    /// What the node itself does, without those below.
    pub(crate) fn line(&self) -> String {
        Line(self).to_string()
    }
}

struct Line<'a>(&'a Node);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(self.0, f)
    }
}

fn write_node(node: &Node, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{:2$}{}", "", Line(node), depth * 2)?;
    node.children().into_iter().try_for_each(|child| write_node(child, depth + 1, f))
}

fn write_line(node: &Node, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        }
        Plan::Negate(_) => f.write_str("negate")?,
        Plan::Binary(b) => {
            write!(f, "binary {}{}", b.op, if b.return_bool { " bool" } else { "" })?;
            if let Some(m) = &b.matching {
                let word = if m.on { "on" } else { "ignoring" };
                write!(f, " {} {word} {:?}", m.card.as_str(), m.labels)?;
                if !m.include.is_empty() {
                    write!(f, " include {:?}", m.include)?;
                }
                for (side, fill) in [("left", m.fill_lhs), ("right", m.fill_rhs)] {
                    if let Some(fill) = fill {
                        write!(f, " fill {side} {fill}")?;
                    }
                }
            }
        }
        Plan::Aggregate(a) => {
            write!(f, "aggregate {} {} {:?}", a.op, if a.without { "without" } else { "by" }, a.grouping)?;
        }
        Plan::Call(_, name, _) => write!(f, "call {name}")?,
        Plan::Invariant(_) => f.write_str("once")?,
    }
    Ok(())
}
