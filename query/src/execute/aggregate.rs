//! Aggregations: series are decoded, computed and folded into their group's accumulators in one go.
//!
//! Series stored together are decoded together, so they are worked on in their order, cut into chunks with
//! accumulators for the groups met; where these would be too many, work is cut along groups instead. Chunks
//! are merged in order, so that results do not depend on scheduling. Memory grows with groups and steps, not
//! with series.

use super::Evaluator;
use super::accumulator::Accumulator;
use super::column::{Column, Grid, Series, SeriesMeta};
use super::keys::Keys;
use super::source::{Input, Materialized, Scratch, Source};
use crate::QueryError;
use crate::annotations::{Annotations, invalid_quantile};
use crate::budget::Held;
use crate::execute::Scalars;
use crate::parse::{AggregateOp, Span};
use crate::plan::{Aggregation, Node};
use std::collections::BTreeMap;
use storage_format::model::{Labels, METRIC_NAME};

/// Fewest series worth a chunk of their own.
const CHUNK_MIN: usize = 256;
/// Series worked on between two looks at the budget.
const CHECK_EVERY: usize = 32;
/// Most chunks of one group.
const CHUNKS_MAX: usize = 32;

/// Most bytes that the accumulators of all chunks in series order may take together.
const IN_ORDER_BYTES_MAX: u64 = 16 << 20;
/// Fewest chunks in series order: fewer would leave cores idle.
const IN_ORDER_CHUNKS_MIN: u64 = 4;

/// How many series make a chunk in series order, if that pays: few series are worked on group by group, so
/// that each group is summed from first to last, and very many groups would take too much memory a chunk.
fn chunk_in_order(series: usize, groups: usize, group_bytes: u64) -> Option<usize> {
    let chunk_bytes = (groups as u64).saturating_mul(group_bytes).max(1);
    let chunks = (IN_ORDER_BYTES_MAX / chunk_bytes).min(CHUNKS_MAX as u64);
    let pays = series > CHUNK_MIN && chunks >= IN_ORDER_CHUNKS_MIN;
    pays.then(|| series.div_ceil(chunks as usize).max(CHUNK_MIN))
}

/// One output group.
pub(super) struct Group {
    pub(super) meta: SeriesMeta,
    /// Indexes of its series, ascending.
    pub(super) members: Vec<u32>,
}

/// The labels by which series are grouped.
pub(super) fn group_labels(labels: &Labels, grouping: &[String], without: bool) -> Labels {
    if without {
        return labels.without(|n| n == METRIC_NAME || grouping.iter().any(|g| g == n));
    }
    if grouping.is_empty() {
        return Labels::empty();
    }
    labels.without(|n| !grouping.iter().any(|g| g == n))
}

/// Groups series, in the order in which groups first appear. Labels are built once a group.
pub(super) fn group(metas: &[SeriesMeta], grouping: &[String], without: bool) -> Vec<Group> {
    if !without && grouping.is_empty() && !metas.is_empty() {
        let meta = SeriesMeta { labels: Labels::empty(), drop_name: metas.iter().any(|meta| meta.drop_name) };
        return vec![Group { meta, members: (0..metas.len() as u32).collect() }];
    }
    let kept = |name: &str| {
        let listed = grouping.iter().any(|g| g == name);
        if without { name != METRIC_NAME && !listed } else { listed }
    };
    let mut keys = Keys::default();
    let mut groups: Vec<Group> = Vec::new();
    for (i, meta) in metas.iter().enumerate() {
        let ordinal = keys.ordinal(&meta.labels, kept);
        if ordinal == groups.len() {
            let labels = group_labels(&meta.labels, grouping, without);
            groups.push(Group { meta: SeriesMeta { labels, drop_name: false }, members: Vec::new() });
        }
        groups[ordinal].meta.drop_name |= meta.drop_name;
        groups[ordinal].members.push(i as u32);
    }
    groups
}

/// A stretch of one group's members.
struct Unit {
    group: usize,
    from: usize,
    to: usize,
}

fn units(groups: &[Group]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (group, g) in groups.iter().enumerate() {
        let total = g.members.len();
        let chunk = total.div_ceil(CHUNKS_MAX).max(CHUNK_MIN);
        let mut from = 0;
        while from < total {
            let to = (from + chunk).min(total);
            units.push(Unit { group, from, to });
            from = to;
        }
    }
    units
}

