//! One OTLP request, decoded: columns for the engine, and for every series the place of what names it.
//!
//! Where it sits: filled by `walk`, asked by `resolve`, kept by the thread between requests.

use super::noted::Noted;
use crate::metadata::News;
use crate::refusals::Refusals;
use crate::relabel::Generation;
use engine::{SeriesEntry, WriteBatch};
use std::cell::Cell;
use std::sync::Arc;
use storage_format::model::Timestamp;

/// Key offsets from here on mean the `target_info` of a resource.
const TARGET: u32 = 1 << 31;
const KEEP_BYTES: usize = 4 << 20;

/// Bytes `start..end` of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Place {
    pub(super) fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What a metric holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    Exponential,
    Summary,
}

#[derive(Debug)]
pub(super) struct Resource {
    pub(super) place: Place,
    pub(super) key: u128,
    /// Oldest and newest timestamp of its data points.
    pub(super) span: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug)]
pub(super) struct Scope {
    pub(super) resource: u32,
    pub(super) place: Place,
    pub(super) schema_url: Place,
    pub(super) key: u128,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) scope: u32,
    pub(super) name: Place,
    pub(super) unit: Place,
    pub(super) kind: Kind,
    pub(super) delta: bool,
    pub(super) key: u128,
}

/// A data point: its metric, and where its message stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) metric: u32,
    pub(super) place: Place,
}

/// Which series of a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Derived {
    /// The metric's own.
    Plain,
    Sum,
    Count,
    /// The bucket without upper bound.
    Infinity,
    /// The least value of a histogram.
    Minimum,
    /// The greatest value of a histogram.
    Maximum,
    /// The bucket with the bound, or the quantile, at this index.
    At(u32),
}

impl Derived {
    pub(super) fn to_wire(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::Sum => 1,
            Self::Count => 2,
            Self::Infinity => 3,
            Self::Minimum => 4,
            Self::Maximum => 5,
            Self::At(i) => i.saturating_add(6),
        }
    }
    fn from_wire(n: u32) -> Self {
        match n {
            0 => Self::Plain,
            1 => Self::Sum,
            2 => Self::Count,
            3 => Self::Infinity,
            4 => Self::Minimum,
            5 => Self::Maximum,
            i => Self::At(i - 6),
        }
    }
}

/// What a series of the batch is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// The `target_info` of this resource.
    Target(u32),
    /// A series of this data point.
    Point(u32, Derived),
}

impl Origin {
    pub(super) fn of(entry: &SeriesEntry) -> Self {
        if entry.key_offset >= TARGET {
            Self::Target(entry.key_offset - TARGET)
        } else {
            Self::Point(entry.key_offset, Derived::from_wire(entry.key_len))
        }
    }
}

/// An exemplar: the series it belongs to, and its message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) point: u32,
    pub(super) derived: Derived,
    pub(super) place: Place,
}

/// Everything a request needs while it is decoded and stored.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) body: Vec<u8>,
    pub(super) batch: WriteBatch,
    pub(super) resources: Vec<Resource>,
    pub(super) scopes: Vec<Scope>,
    pub(super) metrics: Vec<Metric>,
    pub(super) points: Vec<Point>,
    pub(super) exemplars: Vec<Pending>,
    pub(super) metadata: News,
    /// Data points that were refused.
    pub(super) refusals: Refusals,
    /// Data points that are not in `points` because their metric was refused.
    pub(super) skipped_points: u64,
    pub(super) has_delta: bool,
    /// What was noticed on the way.
    pub(super) noted: Noted,
    /// Entries of the batch whose canonical keys are not known.
    pub(super) unknown_keys: Vec<u32>,
    /// A batch to fill, kept for its allocations.
    pub(super) spare: WriteBatch,
    pub(super) explicit: super::points::Explicit,
    /// The relabeling rules in force when the request came.
    pub(super) relabel: Option<Arc<Generation>>,
}

impl Request {
    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.resources.clear();
        self.scopes.clear();
        self.metrics.clear();
        self.points.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.refusals.clear();
        self.skipped_points = 0;
        self.has_delta = false;
        self.noted = Noted::default();
        self.unknown_keys.clear();
        self.spare.clear();
        self.relabel = None;
    }
    /// Ends a series of a data point: everything pushed since the last end belongs to it.
    #[inline]
    pub(super) fn end_point(&mut self, key: u128, point: u32, derived: Derived) {
        self.batch.end_series(crate::keys::finish(key), point, derived.to_wire());
    }
    /// Ends the `target_info` series of a resource.
    pub(super) fn end_target(&mut self, key: u128, resource: u32) {
        self.batch.end_series(crate::keys::finish(key), TARGET + resource, 0);
    }
    /// Pushes a float sample of the current series; `start` is 0 when unknown.
    #[inline]
    pub(super) fn push(&mut self, timestamp: Timestamp, start: Timestamp, value: f64) {
        push_float(&mut self.batch, timestamp, start, value);
    }
    fn shrink(&mut self) {
        if self.body.capacity() > KEEP_BYTES {
            self.body = Vec::new();
        }
        self.clear();
        if self.batch.series.capacity() > KEEP_BYTES / 32 || self.points.capacity() > KEEP_BYTES / 12 {
            *self = Self { body: std::mem::take(&mut self.body), ..Self::default() };
        }
    }
}

/// Pushes a float sample; the column of starts stays short until its end is needed.
#[inline]
pub(super) fn push_float(batch: &mut WriteBatch, timestamp: Timestamp, start: Timestamp, value: f64) {
    if start != 0 {
        batch.starts.resize(batch.timestamps.len(), 0);
        batch.starts.push(start);
    }
    batch.timestamps.push(timestamp);
    batch.values.push(value);
}

/// Calls `work` with this thread's buffers.
pub(super) fn with<T>(work: impl FnOnce(&mut Request) -> T) -> T {
    thread_local! {
        static REQUEST: Cell<Option<Box<Request>>> = const { Cell::new(None) };
    }
    let mut request = REQUEST.take().unwrap_or_default();
    let done = work(&mut request);
    request.shrink();
    REQUEST.set(Some(request));
    done
}
