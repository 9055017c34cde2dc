//! Aggregations: series are decoded, computed and folded into their group's accumulators in one go.
//!
//! Work is cut along groups; a large group is cut into chunks whose accumulators are merged in order, so
//! that results do not depend on scheduling. Memory grows with groups and steps, not with series.

use super::Evaluator;
use super::accumulator::Accumulator;
use super::column::{Column, Grid, Series, SeriesMeta};
use super::source::{Input, Materialized, Scratch, Source};
use crate::QueryError;
use crate::annotations::{Annotations, invalid_quantile};
use crate::execute::Scalars;
use crate::parse::{AggregateOp, Span};
use crate::plan::{Aggregation, Node};
use std::collections::{BTreeMap, HashMap};
use storage_format::model::{Labels, METRIC_NAME};

/// Fewest series worth a chunk of their own.
const CHUNK_MIN: usize = 256;
/// Most chunks of one group.
const CHUNKS_MAX: usize = 32;

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

/// Groups series, in the order in which groups first appear.
pub(super) fn group(metas: &[SeriesMeta], grouping: &[String], without: bool) -> Vec<Group> {
    let mut at: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (i, meta) in metas.iter().enumerate() {
        let labels = group_labels(&meta.labels, grouping, without);
        let slot = *at.entry(labels).or_insert_with_key(|labels| {
            let meta = SeriesMeta { labels: labels.clone(), drop_name: false };
            groups.push(Group { meta, members: Vec::new() });
            groups.len() - 1
        });
        groups[slot].meta.drop_name |= meta.drop_name;
        groups[slot].members.push(i as u32);
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
    fn join_parts(
        &self,
        parts: impl Iterator<Item = (usize, Part, Vec<crate::budget::Held>)>,
        groups: Vec<Group>,
        param: &Scalars,
    ) -> Result<Input<'q>, QueryError> {
        let mut annotations = Annotations::default();
        let mut columns: Vec<Option<Column>> = groups.iter().map(|_| None).collect();
        let mut open: BTreeMap<usize, (Accumulator, Vec<crate::budget::Held>)> = BTreeMap::new();
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
}
