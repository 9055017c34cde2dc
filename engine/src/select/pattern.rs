//! Regular expressions of matchers: what can be known about them without running them.
//!
//! Where it sits: under `matcher.rs`; `postings.rs` plans by the shape. Invariant: a shape other than
//! [`Shape::Prefixes`] and [`Shape::Any`] says exactly which values match, so the expression is never run.

use super::matcher::MatcherError;
use super::re2;
use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::fmt;

/// Most literals an expression is expanded into.
const LITERALS_MAX: usize = 4096;
/// Most prefixes that are looked up instead of all values.
const PREFIXES_MAX: usize = 64;
/// A class with more characters is not expanded.
const CLASS_MAX: usize = 64;

/// Which values an (anchored) expression can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Exactly these, sorted.
    Set(Vec<String>),
    /// Exactly those that begin and end like this, with this many bytes between at least (`a.*b`, `.+`).
    Ends { prefix: String, suffix: String, between: usize },
    /// Exactly those that contain this (`.*a.*`).
    Contains(String),
    /// Only values that begin like one of these, none of which begins like another.
    Prefixes(Vec<String>),
    /// Nothing is known.
    Any,
}

/// A compiled expression.
#[derive(Clone)]
pub(crate) struct Pattern {
    shape: Shape,
    /// Compiled only where the shape does not say everything.
    regex: Option<Regex>,
    empty: bool,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shape.fmt(f)
    }
}

impl Pattern {
    /// Compiles an expression in RE2's dialect as Prometheus does: anchored at both ends, `.` matching
    /// newlines.
    ///
    /// # Errors
    /// When it does not compile or is too large.
    pub(crate) fn new(pattern: &str) -> Result<Self, MatcherError> {
        let text = format!("^(?s:{})$", re2::translate(pattern)?);
        let shape = regex_syntax::parse(&text).map_or(Shape::Any, |hir| shape_of(&hir));
        let regex = match shape {
            Shape::Prefixes(_) | Shape::Any => Some(compile(&text)?),
            Shape::Set(_) | Shape::Ends { .. } | Shape::Contains(_) => None,
        };
        let mut pattern = Self { shape, regex, empty: false };
        pattern.empty = pattern.test("");
        Ok(pattern)
    }

    /// What is known about it.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether a value matches.
    #[inline]
    pub(crate) fn is_match(&self, value: &str) -> bool {
        if value.is_empty() { self.empty } else { self.test(value) }
    }

    fn test(&self, value: &str) -> bool {
        match &self.shape {
            Shape::Set(literals) => literals.binary_search_by(|l| l.as_str().cmp(value)).is_ok(),
            Shape::Ends { prefix, suffix, between } => {
                value.len() >= prefix.len() + between + suffix.len()
                    && value.starts_with(prefix.as_str())
                    && value.ends_with(suffix.as_str())
            }
            Shape::Contains(literal) => value.contains(literal.as_str()),
            Shape::Prefixes(_) | Shape::Any => self.regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }
}

pub(super) fn compile(anchored: &str) -> Result<Regex, MatcherError> {
    let compiled = regex::RegexBuilder::new(anchored).size_limit(4 << 20).build();
    compiled.map_err(|e| MatcherError(e.to_string()))
}

/// The shape of an expression that is anchored at both ends.
fn shape_of(hir: &Hir) -> Shape {
    let whole = std::slice::from_ref(hir);
    let parts = if let HirKind::Concat(parts) = hir.kind() { parts } else { whole };
    let inner = match parts {
        [first, inner @ .., last] if is_look(first, Look::Start) && is_look(last, Look::End) => inner,
        _ => return Shape::Any,
    };
    if let Some(literals) = expand_all(inner) {
        let strings: Option<Vec<String>> = literals.into_iter().map(|l| String::from_utf8(l).ok()).collect();
        return strings.map_or(Shape::Any, |mut strings| {
            strings.sort_unstable();
            strings.dedup();
            Shape::Set(strings)
        });
    }
    exact_ends(inner).unwrap_or_else(|| {
        let (prefixes, _) = leading_all(inner);
        let strings: Option<Vec<String>> = prefixes.into_iter().map(|p| String::from_utf8(p).ok()).collect();
        strings.filter(|s| s.iter().all(|p| !p.is_empty())).map_or(Shape::Any, |mut strings| {
            strings.sort_unstable();
            // What begins like one before it stands right behind it and its likes.
            strings.dedup_by(|later, kept| later.starts_with(kept.as_str()));
            Shape::Prefixes(strings)
        })
    })
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(l) if *l == look)
}

