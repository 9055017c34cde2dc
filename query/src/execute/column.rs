//! The unit operators work on: the values of one series at every step of a grid.
//!
//! Invariants: `values` and `present` have the grid's length; a value means something only where its bit is
//! set; `histograms` ascends by step, and no step holds both a float and a histogram.

use std::sync::Arc;
use storage_format::model::{Histogram, Labels, Timestamp};

/// The instants at which something is evaluated: `start`, `start + step`, … , `len` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Grid {
    pub(crate) start: Timestamp,
    /// Milliseconds, positive.
    pub(crate) step: i64,
    pub(crate) len: usize,
}

impl Grid {
    /// All instants of the progression from `start` up to and including `end`.
    pub(crate) fn new(start: Timestamp, end: Timestamp, step: i64) -> Self {
        let step = step.max(1);
        let len = if end < start { 0 } else { (i128::from(end) - i128::from(start)) / i128::from(step) + 1 };
        Self { start, step, len: usize::try_from(len).unwrap_or(usize::MAX) }
    }
    /// The grid with only the first instant.
    pub(crate) fn first(self) -> Self {
        Self { len: self.len.min(1), ..self }
    }
    /// Instant `i`.
    pub(crate) fn at(self, i: usize) -> Timestamp {
        self.start.saturating_add(self.step.saturating_mul(i as i64))
    }
    /// The last instant; `start` for an empty grid.
    pub(crate) fn last(self) -> Timestamp {
        self.at(self.len.saturating_sub(1))
    }
}

/// A bit per step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// `len` bits, all clear.
    pub(crate) fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }
    /// `len` bits, all set.
    pub(crate) fn ones(len: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bits.trim();
        bits
    }
    fn trim(&mut self) {
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.len % 64) {
            *last &= (1 << rest) - 1;
        }
    }
    /// Clears all bits and sets the length.
    pub(crate) fn reset(&mut self, len: usize) {
        self.words.clear();
        self.words.resize(len.div_ceil(64), 0);
        self.len = len;
    }
    #[inline]
    pub(crate) fn get(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 == 1
    }
    #[inline]
    pub(crate) fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
    }
    #[inline]
    pub(crate) fn clear(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
    }
    /// Whether any bit is set.
    pub(crate) fn any(&self) -> bool {
        self.words.iter().any(|w| *w != 0)
    }
    /// Number of bits set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
    /// Number of bits.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    /// Whether every bit is set.
    pub(crate) fn all(&self) -> bool {
        self.count() == self.len
    }
    /// Positions of the bits set, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    i * 64 + bit as usize
                })
            })
        })
    }
    /// Keeps only the bits that `other` has too.
    pub(crate) fn and(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }
    /// Adds the bits of `other`.
    pub(crate) fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }
    /// Removes the bits of `other`.
    pub(crate) fn and_not(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }
    /// Whether both have a bit in common.
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }
}

/// One sample of a column.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// The values of one series at every step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    pub(crate) values: Vec<f64>,
    pub(crate) present: Bits,
    pub(crate) histograms: Vec<(u32, Arc<Histogram>)>,
}

impl Column {
    /// A column without samples.
    pub(crate) fn new(len: usize) -> Self {
        Self { values: vec![0.0; len], present: Bits::new(len), histograms: Vec::new() }
    }
    /// Empties it and sets the number of steps.
    pub(crate) fn reset(&mut self, len: usize) {
        self.values.clear();
        self.values.resize(len, 0.0);
        self.present.reset(len);
        self.histograms.clear();
    }
    /// Sets a float.
    #[inline]
    pub(crate) fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }
    /// Appends a histogram; steps must ascend.
    pub(crate) fn push_histogram(&mut self, step: usize, h: Arc<Histogram>) {
        self.histograms.push((step as u32, h));
    }
    /// The histogram at a step.
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        let at = self.histograms.binary_search_by_key(&(step as u32), |h| h.0).ok()?;
        Some(&self.histograms[at].1)
    }
    /// The sample at a step.
    pub(crate) fn sample(&self, step: usize) -> Option<Sample<'_>> {
        if self.present.get(step) {
            return Some(Sample::Float(self.values[step]));
        }
        self.histogram(step).map(Sample::Histogram)
    }
    /// Whether there is no sample at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.histograms.is_empty() && !self.present.any()
    }
    /// Steps with a sample of either kind.
    pub(crate) fn occupied(&self) -> Bits {
        let mut bits = self.present.clone();
        self.histograms.iter().for_each(|h| bits.set(h.0 as usize));
        bits
    }
    /// Takes over the samples of `other`; `false` (and unchanged floats) when a step is occupied in both.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        if self.occupied().intersects(&other.occupied()) {
            return false;
        }
        other.present.iter().for_each(|i| self.set(i, other.values[i]));
        if !other.histograms.is_empty() {
            self.histograms.extend(other.histograms.iter().cloned());
            self.histograms.sort_unstable_by_key(|h| h.0);
        }
        true
    }
    /// Keeps only the samples at steps in `keep`.
    pub(crate) fn retain(&mut self, keep: &Bits) {
        self.present.and(keep);
        self.histograms.retain(|h| keep.get(h.0 as usize));
    }
    /// Samples as the sample limit counts them.
    pub(crate) fn weight(&self) -> u64 {
        let histograms: u64 = self.histograms.iter().map(|h| crate::histogram::size_in_samples(&h.1)).sum();
        self.present.count() as u64 + histograms
    }
    /// Bytes it occupies.
    pub(crate) fn bytes(&self) -> u64 {
        let histograms: usize =
            self.histograms.iter().map(|h| crate::histogram::algebra::size_in_bytes(&h.1)).sum();
        (self.values.capacity() * 8 + self.present.len() / 8 + histograms + 96) as u64
    }
    /// A column of `len` steps that repeats step 0 of this one.
    pub(crate) fn broadcast(&self, len: usize, out: &mut Self) {
        out.reset(len);
        match self.present.len().checked_sub(1).and_then(|_| self.sample(0)) {
            Some(Sample::Float(value)) => {
                out.values.fill(value);
                out.present = Bits::ones(len);
            }
            Some(Sample::Histogram(h)) => {
                out.histograms = (0..len as u32).map(|i| (i, Arc::clone(h))).collect();
            }
            None => {}
        }
    }
}

/// What identifies an output series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeriesMeta {
    pub(crate) labels: Labels,
    /// The metric name is to be dropped at the end (delayed name removal).
    pub(crate) drop_name: bool,
}

/// A series with its values.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) meta: SeriesMeta,
    pub(crate) column: Column,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_end_at_the_last_real_step() {
        let grid = Grid::new(0, 25, 10);
        assert_eq!((grid.len, grid.last()), (3, 20));
        assert_eq!(Grid::new(5, 4, 10).len, 0);
        assert_eq!(Grid::new(5, 5, 10).len, 1);
    }

    #[test]
    fn bits_behave() {
        let mut bits = Bits::new(130);
        for i in [0, 63, 64, 129] {
            bits.set(i);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(bits.count(), 4);
        assert!(Bits::ones(130).all() && !bits.all());
        bits.and_not(&Bits::ones(130));
        assert!(!bits.any());
    }

    #[test]
    fn columns_merge_only_without_overlap() {
        let (mut a, mut b) = (Column::new(3), Column::new(3));
        a.set(0, 1.0);
        b.set(2, 3.0);
        assert!(a.absorb(&b) && a.present.count() == 2);
        b.set(0, 9.0);
        assert!(!a.absorb(&b));
    }
}
