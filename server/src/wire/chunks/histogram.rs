//! Chunks of native histograms, whole and float counts: the layout once, then second differences (whole
//! counts) or differing bits (float counts).

use super::bits::{Bits, Xor};
use super::{Chunk, SAMPLES_MAX};
use storage_format::model::{CounterResetHint, Histogram, Span, Timestamp};

/// Custom bounds up to this many thousandths are written as whole thousandths.
const BOUND_THOUSANDTHS_MAX: f64 = 33_554_430.0;

#[derive(Debug)]
pub(super) struct HistogramChunk {
    bits: Bits,
    counts: Counts,
    sum: Xor,
    previous: Histogram,
    flags: u8,
    first: Timestamp,
    last: Timestamp,
    step: i64,
    count: u16,
}

/// State of count, zero count, positive and negative buckets, in this order.
#[derive(Debug)]
enum Counts {
    /// Values and their last differences. The buckets are differences to their neighbours.
    Whole(Vec<(i64, i64)>),
    Float(Vec<Xor>),
}

impl HistogramChunk {
    pub(super) fn new(timestamp: Timestamp, histogram: &Histogram) -> Self {
        // A staleness marker is a histogram without anything but its sum.
        let bare;
        let shape = if histogram.is_stale() {
            bare = Histogram { sum: histogram.sum, integer: histogram.integer, ..Histogram::default() };
            &bare
        } else {
            histogram
        };
        let mut bits = Bits::after(&[0, 0, 0]);
        push_layout(&mut bits, shape);
        bits.push_varbit(timestamp);
        let counts = if shape.integer {
            let counts = whole(shape);
            bits.push_varbit_unsigned(counts[0] as u64);
            bits.push_varbit_unsigned(counts[1] as u64);
            bits.push(shape.sum.to_bits(), 64);
            counts[2..].iter().for_each(|count| bits.push_varbit(*count));
            Counts::Whole(counts.into_iter().map(|count| (count, 0)).collect())
        } else {
            let counts = float(shape);
            bits.push(counts[0].to_bits(), 64);
            bits.push(counts[1].to_bits(), 64);
            bits.push(shape.sum.to_bits(), 64);
            counts[2..].iter().for_each(|count| bits.push(count.to_bits(), 64));
            Counts::Float(counts.into_iter().map(Xor::new).collect())
        };
        let flags = match histogram.reset_hint {
            CounterResetHint::Gauge => 0b1100_0000,
            CounterResetHint::CounterReset => 0b1000_0000,
            _ => 0,
        };
        let sum = Xor::new(shape.sum);
        let (first, last, previous) = (timestamp, timestamp, histogram.clone());
        Self { bits, counts, sum, previous, flags, first, last, step: 0, count: 1 }
    }

    /// Whether a sample can follow without a new layout and without looking like a counter's reset.
    pub(super) fn continues(&self, next: &Histogram) -> bool {
        let before = &self.previous;
        let is_gauge = |histogram: &Histogram| histogram.reset_hint == CounterResetHint::Gauge;
        let same_layout = before.integer == next.integer
            && before.schema == next.schema
            && before.zero_threshold.to_bits() == next.zero_threshold.to_bits()
            && before.positive_spans == next.positive_spans
            && before.negative_spans == next.negative_spans
            && before.custom_bounds == next.custom_bounds;
        let grows = |before: &[f64], next: &[f64]| before.iter().zip(next).all(|(a, b)| a <= b);
        let no_reset = is_gauge(next)
            || next.reset_hint != CounterResetHint::CounterReset
                && before.count <= next.count
                && before.zero_count <= next.zero_count
                && grows(&before.positive_counts, &next.positive_counts)
                && grows(&before.negative_counts, &next.negative_counts);
        self.count < SAMPLES_MAX
            && !before.is_stale()
            && !next.is_stale()
            && same_layout
            && is_gauge(before) == is_gauge(next)
            && no_reset
    }

