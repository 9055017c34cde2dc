//! Warnings and infos of a query: texts, positions, deduplication.
//!
//! Kernels raise [`Notes`] (bits, cheap enough for every window); per series they become texts in an
//! [`Annotations`] set, which is deduplicated by text. Invariant: the set is independent of the order in
//! which series were worked on.

use crate::format::{general, rfc3339, significant};
use crate::parse::Span;
pub(crate) use crate::parse::text::quote as quoted;
use std::collections::BTreeMap;
use storage_format::model::Timestamp;

/// Most annotations of one level that an answer carries.
const SHOWN_MAX: usize = 10;

/// How serious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Warning,
    Info,
}

/// What several annotations of the same text add up to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Monotonicity {
    times: (Timestamp, Timestamp),
    buckets: (f64, f64),
    difference: f64,
    count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    span: Span,
    monotonicity: Option<Monotonicity>,
}

/// A set of annotations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations {
    entries: BTreeMap<(Level, String), Place>,
}

/// What histograms were combined by, in annotation texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combination {
    Addition,
    Subtraction,
    Aggregation,
}

impl Combination {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

impl Annotations {
    /// Adds a warning.
    pub(crate) fn warn(&mut self, text: String, span: Span) {
        self.add(Level::Warning, text, Place { span, monotonicity: None });
    }
    /// Adds an info.
    pub(crate) fn info(&mut self, text: String, span: Span) {
        self.add(Level::Info, text, Place { span, monotonicity: None });
    }
    /// Adds the info that classic buckets had to be made monotonic.
    pub(crate) fn forced_monotonicity(
        &mut self,
        metric: &str,
        span: Span,
        time: Timestamp,
        buckets: (f64, f64),
        difference: f64,
    ) {
        let text = "input to histogram_quantile needed to be fixed for monotonicity \
                    (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let monotonicity = Some(Monotonicity { times: (time, time), buckets, difference, count: 1 });
        self.add(Level::Info, for_metric(text, metric), Place { span, monotonicity });
    }
    fn add(&mut self, level: Level, text: String, place: Place) {
        match self.entries.entry((level, text)) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(place);
            }
            std::collections::btree_map::Entry::Occupied(mut slot) => {
                let known = slot.get_mut();
                // Later parts of a query are evaluated later, and the last one to tell is shown.
                known.span = known.span.max(place.span);
                if let (Some(a), Some(b)) = (&mut known.monotonicity, place.monotonicity) {
                    a.times = (a.times.0.min(b.times.0), a.times.1.max(b.times.1));
                    a.buckets = (a.buckets.0.min(b.buckets.0), a.buckets.1.max(b.buckets.1));
                    a.difference = a.difference.max(b.difference);
                    a.count += b.count;
                }
            }
        }
    }
    /// Adds all of another set.
    pub(crate) fn merge(&mut self, other: Self) {
        for ((level, text), place) in other.entries {
            self.add(level, text, place);
        }
    }
    /// Warnings and infos as the API shows them: with positions in `query`, at most ten of each and a line
    /// that counts the rest.
    pub(crate) fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for ((level, text), place) in self.entries {
            let (line, column) = place.span.line_column(query);
            let detail = place.monotonicity.map_or_else(String::new, |m| {
                format!(
                    ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                    general(m.buckets.0),
                    general(m.buckets.1),
                    significant(m.difference, 2),
                    m.count,
                    rfc3339(m.times.0.div_euclid(1000)),
                    rfc3339(m.times.1.div_euclid(1000)),
                )
            });
            let (list, word) = match level {
                Level::Warning => (&mut warnings, "warning"),
                Level::Info => (&mut infos, "info"),
            };
            list.push(format!("PromQL {word}: {text}{detail} ({line}:{column})"));
        }
        (capped(warnings, "warning"), capped(infos, "info"))
    }
}

fn capped(mut texts: Vec<String>, word: &str) -> Vec<String> {
    if texts.len() > SHOWN_MAX {
        let more = texts.len() - SHOWN_MAX;
        texts.truncate(SHOWN_MAX);
        texts.push(format!("{more} more {word} annotations omitted"));
    }
    texts
}

/// `text for metric name "…"`, or just `text` when there is no name.
pub(crate) fn for_metric(text: &str, metric: &str) -> String {
    if metric.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", quoted(metric)) }
}

/// A quantile outside 0..=1.
pub(crate) fn invalid_quantile(q: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", general(q))
}

