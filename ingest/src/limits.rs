//! Every limit on what one request may hold; nothing is unlimited.

use std::sync::atomic::{AtomicU64, Ordering};
use storage_format::model::labels::{NAME_BYTES_MAX, VALUE_BYTES_MAX};

/// Limits of one request and of the series it names.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a body after decompression. Default: 32 MiB for remote write, 64 MiB for OTLP.
    pub body_bytes: usize,
    /// Series. Default: 500,000; 2,000,000 for OTLP, whose histograms are many series each.
    pub series: usize,
    /// Float samples, histograms counted with their buckets, and exemplars together. Default: 2,000,000.
    pub elements: usize,
    /// Labels of a series. Default: 128.
    pub labels: usize,
    /// Bytes of a label name. Default: 1,024.
    pub name_bytes: usize,
    /// Bytes of a label value. Default: 16,384.
    pub value_bytes: usize,
    /// Bytes of all names and values of a series. Default: 65,536.
    pub label_set_bytes: usize,
    /// Buckets of one native histogram. Default: 10,000.
    pub buckets: usize,
}

impl Limits {
    /// Defaults for remote write.
    pub const REMOTE_WRITE: Self = Self {
        body_bytes: 32 << 20,
        series: 500_000,
        elements: 2_000_000,
        labels: 128,
        name_bytes: 1024,
        value_bytes: 16 << 10,
        label_set_bytes: 64 << 10,
        buckets: 10_000,
    };
    /// What a label set may be before relabeling: what can be represented. The real limits hold behind it.
    pub(crate) const BEFORE_RELABELING: Self = Self {
        labels: 4096,
        name_bytes: NAME_BYTES_MAX,
        value_bytes: VALUE_BYTES_MAX,
        label_set_bytes: 4 << 20,
        ..Self::REMOTE_WRITE
    };
    /// Defaults for OTLP.
    pub const OTLP: Self = Self { body_bytes: 64 << 20, series: 2_000_000, ..Self::REMOTE_WRITE };
}

/// Which limit refused something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    BodyBytes,
    Series,
    Samples,
    Labels,
    NameBytes,
    ValueBytes,
    LabelSetBytes,
    Buckets,
}

/// Their names in metrics, in the same order.
const NAMES: [&str; 8] = [
    "body_bytes",
    "series_per_request",
    "samples_per_request",
    "labels",
    "label_name_bytes",
    "label_value_bytes",
    "label_set_bytes",
    "histogram_buckets",
];

static REFUSALS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

impl Limit {
    /// Counts a request, series or histogram that it refused.
    #[cold]
    pub(crate) fn refused(self) {
        REFUSALS[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// How many requests, series and histograms each limit has refused in this process, by the limit's name.
#[must_use]
pub fn refusals() -> [(&'static str, u64); NAMES.len()] {
    std::array::from_fn(|i| (NAMES[i], REFUSALS[i].load(Ordering::Relaxed)))
}

/// Counts down what one request may still bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    series: usize,
    elements: usize,
    limit: (usize, usize),
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (series, elements) = (limits.series, limits.elements);
        Self { series, elements, limit: (series, elements) }
    }
    /// Takes one series.
    #[inline]
    pub(crate) fn series(&mut self) -> Result<(), crate::Error> {
        let left = self.series.checked_sub(1);
        self.series = left.ok_or_else(|| {
            Limit::Series.refused();
            crate::Error::TooLarge { what: "series", limit: self.limit.0 }
        })?;
        Ok(())
    }
    /// Takes `n` samples, buckets or exemplars.
    #[inline]
    pub(crate) fn elements(&mut self, n: usize) -> Result<(), crate::Error> {
        let left = self.elements.checked_sub(n);
        self.elements = left.ok_or_else(|| {
            Limit::Samples.refused();
            crate::Error::TooLarge { what: "samples", limit: self.limit.1 }
        })?;
        Ok(())
    }
}
