//! A query's answer as Prometheus' JSON, written piece by piece while it is sent.
//!
//! Labels are escaped once per series, and a series is freed as soon as it is written. Inside `data` the
//! `resultType` stands before `result`: Grafana's streaming parser would otherwise read the result twice.

use super::body::Encode;
use super::{histogram, json, number};
use query::{Charged, MatrixSeries, OperatorStats, Point, QueryResult, QueryStats, Value, VectorSample};
use std::time::Duration;
use std::vec;
use storage_format::model::Timestamp;

/// Which statistics the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsLevel {
    /// None.
    None,
    /// Totals.
    Totals,
    /// Totals, where samples were read, and what each operator did: our own addition.
    Operators,
    /// All that and samples per step.
    PerStep,
}

enum Stage {
    Head,
    Scalar(Timestamp, f64),
    String(Timestamp, String),
    Vector(vec::IntoIter<VectorSample>),
    Matrix(vec::IntoIter<MatrixSeries>, Option<Cursor>),
    Tail,
    Done,
}

/// Where in a series the writing stands.
struct Cursor {
    series: MatrixSeries,
    opened: bool,
    floats: usize,
    histograms: usize,
}

/// Writes a [`QueryResult`] in its envelope.
pub struct ResultEncoder {
    stage: Stage,
    value: Option<Value>,
    tail: Vec<u8>,
    first: bool,
    /// The answer's memory stays charged while it is written.
    #[expect(dead_code, reason = "held for its drop")]
    charged: Charged,
}

impl ResultEncoder {
    /// An encoder of `result`.
    #[must_use]
    pub fn new(result: QueryResult, stats: StatsLevel) -> Self {
        let mut tail = Vec::new();
        if stats != StatsLevel::None {
            push_stats(&mut tail, &result.stats, stats);
        }
        if let Some(plan) = &result.stats.plan {
            tail.extend_from_slice(b",\"explain\":");
            let lines: Vec<String> = plan.lines().map(str::to_owned).collect();
            json::push_strings(&mut tail, &lines);
        }
        tail.push(b'}');
        push_notes(&mut tail, &result.warnings, &result.infos);
        tail.push(b'}');
        Self { stage: Stage::Head, value: Some(result.value), tail, first: true, charged: result.charged }
    }
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"status":"success","data":{"resultType":""#);
        let (name, stage) = match self.value.take() {
            Some(Value::Scalar { timestamp, value }) => ("scalar", Stage::Scalar(timestamp, value)),
            Some(Value::String { timestamp, value }) => ("string", Stage::String(timestamp, value)),
            Some(Value::Vector(samples)) => ("vector", Stage::Vector(samples.into_iter())),
            Some(Value::Matrix(series)) => ("matrix", Stage::Matrix(series.into_iter(), None)),
            None => ("vector", Stage::Vector(Vec::new().into_iter())),
        };
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(br#"","result":["#);
        self.stage = stage;
    }
    fn separate(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.first) {
            out.push(b',');
        }
    }
}

impl Encode for ResultEncoder {
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool {
        while out.len() < target {
            match &mut self.stage {
                Stage::Head => self.begin(out),
                Stage::Scalar(timestamp, value) => {
                    number::push_seconds(out, *timestamp);
                    out.extend_from_slice(b",\"");
                    number::push_plain(out, *value);
                    out.push(b'"');
                    self.stage = Stage::Tail;
                }
                Stage::String(timestamp, text) => {
                    number::push_seconds(out, *timestamp);
                    out.push(b',');
                    json::push_string(out, text);
                    self.stage = Stage::Tail;
                }
                Stage::Vector(samples) => match samples.next() {
                    Some(sample) => {
                        self.separate(out);
                        push_vector_sample(out, &sample);
                    }
                    None => self.stage = Stage::Tail,
                },
                Stage::Matrix(series, cursor) => match cursor {
                    Some(at) => {
                        if at.write(out, target) {
                            *cursor = None;
                        }
                    }
                    None => match series.next() {
                        Some(next) => {
                            *cursor = Some(Cursor { series: next, opened: false, floats: 0, histograms: 0 });
                            self.separate(out);
                        }
                        None => self.stage = Stage::Tail,
                    },
                },
                Stage::Tail => {
                    out.push(b']');
                    out.append(&mut self.tail);
                    self.stage = Stage::Done;
                }
                Stage::Done => return false,
            }
        }
        !matches!(self.stage, Stage::Done)
    }
}