/// A ratio outside -1..=1, and what it was cut to.
pub(crate) fn invalid_ratio(ratio: f64, to: f64) -> String {
    format!("ratio value should be between -1 and 1, got {}, capping to {}", general(ratio), general(to))
}

/// A float and a histogram in one place where only one kind may be.
pub(crate) fn mixed_floats_histograms(metric: &str) -> String {
    format!("encountered a mix of histograms and floats for metric name {}", quoted(metric))
}

/// Exponential and custom buckets in one place.
pub(crate) fn mixed_schemas(metric: &str) -> String {
    format!(
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
        quoted(metric)
    )
}

/// A histogram where only floats count.
pub(crate) fn ignored_histogram(aggregation: &str) -> String {
    format!("ignored histogram in {aggregation} aggregation")
}

/// Opposite reset hints.
pub(crate) fn hints_collided(by: Combination) -> String {
    format!("conflicting counter resets during histogram {}", by.as_str())
}

/// Differing custom bounds.
pub(crate) fn bounds_reconciled(by: Combination) -> String {
    format!("mismatched custom buckets were reconciled during {}", by.as_str())
}

/// What a range function noticed about one series, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notes(u32);

impl Notes {
    pub(crate) const MIXED_KINDS: Self = Self(1);
    pub(crate) const NOT_COUNTER: Self = Self(2);
    pub(crate) const NOT_GAUGE: Self = Self(4);
    pub(crate) const MIXED_SCHEMAS: Self = Self(8);
    pub(crate) const HISTOGRAMS_IGNORED: Self = Self(16);
    pub(crate) const HINTS_COLLIDED: Self = Self(32);
    pub(crate) const RECONCILED_ADD: Self = Self(64);
    pub(crate) const RECONCILED_SUB: Self = Self(128);
    pub(crate) const RECONCILED_AGG: Self = Self(256);
    pub(crate) const START_OVERLAPS: Self = Self(512);

    /// Raises a note.
    pub(crate) fn raise(&mut self, note: Self) {
        self.0 |= note.0;
    }
    /// Writes what was raised as annotations at `span` for a series of this metric.
    pub(crate) fn write(self, metric: &str, span: Span, into: &mut Annotations) {
        if self.0 == 0 {
            return;
        }
        let has = |note: Self| self.0 & note.0 != 0;
        if has(Self::MIXED_KINDS) {
            into.warn(mixed_floats_histograms(metric), span);
        }
        if has(Self::NOT_COUNTER) {
            into.warn(format!("this native histogram metric is not a counter: {}", quoted(metric)), span);
        }
        if has(Self::NOT_GAUGE) {
            into.warn(format!("this native histogram metric is not a gauge: {}", quoted(metric)), span);
        }
        if has(Self::MIXED_SCHEMAS) {
            into.warn(mixed_schemas(metric), span);
        }
        if has(Self::HISTOGRAMS_IGNORED) {
            let text = "ignored histograms in a range containing both floats and histograms for metric name";
            into.info(format!("{text} {}", quoted(metric)), span);
        }
        if has(Self::HINTS_COLLIDED) {
            into.warn(hints_collided(Combination::Aggregation), span);
        }
        for (note, by) in [
            (Self::RECONCILED_ADD, Combination::Addition),
            (Self::RECONCILED_SUB, Combination::Subtraction),
            (Self::RECONCILED_AGG, Combination::Aggregation),
        ] {
            if has(note) {
                into.info(bounds_reconciled(by), span);
            }
        }
        if has(Self::START_OVERLAPS) {
            let text = "sample has start time that overlaps with previous sample timestamp for metric";
            into.warn(format!("{text} {}", quoted(metric)), span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_carry_positions_and_are_capped() {
        let mut set = Annotations::default();
        for i in 0..12 {
            set.warn(format!("w{i:02}"), Span::new(2, 3));
            set.warn(format!("w{i:02}"), Span::new(5, 6));
        }
        set.info("i".to_owned(), Span::new(3, 4));
        let (warnings, infos) = set.into_texts("a\nbc\nd");
        assert_eq!(warnings.len(), 11);
        assert_eq!(warnings[0], "PromQL warning: w00 (3:1)");
        assert_eq!(warnings[10], "2 more warning annotations omitted");
        assert_eq!(infos, ["PromQL info: i (2:2)"]);
    }
}
