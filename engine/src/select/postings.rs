//! From matchers to series: set algebra over postings, the same for the head and for blocks.
//!
//! Order of work: conditions that name the values they want are looked up and intersected, the smallest
//! first; then come those that must try values, with a known prefix before without; then what is excluded.
//! Once few series are left, a condition is tried on their own values instead of on all there are. A regular
//! expression is tried on distinct values, and only when it is no literal, set or affix.

use super::pattern::Shape;
use super::{MatchOp, Matcher};
use crate::Error;
use roaring::RoaringBitmap;
use std::borrow::Cow;

/// A series' own value costs this many times as much to look at as one from the list of values.
const OWN_VALUE_COST: u64 = 4;

/// An inverted index: label pairs to series.
pub(crate) trait LabelIndex {
    /// Names a label pair inside the index.
    type Pair: Copy;
    /// Every series.
    fn all(&self) -> Result<Cow<'_, RoaringBitmap>, Error>;
    /// The pair of a name and a value, if any series has it.
    fn pair(&self, name: &str, value: &str) -> Result<Option<Self::Pair>, Error>;
    /// About how many values a name has.
    fn value_count(&self, name: &str) -> Result<u64, Error>;
    /// Visits the values of a name that begin with `prefix`, in no particular order.
    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, Self::Pair),
    ) -> Result<(), Error>;
    /// About how many series have a pair.
    fn size(&self, pair: Self::Pair) -> Result<u64, Error>;
    /// The series that have a pair.
    fn postings(&self, pair: Self::Pair) -> Result<Cow<'_, RoaringBitmap>, Error>;
    /// Adds the series that have a pair.
    fn add_postings(&self, pair: Self::Pair, to: &mut Union) -> Result<(), Error>;
    /// Those of the series whose value of label `name` (empty: absent) `keep` wants.
    fn retain(
        &self,
        series: &RoaringBitmap,
        name: &str,
        keep: &mut dyn FnMut(&str) -> bool,
    ) -> Result<RoaringBitmap, Error>;
}

/// Collects series of many pairs; single ones are sorted once at the end.
#[derive(Debug, Default)]
pub(crate) struct Union {
    /// In no particular order, also more than once.
    pub(crate) single: Vec<u32>,
    many: RoaringBitmap,
}

impl Union {
    /// Adds a few series.
    pub(crate) fn add_few(&mut self, series: &[u32]) {
        self.single.extend_from_slice(series);
    }
    /// Adds many series.
    pub(crate) fn add_many(&mut self, series: &RoaringBitmap) {
        self.many |= series;
    }
    fn finish(mut self) -> RoaringBitmap {
        self.single.sort_unstable();
        self.single.dedup();
        let mut single = RoaringBitmap::new();
        // Sorted and unique, so that it cannot fail.
        let _ = single.append(self.single);
        if self.many.is_empty() { single } else { self.many | single }
    }
}

/// The pairs whose series fulfil a matcher (or fail it) because it names them, and how many these are.
struct Named<P> {
    pairs: Vec<P>,
    size: u64,
}

