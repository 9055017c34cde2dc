//! Label sets from a sender's pairs: checked, sorted, without empty values.
//!
//! Where it sits: behind the engine's question for the labels of a series it has never seen; known series
//! never come here.

use crate::limits::{Limit, Limits};
use crate::relabel::Generation;
use std::fmt::Write;
use storage_format::model::{Labels, METRIC_NAME};

/// Bytes of a label set quoted in a refusal.
const QUOTE_BYTES_MAX: usize = 512;

/// Why a series that the relabeling rules drop has no labels.
const DROPPED: &str = "dropped by relabeling";

/// Name and value as they came.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Collects the pairs of one series.
#[derive(Debug)]
pub(crate) struct Pairs<'a> {
    pairs: Vec<Pair<'a>>,
    limits: &'a Limits,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { pairs: Vec::with_capacity(16), limits }
    }
    /// Adds a pair as it came.
    ///
    /// # Errors
    /// When there are too many already.
    pub(crate) fn push(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), String> {
        if self.pairs.len() >= self.limits.labels {
            Limit::Labels.refused();
            return Err(format!(
                "series has more than {} labels: {}",
                self.limits.labels,
                quote(&self.pairs[..8.min(self.pairs.len())])
            ));
        }
        self.pairs.push((name, value));
        Ok(())
    }
    /// The label set of a series.
    ///
    /// # Errors
    /// A sentence for the sender when the pairs name no series: no metric name, an empty or repeated
    /// name, bytes that are not UTF-8, or something over its limit.
    pub(crate) fn series(self) -> Result<Labels, String> {
        let labels = self.any()?;
        if labels.metric_name().is_none() {
            return Err(format!("invalid metric name or labels, got {}", clip(labels.to_string())));
        }
        Ok(labels)
    }
    /// The label set, which need not have a metric name (of an exemplar, say).
    ///
    /// # Errors
    /// As [`Pairs::series`], apart from the metric name.
    pub(crate) fn any(mut self) -> Result<Labels, String> {
        self.check_sizes()?;
        self.pairs.sort_by_key(|p| p.0);
        let duplicate = self.pairs.windows(2).find(|w| w[0].0 == w[1].0);
        if let Some([(name, _), ..]) = duplicate {
            return Err(format!(
                "invalid labels for series, labels {}, duplicated label {}",
                quote(&self.pairs),
                String::from_utf8_lossy(name)
            ));
        }
        let mut text = Vec::with_capacity(self.pairs.len());
        for (name, value) in &self.pairs {
            match (std::str::from_utf8(name), std::str::from_utf8(value)) {
                (Ok(name), Ok(value)) if !name.is_empty() => text.push((name, value)),
                _ => return Err(format!("invalid metric name or labels, got {}", quote(&self.pairs))),
            }
        }
        Ok(Labels::from_sorted(text.into_iter().filter(|(_, value)| !value.is_empty())))
    }
    /// The label set of a series after relabeling, by rules that see the pairs before any limit holds.
    ///
    /// # Errors
    /// As [`Pairs::series`], over the new labels, and [`DROPPED`] when there are none.
    pub(crate) fn relabeled(self, rules: &Generation, limits: &Limits) -> Result<Labels, String> {
        let labels = rules.apply(&self.any()?).ok_or(DROPPED)?;
        check(&labels, limits)
    }
    fn check_sizes(&self) -> Result<(), String> {
        let mut total = 0;
        for (name, value) in &self.pairs {
            total += name.len() + value.len();
            let what = match () {
                () if name.len() > self.limits.name_bytes => {
                    (Limit::NameBytes, "label name", self.limits.name_bytes)
                }
                () if value.len() > self.limits.value_bytes => {
                    (Limit::ValueBytes, "label value", self.limits.value_bytes)
                }
                () if total > self.limits.label_set_bytes => {
                    (Limit::LabelSetBytes, "label set", self.limits.label_set_bytes)
                }
                () => continue,
            };
            let (limit, what, most) = what;
            limit.refused();
            return Err(format!("{what} longer than {most} bytes: {}", quote(&self.pairs)));
        }
        Ok(())
    }
}

/// A label set, if it names a series and is within the limits.
fn check(labels: &Labels, limits: &Limits) -> Result<Labels, String> {
    let mut pairs = Pairs::new(limits);
    for (name, value) in labels {
        pairs.push(name.as_bytes(), value.as_bytes())?;
    }
    pairs.series()
}

/// The pairs as Prometheus prints them, whatever they hold, cut to a length that fits an answer.
pub(crate) fn quote(pairs: &[Pair<'_>]) -> String {
    let mut out = String::from("{");
    let mut pairs = pairs.iter().collect::<Vec<_>>();
    pairs.sort_by_key(|p| (p.0 != METRIC_NAME.as_bytes(), p.0));
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if out.len() > QUOTE_BYTES_MAX {
            break;
        }
        let cut = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned();
        let separator = if i > 0 { ", " } else { "" };
        let _ = write!(out, "{separator}{}={:?}", cut(name), cut(value));
    }
    out.push('}');
    clip(out)
}

/// `text`, cut at a character if it is too long to quote.
pub(crate) fn clip(mut text: String) -> String {
    if text.len() > QUOTE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(QUOTE_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(pairs: &[(&[u8], &[u8])]) -> Result<Labels, String> {
        let limits = Limits { labels: 4, value_bytes: 20, ..Limits::REMOTE_WRITE };
        let mut all = Pairs::new(&limits);
        for (n, v) in pairs {
            all.push(n, v)?;
        }
        all.series()
    }

    #[test]
    fn sorts_and_drops_empty_values() {
        let got = series(&[(b"z", b"1"), (b"a", b""), (b"__name__", b"up")]).unwrap();
        assert_eq!(got.to_string(), r#"{__name__="up", z="1"}"#);
    }

    #[test]
    fn refuses_what_names_no_series() {
        let cases: [(&[Pair<'_>], &str); 7] = [
            (&[], "invalid metric name or labels, got {}"),
            (&[(b"a", b"b")], r#"invalid metric name or labels, got {a="b"}"#),
            (&[(b"__name__", b""), (b"a", b"b")], r#"invalid metric name or labels, got {a="b"}"#),
            (
                &[(b"__name__", b"m"), (b"a", b"1"), (b"a", b"1")],
                r#"invalid labels for series, labels {__name__="m", a="1", a="1"}, duplicated label a"#,
            ),
            (
                &[(b"__name__", b"m"), (b"", b"1")],
                r#"invalid metric name or labels, got {__name__="m", ="1"}"#,
            ),
            (&[(b"__name__", b"\xff")], "invalid metric name or labels, got {__name__=\"\u{fffd}\"}"),
            (
                &[(b"__name__", b"m"), (b"a", b"123456789012345678901")],
                r#"label value longer than 20 bytes: {__name__="m", a="123456789012345678901"}"#,
            ),
        ];
        for (pairs, want) in cases {
            assert_eq!(series(pairs).unwrap_err(), want);
        }
        let many: Vec<(&[u8], &[u8])> = vec![(b"a", b"1"); 5];
        assert!(series(&many).unwrap_err().starts_with("series has more than 4 labels"));
    }

    #[test]
    fn quotes_are_short() {
        let long = vec![b'x'; 1 << 20];
        let pairs = vec![(&long[..], &long[..]); 1000];
        assert!(quote(&pairs).len() < QUOTE_BYTES_MAX + 8);
    }
}
