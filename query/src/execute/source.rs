//! Where operators get their input: a fixed set of series whose columns are computed on demand.
//!
//! A source that is asked for column `i` reads and computes it from scratch, so chains of sources are
//! fused: one series passes through all of them before the next is touched, on whichever worker has time.
//! Sources that need everything at once (joins, sorts) materialise first.

use super::column::{Column, Series, SeriesMeta};
use super::profile::Profile;
use crate::QueryError;
use crate::annotations::Annotations;
use crate::budget::{Budget, Held};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use storage_format::model::Samples;

/// Series worked on between two looks at the budget.
const BATCH: usize = 32;
/// Fewer series than this are not worth waking other workers.
const PARALLEL_FROM: usize = 8;

/// A worker's buffers and notes, reused from series to series.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// For samples read from storage.
    pub(crate) samples: Samples,
    /// For positions of events in those samples.
    pub(crate) marks: Vec<u32>,
    /// Annotations so far.
    pub(crate) annotations: Annotations,
    /// Samples looked at, per step, since the last flush.
    pub(crate) looked_at: Vec<u64>,
    /// Samples read from storage since the last flush.
    pub(crate) read: u64,
    /// How many came from blocks, those included that the head had too.
    pub(crate) from_blocks: u64,
}

impl Scratch {
    /// Counts samples looked at by a step.
    #[inline]
    pub(crate) fn look(&mut self, step: usize, samples: u64) {
        if step >= self.looked_at.len() {
            self.looked_at.resize(step + 1, 0);
        }
        self.looked_at[step] += samples;
    }
    fn flush(&mut self, budget: &Budget) {
        budget.count_read(std::mem::take(&mut self.read), std::mem::take(&mut self.from_blocks));
        for (step, samples) in self.looked_at.iter_mut().enumerate() {
            if *samples > 0 {
                budget.count_step(step, std::mem::take(samples));
            }
        }
    }
}

/// Series with columns on demand.
pub(crate) trait Source: Send + Sync {
    /// The series; some may turn out to have no sample at all.
    fn series(&self) -> &[SeriesMeta];
    /// Computes the column of series `i`.
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError>;
}

/// A source whose work is charged to an operator.
struct Profiled<'q> {
    input: Input<'q>,
    number: u32,
    budget: Arc<Budget>,
}

impl Source for Profiled<'_> {
    fn series(&self) -> &[SeriesMeta] {
        self.input.series()
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        let _charged = self.budget.profile().map(|profile| profile.enter(self.number));
        self.input.column(i, scratch, out)
    }
}

/// `input`, its columns charged to the operator with this number.
pub(crate) fn profiled<'q>(input: Input<'q>, number: u32, budget: &Arc<Budget>) -> Input<'q> {
    Box::new(Profiled { input, number, budget: Arc::clone(budget) })
}

/// A source that may borrow from the query.
pub(crate) type Input<'q> = Box<dyn Source + 'q>;

/// What all operators of a query share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) budget: Arc<Budget>,
    pub(crate) annotations: Mutex<Annotations>,
}

impl Shared {
    /// Adds annotations to the query's.
    pub(crate) fn annotate(&self, annotations: Annotations) {
        self.annotations.lock().unwrap_or_else(PoisonError::into_inner).merge(annotations);
    }
    /// Runs `work` over `units` of work, in parallel when there is enough of it; results are in order.
    pub(crate) fn run<T: Send>(
        &self,
        units: usize,
        parallel: bool,
        work: impl Fn(usize, &mut Scratch) -> Result<T, QueryError> + Sync,
    ) -> Result<Vec<T>, QueryError> {
        let profile = self.budget.profile();
        let operator = profile.map(Profile::current);
        let one = |unit: usize| {
            let _charged = profile.zip(operator).map(|(profile, operator)| profile.enter(operator));
            self.budget.check()?;
            let mut scratch = Scratch::default();
            let result = work(unit, &mut scratch);
            scratch.flush(&self.budget);
            self.annotate(scratch.annotations);
            result
        };
        if parallel && units > 1 {
            let _paused = profile.map(Profile::pause);
            (0..units).into_par_iter().map(one).collect()
        } else {
            (0..units).map(one).collect()
        }
    }
    /// Computes all columns and hands each to `each` (series index, column); results are in the order of
    /// the series.
    pub(crate) fn for_each<T: Send>(
        &self,
        source: &dyn Source,
        each: impl Fn(usize, &mut Column) -> Result<T, QueryError> + Sync,
    ) -> Result<Vec<T>, QueryError> {
        let total = source.series().len();
        let batches = self.run(total.div_ceil(BATCH), total >= PARALLEL_FROM, |batch, scratch| {
            let mut column = Column::default();
            (batch * BATCH..total.min((batch + 1) * BATCH))
                .map(|i| {
                    source.column(i, scratch, &mut column)?;
                    each(i, &mut column)
                })
                .collect::<Result<Vec<T>, QueryError>>()
        })?;
        Ok(batches.into_iter().flatten().collect())
    }
    /// Computes some columns for nothing but what they annotate.
    pub(crate) fn visit(&self, source: &dyn Source, chosen: &[usize]) -> Result<(), QueryError> {
        self.run(chosen.len().div_ceil(BATCH), chosen.len() >= PARALLEL_FROM, |batch, scratch| {
            let mut column = Column::default();
            let some = chosen.iter().skip(batch * BATCH).take(BATCH);
            some.copied().try_for_each(|i| source.column(i, scratch, &mut column))
        })
        .map(|_| ())
    }
    /// Computes everything; series without samples are left out.
    pub(crate) fn materialize(&self, source: &dyn Source) -> Result<Materialized, QueryError> {
        self.materialize_where(source, |column| !column.is_empty())
    }
    /// Computes everything, series without samples included, so that indexes stay.
    pub(crate) fn materialize_all(&self, source: &dyn Source) -> Result<Materialized, QueryError> {
        self.materialize_where(source, |_| true)
    }
    fn materialize_where(
        &self,
        source: &dyn Source,
        wanted: impl Fn(&Column) -> bool + Sync,
    ) -> Result<Materialized, QueryError> {
        let metas = source.series();
        let batches =
            self.run(metas.len().div_ceil(BATCH), metas.len() >= PARALLEL_FROM, |batch, scratch| {
                let mut series = Vec::with_capacity(BATCH);
                let (mut weight, mut bytes) = (0, 0);
                let mut column = Column::default();
                for (i, meta) in metas.iter().enumerate().skip(batch * BATCH).take(BATCH) {
                    source.column(i, scratch, &mut column)?;
                    if wanted(&column) {
                        weight += column.weight();
                        bytes += column.bytes();
                        series.push(Series { meta: meta.clone(), column: std::mem::take(&mut column) });
                    }
                }
                Ok((series, self.budget.hold(weight, bytes)?))
            })?;
        let mut all = Materialized { series: Vec::with_capacity(metas.len()), held: Vec::new() };
        for (series, held) in batches {
            all.series.extend(series);
            all.held.push(held);
        }
        Ok(all)
    }
}