/// `.*` (0) or `.+` (1), where the dot is any character.
fn gap(hir: &Hir) -> Option<usize> {
    let HirKind::Repetition(repetition) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = repetition.sub.kind() else { return None };
    let [range] = class.ranges() else { return None };
    let all = range.start() == '\0' && range.end() == char::MAX;
    (all && repetition.max.is_none() && repetition.min <= 1).then_some(repetition.min as usize)
}

fn literal(hir: &Hir) -> Option<String> {
    if let HirKind::Literal(literal) = hir.kind() { String::from_utf8(literal.0.to_vec()).ok() } else { None }
}

fn exact_ends(parts: &[Hir]) -> Option<Shape> {
    let ends = |prefix, between, suffix| Shape::Ends { prefix, suffix, between };
    Some(match parts {
        [a] => ends(String::new(), gap(a)?, String::new()),
        [a, b] => match gap(a) {
            Some(between) => ends(String::new(), between, literal(b)?),
            None => ends(literal(a)?, gap(b)?, String::new()),
        },
        [a, b, c] => match (gap(a), gap(c)) {
            (Some(0), Some(0)) => Shape::Contains(literal(b)?),
            (None, None) => ends(literal(a)?, gap(b)?, literal(c)?),
            _ => return None,
        },
        _ => return None,
    })
}

