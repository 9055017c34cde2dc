//! A query's answer as a set of series, and the difference of two answers in words.
//!
//! Values are held as `f64`; two are equal when they are the same number, both NaN, or within a relative
//! distance. The order of series is not compared (only `sort` promises one).

use std::collections::BTreeMap;

use serde_json::Value;

/// A series' labels in their order.
pub type Labels = BTreeMap<String, String>;

/// The points of one series: Unix milliseconds and value.
pub type Points = Vec<(i64, f64)>;

/// A parsed `data` of `query` or `query_range`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `vector`, `matrix`, `scalar` or `string`.
    pub kind: String,
    /// Points by labels; a scalar has no labels.
    pub series: BTreeMap<Labels, Points>,
    /// Native histograms and strings, compared as they were written.
    pub verbatim: BTreeMap<Labels, String>,
    /// The first number that is not written as Prometheus would.
    pub odd_number: Option<String>,
}

impl Answer {
    /// Reads the `data` object.
    ///
    /// # Errors
    /// When it has not the documented form or repeats a series.
    pub fn parse(data: &Value) -> Result<Self, String> {
        let kind = data["resultType"].as_str().ok_or("no resultType")?.to_owned();
        let mut answer = Self { kind, series: BTreeMap::new(), verbatim: BTreeMap::new(), odd_number: None };
        let result = &data["result"];
        match answer.kind.as_str() {
            "scalar" => {
                let point = answer.point(result)?;
                answer.series.insert(Labels::new(), vec![point]);
            }
            "string" => {
                answer.verbatim.insert(Labels::new(), result.to_string());
            }
            _ => {
                for series in result.as_array().ok_or("result is no array")? {
                    answer.add(series)?;
                }
            }
        }
        Ok(answer)
    }

    fn add(&mut self, series: &Value) -> Result<(), String> {
        let metric = series["metric"].as_object().ok_or("no metric")?;
        let labels: Labels =
            metric.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
        let mut points = Points::new();
        match (&series["value"], &series["values"]) {
            (Value::Null, Value::Array(values)) => {
                for value in values {
                    points.push(self.point(value)?);
                }
            }
            (Value::Null, _) => {}
            (value, _) => points.push(self.point(value)?),
        }
        for key in ["histogram", "histograms"] {
            if !series[key].is_null() {
                self.verbatim.insert(labels.clone(), series[key].to_string());
            }
        }
        match self.series.insert(labels, points) {
            None => Ok(()),
            Some(_) => Err(format!("the series {} comes twice", series["metric"])),
        }
    }

    fn point(&mut self, value: &Value) -> Result<(i64, f64), String> {
        let time = value[0].as_f64().ok_or("a point without a time")?;
        let text = value[1].as_str().ok_or("a point without a value in quotes")?;
        let number = number(text)?;
        let expected = written(number);
        // Of two equally short and equally near forms Go takes the even digit and Rust the upper one.
        if expected != text && expected.len() != text.len() {
            self.odd_number.get_or_insert(format!("{text} would be {expected} from Prometheus"));
        }
        Ok(((time * 1000.0).round() as i64, number))
    }

    /// Points over all series.
    pub fn points(&self) -> usize {
        self.series.values().map(Vec::len).sum()
    }

    /// What differs from the expected answer, at most `limit` lines; empty when nothing does.
    pub fn differences(&self, expected: &Self, relative: f64, limit: usize) -> Vec<String> {
        let mut out = Vec::new();
        if self.kind != expected.kind {
            out.push(format!("a {} instead of a {}", self.kind, expected.kind));
        }
        if self.verbatim != expected.verbatim {
            out.push("histograms or strings differ".to_owned());
        }
        for (labels, want) in &expected.series {
            match self.series.get(labels) {
                None => out.push(format!("missing series {}", show(labels))),
                Some(got) => out.extend(point_difference(labels, got, want, relative)),
            }
        }
        for labels in self.series.keys().filter(|l| !expected.series.contains_key(*l)) {
            out.push(format!("unexpected series {}", show(labels)));
        }
        if out.len() > limit {
            let more = out.len() - limit;
            out.truncate(limit);
            out.push(format!("... and {more} more"));
        }
        out
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ => text.parse().map_err(|_| format!("{text:?} is no number")),
    }
}

/// A value as Prometheus writes it: the shortest digits that give it back, with an exponent of at least
/// two digits below 1e-6 and from 1e21 on.
fn written(value: f64) -> String {
    let size = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size == 0.0 || value.is_nan() || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the exponent form has an e");
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// Whether two values are the same within a relative distance; 0 asks for the same bits (or both NaN).
pub fn same(a: f64, b: f64, relative: f64) -> bool {
    if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) {
        return true;
    }
    relative > 0.0
        && a.is_finite()
        && b.is_finite()
        && (a == b || (a - b).abs() <= relative * a.abs().max(b.abs()))
}

fn point_difference(labels: &Labels, got: &Points, want: &Points, relative: f64) -> Option<String> {
    let name = show(labels);
    for (g, w) in got.iter().zip(want) {
        if g.0 != w.0 {
            return Some(format!("{name}: a point at {} where {} was expected", g.0, w.0));
        }
        if !same(g.1, w.1, relative) {
            return Some(format!("{name} at {}: {} instead of {}", g.0, g.1, w.1));
        }
    }
    (got.len() != want.len()).then(|| format!("{name}: {} points instead of {}", got.len(), want.len()))
}

/// Labels as PromQL writes them.
pub fn show(labels: &Labels) -> String {
    let name = labels.get("__name__").map_or("", String::as_str);
    let rest: Vec<String> =
        labels.iter().filter(|(k, _)| *k != "__name__").map(|(k, v)| format!("{k}={v:?}")).collect();
    format!("{name}{{{}}}", rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: &str) -> Answer {
        let text = format!(
            r#"{{"resultType":"vector","result":[{{"metric":{{"a":"b"}},"value":[1.5,"{value}"]}}]}}"#
        );
        Answer::parse(&serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn differences_are_found_and_small_ones_forgiven() {
        assert!(answer("1").differences(&answer("1.0000000001"), 1e-9, 9).is_empty());
        assert_eq!(answer("1").differences(&answer("1.00000001"), 1e-9, 9).len(), 1);
        assert_eq!(answer("1").differences(&answer("1.0000000001"), 0.0, 9).len(), 1);
        assert_eq!(answer("1").differences(&answer("NaN"), 1e-9, 9).len(), 1);
        assert!(answer("NaN").differences(&answer("NaN"), 0.0, 9).is_empty());
        assert!(answer("+Inf").differences(&answer("+Inf"), 0.0, 9).is_empty());
        assert_eq!(answer("+Inf").differences(&answer("-Inf"), 1e-9, 9).len(), 1);
    }

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        let cases: [(f64, &str); 8] = [
            (1e6, "1000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(written(value), text);
        }
    }

    #[test]
    fn a_missing_and_an_unexpected_series_are_two_differences() {
        let mut other = answer("1");
        let points = other.series.pop_first().unwrap().1;
        other.series.insert(Labels::from([("a".to_owned(), "c".to_owned())]), points);
        assert_eq!(answer("1").differences(&other, 1e-9, 9).len(), 2);
    }
}
