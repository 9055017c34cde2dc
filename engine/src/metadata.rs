//! What senders say about metrics: type, unit, help.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use storage_format::wal::record::MetadataEntry;

/// What a metric is, as its sender says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metadata {
    /// Kind of metric.
    pub metric_type: MetricType,
    /// Unit, possibly empty.
    pub unit: String,
    /// Help text, possibly empty.
    pub help: String,
}

/// Kind of metric; the numbers are those of remote write 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricType {
    /// Not told.
    Unknown = 0,
    /// Counter.
    Counter = 1,
    /// Gauge.
    Gauge = 2,
    /// Histogram, classic or native.
    Histogram = 3,
    /// Gauge histogram.
    GaugeHistogram = 4,
    /// Summary.
    Summary = 5,
    /// Info.
    Info = 6,
    /// State set.
    StateSet = 7,
}

impl MetricType {
    /// Its name as Prometheus' API and labels spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
    fn from_number(n: u8) -> Self {
        match n {
            1 => Self::Counter,
            2 => Self::Gauge,
            3 => Self::Histogram,
            4 => Self::GaugeHistogram,
            5 => Self::Summary,
            6 => Self::Info,
            7 => Self::StateSet,
            _ => Self::Unknown,
        }
    }
}

/// Most metrics with metadata, and most different entries of one metric.
const METRICS_MAX: usize = 200_000;
const ENTRIES_MAX: usize = 8;

/// All metadata by metric name; the newest entry of a metric stands last.
#[derive(Debug, Default)]
pub(crate) struct MetadataStore {
    metrics: RwLock<BTreeMap<String, Vec<Metadata>>>,
}

impl MetadataStore {
    /// Keeps the entries; returns those that were new.
    pub(crate) fn add(&self, entries: &[(String, Metadata)]) -> Vec<MetadataEntry> {
        let known = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        let is_new = |(name, entry): &&(String, Metadata)| known.get(name).is_none_or(|e| !e.contains(entry));
        let new: Vec<_> = entries.iter().filter(is_new).cloned().collect();
        drop(known);
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = Vec::new();
        for (name, entry) in new {
            if metrics.len() >= METRICS_MAX && !metrics.contains_key(&name) {
                continue;
            }
            let entries = metrics.entry(name.clone()).or_default();
            if entries.contains(&entry) {
                continue;
            }
            if entries.len() >= ENTRIES_MAX {
                entries.remove(0);
            }
            entries.push(entry.clone());
            added.push(MetadataEntry {
                name,
                metric_type: entry.metric_type as u8,
                unit: entry.unit,
                help: entry.help,
            });
        }
        added
    }

    /// Puts back what a log record or a checkpoint says.
    pub(crate) fn restore(&self, entries: Vec<MetadataEntry>) {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|e| {
                let metric_type = MetricType::from_number(e.metric_type);
                (e.name, Metadata { metric_type, unit: e.unit, help: e.help })
            })
            .collect();
        self.add(&entries);
    }

    /// Everything.
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<Metadata>> {
        self.metrics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything, as a checkpoint keeps it.
    pub(crate) fn entries(&self) -> Vec<MetadataEntry> {
        let entry = |(name, m): (&String, &Metadata)| MetadataEntry {
            name: name.clone(),
            metric_type: m.metric_type as u8,
            unit: m.unit.clone(),
            help: m.help.clone(),
        };
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        metrics.iter().flat_map(|(name, all)| all.iter().map(move |m| entry((name, m)))).collect()
    }
}