/// The series of `index` that fulfil all matchers.
pub(crate) fn resolve<I: LabelIndex>(index: &I, matchers: &[Matcher]) -> Result<RoaringBitmap, Error> {
    let (demands, exclusions): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| !m.matches_empty());
    let (mut named, mut tried) = (Vec::new(), Vec::new());
    for matcher in demands {
        match values_of(matcher, true) {
            Some(values) => named.push(look_up(index, matcher, values)?),
            None => tried.push(matcher),
        }
    }
    named.sort_by_key(|named| named.size);
    tried.sort_by_key(|m| !asks_for_prefixes(m));
    let mut found: Option<RoaringBitmap> = None;
    for named in named {
        let matched = series_of(index, &named.pairs)?;
        found = Some(match found {
            None => matched.into_owned(),
            Some(found) => found & &*matched,
        });
        if found.as_ref().is_some_and(RoaringBitmap::is_empty) {
            return Ok(RoaringBitmap::new());
        }
    }
    for matcher in tried {
        found = Some(match found {
            Some(found) if is_few(index, &found, matcher)? => {
                index.retain(&found, &matcher.name, &mut |value| matcher.matches(value))?
            }
            Some(found) => found & trial(index, matcher, true)?,
            None => trial(index, matcher, true)?,
        });
    }
    let mut found = match found {
        Some(found) => found,
        None => index.all()?.into_owned(),
    };
    for matcher in exclusions {
        if found.is_empty() {
            break;
        }
        if let Some(values) = values_of(matcher, false) {
            found -= &*series_of(index, &look_up(index, matcher, values)?.pairs)?;
        } else if is_few(index, &found, matcher)? {
            found = index.retain(&found, &matcher.name, &mut |value| matcher.matches(value))?;
        } else {
            found -= trial(index, matcher, false)?;
        }
    }
    Ok(found)
}

/// The values that make a matcher true (or, not `wanted`, false), where it names them.
fn values_of(matcher: &Matcher, wanted: bool) -> Option<&[String]> {
    if matches!(matcher.op, MatchOp::Equal | MatchOp::Regex) != wanted {
        return None;
    }
    match matcher.shape() {
        None => Some(std::slice::from_ref(&matcher.value)),
        Some(Shape::Set(values)) => Some(values),
        Some(_) => None,
    }
}

/// With one of which a value must begin for the expression to match it.
fn prefixes_of(matcher: &Matcher) -> Option<&[String]> {
    match matcher.shape() {
        Some(Shape::Ends { prefix, .. }) => Some(std::slice::from_ref(prefix)),
        Some(Shape::Prefixes(prefixes)) => Some(prefixes),
        _ => None,
    }
}

/// Whether a matcher asks for values that begin in a known way.
pub(crate) fn asks_for_prefixes(matcher: &Matcher) -> bool {
    prefixes_of(matcher).is_some_and(|prefixes| prefixes.iter().all(|p| !p.is_empty()))
}

/// Whether trying a matcher on the values of these series is cheaper than on all values.
fn is_few<I: LabelIndex>(index: &I, found: &RoaringBitmap, matcher: &Matcher) -> Result<bool, Error> {
    Ok(found.len() * OWN_VALUE_COST < index.value_count(&matcher.name)?)
}

fn look_up<I: LabelIndex>(index: &I, matcher: &Matcher, values: &[String]) -> Result<Named<I::Pair>, Error> {
    let mut named = Named { pairs: Vec::new(), size: 0 };
    // The empty value is that of series without the label; no pair has it.
    for value in values.iter().filter(|value| !value.is_empty()) {
        if let Some(pair) = index.pair(&matcher.name, value)? {
            named.pairs.push(pair);
            named.size += index.size(pair)?;
        }
    }
    Ok(named)
}

fn series_of<'i, I: LabelIndex>(index: &'i I, pairs: &[I::Pair]) -> Result<Cow<'i, RoaringBitmap>, Error> {
    if let [pair] = pairs {
        return index.postings(*pair);
    }
    let mut union = Union::default();
    pairs.iter().try_for_each(|pair| index.add_postings(*pair, &mut union))?;
    Ok(Cow::Owned(union.finish()))
}

/// The series that have a value for the matcher's label for which `matches` is `wanted`, found by trying
/// values.
fn trial<I: LabelIndex>(index: &I, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Error> {
    let positive = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex) == wanted;
    let everything = [String::new()];
    let prefixes = prefixes_of(matcher).filter(|_| positive).unwrap_or(&everything);
    let mut pairs = Vec::new();
    for prefix in prefixes {
        index.visit_values(&matcher.name, prefix, &mut |value, pair| {
            if matcher.matches(value) == wanted {
                pairs.push(pair);
            }
        })?;
    }
    series_of(index, &pairs).map(Cow::into_owned)
}