    pub(super) fn push(&mut self, timestamp: Timestamp, histogram: &Histogram) {
        let step = timestamp.wrapping_sub(self.last);
        self.bits.push_varbit(step.wrapping_sub(self.step));
        // The sum stands behind count and zero count.
        match &mut self.counts {
            Counts::Whole(states) => {
                for (i, (count, state)) in whole(histogram).into_iter().zip(states).enumerate() {
                    if i == 2 {
                        self.sum.push(histogram.sum, &mut self.bits);
                    }
                    let difference = count.wrapping_sub(state.0);
                    self.bits.push_varbit(difference.wrapping_sub(state.1));
                    *state = (count, difference);
                }
            }
            Counts::Float(states) => {
                for (i, (count, state)) in float(histogram).into_iter().zip(states).enumerate() {
                    if i == 2 {
                        self.sum.push(histogram.sum, &mut self.bits);
                    }
                    state.push(count, &mut self.bits);
                }
            }
        }
        if histogram.positive_counts.is_empty() && histogram.negative_counts.is_empty() {
            self.sum.push(histogram.sum, &mut self.bits);
        }
        self.previous.clone_from(histogram);
        (self.last, self.step, self.count) = (timestamp, step, self.count + 1);
    }

    pub(super) fn finish(self) -> Chunk {
        let encoding = if matches!(self.counts, Counts::Whole(_)) { 2 } else { 3 };
        let [high, low] = self.count.to_be_bytes();
        let bytes = self.bits.finish(&[high, low, self.flags]);
        Chunk { encoding, first: self.first, last: self.last, bytes }
    }
}

fn whole(histogram: &Histogram) -> Vec<i64> {
    let mut counts = vec![histogram.count as i64, histogram.zero_count as i64];
    for buckets in [&histogram.positive_counts, &histogram.negative_counts] {
        let mut previous = 0;
        counts.extend(buckets.iter().map(|count| {
            let count = *count as i64;
            count.wrapping_sub(std::mem::replace(&mut previous, count))
        }));
    }
    counts
}

fn float(histogram: &Histogram) -> Vec<f64> {
    let buckets = histogram.positive_counts.iter().chain(&histogram.negative_counts);
    [histogram.count, histogram.zero_count].iter().chain(buckets).copied().collect()
}

fn push_layout(bits: &mut Bits, histogram: &Histogram) {
    push_zero_threshold(bits, histogram.zero_threshold);
    bits.push_varbit(i64::from(histogram.schema));
    push_spans(bits, &histogram.positive_spans);
    push_spans(bits, &histogram.negative_spans);
    if histogram.uses_custom_buckets() {
        bits.push_varbit_unsigned(histogram.custom_bounds.len() as u64);
        histogram.custom_bounds.iter().for_each(|bound| push_bound(bits, *bound));
    }
}

/// A power of two is one byte.
fn push_zero_threshold(bits: &mut Bits, threshold: f64) {
    let exponent = (threshold.to_bits() >> 52 & 0x7ff) as i64 - 1022;
    let is_power = threshold > 0.0 && threshold.to_bits() & ((1 << 52) - 1) == 0;
    if threshold == 0.0 {
        bits.push(0, 8);
    } else if is_power && (-242..=11).contains(&exponent) {
        bits.push((exponent + 243) as u64, 8);
    } else {
        bits.push(255, 8);
        bits.push(threshold.to_bits(), 64);
    }
}

fn push_spans(bits: &mut Bits, spans: &[Span]) {
    bits.push_varbit_unsigned(spans.len() as u64);
    for span in spans {
        bits.push_varbit_unsigned(u64::from(span.length));
        bits.push_varbit(i64::from(span.offset));
    }
}

fn push_bound(bits: &mut Bits, bound: f64) {
    let thousandths = bound * 1000.0;
    if (0.0..=BOUND_THOUSANDTHS_MAX).contains(&thousandths) && thousandths.trunc() == thousandths {
        return bits.push_varbit_unsigned(thousandths as u64 + 1);
    }
    bits.push(0, 1);
    bits.push(bound.to_bits(), 64);
}
