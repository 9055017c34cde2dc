//! Samples as the chunks that a Prometheus stores, for streamed remote read.
//!
//! Source: Prometheus' chunk formats (`tsdb/docs/format/chunks.md`), the types every client reads: XOR,
//! histogram, float histogram. Invariants: chunks of a series follow one another in time; within a chunk of
//! histograms the layout does not change and no counter is reset, because a reader takes every sample but the
//! first one for a continuation.

mod bits;
mod histogram;
mod xor;

use histogram::HistogramChunk;
use storage_format::model::{Samples, Timestamp};
use xor::XorChunk;

/// Samples a chunk has at most, as in Prometheus.
const SAMPLES_MAX: u16 = 120;

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// 1 XOR, 2 histogram, 3 float histogram.
    pub encoding: u64,
    /// Its first timestamp.
    pub first: Timestamp,
    /// Its last timestamp.
    pub last: Timestamp,
    /// Its bytes, as on a Prometheus' disk without length and checksum.
    pub bytes: Vec<u8>,
}

enum Open {
    Xor(XorChunk),
    Histogram(Box<HistogramChunk>),
}

impl Open {
    fn finish(self) -> Chunk {
        match self {
            Self::Xor(chunk) => chunk.finish(),
            Self::Histogram(chunk) => chunk.finish(),
        }
    }
}

/// Encodes the samples of a series, the oldest chunk first.
pub fn chunks(samples: &Samples, mut each: impl FnMut(Chunk)) {
    let mut open: Option<Open> = None;
    let mut histograms = samples.histograms.iter().peekable();
    let mut floats = samples.timestamps.iter().zip(&samples.values).peekable();
    loop {
        let float_first = match (floats.peek(), histograms.peek()) {
            (None, None) => break,
            (Some(float), Some(histogram)) => *float.0 <= histogram.0,
            (float, _) => float.is_some(),
        };
        if float_first {
            let Some((timestamp, value)) = floats.next() else { break };
            match &mut open {
                Some(Open::Xor(chunk)) if chunk.has_room() => chunk.push(*timestamp, *value),
                _ => {
                    let next = Open::Xor(XorChunk::new(*timestamp, *value));
                    open.replace(next).into_iter().for_each(|full| each(full.finish()));
                }
            }
        } else {
            let Some((timestamp, _, histogram)) = histograms.next() else { break };
            match &mut open {
                Some(Open::Histogram(chunk)) if chunk.continues(histogram) => {
                    chunk.push(*timestamp, histogram)
                }
                _ => {
                    let next = Open::Histogram(Box::new(HistogramChunk::new(*timestamp, histogram)));
                    open.replace(next).into_iter().for_each(|full| each(full.finish()));
                }
            }
        }
    }
    open.into_iter().for_each(|last| each(last.finish()));
}
