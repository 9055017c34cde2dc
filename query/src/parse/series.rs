//! Series descriptions: the notation of test scripts and rule tests for a series and its samples.
//!
//! Where it sits: beside the parser, whose lexer reads the metric; the values are read here, character by
//! character. `up{job="x"} 1 2+3x4 _x2 stale {{sum:3 count:2 buckets:[1 1]}}`; with `@st` after the metric
//! the values are start times relative to the samples (`-30s-1mx2`).
//! Invariant: never more than `VALUES_MAX` values, whatever the repetitions say.

use super::ast::Span;
use super::error::{ParseError, ParseErrors};
use super::literal;
use super::{Options, lex, number, parser::Parser, text};
use storage_format::model::{Histogram, Labels, stale_nan};

const VALUES_MAX: usize = 1_000_000;

/// One value of a description.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceValue {
    /// `_`: no sample.
    Omitted,
    /// A float, or the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The histogram.
        histogram: Box<Histogram>,
        /// Whether its `counter_reset_hint` was written.
        hint_given: bool,
    },
    /// A start time, milliseconds relative to the sample's (only in `@st` descriptions).
    Start(i64),
}

/// A series and its values, one a step.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesDescription {
    /// The series.
    pub labels: Labels,
    /// Whether the values are start times (`@st`).
    pub start_times: bool,
    /// The values.
    pub values: Vec<SequenceValue>,
}

/// Parses a description.
///
/// # Errors
/// What is wrong with it.
pub fn parse_series_description(input: &str) -> Result<SeriesDescription, ParseErrors> {
    let options = Options { length_max: usize::MAX, ..Options::all_features() };
    let (tokens, end) = lex::lex_metric(input);
    let mut parser = Parser::over(input, &options, tokens);
    let labels = parser.metric().unwrap_or_default();
    parser.finish(())?;
    let (start_times, at) = if input[end..].starts_with("@st") { (true, end + 3) } else { (false, end) };
    let mut values = Values { input, at, start_times, out: Vec::new() };
    match values.all() {
        Ok(()) => Ok(SeriesDescription { labels, start_times, values: values.out }),
        Err(message) => {
            let span = Span::new(values.at as u32, input.len() as u32);
            Err(ParseErrors { query: input.to_owned(), errors: vec![ParseError { span, message }] })
        }
    }
}

/// The length of a duration such as `1h30m`, in milliseconds.
///
/// # Errors
/// Why it is none.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    // At most 2^63 nanoseconds, hence few enough milliseconds.
    number::duration(text).map(|nanoseconds| (nanoseconds / 1_000_000) as i64)
}

struct Values<'a> {
    input: &'a str,
    at: usize,
    start_times: bool,
    out: Vec<SequenceValue>,
}