/// All strings the expression matches, when they are few.
fn expand(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(Class::Unicode(class)) => {
            let mut out = Vec::new();
            for range in class.iter() {
                for c in range.start()..=range.end() {
                    if out.len() >= CLASS_MAX {
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
        HirKind::Concat(parts) => expand_all(parts),
        HirKind::Repetition(repetition) if repetition.min == 0 && repetition.max == Some(1) => {
            let mut out = expand(&repetition.sub)?;
            out.push(Vec::new());
            Some(out)
        }
        // An anchor inside matches only where it stands at an end after all; that is left to the engine.
        HirKind::Repetition(_) | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => None,
    }
}

fn expand_all(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    let mut out = vec![Vec::new()];
    for part in parts {
        out = product(&out, &expand(part)?, LITERALS_MAX)?;
    }
    Some(out)
}

fn product(heads: &[Vec<u8>], tails: &[Vec<u8>], most: usize) -> Option<Vec<Vec<u8>>> {
    let all = || heads.iter().flat_map(|head| tails.iter().map(move |tail| [head.as_slice(), tail].concat()));
    (heads.len() * tails.len() <= most).then(|| all().collect())
}

/// Strings with one of which every match begins, and whether they are the whole matches.
fn leading(hir: &Hir) -> (Vec<Vec<u8>>, bool) {
    let nothing = || (vec![Vec::new()], false);
    if let Some(all) = expand(hir).filter(|all| all.len() <= PREFIXES_MAX) {
        return (all, true);
    }
    match hir.kind() {
        HirKind::Capture(capture) => leading(&capture.sub),
        HirKind::Concat(parts) => leading_all(parts),
        HirKind::Alternation(branches) => {
            let (mut out, mut whole) = (Vec::new(), true);
            for branch in branches {
                let (more, all) = leading(branch);
                out.extend(more);
                whole &= all;
                if out.len() > PREFIXES_MAX {
                    return nothing();
                }
            }
            (out, whole)
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => (leading(&repetition.sub).0, false),
        _ => nothing(),
    }
}

fn leading_all(parts: &[Hir]) -> (Vec<Vec<u8>>, bool) {
    let mut out = vec![Vec::new()];
    for part in parts {
        let (tails, whole) = leading(part);
        match product(&out, &tails, PREFIXES_MAX) {
            Some(longer) => out = longer,
            None => return (out, false),
        }
        if !whole {
            return (out, false);
        }
    }
    (out, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pattern: &str) -> Shape {
        Pattern::new(pattern).expect(pattern).shape
    }

    fn set(literals: &[&str]) -> Shape {
        Shape::Set(literals.iter().map(|s| (*s).to_owned()).collect())
    }

    fn ends(prefix: &str, between: usize, suffix: &str) -> Shape {
        Shape::Ends { prefix: prefix.into(), suffix: suffix.into(), between }
    }

    fn prefixes(all: &[&str]) -> Shape {
        Shape::Prefixes(all.iter().map(|s| (*s).to_owned()).collect())
    }

    #[test]
    fn expressions_become_what_they_are() {
        assert_eq!(shape("abc"), set(&["abc"]));
        assert_eq!(shape("a|bc|d[01]"), set(&["a", "bc", "d0", "d1"]));
        assert_eq!(shape(""), set(&[""]));
        assert_eq!(shape("ab?"), set(&["a", "ab"]));
        assert_eq!(shape("(?i:ab)"), set(&["AB", "Ab", "aB", "ab"]));
        assert_eq!(shape("(foo|bar)-(1|2)"), set(&["bar-1", "bar-2", "foo-1", "foo-2"]));
        assert_eq!(shape(".*"), ends("", 0, ""));
        assert_eq!(shape(".+"), ends("", 1, ""));
        assert_eq!(shape("node_.*"), ends("node_", 0, ""));
        assert_eq!(shape(".*x"), ends("", 0, "x"));
        assert_eq!(shape("a.+z"), ends("a", 1, "z"));
        assert_eq!(shape(".*mid.*"), Shape::Contains("mid".into()));
        assert_eq!(shape(".+mid.*"), Shape::Any);
        assert_eq!(shape("(foo|bar).*"), prefixes(&["bar", "foo"]));
        assert_eq!(
            shape("foo.*|foobar.*|x[0-9]+"),
            prefixes(&["foo", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"])
        );
        assert_eq!(shape("(?-s:a.*)"), prefixes(&["a"]));
        assert_eq!(shape("a+"), prefixes(&["a"]));
        assert_eq!(shape("[0-9]*a"), Shape::Any);
        assert_eq!(shape("a^b"), prefixes(&["a"]));
        assert_eq!(shape("a|"), set(&["", "a"]));
    }

    #[test]
    fn what_is_known_without_running_is_what_running_says() {
        let patterns = [
            "abc",
            "a|bc|d[01]",
            "",
            "ab?",
            "(?i:ab)",
            ".*",
            ".+",
            "a.*",
            ".*c",
            "a.+c",
            ".*b.*",
            "(a|b).*",
            "a+",
            "a|",
            "|b",
            "a^b",
            "$1^",
            "(?-s:a.*)",
            "(?-s:.+)",
            "é.*",
            ".*é",
            "a.c",
            "a{0,2}b?",
            "(a.*|b)c",
            "^a$",
            "(?m)a$|b",
            "[^a].*",
            "a\\n.*",
        ];
        let values = [
            "", "a", "b", "c", "ab", "ac", "abc", "bc", "AB", "aB", "d0", "d1", "d2", "a\nc", "a\n", "é",
            "aé", "éa", "abcabc", "bb", "aab", "$1^",
        ];
        for pattern in patterns {
            let text = format!("^(?s:{})$", re2::translate(pattern).expect(pattern));
            let (run, known) = (compile(&text).expect(pattern), Pattern::new(pattern).expect(pattern));
            for value in values {
                assert_eq!(known.is_match(value), run.is_match(value), "{pattern:?} on {value:?}, {known:?}");
                if let Shape::Prefixes(prefixes) = known.shape() {
                    let possible = prefixes.iter().any(|p| value.starts_with(p.as_str()));
                    assert!(possible || !run.is_match(value), "{pattern:?} on {value:?}, {known:?}");
                }
            }
        }
    }
}