/// Small groups are worked on together, up to this many series.
const BUNDLE: usize = 64;

/// Runs of units with enough series to be worth a task.
fn bundles(units: &[Unit]) -> Vec<(usize, usize)> {
    let mut bundles = Vec::new();
    let (mut from, mut series) = (0, 0);
    for (i, unit) in units.iter().enumerate() {
        series += unit.to - unit.from;
        if series >= BUNDLE || i + 1 == units.len() {
            bundles.push((from, i + 1));
            (from, series) = (i + 1, 0);
        }
    }
    bundles
}

impl<'q> Evaluator<'q> {
    pub(super) fn aggregate(
        &self,
        a: &'q Aggregation,
        node: &'q Node,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        match a.op {
            AggregateOp::Topk | AggregateOp::Bottomk => return self.aggregate_k(a, node, grid),
            AggregateOp::Limitk | AggregateOp::LimitRatio => return self.aggregate_limit(a, grid),
            AggregateOp::CountValues => return self.count_values(a, grid),
            _ => {}
        }
        let param = match &a.param {
            Some(param) => self.scalar(param, grid)?,
            None => Scalars::Constant(f64::NAN),
        };
        if let (AggregateOp::Quantile, Some(node)) = (a.op, &a.param) {
            self.warn_of_quantiles(&param, node.span, grid);
        }
        let input = self.vector(&a.input, grid)?;
        let groups = group(input.series(), &a.grouping, a.without);
        let chunk = chunk_in_order(input.series().len(), groups.len(), Accumulator::bytes_of(a.op, grid.len));
        if let Some(chunk) = chunk {
            let parts = self.fold_in_order(a, &*input, &groups, grid, chunk)?;
            return self.join_parts(parts.into_iter().flatten(), groups, &param);
        }
        let units = units(&groups);
        let bundles = bundles(&units);
        let span = a.input.span;
        let folded = self.shared.run(bundles.len(), true, |bundle, scratch| {
            let (from, to) = bundles[bundle];
            let mut column = Column::default();
            units[from..to]
                .iter()
                .map(|unit| {
                    let mut accumulator = Accumulator::new(a.op, grid.len, span);
                    let held = self.shared.budget.hold(0, accumulator.bytes())?;
                    fold(
                        &*input,
                        &groups[unit.group].members[unit.from..unit.to],
                        &mut accumulator,
                        &mut column,
                        scratch,
                    )?;
                    let extra = accumulator.kept();
                    let more = self.shared.budget.hold(extra, extra * 8)?;
                    // A group that is complete needs its accumulators no longer.
                    if unit.from == 0 && unit.to == groups[unit.group].members.len() {
                        let column = accumulator.finish(&param, &mut scratch.annotations);
                        let held = self.shared.budget.hold(column.weight(), column.bytes())?;
                        return Ok((unit.group, Part::Whole(column), vec![held]));
                    }
                    Ok((unit.group, Part::Chunk(Box::new(accumulator)), vec![held, more]))
                })
                .collect::<Result<Vec<_>, QueryError>>()
        })?;
        self.join_parts(folded.into_iter().flatten(), groups, &param)
    }
    /// Folds all series in their order, `chunk` of them at a time.
    fn fold_in_order(
        &self,
        a: &Aggregation,
        input: &dyn Source,
        groups: &[Group],
        grid: Grid,
        chunk: usize,
    ) -> Result<Vec<Vec<GroupPart>>, QueryError> {
        let total = input.series().len();
        let mut group_of = vec![0_u32; total];
        for (number, group) in groups.iter().enumerate() {
            group.members.iter().for_each(|i| group_of[*i as usize] = number as u32);
        }
        self.shared.run(total.div_ceil(chunk), true, |number, scratch| {
            let mut column = Column::default();
            let mut open: Vec<Option<(Box<Accumulator>, Vec<Held>)>> = groups.iter().map(|_| None).collect();
            for i in number * chunk..total.min((number + 1) * chunk) {
                if i % CHECK_EVERY == 0 {
                    self.shared.budget.check()?;
                }
                let slot = &mut open[group_of[i] as usize];
                if slot.is_none() {
                    let accumulator = Box::new(Accumulator::new(a.op, grid.len, a.input.span));
                    let held = self.shared.budget.hold(0, accumulator.bytes())?;
                    *slot = Some((accumulator, vec![held]));
                }
                if let Some((accumulator, _)) = slot {
                    fold(input, &[i as u32], accumulator, &mut column, scratch)?;
                }
            }
            let parts = open.into_iter().enumerate().filter_map(|(group, slot)| {
                let (accumulator, mut held) = slot?;
                let extra = accumulator.kept();
                Some(self.shared.budget.hold(extra, extra * 8).map(|more| {
                    held.push(more);
                    (group, Part::Chunk(accumulator), held)
                }))
            });
            parts.collect()
        })
    }
    fn join_parts(
        &self,
        parts: impl Iterator<Item = GroupPart>,
        groups: Vec<Group>,
        param: &Scalars,
    ) -> Result<Input<'q>, QueryError> {
        let mut annotations = Annotations::default();
        let mut columns: Vec<Option<Column>> = groups.iter().map(|_| None).collect();
        let mut open: BTreeMap<usize, (Accumulator, Vec<Held>)> = BTreeMap::new();
        let mut held = Vec::new();
        for (group, part, holds) in parts {
            match part {
                Part::Whole(column) => {
                    columns[group] = Some(column);
                    held.extend(holds);
                }
                Part::Chunk(accumulator) => match open.get_mut(&group) {
                    Some((whole, _)) => whole.absorb(*accumulator, &mut annotations),
                    None => {
                        open.insert(group, (*accumulator, holds));
                    }
                },
            }
        }
        for (group, (accumulator, _)) in open {
            let column = accumulator.finish(param, &mut annotations);
            held.push(self.shared.budget.hold(column.weight(), column.bytes())?);
            columns[group] = Some(column);
        }
        self.shared.annotate(annotations);
        let series = groups.into_iter().zip(columns).filter_map(|(g, column)| {
            let column = column.filter(|c| !c.is_empty())?;
            Some(Series { meta: g.meta, column })
        });
        let series = series.collect();
        Ok(Materialized { series, held }.into_source())
    }
    fn warn_of_quantiles(&self, param: &Scalars, span: Span, grid: Grid) {
        let mut annotations = Annotations::default();
        let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for q in param.values(grid.len) {
            nan |= q.is_nan();
            low = low.min(q);
            high = high.max(q);
        }
        for (bad, q) in [(nan, f64::NAN), (!nan && high > 1.0, high), (!nan && low < 0.0, low)] {
            if bad {
                annotations.warn(invalid_quantile(q), span);
            }
        }
        self.shared.annotate(annotations);
    }
}

