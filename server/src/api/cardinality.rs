//! `status/tsdb`: what the series are made of, so that one finds the label that has too many values.
//!
//! Counted by walking the label pairs of the head; kept for half a minute, as the walk is long when there are
//! millions of them.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use crate::wire::json::Json;
use axum::extract::State;
use axum::response::Response;
use engine::Engine;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use storage_format::model::METRIC_NAME;

/// How long a report is kept.
const KEPT: Duration = Duration::from_secs(30);
/// Rows kept of each list.
const ROWS_MAX: usize = 10_000;

/// Counts of one moment. The lists are descending by count.
#[derive(Debug, Default)]
pub struct Cardinality {
    series: u64,
    label_pairs: u64,
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
        let report = Arc::new(count(&engine));
        *kept = Some((Instant::now(), Arc::clone(&report)));
        Ok(report)
    });
    let report = report.await?;
    Ok(success(|json| write(json, &report, limit)))
}

fn count(engine: &Engine) -> Cardinality {
    let stats = engine.stats();
    let mut by_name: HashMap<String, HashMap<String, u64>> = HashMap::new();
    engine.visit_cardinality(&mut |name, value, series| {
        // A pair is told once for each shard that holds it; only the first time costs allocations.
        let values = match by_name.get_mut(name) {
            Some(values) => values,
            None => by_name.entry(name.to_owned()).or_default(),
        };
        match values.get_mut(value) {
            Some(count) => *count += series,
            None => drop(values.insert(value.to_owned(), series)),
        }
    });
    let bytes = |values: &HashMap<String, u64>| values.iter().map(|(v, n)| v.len() as u64 * n).sum();
    let metrics = by_name.get(METRIC_NAME).into_iter().flatten();
    let all = by_name.iter().flat_map(|(name, values)| values.iter().map(move |(v, n)| (name, v, *n)));
    Cardinality {
        series: stats.head_series,
        label_pairs: by_name.values().map(|values| values.len() as u64).sum(),
        times: stats.head_range,
        series_by_metric: top(metrics.map(|(metric, n)| (*n, metric)), |metric| (*metric).clone()),
        values_by_label: top(by_name.iter().map(|(l, v)| (v.len() as u64, l)), |label| (*label).clone()),
        bytes_by_label: top(by_name.iter().map(|(l, v)| (bytes(v), l)), |label| (*label).clone()),
        series_by_pair: top(all.map(|(l, v, n)| (n, (l, v))), |(label, value)| format!("{label}={value}")),
    }
}

/// The largest rows, descending; texts are made for those alone.
fn top<T: Ord>(rows: impl Iterator<Item = (u64, T)>, text: impl Fn(&T) -> String) -> Vec<(String, u64)> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    rows.iter().take(ROWS_MAX).map(|(count, row)| (text(row), *count)).collect()
}

fn write(json: &mut Json, report: &Cardinality, limit: usize) {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
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
                    a.object(|o| {
                        o.key("name").string(name).key("value").integer(whole(*n));
                    });
                }
            });
        }
    });
}

/// `GET /api/v1/status/tsdb/blocks`
pub async fn blocks(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    app.run(&app.lookups, app.flags.query_timeout, move |_| {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let damaged = engine.damaged_blocks();
        Ok(success(|json| {
            json.object(|o| {
                o.key("blocks").array(|a| {
                    for block in engine.blocks() {
                        // Blocks are numbered; clients expect the 26 characters of a ULID.
                        let name = format!("{:026}", block.number);
                        a.object(|o| {
                            o.key("ulid").string(&name);
                            o.key("minTime").integer(block.min);
                            o.key("maxTime").integer(block.max.saturating_add(1));
                            o.key("stats").object(|o| {
                                o.key("numSamples").integer(whole(block.samples));
                                o.key("numSeries").integer(whole(block.series));
                                o.key("numBytes").integer(whole(block.bytes));
                            });
                            o.key("compaction").object(|o| {
                                o.key("level").integer(i64::from(block.level));
                                o.key("sources").strings(&[&name]);
                            });
                            o.key("version").integer(1);
                            // Not one of Prometheus' members, and only there when something is wrong.
                            if let Some(damage) = damaged.iter().find(|d| d.entry.number == block.number) {
                                o.key("damage").string(&damage.reason);
                            }
                        });
                    }
                });
            });
        }))
    })
    .await
}