/// Series with all their columns in memory, charged to the budget.
#[derive(Debug, Default)]
pub(crate) struct Materialized {
    pub(crate) series: Vec<Series>,
    pub(crate) held: Vec<Held>,
}

impl Materialized {
    /// Charges `series` to the budget.
    pub(crate) fn charged(series: Vec<Series>, budget: &Arc<Budget>) -> Result<Self, QueryError> {
        let weight = series.iter().map(|s| s.column.weight()).sum();
        let bytes = series.iter().map(|s| s.column.bytes()).sum();
        Ok(Self { held: vec![budget.hold(weight, bytes)?], series })
    }
    /// A source of these series.
    pub(crate) fn into_source<'q>(self) -> Input<'q> {
        let metas = self.series.iter().map(|s| s.meta.clone()).collect();
        Box::new(MaterializedSource { metas, rows: Arc::new(self) })
    }
}

/// A source of series that others use too.
pub(crate) fn shared_source<'q>(rows: Arc<Materialized>) -> Input<'q> {
    let metas = rows.series.iter().map(|s| s.meta.clone()).collect();
    Box::new(MaterializedSource { metas, rows })
}

struct MaterializedSource {
    metas: Vec<SeriesMeta>,
    rows: Arc<Materialized>,
}

impl Source for MaterializedSource {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }
    fn column(&self, i: usize, _scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        out.clone_from(&self.rows.series[i].column);
        Ok(())
    }
}

/// A source whose columns are changed in passing.
struct Mapped<'q, F> {
    input: Input<'q>,
    metas: Vec<SeriesMeta>,
    change: F,
}

impl<F> Source for Mapped<'_, F>
where
    F: Fn(usize, &mut Scratch, &mut Column) + Send + Sync,
{
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        self.input.column(i, scratch, out)?;
        (self.change)(i, scratch, out);
        Ok(())
    }
}

/// `input` with other labels (`metas`, one per series) and columns changed by `change`.
pub(crate) fn map<'q>(
    input: Input<'q>,
    metas: Vec<SeriesMeta>,
    change: impl Fn(usize, &mut Scratch, &mut Column) + Send + Sync + 'q,
) -> Input<'q> {
    Box::new(Mapped { input, metas, change })
}

/// A choice among the series of another source.
struct Filtered<'q> {
    input: Input<'q>,
    metas: Vec<SeriesMeta>,
    chosen: Vec<usize>,
}

impl Source for Filtered<'_> {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        self.input.column(self.chosen[i], scratch, out)
    }
}

/// The series of `input` for which `keep` holds, with labels from `metas` (both: one per series of `input`).
pub(crate) fn filter<'q>(input: Input<'q>, metas: Vec<SeriesMeta>, keep: Vec<bool>) -> Input<'q> {
    let chosen: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
    let metas = metas.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(m, _)| m).collect();
    Box::new(Filtered { input, metas, chosen })
}

/// A source that repeats the only step of another one.
struct Broadcast<'q> {
    input: Input<'q>,
    len: usize,
}

impl Source for Broadcast<'_> {
    fn series(&self) -> &[SeriesMeta] {
        self.input.series()
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        let mut single = Column::default();
        self.input.column(i, scratch, &mut single)?;
        single.broadcast(self.len, out);
        Ok(())
    }
}

/// Repeats the only step of `input` over `len` steps.
pub(crate) fn broadcast(input: Input<'_>, len: usize) -> Input<'_> {
    if len == 1 { input } else { Box::new(Broadcast { input, len }) }
}
