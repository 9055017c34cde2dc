//! Functions on label sets: `label_replace`, `label_join`, the labels of `absent`, natural order.

use crate::QueryError;
use engine::{MatchOp, Matcher};
use regex::Regex;
use std::cmp::Ordering;
use storage_format::model::{Labels, METRIC_NAME};

/// Whether `name` can be a label name: any non-empty text. What was no text has U+FFFD in it by now.
pub(crate) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('\u{fffd}')
}

/// A `label_replace` ready to be applied.
#[derive(Debug)]
pub(crate) struct Replace {
    regex: Regex,
    pub(crate) to: String,
    template: String,
    from: String,
}

impl Replace {
    /// From the function's string arguments.
    ///
    /// # Errors
    /// When the expression does not compile or the destination is no label name.
    pub(crate) fn new(to: &str, template: &str, from: &str, regex: &str) -> Result<Self, QueryError> {
        let compiled = engine::select::matcher::anchored(regex).map_err(|_| {
            QueryError::Execution(format!("invalid regular expression in label_replace(): {regex}"))
        })?;
        if !is_label_name(to) {
            return Err(QueryError::Execution(format!(
                "invalid destination label name in label_replace(): {to}"
            )));
        }
        Ok(Self { regex: compiled, to: to.to_owned(), template: template.to_owned(), from: from.to_owned() })
    }
    /// The changed labels; `None` when the expression does not match.
    pub(crate) fn apply(&self, labels: &Labels) -> Option<Labels> {
        let captures = self.regex.captures(labels.get(&self.from).unwrap_or(""))?;
        let mut value = String::new();
        captures.expand(&self.template, &mut value);
        Some(with_label(labels, &self.to, &value))
    }
}

/// `labels` with one label set, or deleted when `value` is empty.
pub(crate) fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(name, value);
    builder.build()
}

/// `label_join`: the values of `from`, joined, as label `to`.
pub(crate) fn join(labels: &Labels, to: &str, separator: &str, from: &[&str]) -> Labels {
    let values: Vec<&str> = from.iter().map(|name| labels.get(name).unwrap_or("")).collect();
    with_label(labels, to, &values.join(separator))
}

/// What `absent` can say about the missing series: the labels that the selector pins to one value.
pub(crate) fn absent_labels(matchers: &[Matcher]) -> Labels {
    // Per label: the value, if it still has one, and whether an equality has been seen.
    let mut pinned: Vec<(&str, Option<&str>, bool)> = Vec::new();
    for m in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        let at = pinned.iter().position(|p| p.0 == m.name).unwrap_or_else(|| {
            pinned.push((&m.name, None, false));
            pinned.len() - 1
        });
        let known = &mut pinned[at];
        // The first equality counts, also after other matchers, and any matcher after it undoes it.
        let first = m.op == MatchOp::Equal && !known.2;
        known.1 = first.then_some(m.value.as_str());
        known.2 |= first;
    }
    Labels::from_pairs(pinned.into_iter().filter_map(|(name, value, _)| value.map(|v| (name, v))))
}

/// Order of texts in which runs of digits compare as numbers.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (chunk_a, rest_a) = chunk(a);
        let (chunk_b, rest_b) = chunk(b);
        let order = match (chunk_a.parse::<i64>(), chunk_b.parse::<i64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => chunk_a.cmp(chunk_b),
        };
        if order.is_ne() || rest_a.is_empty() || rest_b.is_empty() {
            return order.then_with(|| rest_a.len().cmp(&rest_b.len()));
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The leading run of digits or of other characters, and the rest.
fn chunk(text: &str) -> (&str, &str) {
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_expands_captures() {
        let labels = Labels::from_pairs([("src", "source-value-10")]);
        let replace = Replace::new("dst", "value-$1", "src", "source-value-(.*)").unwrap();
        assert_eq!(replace.apply(&labels).unwrap().get("dst"), Some("value-10"));
        assert!(Replace::new("dst", "", "src", "value-(.*").is_err());
        let miss = Replace::new("dst", "x", "src", "value").unwrap();
        assert!(miss.apply(&labels).is_none());
    }

    #[test]
    fn digits_compare_as_numbers() {
        assert_eq!(natural_order("a9", "a10"), Ordering::Less);
        assert_eq!(natural_order("a", "a1"), Ordering::Less);
        assert_eq!(natural_order("1.10.2", "1.9.3"), Ordering::Greater);
    }
}
