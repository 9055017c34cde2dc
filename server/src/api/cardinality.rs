//! `status/tsdb`: what the series are made of, so that one finds the label that has too many values.
//!
//! Counted by walking the series of the head; kept for half a minute, as the walk costs seconds when there
//! are millions of them.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use crate::wire::json::Json;
use axum::extract::State;
use axum::response::Response;
use engine::Engine;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use storage_format::model::{METRIC_NAME, TimeRange};

/// How long a report is kept.
const KEPT: Duration = Duration::from_secs(30);
/// Rows kept of each list.
const ROWS_MAX: usize = 10_000;

/// Counts of one moment. The lists are descending by count.
#[derive(Debug, Default)]
pub struct Cardinality {
    series: usize,
    label_pairs: usize,
    /// First and last time in the head, milliseconds since the epoch.
    times: Option<(i64, i64)>,
    series_by_metric: Vec<(String, u64)>,
    values_by_label: Vec<(String, u64)>,
    bytes_by_label: Vec<(String, u64)>,
    series_by_pair: Vec<(String, u64)>,
}

/// `GET /api/v1/status/tsdb`
pub async fn tsdb(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => 10,
        text => match text.parse::<usize>() {
            Ok(limit @ 1..=ROWS_MAX) => limit,
            Ok(limit) if limit > ROWS_MAX => return Err(ApiError::bad_data("limit must not exceed 10000")),
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let engine = app.engine()?;
    let shared = Arc::clone(&app);
    let report = app.run(&app.lookups, app.flags.query_timeout, move |_| {
        // Held while counting: a second caller waits for the same report instead of making another.
        let mut kept = shared.cardinality.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, report)) = kept.as_ref().filter(|(made, _)| made.elapsed() < KEPT) {
            let _ = made;
            return Ok(Arc::clone(report));
        }
        let report = Arc::new(count(&engine)?);
        *kept = Some((Instant::now(), Arc::clone(&report)));
        Ok(report)
    });
    let report = report.await?;
    Ok(success(|json| write(json, &report, limit)))
}

fn count(engine: &Engine) -> Result<Cardinality, ApiError> {
    let times = engine.stats().head_range;
    let range = times.map_or(TimeRange::ALL, |(min, max)| TimeRange::closed(min, max));
    let series = engine.snapshot().select(&[], range)?;
    let mut by_metric: HashMap<&str, u64> = HashMap::new();
    let mut by_pair: HashMap<(&str, &str), u64> = HashMap::new();
    let mut bytes: HashMap<&str, u64> = HashMap::new();
    for labels in series.iter().map(|s| s.labels()) {
        *by_metric.entry(labels.get(METRIC_NAME).unwrap_or("")).or_default() += 1;
        for (name, value) in labels {
            *by_pair.entry((name, value)).or_default() += 1;
            *bytes.entry(name).or_default() += value.len() as u64;
        }
    }
    let mut values: HashMap<&str, u64> = HashMap::new();
    let distinct: HashSet<_> = by_pair.keys().collect();
    for (name, _) in &distinct {
        *values.entry(name).or_default() += 1;
    }
    let pairs = by_pair.iter().map(|((name, value), n)| (format!("{name}={value}"), *n));
    Ok(Cardinality {
        series: series.len(),
        label_pairs: distinct.len(),
        times,
        series_by_pair: top(pairs),
        series_by_metric: top(by_metric.iter().map(|(k, n)| ((*k).to_owned(), *n))),
        values_by_label: top(values.iter().map(|(k, n)| ((*k).to_owned(), *n))),
        bytes_by_label: top(bytes.iter().map(|(k, n)| ((*k).to_owned(), *n))),
    })
}

fn top(rows: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(ROWS_MAX);
    rows
}

fn write(json: &mut Json, report: &Cardinality, limit: usize) {
    let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    json.object(|o| {
        o.key("headStats").object(|o| {
            o.key("numSeries").integer(whole(report.series));
            o.key("numLabelPairs").integer(whole(report.label_pairs));
            o.key("chunkCount").integer(0);
            // An empty head has no times; Prometheus shows the ends of the number range then.
            let (min, max) = report.times.unwrap_or((i64::MAX, i64::MIN));
            o.key("minTime").integer(min).key("maxTime").integer(max);
        });
        for (name, rows) in [
            ("seriesCountByMetricName", &report.series_by_metric),
            ("labelValueCountByLabelName", &report.values_by_label),
            ("memoryInBytesByLabelName", &report.bytes_by_label),
            ("seriesCountByLabelValuePair", &report.series_by_pair),
        ] {
            o.key(name).array(|a| {
                for (name, n) in rows.iter().take(limit) {
                    let n = i64::try_from(*n).unwrap_or(i64::MAX);
                    a.object(|o| {
                        o.key("name").string(name).key("value").integer(n);
                    });
                }
            });
        }
    });
}
