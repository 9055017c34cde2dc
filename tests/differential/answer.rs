//! Answers of both sides in one form, and how they differ.

use crate::queries::Question;
use query::{Point, QueryError, QueryResult, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use storage_format::model::Histogram;
use tests_support::prom::{Api, Query};

/// How far numbers may be apart.
const RELATIVE: f64 = 1e-9;
/// How far apart they may be where last bits of elementary functions are made large by what follows.
const RELATIVE_MAGNIFIED: f64 = 1e-4;

/// One point: its time, and a float or what of a histogram the API shows.
#[derive(Debug, Clone)]
pub(crate) enum Sample {
    Float(i64, f64),
    Histogram(i64, Shown),
}

/// A histogram as the API shows it: count, sum, and the populated buckets with their bounds.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    count: f64,
    sum: f64,
    buckets: Vec<[f64; 4]>,
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) error: Option<String>,
    pub(crate) kind: String,
    pub(crate) series: BTreeMap<String, Vec<Sample>>,
    pub(crate) annotations: Vec<String>,
}

fn close(a: f64, b: f64, relative: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= relative * a.abs().max(b.abs())
}

impl Sample {
    fn equals(&self, other: &Self, relative: f64) -> bool {
        let close = |a: f64, b: f64| close(a, b, relative);
        match (self, other) {
            (Self::Float(t, a), Self::Float(u, b)) => t == u && close(*a, *b),
            (Self::Histogram(t, a), Self::Histogram(u, b)) => {
                t == u
                    && close(a.count, b.count)
                    && close(a.sum, b.sum)
                    && a.buckets.len() == b.buckets.len()
                    && a.buckets.iter().flatten().zip(b.buckets.iter().flatten()).all(|(a, b)| close(*a, *b))
            }
            _ => false,
        }
    }
}

impl Answer {
    /// How `own` differs from this one, the peer's; `None` when it does not.
    pub(crate) fn difference(&self, own: &Self) -> Option<String> {
        self.difference_beyond(own, RELATIVE)
    }

    /// Whether there is no difference but in digits that a calculation may have magnified.
    pub(crate) fn nearly_equals(&self, own: &Self) -> bool {
        self.difference_beyond(own, RELATIVE_MAGNIFIED).is_none()
    }

    /// Whether there is no difference but in annotations.
    pub(crate) fn nearly_equals_but_for_annotations(&self, own: &Self) -> bool {
        self.value_difference(own, RELATIVE).is_none()
    }

    /// Whether both have the same series with as many samples.
    pub(crate) fn has_the_shape_of(&self, own: &Self) -> bool {
        self.series.len() == own.series.len()
            && self.series.iter().zip(&own.series).all(|(a, b)| a.0 == b.0 && a.1.len() == b.1.len())
    }

    fn difference_beyond(&self, own: &Self, relative: f64) -> Option<String> {
        if let Some(difference) = self.value_difference(own, relative) {
            return Some(difference);
        }
        // Of more than ten annotations ten are told, which ones is chance.
        let omitted = |answer: &Self| answer.annotations.iter().find(|a| a.ends_with("omitted")).cloned();
        let same = match (omitted(self), omitted(own)) {
            (None, None) => self.annotations == own.annotations,
            (a, b) => a == b,
        };
        (!same).then(|| format!("peer annotates {:?}, ours {:?}", self.annotations, own.annotations))
    }

    fn value_difference(&self, own: &Self, relative: f64) -> Option<String> {
        match (&self.error, &own.error) {
            (None, None) => {}
            // Which of several duplicates is told is chance.
            (Some(a), Some(b)) if a.split(" {").next() == b.split(" {").next() => return None,
            (a, b) => return Some(format!("peer: {a:?}, ours: {b:?}")),
        }
        if self.kind != own.kind {
            return Some(format!("peer has a {}, ours is a {}", self.kind, own.kind));
        }
        for (labels, samples) in &self.series {
            let Some(mine) = own.series.get(labels) else {
                return Some(format!("ours misses {labels} {:?}", samples.first()));
            };
            let same =
                samples.len() == mine.len() && samples.iter().zip(mine).all(|(a, b)| a.equals(b, relative));
            if !same {
                let at = samples.iter().zip(mine).position(|(a, b)| !a.equals(b, relative)).unwrap_or(0);
                return Some(format!(
                    "{labels} at point {at} of {}/{}: peer {:?}, ours {:?}",
                    samples.len(),
                    mine.len(),
                    samples.get(at),
                    mine.get(at)
                ));
            }
        }
        if let Some(labels) = own.series.keys().find(|labels| !self.series.contains_key(*labels)) {
            return Some(format!("only ours has {labels} {:?}", own.series[labels].first()));
        }
        None
    }
}

