//! Whether a result is the one a script expects.

use crate::histogram::{almost_equal, equal};
use crate::script::{Expected, When};
use query::parse::SequenceValue;
use query::{MatrixSeries, Point, Value, VectorSample};
use std::collections::HashSet;
use storage_format::model::{Histogram, Labels, Timestamp};

/// Compares `value`, the result of a query at `when`.
pub(crate) fn compare(expected: &Expected, when: When, value: &Value) -> Result<(), String> {
    match value {
        Value::String { value, .. } => match &expected.string {
            Some(text) if text == value => Ok(()),
            other => Err(format!("expected string {other:?}, got {value:?}")),
        },
        Value::Scalar { value, .. } => match expected.scalar {
            Some(number) if almost_equal(number, *value) => Ok(()),
            other => Err(format!("expected scalar {other:?}, got {value}")),
        },
        Value::Vector(_) | Value::Matrix(_) if expected.scalar.is_some() => {
            Err(format!("expected a scalar, got {value:?}"))
        }
        Value::Vector(samples) => vector(expected, samples),
        Value::Matrix(series) => {
            let (start, end, step) = match (expected.range_vector, when) {
                (Some(range), _) => range,
                (None, When::Range { start, end, step }) => (start, end, step),
                (None, When::Instant(t)) => (t, t, 1),
            };
            matrix(expected, start, end, step, series)
        }
    }
}

fn find<'a>(expected: &'a Expected, labels: &Labels) -> Option<(usize, &'a [SequenceValue])> {
    // Of several lines for one series the last one counts.
    let at = expected.series.iter().rposition(|(l, _)| l == labels)?;
    Some((at, &expected.series[at].1))
}

fn all_seen(expected: &Expected, seen: &HashSet<&Labels>) -> Result<(), String> {
    match expected.series.iter().find(|(labels, _)| !seen.contains(labels)) {
        Some((labels, values)) => Err(format!("expected {labels} with {values:?}, which is not there")),
        None => Ok(()),
    }
}

fn vector(expected: &Expected, samples: &[VectorSample]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for (at, sample) in samples.iter().enumerate() {
        let labels = &sample.labels;
        let Some((place, values)) = find(expected, labels) else {
            return Err(format!("unexpected {labels} with {:?}", sample.point));
        };
        if expected.ordered && place != at {
            return Err(format!("expected {labels} at position {place}, it is at {at}"));
        }
        let fits = match (values.first(), &sample.point) {
            (Some(SequenceValue::Float(e)), Point::Float(a)) => almost_equal(*e, *a),
            (Some(SequenceValue::Histogram { histogram, hint_given }), Point::Histogram(a)) => {
                equal(histogram, a, *hint_given)
            }
            _ => false,
        };
        if !fits {
            return Err(format!("expected {labels} with {:?}, got {:?}", values.first(), sample.point));
        }
        seen.insert(labels);
    }
    all_seen(expected, &seen)
}

type Histograms<'a> = Vec<(Timestamp, &'a Histogram, bool)>;

fn matrix(
    expected: &Expected,
    start: Timestamp,
    end: Timestamp,
    step: i64,
    series: &[MatrixSeries],
) -> Result<(), String> {
    if expected.ordered {
        return Err("expected an ordered result, got a matrix".to_owned());
    }
    if let Some(pair) = series.windows(2).find(|pair| pair[0].labels > pair[1].labels) {
        return Err(format!("the matrix is not sorted: {} before {}", pair[0].labels, pair[1].labels));
    }
    let mut seen = HashSet::new();
    for actual in series {
        let labels = &actual.labels;
        let Some((_, values)) = find(expected, labels) else {
            return Err(format!("unexpected {labels} with {actual:?}"));
        };
        let (mut floats, mut histograms): (Vec<(Timestamp, f64)>, Histograms<'_>) = (Vec::new(), Vec::new());
        for (i, value) in values.iter().enumerate() {
            let t = start + step * i as i64;
            if t > end {
                return Err(format!("{labels}: more points are expected than the range has"));
            }
            match value {
                SequenceValue::Float(value) => floats.push((t, *value)),
                SequenceValue::Histogram { histogram, hint_given } => {
                    histograms.push((t, histogram, *hint_given));
                }
                SequenceValue::Omitted | SequenceValue::Start(_) => {}
            }
        }
        let floats_fit = floats.len() == actual.timestamps.len()
            && floats
                .iter()
                .zip(actual.timestamps.iter().zip(&actual.values))
                .all(|(e, (t, a))| e.0 == *t && almost_equal(e.1, *a));
        let histograms_fit = histograms.len() == actual.histograms.len()
            && histograms.iter().zip(&actual.histograms).all(|(e, a)| e.0 == a.0 && equal(e.1, &a.1, e.2));
        if !floats_fit || !histograms_fit {
            return Err(format!(
                "{labels}: expected {floats:?} {histograms:?}, got {:?} {:?} {:?}",
                actual.timestamps, actual.values, actual.histograms
            ));
        }
        seen.insert(labels);
    }
    all_seen(expected, &seen)
}