impl Cursor {
    /// Writes on until `out` holds `target` bytes; tells whether the series is complete.
    fn write(&mut self, out: &mut Vec<u8>, target: usize) -> bool {
        let series = &self.series;
        let count = series.timestamps.len().min(series.values.len());
        if !std::mem::replace(&mut self.opened, true) {
            out.extend_from_slice(br#"{"metric":"#);
            json::push_labels(out, &series.labels);
        }
        while self.floats < count {
            if out.len() >= target {
                return false;
            }
            out.extend_from_slice(if self.floats == 0 { b",\"values\":[" } else { b"," });
            push_pair(out, series.timestamps[self.floats], series.values[self.floats]);
            self.floats += 1;
            if self.floats == count {
                out.push(b']');
            }
        }
        while let Some((timestamp, value)) = series.histograms.get(self.histograms) {
            if out.len() >= target {
                return false;
            }
            out.extend_from_slice(if self.histograms == 0 { b",\"histograms\":[" } else { b"," });
            histogram::push_pair(out, *timestamp, value);
            self.histograms += 1;
            if self.histograms == series.histograms.len() {
                out.push(b']');
            }
        }
        out.push(b'}');
        true
    }
}

fn push_vector_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    out.extend_from_slice(br#"{"metric":"#);
    json::push_labels(out, &sample.labels);
    match &sample.point {
        Point::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            push_pair(out, sample.timestamp, *value);
        }
        Point::Histogram(value) => {
            out.extend_from_slice(b",\"histogram\":");
            histogram::push_pair(out, sample.timestamp, value);
        }
    }
    out.push(b'}');
}

fn push_pair(out: &mut Vec<u8>, timestamp: Timestamp, value: f64) {
    out.push(b'[');
    number::push_timestamp(out, timestamp);
    out.extend_from_slice(b",\"");
    number::push_value(out, value);
    out.extend_from_slice(b"\"]");
}

/// Appends the members `warnings` and `infos` of the envelope, each only when there are any.
pub fn push_notes(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            json::push_strings(out, texts);
        }
    }
}

fn push_operator(json: &mut json::Json, one: &OperatorStats) {
    json.object(|o| {
        o.key("operator").string(&one.operator);
        o.key("depth").integer(i64::try_from(one.depth).unwrap_or(i64::MAX));
        o.key("busySeconds").float(one.busy.as_secs_f64());
        o.key("series").integer(count(one.series));
        o.key("samplesRead").integer(count(one.samples_read));
        o.key("peakBytes").integer(count(one.peak_bytes));
    });
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn push_stats(out: &mut Vec<u8>, stats: &QueryStats, level: StatsLevel) {
    let mut doc = json::Json::default();
    doc.object(|o| {
        o.key("timings").object(|o| {
            let mut seconds = |name: &str, took: Duration| {
                o.key(name).float(took.as_secs_f64());
            };
            seconds("evalTotalTime", stats.preparation + stats.evaluation + stats.sort);
            seconds("resultSortTime", stats.sort);
            seconds("queryPreparationTime", stats.preparation);
            seconds("innerEvalTime", stats.evaluation);
            seconds("execQueueTime", stats.queue);
            seconds("execTotalTime", stats.total);
        });
        o.key("samples").object(|o| {
            if level == StatsLevel::PerStep {
                o.key("totalQueryableSamplesPerStep").array(|a| {
                    for (timestamp, n) in &stats.samples_per_step {
                        let mut pair = Vec::new();
                        pair.push(b'[');
                        number::push_timestamp(&mut pair, *timestamp);
                        pair.push(b',');
                        number::push_integer(&mut pair, count(*n));
                        pair.push(b']');
                        a.raw(&pair);
                    }
                });
            }
            o.key("totalQueryableSamples").integer(count(stats.total_queryable_samples));
            o.key("samplesRead").integer(count(stats.samples_read));
            o.key("peakSamples").integer(count(stats.peak_samples));
            if level != StatsLevel::Totals {
                o.key("samplesFromBlocks").integer(count(stats.samples_from_blocks));
            }
        });
        if level != StatsLevel::Totals {
            o.key("peakBytes").integer(count(stats.peak_bytes));
            o.key("operators").array(|a| stats.operators.iter().for_each(|one| push_operator(a, one)));
        }
    });
    out.extend_from_slice(b",\"stats\":");
    out.append(&mut doc.into_bytes());
}