/// The number of a group, what was made of some or all of its series, and what that holds.
type GroupPart = (usize, Part, Vec<Held>);

enum Part {
    Whole(Column),
    Chunk(Box<Accumulator>),
}

fn fold(
    input: &dyn Source,
    members: &[u32],
    accumulator: &mut Accumulator,
    column: &mut Column,
    scratch: &mut Scratch,
) -> Result<(), QueryError> {
    for i in members {
        let i = *i as usize;
        input.column(i, scratch, column)?;
        let name = input.series()[i].labels.metric_name().unwrap_or("");
        accumulator.add(column, name, &mut scratch.annotations);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_keeps_the_order_of_appearance() {
        let meta =
            |pairs: [(&str, &str); 2]| SeriesMeta { labels: Labels::from_pairs(pairs), drop_name: false };
        let metas =
            [meta([("a", "2"), ("b", "x")]), meta([("a", "1"), ("b", "x")]), meta([("a", "2"), ("b", "y")])];
        let groups = group(&metas, &["a".to_owned()], false);
        assert_eq!(groups.len(), 2);
        assert_eq!(
            (groups[0].meta.labels.get("a"), groups[0].members.as_slice()),
            (Some("2"), [0, 2].as_slice())
        );
        assert_eq!(units(&groups).len(), 2);
    }

    #[test]
    fn series_order_is_kept_while_accumulators_are_small() {
        assert_eq!(chunk_in_order(100, 3, 100), None);
        assert_eq!(chunk_in_order(1000, 3, 100), Some(256));
        assert_eq!(chunk_in_order(64_000, 3, 100), Some(2000));
        // 4 MiB a chunk: four chunks.
        assert_eq!(chunk_in_order(64_000, 1024, 4096), Some(16_000));
        assert_eq!(chunk_in_order(64_000, 1025, 4096), None);
    }
}
