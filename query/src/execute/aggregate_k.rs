//! Aggregations that choose or count series: `topk`, `bottomk`, `limitk`, `limit_ratio`, `count_values`.

use super::aggregate::{Group, group, group_labels};
use super::column::{Bits, Column, Grid, Sample, Series, SeriesMeta};
use super::source::{Input, Materialized, Source, map};
use super::{Evaluator, Scalars, defect};
use crate::QueryError;
use crate::annotations::{Annotations, ignored_histogram, invalid_ratio};
use crate::functions::label::{is_label_name, with_label};
use crate::histogram::to_text;
use crate::parse::text::float;
use crate::parse::{AggregateOp, Span};
use crate::plan::{Aggregation, Node};
use std::collections::HashMap;
use storage_format::model::Labels;

/// The largest float that fits an `i64`, as Prometheus has it.
const I64_MAX: f64 = 9_223_372_036_854_774_784.0;
const I64_MIN: f64 = -9_223_372_036_854_775_808.0;

fn failed<T>(text: String) -> Result<T, QueryError> {
    Err(QueryError::Execution(text))
}

/// How many to keep at each step; `None` when it is none at any step.
fn counts(param: &Scalars, grid: Grid) -> Result<Option<Vec<usize>>, QueryError> {
    let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
    for k in param.values(grid.len) {
        nan |= k.is_nan();
        low = low.min(k);
        high = high.max(k);
    }
    if !nan && high < 1.0 {
        return Ok(None);
    }
    if nan {
        return failed("Parameter value is NaN".to_owned());
    }
    if low <= I64_MIN {
        return failed(format!("Scalar value {} underflows int64", crate::format::general(low)));
    }
    if high >= I64_MAX {
        return failed(format!("Scalar value {} overflows int64", crate::format::general(high)));
    }
    Ok(Some(param.values(grid.len).map(|k| if k < 1.0 { 0 } else { k as usize }).collect()))
}

/// A bounded heap of (value, series) with the first to go on top, NaN going first. Its operations are
/// those of the textbook, because ties are broken by them.
struct Heap {
    items: Vec<(f64, u32)>,
    largest: bool,
}

impl Heap {
    fn before(&self, a: f64, b: f64) -> bool {
        a.is_nan() || if self.largest { a < b } else { a > b }
    }
    fn offer(&mut self, value: f64, series: u32, k: usize) {
        if self.items.len() < k {
            self.items.push((value, series));
            let mut i = self.items.len() - 1;
            while i > 0 {
                let parent = (i - 1) / 2;
                if !self.before(self.items[i].0, self.items[parent].0) {
                    break;
                }
                self.items.swap(i, parent);
                i = parent;
            }
            return;
        }
        let Some(top) = self.items.first().map(|t| t.0) else { return };
        let better = if self.largest { top < value } else { top > value };
        if better || top.is_nan() && !value.is_nan() {
            self.items[0] = (value, series);
            let mut i = 0;
            loop {
                let (left, right) = (2 * i + 1, 2 * i + 2);
                if left >= self.items.len() {
                    break;
                }
                let mut child = left;
                if right < self.items.len() && self.before(self.items[right].0, self.items[left].0) {
                    child = right;
                }
                if !self.before(self.items[child].0, self.items[i].0) {
                    break;
                }
                self.items.swap(i, child);
                i = child;
            }
        }
    }
    /// Best first, NaN last.
    fn sorted(mut self) -> Vec<(f64, u32)> {
        let largest = self.largest;
        self.items.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
            (false, false) => {
                let order = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
                if largest { order.reverse() } else { order }
            }
            (a, b) => a.cmp(&b),
        });
        self.items
    }
}

