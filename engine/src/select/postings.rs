//! From matchers to series: set algebra over postings, the same for the head and for blocks.
//!
//! Order of work: conditions that demand a label are intersected, the cheapest kinds first; conditions
//! that series without the label fulfil are then subtracted as the set of values that fail them. A regular
//! expression is tried on distinct values only, and only when it is no literal, prefix or set of literals.

use super::literals::{Shape, shape};
use super::{MatchOp, Matcher};
use crate::Error;
use roaring::RoaringBitmap;
use std::borrow::Cow;

/// An inverted index: label pairs to series.
pub(crate) trait LabelIndex {
    /// Names a label pair inside the index.
    type Pair: Copy;
    /// Every series.
    fn all(&self) -> Result<Cow<'_, RoaringBitmap>, Error>;
    /// The pair of a name and a value, if any series has it.
    fn pair(&self, name: &str, value: &str) -> Result<Option<Self::Pair>, Error>;
    /// Visits the values of a name that begin with `prefix`, in no particular order.
    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, Self::Pair),
    ) -> Result<(), Error>;
    /// The series that have a pair.
    fn postings(&self, pair: Self::Pair) -> Result<Cow<'_, RoaringBitmap>, Error>;
}

/// The series of `index` that fulfil all matchers.
pub(crate) fn resolve<I: LabelIndex>(index: &I, matchers: &[Matcher]) -> Result<RoaringBitmap, Error> {
    let (mut demands, mut exclusions): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| !m.matches_empty());
    demands.sort_by_key(|m| cost(m));
    exclusions.sort_by_key(|m| cost(m));
    let mut found: Option<RoaringBitmap> = None;
    for matcher in demands {
        let matched = union(index, matcher, true)?;
        let both = match found {
            None => matched,
            Some(found) => found & matched,
        };
        if both.is_empty() {
            return Ok(both);
        }
        found = Some(both);
    }
    let mut found = match found {
        Some(found) => found,
        None => index.all()?.into_owned(),
    };
    for matcher in exclusions {
        if found.is_empty() {
            break;
        }
        found -= union(index, matcher, false)?;
    }
    Ok(found)
}

fn cost(matcher: &Matcher) -> u8 {
    match matcher.op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex | MatchOp::NotRegex => match shape(matcher) {
            Shape::Set(_) => 2,
            Shape::Prefix(_) => 3,
            Shape::Any => 4,
        },
    }
}

/// The series with a value for the matcher's label for which `matches` is `wanted`.
fn union<I: LabelIndex>(index: &I, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Error> {
    // Whether the values named by the pattern itself are the wanted ones.
    let positive = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex) == wanted;
    if positive {
        let literals = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => Some(vec![matcher.value.clone()]),
            MatchOp::Regex | MatchOp::NotRegex => match shape(matcher) {
                Shape::Set(literals) => Some(literals),
                Shape::Prefix(_) | Shape::Any => None,
            },
        };
        if let Some(literals) = literals {
            let mut out = RoaringBitmap::new();
            for literal in literals.iter().filter(|literal| matcher.matches(literal) == wanted) {
                if let Some(pair) = index.pair(&matcher.name, literal)? {
                    out |= &*index.postings(pair)?;
                }
            }
            return Ok(out);
        }
    }
    let prefix = match (positive, shape(matcher)) {
        (true, Shape::Prefix(prefix)) => prefix,
        _ => String::new(),
    };
    let mut pairs = Vec::new();
    index.visit_values(&matcher.name, &prefix, &mut |value, pair| {
        if matcher.matches(value) == wanted {
            pairs.push(pair);
        }
    })?;
    let mut out = RoaringBitmap::new();
    for pair in pairs {
        out |= &*index.postings(pair)?;
    }
    Ok(out)
}
