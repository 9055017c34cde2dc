//! The running state of one group of an aggregation, over all steps at once.
//!
//! Floats live in columns of accumulators, histograms only at the steps that have some. Two states of the
//! same group can be joined; how sums are split over states shows at most in the last bits.

use super::column::{Bits, Column};
use crate::annotations::{
    Annotations, Combination, bounds_reconciled, hints_collided, ignored_histogram, mixed_schemas,
};
use crate::execute::Scalars;
use crate::functions::over_time::{HintsSeen, HistogramMean, quantile};
use crate::histogram::{HistogramSum, Merge, MixedSchemas, compact};
use crate::kahan::{Kahan, Mean};
use crate::parse::{AggregateOp, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage_format::model::Histogram;

/// Sums or means of histograms at the steps that have some.
#[derive(Debug, Default)]
struct Histograms {
    steps: BTreeMap<u32, HistogramState>,
}

#[derive(Debug)]
struct HistogramState {
    value: Value,
    hints: HintsSeen,
    incompatible: bool,
}

#[derive(Debug)]
enum Value {
    Sum(HistogramSum),
    /// Means need the count, so merging chunks needs the sums; they are kept as members until finished.
    Mean(Box<HistogramMean>, Vec<Arc<Histogram>>),
}

impl HistogramState {
    fn new(h: &Arc<Histogram>, mean: bool) -> Self {
        let value = if mean {
            Value::Mean(Box::new(HistogramMean::new(h)), vec![Arc::clone(h)])
        } else {
            Value::Sum(HistogramSum::new(h))
        };
        let mut hints = HintsSeen::default();
        hints.see(h.reset_hint);
        Self { value, hints, incompatible: false }
    }
    fn add(&mut self, h: &Arc<Histogram>) -> Result<Merge, MixedSchemas> {
        self.hints.see(h.reset_hint);
        match &mut self.value {
            Value::Sum(sum) => sum.add(h, 1.0),
            Value::Mean(mean, members) => {
                members.push(Arc::clone(h));
                mean.add(h)
            }
        }
    }
    fn absorb(&mut self, other: Self) -> Result<Merge, MixedSchemas> {
        self.hints.merge(other.hints);
        self.incompatible |= other.incompatible;
        match (&mut self.value, other.value) {
            (Value::Sum(a), Value::Sum(b)) => a.add(&b.finish(), 1.0),
            (Value::Mean(mean, members), Value::Mean(_, others)) => {
                let mut all = Merge::default();
                for h in others {
                    let merge = mean.add(&h)?;
                    all.bounds_reconciled |= merge.bounds_reconciled;
                    members.push(h);
                }
                Ok(all)
            }
            _ => Ok(Merge::default()),
        }
    }
    fn finish(self) -> Histogram {
        let mut h = match self.value {
            Value::Sum(sum) => sum.finish(),
            Value::Mean(mean, _) => mean.finish(),
        };
        compact(&mut h);
        h
    }
}

/// The running state of one group over all steps.
pub(super) struct Accumulator {
    op: AggregateOp,
    /// Steps with at least one float.
    floats: Bits,
    numbers: Numbers,
    histograms: Histograms,
    /// Where annotations point.
    place: Place,
}

/// What annotations need.
#[derive(Clone, Copy)]
struct Place {
    span: Span,
}

enum Numbers {
    Sum(Vec<Kahan>),
    Mean(Vec<Mean>),
    /// Counts, extremes and ones.
    Plain(Vec<f64>),
    /// Count, mean and sum of squared distances.
    Spread(Vec<(f64, f64, f64)>),
    /// All values.
    All(Vec<Vec<f64>>),
}

impl Accumulator {
    /// Nothing yet, over `len` steps; `span` is where annotations point.
    pub(super) fn new(op: AggregateOp, len: usize, span: Span) -> Self {
        let numbers = match op {
            AggregateOp::Sum => Numbers::Sum(vec![Kahan::default(); len]),
            AggregateOp::Avg => Numbers::Mean(vec![Mean::default(); len]),
            AggregateOp::Stddev | AggregateOp::Stdvar => Numbers::Spread(vec![(0.0, 0.0, 0.0); len]),
            AggregateOp::Quantile => Numbers::All(vec![Vec::new(); len]),
            _ => Numbers::Plain(vec![0.0; len]),
        };
        Self { op, floats: Bits::new(len), numbers, histograms: Histograms::default(), place: Place { span } }
    }
    /// Bytes of a state over `len` steps, but for what single values and histograms take.
    pub(super) fn bytes_of(op: AggregateOp, len: usize) -> u64 {
        let step = match op {
            AggregateOp::Sum => 16,
            AggregateOp::Avg | AggregateOp::Quantile => 32,
            AggregateOp::Stddev | AggregateOp::Stdvar => 24,
            _ => 8,
        };
        size_of::<Self>() as u64 + len as u64 * step
    }
    /// Bytes held, but for what single values and histograms take.
    pub(super) fn bytes(&self) -> u64 {
        Self::bytes_of(self.op, self.floats.len())
    }
    /// Values kept one by one.
    pub(super) fn kept(&self) -> u64 {
        match &self.numbers {
            Numbers::All(all) => all.iter().map(|v| v.len() as u64).sum(),
            _ => 0,
        }
    }
    /// Folds a column in.
    pub(super) fn add(&mut self, column: &Column, name: &str, annotations: &mut Annotations) {
        let values = &column.values;
        match &mut self.numbers {
            Numbers::Sum(sums) => column.present.iter().for_each(|i| sums[i].add(values[i])),
            Numbers::Mean(means) => column.present.iter().for_each(|i| means[i].add(values[i])),
            Numbers::All(all) => column.present.iter().for_each(|i| all[i].push(values[i])),
            Numbers::Spread(states) => {
                column.present.iter().for_each(|i| spread(&mut states[i], values[i]));
            }
            Numbers::Plain(numbers) => {
                for i in column.present.iter() {
                    let (number, value) = (&mut numbers[i], values[i]);
                    let first = !self.floats.get(i);
                    match self.op {
                        AggregateOp::Count => *number += 1.0,
                        AggregateOp::Group => *number = 1.0,
                        AggregateOp::Max if first || *number < value || number.is_nan() => *number = value,
                        AggregateOp::Min if first || *number > value || number.is_nan() => *number = value,
                        _ => {}
                    }
                }
            }
        }
        self.floats.or(&column.present);
        if !column.histograms.is_empty() {
            self.add_histograms(column, name, annotations);
        }
    }
    fn add_histograms(&mut self, column: &Column, name: &str, annotations: &mut Annotations) {
        match (&mut self.numbers, self.op) {
            (Numbers::Plain(numbers), AggregateOp::Count | AggregateOp::Group) => {
                for (step, _) in &column.histograms {
                    let i = *step as usize;
                    numbers[i] = if self.op == AggregateOp::Count { numbers[i] + 1.0 } else { 1.0 };
                    self.floats.set(i);
                }
            }
            (_, AggregateOp::Sum | AggregateOp::Avg) => {
                let mean = self.op == AggregateOp::Avg;
                for (step, h) in &column.histograms {
                    match self.histograms.steps.get_mut(step) {
                        None => {
                            self.histograms.steps.insert(*step, HistogramState::new(h, mean));
                        }
                        Some(state) if state.incompatible => {}
                        Some(state) => {
                            let merged = state.add(h);
                            self.place.note(merged, state, name, annotations);
                        }
                    }
                }
            }
            _ => annotations.info(ignored_histogram(self.op.as_str()), self.place.span),
        }
    }
    /// Folds the accumulator of a later chunk in.
    pub(super) fn absorb(&mut self, other: Self, annotations: &mut Annotations) {
        match (&mut self.numbers, other.numbers) {
            (Numbers::Sum(a), Numbers::Sum(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| a.absorb(b));
            }
            (Numbers::Mean(a), Numbers::Mean(b)) => a.iter_mut().zip(b).for_each(|(a, b)| a.absorb(b)),
            (Numbers::All(a), Numbers::All(b)) => a.iter_mut().zip(b).for_each(|(a, b)| a.extend(b)),
            (Numbers::Spread(a), Numbers::Spread(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| join_spread(a, b));
            }
            (Numbers::Plain(a), Numbers::Plain(b)) => {
                for i in other.floats.iter() {
                    let first = !self.floats.get(i);
                    a[i] = match self.op {
                        AggregateOp::Count => a[i] + b[i],
                        AggregateOp::Max if !(first || a[i] < b[i] || a[i].is_nan()) => a[i],
                        AggregateOp::Min if !(first || a[i] > b[i] || a[i].is_nan()) => a[i],
                        _ => b[i],
                    };
                }
            }
            _ => {}
        }
        self.floats.or(&other.floats);
        for (step, state) in other.histograms.steps {
            match self.histograms.steps.get_mut(&step) {
                None => {
                    self.histograms.steps.insert(step, state);
                }
                Some(mine) => {
                    let merged = mine.absorb(state);
                    self.place.note(merged, mine, "", annotations);
                }
            }
        }
    }
    /// The group's column.
    pub(super) fn finish(self, param: &Scalars, annotations: &mut Annotations) -> Column {
        let len = self.floats.len();
        let mut out = Column::new(len);
        let span = self.place.span;
        let mut floats = self.floats;
        for (step, state) in self.histograms.steps {
            let i = step as usize;
            if floats.get(i) {
                floats.clear(i);
                annotations
                    .warn("encountered a mix of histograms and floats for aggregation".to_owned(), span);
                continue;
            }
            if state.incompatible {
                continue;
            }
            if state.hints.collide() {
                annotations.warn(hints_collided(Combination::Aggregation), span);
            }
            out.push_histogram(i, Arc::new(state.finish()));
        }
        match self.numbers {
            Numbers::Sum(sums) => floats.iter().for_each(|i| out.values[i] = sums[i].sum + sums[i].rest),
            Numbers::Mean(means) => floats.iter().for_each(|i| out.values[i] = means[i].value()),
            Numbers::Plain(numbers) => out.values = numbers,
            Numbers::Spread(states) => {
                for i in floats.iter() {
                    let variance = states[i].2 / states[i].0;
                    out.values[i] = if self.op == AggregateOp::Stddev { variance.sqrt() } else { variance };
                }
            }
            Numbers::All(mut all) => {
                floats.iter().for_each(|i| out.values[i] = quantile(param.at(i), &mut all[i]));
            }
        }
        out.present = floats;
        out
    }
}

impl Place {
    fn note(
        self,
        merged: Result<Merge, MixedSchemas>,
        state: &mut HistogramState,
        name: &str,
        annotations: &mut Annotations,
    ) {
        match merged {
            Ok(merge) if merge.bounds_reconciled => {
                annotations.info(bounds_reconciled(Combination::Aggregation), self.span);
            }
            Ok(_) => {}
            Err(MixedSchemas) => {
                annotations.warn(mixed_schemas(name), self.span);
                state.incompatible = true;
            }
        }
    }
}

/// Welford's step. A first value that is not finite makes everything NaN.
fn spread(state: &mut (f64, f64, f64), value: f64) {
    let (count, mean, squares) = state;
    if *count == 0.0 {
        *state = (1.0, value, if value.is_finite() { 0.0 } else { f64::NAN });
        return;
    }
    *count += 1.0;
    let delta = value - *mean;
    *mean += delta / *count;
    *squares += delta * (value - *mean);
}

/// Chan's parallel form.
fn join_spread(a: &mut (f64, f64, f64), b: (f64, f64, f64)) {
    if b.0 == 0.0 {
        return;
    }
    if a.0 == 0.0 {
        *a = b;
        return;
    }
    let count = a.0 + b.0;
    let delta = b.1 - a.1;
    *a = (count, a.1 + delta * b.0 / count, a.2 + b.2 + delta * delta * a.0 * b.0 / count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_same_spread() {
        let values = [1.0, 4.0, 4.5, -2.0, 10.0];
        let (mut whole, mut left, mut right) = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0));
        for (i, v) in values.iter().enumerate() {
            spread(&mut whole, *v);
            spread(if i < 2 { &mut left } else { &mut right }, *v);
        }
        join_spread(&mut left, right);
        assert!((whole.2 - left.2).abs() < 1e-12 && (whole.1 - left.1).abs() < 1e-12);
    }
}