impl<'q> Evaluator<'q> {
    fn param(&self, a: &'q Aggregation, grid: Grid) -> Result<Scalars, QueryError> {
        let param = a.param.as_ref().ok_or_else(|| defect("an aggregation lacks its parameter"))?;
        self.scalar(param, grid)
    }
    /// Nothing, but with the annotations that computing the input gives.
    fn none_of(&self, input: &dyn Source) -> Result<Input<'q>, QueryError> {
        self.shared.for_each(input, |_, _| Ok(()))?;
        Ok(Materialized::default().into_source())
    }
    /// `topk` and `bottomk`: a heap per group and step, whatever the number of series.
    pub(super) fn aggregate_k(
        &self,
        a: &'q Aggregation,
        node: &Node,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let counts = counts(&self.param(a, grid)?, grid)?;
        let input = self.vector(&a.input, grid)?;
        let Some(counts) = counts else { return self.none_of(&*input) };
        let groups = group(input.series(), &a.grouping, a.without);
        let total = input.series().len();
        let largest = a.op == AggregateOp::Topk;
        let chosen = self.shared.run(groups.len(), total >= 64, |g, scratch| {
            let mut heaps: Vec<Heap> = (0..grid.len).map(|_| Heap { items: Vec::new(), largest }).collect();
            let mut column = Column::default();
            for i in &groups[g].members {
                input.column(*i as usize, scratch, &mut column)?;
                for step in column.present.iter() {
                    heaps[step].offer(column.values[step], *i, counts[step].min(total));
                }
                if !column.histograms.is_empty() {
                    scratch.annotations.info(ignored_histogram(a.op.as_str()), node.span);
                }
            }
            Ok(heaps.into_iter().map(Heap::sorted).collect::<Vec<_>>())
        })?;
        let mut at: HashMap<u32, usize> = HashMap::new();
        let mut series: Vec<Series> = Vec::new();
        for (step, value, i) in chosen
            .into_iter()
            .flat_map(|steps| steps.into_iter().enumerate())
            .flat_map(|(step, kept)| kept.into_iter().map(move |(value, i)| (step, value, i)))
        {
            let slot = *at.entry(i).or_insert_with(|| {
                let meta = input.series()[i as usize].clone();
                series.push(Series { meta, column: Column::new(grid.len) });
                series.len() - 1
            });
            series[slot].column.set(step, value);
        }
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
    /// `limitk` and `limit_ratio`: series as they are, but not all of them.
    pub(super) fn aggregate_limit(&self, a: &'q Aggregation, grid: Grid) -> Result<Input<'q>, QueryError> {
        let param = self.param(a, grid)?;
        let input = self.vector(&a.input, grid)?;
        if a.op == AggregateOp::LimitRatio {
            return self.limit_ratio(a, &param, input, grid);
        }
        let Some(counts) = counts(&param, grid)? else { return self.none_of(&*input) };
        let groups = group(input.series(), &a.grouping, a.without);
        let rows = self.shared.run(groups.len(), input.series().len() >= 64, |g, scratch| {
            self.first_k(&*input, &groups[g], &counts, scratch)
        })?;
        let series = rows.into_iter().flatten().collect();
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
    /// The first series of a group that have a sample, as many as each step may keep.
    fn first_k(
        &self,
        input: &dyn Source,
        group: &Group,
        counts: &[usize],
        scratch: &mut super::source::Scratch,
    ) -> Result<Vec<Series>, QueryError> {
        let mut kept = vec![0; counts.len()];
        let mut series = Vec::new();
        let mut column = Column::default();
        for i in &group.members {
            if kept.iter().zip(counts).all(|(kept, k)| kept >= k) {
                break;
            }
            input.column(*i as usize, scratch, &mut column)?;
            let mut keep = Bits::new(counts.len());
            for step in column.occupied().iter() {
                if kept[step] < counts[step] {
                    kept[step] += 1;
                    keep.set(step);
                }
            }
            if keep.any() {
                column.retain(&keep);
                let meta = input.series()[*i as usize].clone();
                series.push(Series { meta, column: std::mem::take(&mut column) });
            }
        }
        Ok(series)
    }
    fn limit_ratio(
        &self,
        a: &'q Aggregation,
        param: &Scalars,
        input: Input<'q>,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let mut annotations = Annotations::default();
        let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for r in param.values(grid.len) {
            nan |= r.is_nan();
            low = low.min(r);
            high = high.max(r);
        }
        if !nan && low == 0.0 && high == 0.0 {
            return self.none_of(&*input);
        }
        if nan {
            return failed("Ratio value is NaN".to_owned());
        }
        let span = a.param.as_ref().map_or(a.input.span, |p| p.span);
        for (bad, ratio, to) in [(high > 1.0, high, 1.0), (low < -1.0, low, -1.0)] {
            if bad {
                annotations.warn(invalid_ratio(ratio, to), span);
            }
        }
        self.shared.annotate(annotations);
        let metas = input.series().to_vec();
        let offsets: Vec<f64> = metas.iter().map(|m| label_offset(&m.labels)).collect();
        let ratios: Vec<f64> = param.values(grid.len).map(|r| r.clamp(-1.0, 1.0)).collect();
        Ok(map(input, metas, move |i, _, column| {
            let mut keep = Bits::new(ratios.len());
            for (step, ratio) in ratios.iter().enumerate() {
                if in_ratio(*ratio, offsets[i]) {
                    keep.set(step);
                }
            }
            column.retain(&keep);
        }))
    }
    /// `count_values`: how many series have each value.
    pub(super) fn count_values(&self, a: &'q Aggregation, grid: Grid) -> Result<Input<'q>, QueryError> {
        let label = a.param.as_ref().map_or("", Node::text);
        if !is_label_name(label) {
            // As written, for what is no text cannot be shown otherwise.
            let span = a.param.as_ref().map_or(Span::default(), |p| p.span);
            let written = self.text.get(span.start as usize..span.end as usize);
            return failed(format!("invalid label name {}", written.unwrap_or_default()));
        }
        let mut grouping = a.grouping.clone();
        if !a.without {
            grouping.push(label.to_owned());
        }
        let input = self.vector(&a.input, grid)?;
        let rows = self.shared.materialize(&*input)?;
        let mut at: HashMap<Labels, usize> = HashMap::new();
        let mut series: Vec<Series> = Vec::new();
        for s in &rows.series {
            let mut by_value: HashMap<String, usize> = HashMap::new();
            for step in s.column.occupied().iter() {
                let value = match s.column.sample(step) {
                    Some(Sample::Float(value)) => float(value),
                    Some(Sample::Histogram(h)) => to_text(h),
                    None => continue,
                };
                let slot = *by_value.entry(value).or_insert_with_key(|value| {
                    let labels = with_label(&s.meta.labels, label, value);
                    let labels = group_labels(&labels, &grouping, a.without);
                    *at.entry(labels).or_insert_with_key(|labels| {
                        let meta = SeriesMeta { labels: labels.clone(), drop_name: false };
                        series.push(Series { meta, column: Column::new(grid.len) });
                        series.len() - 1
                    })
                });
                let column = &mut series[slot].column;
                let count = if column.present.get(step) { column.values[step] } else { 0.0 };
                column.set(step, count + 1.0);
            }
        }
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
}

/// Where in `[0, 1]` a label set falls.
fn label_offset(labels: &Labels) -> f64 {
    // FNV-1a: stable over processes and versions, which sampling must be.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, value) in labels {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // Mixed, for label sets that differ in their last byte only must fall apart.
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^= hash >> 32;
    hash as f64 / u64::MAX as f64
}

fn in_ratio(ratio: f64, offset: f64) -> bool {
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_complement_each_other() {
        for i in 0..100 {
            let labels = Labels::from_pairs([("i", i.to_string())]);
            let offset = label_offset(&labels);
            assert!((0.0..1.0).contains(&offset));
            assert_ne!(in_ratio(0.3, offset), in_ratio(-0.7, offset));
        }
    }

    #[test]
    fn heaps_keep_the_best() {
        let mut heap = Heap { items: Vec::new(), largest: true };
        for (i, v) in [3.0, f64::NAN, 7.0, 1.0, 5.0].into_iter().enumerate() {
            heap.offer(v, i as u32, 3);
        }
        assert_eq!(heap.sorted(), [(7.0, 2), (5.0, 4), (3.0, 0)]);
    }
}