impl<'a> Values<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn unexpected(&self) -> String {
        match self.rest().chars().next() {
            None => "unexpected end of input in series values".to_owned(),
            Some(c) => format!("unexpected character in series sequence: {}", text::quote_char(Some(c))),
        }
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn spaces(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t']);
        self.at += rest.len() - trimmed.len();
        trimmed.len() < rest.len()
    }

    fn all(&mut self) -> Result<(), String> {
        loop {
            let spaced = self.spaces();
            if self.rest().is_empty() {
                return Ok(());
            }
            if !spaced {
                return Err(self.unexpected());
            }
            self.item()?;
        }
    }

    fn item(&mut self) -> Result<(), String> {
        if self.accept("_") {
            let times = self.times()?.unwrap_or(1);
            return self.push(times, |_| SequenceValue::Omitted);
        }
        if self.rest().starts_with("{{") && !self.start_times {
            return self.histograms();
        }
        if self.start_times {
            let first = self.signed_duration()?;
            let step = if self.rest().starts_with(['+', '-']) { self.signed_duration()? } else { 0 };
            let times = self.times()?.map_or(1, |n| n.saturating_add(1));
            return self.push(times, |i| SequenceValue::Start(first + step * i as i64));
        }
        if self.accept("stale") {
            let times = self.times()?.map_or(1, |n| n.saturating_add(1));
            return self.push(times, |_| SequenceValue::Float(stale_nan()));
        }
        let mut value = self.signed_number()?;
        let step = if self.rest().starts_with(['+', '-']) { self.signed_number()? } else { 0.0 };
        let times = self.times()?.map_or(1, |n| n.saturating_add(1));
        // Added up, as upstream does, not multiplied.
        self.push(times, |_| {
            let this = value;
            value += step;
            SequenceValue::Float(this)
        })
    }

    fn push(&mut self, times: usize, mut value: impl FnMut(usize) -> SequenceValue) -> Result<(), String> {
        if times > VALUES_MAX.saturating_sub(self.out.len()) {
            return Err(format!("a series description has at most {VALUES_MAX} values"));
        }
        self.out.extend((0..times).map(&mut value));
        Ok(())
    }

    /// `xN`
    fn times(&mut self) -> Result<Option<usize>, String> {
        if !self.accept("x") {
            return Ok(None);
        }
        let rest = self.rest();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(self.unexpected());
        }
        self.at += digits;
        let wrong = |e| format!("invalid repetition in series values: {e}");
        rest[..digits].parse().map(Some).map_err(|e: std::num::ParseIntError| wrong(e))
    }

    fn sign(&mut self) -> f64 {
        if self.accept("-") {
            return -1.0;
        }
        self.accept("+");
        1.0
    }

    fn signed_number(&mut self) -> Result<f64, String> {
        let sign = self.sign();
        let length = literal::number_length(self.rest());
        if length == 0 {
            return Err(self.unexpected());
        }
        let word = &self.rest()[..length];
        self.at += length;
        Ok(sign * number::number(word)?)
    }

    /// Milliseconds.
    fn signed_duration(&mut self) -> Result<i64, String> {
        let sign = if self.sign() < 0.0 { -1 } else { 1 };
        let rest = self.rest();
        let length = rest.find(|c: char| !"0123456789ywdhms".contains(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.unexpected());
        }
        self.at += length;
        Ok(sign * parse_duration(&rest[..length])?)
    }

    fn histograms(&mut self) -> Result<(), String> {
        let (mut current, hint_given) = self.histogram()?;
        let value =
            |histogram: Histogram| SequenceValue::Histogram { histogram: Box::new(histogram), hint_given };
        let subtract = self.rest().starts_with('-');
        if self.accept("+") || self.accept("-") {
            let (step, _) = self.histogram()?;
            let Some(times) = self.times()? else { return Err(self.unexpected()) };
            self.push(1, |_| value(current.clone()))?;
            for _ in 0..times {
                current = literal::combine(&current, &step, subtract)?;
                self.push(1, |_| value(current.clone()))?;
            }
            return Ok(());
        }
        let times = self.times()?.map_or(1, |n| n.saturating_add(1));
        self.push(times, |_| value(current.clone()))
    }

    fn histogram(&mut self) -> Result<(Histogram, bool), String> {
        if !self.rest().starts_with("{{") {
            return Err(self.unexpected());
        }
        let Some(end) = self.rest().find("}}") else {
            self.at = self.input.len();
            return Err("histogram description incomplete unexpected: end of input".to_owned());
        };
        let inner = &self.rest()[2..end];
        let parsed = literal::histogram(inner)?;
        self.at += end + 2;
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::{CounterResetHint, Span as BucketSpan, is_stale};

    fn floats(input: &str) -> Vec<Option<f64>> {
        let description = parse_series_description(input).expect("a valid description");
        let float = |v: &SequenceValue| match v {
            SequenceValue::Float(f) => Some(*f),
            _ => None,
        };
        description.values.iter().map(float).collect()
    }

    #[test]
    fn expands_sequences() {
        let some = |list: &[f64]| list.iter().map(|v| Some(*v)).collect::<Vec<_>>();
        assert_eq!(floats("a 2+3x4"), some(&[2.0, 5.0, 8.0, 11.0, 14.0]));
        assert_eq!(floats("a{b=\"c}\"} -2-3x1 1x2"), some(&[-2.0, -5.0, 1.0, 1.0, 1.0]));
        assert_eq!(floats("{} _ _x2 1e-1  +Inf"), [None, None, None, Some(0.1), Some(f64::INFINITY)]);
        assert!(floats("a stale NaN")[0].is_some_and(is_stale));
        assert!(floats("a 0x3").len() == 4);
        assert!(floats("a").is_empty());
    }

    #[test]
    fn reads_the_metric() {
        let description = parse_series_description(r#"{"a.b", c='d'} 1"#).expect("a valid description");
        assert_eq!(description.labels, Labels::from_pairs([("__name__", "a.b"), ("c", "d")]));
    }

    #[test]
    fn reads_start_times() {
        let description = parse_series_description("a{}@st _ -30s-1mx2 0 +1ms").expect("valid");
        assert!(description.start_times);
        assert_eq!(
            description.values,
            [
                SequenceValue::Omitted,
                SequenceValue::Start(-30_000),
                SequenceValue::Start(-90_000),
                SequenceValue::Start(-150_000),
                SequenceValue::Start(0),
                SequenceValue::Start(1)
            ]
        );
    }

    #[test]
    fn reads_histograms() {
        let input = "a {{schema:1 sum:-0.3 count:3 offset:-2 buckets:[1 2] z_bucket:1 z_bucket_w:0.5 counter_reset_hint:gauge}}x1 {{}}";
        let values = parse_series_description(input).expect("valid").values;
        assert_eq!(values.len(), 3);
        let SequenceValue::Histogram { histogram, hint_given } = &values[1] else { panic!("a histogram") };
        assert!(hint_given);
        assert_eq!(histogram.reset_hint, CounterResetHint::Gauge);
        assert_eq!(histogram.positive_spans, [BucketSpan { offset: -2, length: 2 }]);
        assert_eq!((histogram.sum, histogram.count, histogram.zero_count), (-0.3, 3.0, 1.0));
    }

    #[test]
    fn adds_histograms() {
        let input = "a {{count:1 sum:1 buckets:[1]}}+{{schema:1 count:2 sum:3 buckets:[2 4] offset:1}}x2";
        let values = parse_series_description(input).expect("valid").values;
        let SequenceValue::Histogram { histogram, .. } = &values[2] else { panic!("a histogram") };
        // Buckets 1 and 2 of schema 1 are bucket 1 of schema 0.
        assert_eq!(histogram.positive_counts, [1.0, 12.0]);
        assert_eq!((histogram.sum, histogram.count), (7.0, 5.0));
    }

    #[test]
    fn refuses_nonsense() {
        for input in
            ["a 1x", "a 1y", "a b", "a {{count}}", "a {{count:1", "a 1x99999999999", "a{b=1} 1", "a {{}}+1x3"]
        {
            assert!(parse_series_description(input).is_err(), "{input}");
        }
    }
}
