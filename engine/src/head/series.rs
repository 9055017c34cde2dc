//! What the head keeps per series: identity, newest sample, open chunk, list of sealed chunks.

use super::slab::Handle;
use std::sync::Arc;
use storage_format::head_chunk::EncoderState;
use storage_format::model::{Histogram, TimeRange, Timestamp};

/// No sealed chunk.
pub(super) const NONE: u32 = u32::MAX;

/// One series. Invariant: `encoder.timestamp` is the newest in-order timestamp of either kind of sample;
/// the open chunk has `count` float samples in the first `len` bytes of `buffer`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeriesState {
    pub(super) encoder: EncoderState,
    /// Its number in the log, never used again.
    pub(super) id: u64,
    /// Newest of its sealed chunks, or [`NONE`].
    pub(super) sealed: u32,
    /// The open chunk's bytes; meaningless while `count` is 0.
    pub(super) buffer: Handle,
    pub(super) len: u16,
    pub(super) count: u16,
    /// Whether the newest in-order sample is a histogram.
    pub(super) newest_is_histogram: bool,
    /// Whether `Shard::starts` has a start timestamp for it.
    pub(super) has_start: bool,
    /// Whether `Shard::rare` has something for it.
    pub(super) has_rare: bool,
    /// Whether the slot is in use.
    pub(super) live: bool,
}

/// An immutable chunk of samples. Invariant: all of them lie in one window of block length.
#[derive(Debug, Clone)]
pub(crate) struct SealedChunk {
    pub(crate) bytes: Arc<[u8]>,
    /// First and last timestamp.
    pub(crate) min: Timestamp,
    pub(crate) max: Timestamp,
    pub(crate) count: u32,
    pub(crate) kind: ChunkKind,
    /// Whether a flush is writing it to a block.
    pub(super) flushing: bool,
    /// The chunk sealed before it, or [`NONE`].
    pub(super) previous: u32,
}

impl SealedChunk {
    /// A chunk that is in no list yet.
    pub(super) fn new(bytes: &[u8], min: Timestamp, max: Timestamp, count: u32, kind: ChunkKind) -> Self {
        Self { bytes: Arc::from(bytes), min, max, count, kind, flushing: false, previous: NONE }
    }
}

impl SealedChunk {
    /// Whether it has samples around `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.min < range.end && self.max >= range.start
    }
    /// Whether its samples came out of order.
    pub(crate) fn is_late(&self) -> bool {
        self.kind.is_late()
    }
}

/// What a sealed chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ChunkKind {
    /// Float samples that came in order.
    Floats = 0,
    /// Histogram samples that came in order.
    Histograms = 1,
    /// Float samples that came late.
    LateFloats = 2,
    /// Histogram samples that came late.
    LateHistograms = 3,
}

impl ChunkKind {
    /// From its number in a checkpoint.
    pub(crate) fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Floats,
            1 => Self::Histograms,
            2 => Self::LateFloats,
            3 => Self::LateHistograms,
            _ => return None,
        })
    }
    /// Whether its samples came out of order.
    pub(crate) fn is_late(self) -> bool {
        matches!(self, Self::LateFloats | Self::LateHistograms)
    }
    /// Whether it holds float samples.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::Floats | Self::LateFloats)
    }
}

/// A float sample: timestamp, start timestamp or 0, value.
pub(crate) type FloatSample = (Timestamp, Timestamp, f64);
/// A histogram sample: timestamp, start timestamp or 0, histogram.
pub(crate) type HistogramSample = (Timestamp, Timestamp, Histogram);

/// What few series have: histograms and late samples not sealed yet. All lists ascend by timestamp.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rare {
    pub(crate) histograms: Vec<HistogramSample>,
    pub(crate) late_floats: Vec<FloatSample>,
    pub(crate) late_histograms: Vec<HistogramSample>,
}

impl Rare {
    pub(crate) fn is_empty(&self) -> bool {
        self.histograms.is_empty() && self.late_floats.is_empty() && self.late_histograms.is_empty()
    }
}