/// Asks the peer.
pub(crate) fn peer(api: &mut Api, question: &Question) -> Answer {
    let query = match question.range {
        None => Query::instant(&question.text, question.start),
        Some((end, step)) => Query::range(&question.text, question.start, end, step),
    };
    let response = api.ask_raw(&query, &[]).expect("the peer answers");
    let json: Json = serde_json::from_slice(&response.body).expect("the peer answers with JSON");
    let mut answer = Answer::default();
    if let Some(error) = json["error"].as_str() {
        answer.error = Some(error.replacen("invalid parameter \"query\": ", "", 1));
        return answer;
    }
    for key in ["warnings", "infos"] {
        let texts = json[key].as_array().into_iter().flatten().filter_map(Json::as_str);
        answer.annotations.extend(texts.map(crate::explained::reworded));
    }
    answer.annotations.sort();
    let data = &json["data"];
    data["resultType"].as_str().expect("a kind").clone_into(&mut answer.kind);
    let result = &data["result"];
    match answer.kind.as_str() {
        "scalar" => {
            answer.series.insert(String::new(), vec![float(result)]);
        }
        "string" => {
            answer.series.insert(result[1].to_string(), Vec::new());
        }
        _ => {
            for series in result.as_array().expect("a list") {
                let floats = series["values"].as_array().into_iter().flatten().map(float);
                let histograms = series["histograms"].as_array().into_iter().flatten().map(histogram);
                let mut samples: Vec<Sample> = floats.chain(histograms).collect();
                samples.extend(series.get("value").map(float));
                samples.extend(series.get("histogram").map(histogram));
                let metric = series["metric"].as_object().expect("labels");
                let labels = metric.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()));
                answer.series.insert(name(labels), samples);
            }
        }
    }
    answer
}

fn name<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeMap<_, _> = labels.collect();
    format!("{sorted:?}")
}

fn number(json: &Json) -> f64 {
    match json.as_str().expect("a number in quotes") {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().expect("a number"),
    }
}

fn milliseconds(json: &Json) -> i64 {
    (json.as_f64().expect("a time") * 1000.0).round() as i64
}

fn float(point: &Json) -> Sample {
    Sample::Float(milliseconds(&point[0]), number(&point[1]))
}

fn histogram(point: &Json) -> Sample {
    let shown = &point[1];
    let buckets = shown["buckets"].as_array().into_iter().flatten();
    let bucket = |b: &Json| [b[0].as_f64().unwrap_or(-1.0), number(&b[1]), number(&b[2]), number(&b[3])];
    Sample::Histogram(
        milliseconds(&point[0]),
        Shown {
            count: number(&shown["count"]),
            sum: number(&shown["sum"]),
            buckets: buckets.map(bucket).collect(),
        },
    )
}

/// Brings our result into the common form.
pub(crate) fn ours(result: Result<QueryResult, QueryError>) -> Answer {
    let mut answer = Answer::default();
    let result = match result {
        Ok(result) => result,
        Err(error) => return Answer { error: Some(error.to_string()), ..answer },
    };
    let texts = result.warnings.iter().chain(&result.infos).filter(|text| !crate::explained::is_new(text));
    answer.annotations = texts.map(|text| crate::explained::reworded(text)).collect();
    answer.annotations.sort();
    let point = |t: i64, point: &Point| match point {
        Point::Float(value) => Sample::Float(t, *value),
        Point::Histogram(h) => Sample::Histogram(t, shown(h)),
    };
    match result.value {
        Value::Scalar { timestamp, value } => {
            "scalar".clone_into(&mut answer.kind);
            answer.series.insert(String::new(), vec![Sample::Float(timestamp, value)]);
        }
        Value::String { value, .. } => {
            "string".clone_into(&mut answer.kind);
            answer.series.insert(Json::from(value).to_string(), Vec::new());
        }
        Value::Vector(samples) => {
            "vector".clone_into(&mut answer.kind);
            for s in samples {
                answer.series.insert(name(s.labels.iter()), vec![point(s.timestamp, &s.point)]);
            }
        }
        Value::Matrix(series) => {
            "matrix".clone_into(&mut answer.kind);
            for s in series {
                let floats = s.timestamps.iter().zip(&s.values).map(|(t, v)| Sample::Float(*t, *v));
                let histograms = s.histograms.iter().map(|(t, h)| Sample::Histogram(*t, shown(h)));
                answer.series.insert(name(s.labels.iter()), floats.chain(histograms).collect());
            }
        }
    }
    answer
}

/// What the API shows of a histogram: the populated buckets from the lowest to the highest. The rule says
/// which bounds belong to a bucket: 0 the upper, 1 the lower, 2 none, 3 both.
fn shown(h: &Histogram) -> Shown {
    let populated = query::all_buckets(h).into_iter().filter(|b| b.count != 0.0);
    let buckets = populated.map(|b| {
        let rule = match (b.lower_inclusive, b.upper_inclusive) {
            (false, true) => 0.0,
            (true, false) => 1.0,
            (false, false) => 2.0,
            (true, true) => 3.0,
        };
        [rule, b.lower, b.upper, b.count]
    });
    Shown { count: h.count, sum: h.sum, buckets: buckets.collect() }
}
