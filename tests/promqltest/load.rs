//! Loads series into a storage engine in a temporary folder.

use crate::histogram::Classic;
use crate::script::Load;
use engine::{Engine, Options, Snapshot};
use query::parse::SequenceValue;
use std::collections::{BTreeMap, HashMap};
use storage_format::model::{Labels, METRIC_NAME, Samples, Timestamp};
use tempfile::TempDir;

/// The label that holds a classic bucket's upper bound.
const BUCKET_BOUND: &str = "le";

/// An engine and its folder.
pub(crate) struct Storage {
    engine: Engine,
    /// Deleted when dropped.
    _dir: TempDir,
}

impl Storage {
    pub(crate) fn new() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut options = Options::new(dir.path());
        // Scripts live around the epoch and load in any order.
        options.out_of_order_window_ms = i64::MAX / 4;
        options.retention_ms = i64::MAX;
        options.wal_sync = engine::WalSync::None;
        Ok(Self { engine: Engine::open(options).map_err(|e| e.to_string())?, _dir: dir })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    pub(crate) fn load(&self, load: &Load) -> Result<(), String> {
        let mut series = samples(load);
        if load.with_nhcb {
            let converted = convert(&series)?;
            series.extend(converted);
        }
        // Of several lines for one series in a command the last one counts.
        let mut last: BTreeMap<&Labels, &Samples> = BTreeMap::new();
        last.extend(series.iter().map(|(labels, samples)| (labels, samples)));
        let batch: Vec<(Labels, Samples)> =
            last.into_iter().map(|(l, s)| (l.clone(), s.clone())).filter(|(_, s)| !s.is_empty()).collect();
        let outcome = self.engine.append(&batch).map_err(|e| e.to_string())?;
        if outcome.rejected_count > 0 {
            return Err(format!("the engine rejected samples: {outcome:?}"));
        }
        Ok(())
    }
}

fn samples(load: &Load) -> Vec<(Labels, Samples)> {
    let mut starts: HashMap<&Labels, &[SequenceValue]> = HashMap::new();
    let mut series = Vec::new();
    for description in &load.series {
        if description.start_times {
            starts.insert(&description.labels, &description.values);
            continue;
        }
        let relative = starts.get(&description.labels).copied().unwrap_or_default();
        let mut samples = Samples::default();
        for (i, value) in description.values.iter().enumerate() {
            let t: Timestamp = load.step_ms * i as i64;
            let start = match relative.get(i) {
                Some(SequenceValue::Start(offset)) => t + offset,
                _ => 0,
            };
            match value {
                SequenceValue::Float(value) => samples.push_float(t, start, *value),
                SequenceValue::Histogram { histogram, .. } => {
                    samples.histograms.push((t, start, (**histogram).clone()));
                }
                SequenceValue::Omitted | SequenceValue::Start(_) => {}
            }
        }
        series.push((description.labels.clone(), samples));
    }
    series
}

/// Native histograms for the classic ones among `series`.
fn convert(series: &[(Labels, Samples)]) -> Result<Vec<(Labels, Samples)>, String> {
    let mut classic: BTreeMap<Labels, BTreeMap<Timestamp, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let name = labels.metric_name().unwrap_or_default();
        let Some((base, suffix)) =
            ["_bucket", "_count", "_sum"].iter().find_map(|s| Some((name.strip_suffix(s)?, *s)))
        else {
            continue;
        };
        let bound = labels.get(BUCKET_BOUND).and_then(|le| le.parse::<f64>().ok());
        if suffix == "_bucket" && bound.is_none_or(f64::is_nan) {
            continue;
        }
        let mut builder = labels.to_builder();
        builder.set(METRIC_NAME, base).delete(BUCKET_BOUND);
        let histograms = classic.entry(builder.clone().build()).or_default();
        for (t, value) in samples.timestamps.iter().zip(&samples.values) {
            let histogram = histograms.entry(*t).or_default();
            match (suffix, bound) {
                ("_bucket", Some(bound)) => histogram.buckets.push((bound, *value)),
                ("_count", _) => histogram.count = Some(*value),
                _ => histogram.sum = *value,
            }
        }
    }
    let native = |histograms: BTreeMap<Timestamp, Classic>| {
        let converted = histograms.into_iter().map(|(t, classic)| Ok((t, 0, classic.convert()?)));
        converted.collect::<Result<Vec<_>, String>>()
    };
    let rows = classic.into_iter().map(|(labels, histograms)| {
        Ok((labels, Samples { histograms: native(histograms)?, ..Samples::default() }))
    });
    rows.collect()
}
