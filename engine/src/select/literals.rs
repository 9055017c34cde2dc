//! What can be known about a regular expression without running it.

use super::{MatchOp, Matcher};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Most literals an expression is expanded into.
const LITERALS_MAX: usize = 4096;

/// Which values an (anchored) matcher's pattern can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Exactly these.
    Set(Vec<String>),
    /// Only values that begin like this.
    Prefix(String),
    /// Nothing is known.
    Any,
}

/// The shape of a matcher's pattern (of what the pattern itself matches, also for `!=` and `!~`).
pub(crate) fn shape(matcher: &Matcher) -> Shape {
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => Shape::Set(vec![matcher.value.clone()]),
        MatchOp::Regex | MatchOp::NotRegex => matcher.regex_source().map_or(Shape::Any, shape_of),
    }
}

fn shape_of(pattern: &str) -> Shape {
    let Ok(hir) = regex_syntax::parse(pattern) else { return Shape::Any };
    if let Some(mut literals) = expand(&hir) {
        literals.sort();
        literals.dedup();
        let strings: Option<Vec<String>> = literals.into_iter().map(|l| String::from_utf8(l).ok()).collect();
        return strings.map_or(Shape::Any, Shape::Set);
    }
    let mut prefix = Vec::new();
    leading(&hir, &mut prefix);
    match String::from_utf8(prefix) {
        Ok(prefix) if !prefix.is_empty() => Shape::Prefix(prefix),
        _ => Shape::Any,
    }
}

/// All strings the expression matches, when they are few.
fn expand(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::Start | Look::End) => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(class) => {
            let Class::Unicode(class) = class else { return None };
            let mut out = Vec::new();
            for range in class.iter() {
                for c in range.start()..=range.end() {
                    if out.len() >= 64 {
                        return None;
                    }
                    out.push(c.to_string().into_bytes());
                }
            }
            Some(out)
        }
        HirKind::Capture(capture) => expand(&capture.sub),
        HirKind::Alternation(branches) => {
            let mut out = Vec::new();
            for branch in branches {
                out.extend(expand(branch)?);
                if out.len() > LITERALS_MAX {
                    return None;
                }
            }
            Some(out)
        }
        HirKind::Concat(parts) => {
            let mut out = vec![Vec::new()];
            for part in parts {
                let tails = expand(part)?;
                if out.len() * tails.len() > LITERALS_MAX {
                    return None;
                }
                out = out
                    .iter()
                    .flat_map(|head: &Vec<u8>| tails.iter().map(move |tail| [head.as_slice(), tail].concat()))
                    .collect();
            }
            Some(out)
        }
        HirKind::Repetition(repetition) if repetition.min == 0 && repetition.max == Some(1) => {
            let mut out = expand(&repetition.sub)?;
            out.push(Vec::new());
            Some(out)
        }
        HirKind::Repetition(_) | HirKind::Look(_) => None,
    }
}

/// Appends the literal with which every match begins. Returns whether the whole of `hir` was literal.
fn leading(hir: &Hir, prefix: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::Start) => true,
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => leading(&capture.sub, prefix),
        HirKind::Concat(parts) => parts.iter().all(|part| leading(part, prefix)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(literals: &[&str]) -> Shape {
        Shape::Set(literals.iter().map(|s| (*s).to_owned()).collect())
    }

    #[test]
    fn expressions_become_literals_and_prefixes_where_they_are_that() {
        assert_eq!(shape_of("^(?s:abc)$"), set(&["abc"]));
        assert_eq!(shape_of("^(?s:a|bc|d[01])$"), set(&["a", "bc", "d0", "d1"]));
        assert_eq!(shape_of("^(?s:)$"), set(&[""]));
        assert_eq!(shape_of("^(?s:ab?)$"), set(&["a", "ab"]));
        assert_eq!(shape_of("^(?s:node_.*)$"), Shape::Prefix("node_".into()));
        assert_eq!(shape_of("^(?s:.*x)$"), Shape::Any);
        assert_eq!(shape_of("^(?s:(?i:ab))$"), set(&["AB", "Ab", "aB", "ab"]));
        assert_eq!(shape_of("^(?s:a+)$"), Shape::Any);
    }
}
