//! Evaluates plans: every node becomes a source of columns over the grid of steps.
//!
//! Where it sits: under the engine's door; reads plans and snapshots. An instant query is the grid of one
//! step. Recursion follows the plan, whose depth the parser limits.

mod accumulator;
mod aggregate;
mod aggregate_k;
mod binary;
mod binary_sample;
mod call;
pub(crate) mod column;
mod histogram;
mod info;
mod keys;
mod labels;
mod moment;
pub(crate) mod profile;
mod range_function;
pub(crate) mod range_input;
pub(crate) mod repeated;
mod result;
pub(crate) mod select;
pub(crate) mod source;
mod stored;

use crate::parse::{FunctionId, ValueType};
use crate::plan::{Node, Plan, Selector, SubqueryPlan};
use crate::{Features, QueryError};
use column::{Column, Grid, SeriesMeta};
use engine::Snapshot;
use select::{InstantSelect, Take};
use source::{Input, Materialized, Shared, broadcast, map};
use std::sync::Arc;
use storage_format::model::Labels;

pub(crate) use labels::is_metadata;
pub(crate) use moment::fixed;
pub(crate) use result::evaluate;

/// One query being evaluated.
#[derive(Debug)]
pub(crate) struct Evaluator<'q> {
    /// The query's text.
    pub(crate) text: &'q str,
    pub(crate) snapshot: &'q Snapshot,
    pub(crate) shared: &'q Shared,
    pub(crate) features: Features,
    /// Milliseconds.
    pub(crate) lookback: i64,
    pub(crate) repeated: repeated::Repeated,
    /// Most steps a grid may have.
    pub(crate) max_steps: u64,
}

/// A scalar at every step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalars {
    Constant(f64),
    Steps(Vec<f64>),
}

impl Scalars {
    /// The value at a step.
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(change(value)),
            Self::Steps(values) => Self::Steps(values.into_iter().map(change).collect()),
        }
    }
    fn zip(&self, other: &Self, len: usize, combine: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(combine(*a, *b)),
            _ => Self::Steps((0..len).map(|i| combine(self.at(i), other.at(i))).collect()),
        }
    }
    /// All values, over a grid of `len` steps.
    pub(crate) fn values(&self, len: usize) -> impl Iterator<Item = f64> + '_ {
        (0..len).map(|i| self.at(i))
    }
}

impl<'q> Evaluator<'q> {
    /// Refuses grids that no limit would let pass anyway.
    fn check_grid(&self, grid: Grid) -> Result<(), QueryError> {
        if grid.len as u64 > self.max_steps { Err(QueryError::SampleLimit) } else { Ok(()) }
    }
    /// Evaluates a node of scalar type.
    pub(crate) fn scalar(&self, node: &'q Node, grid: Grid) -> Result<Scalars, QueryError> {
        let profile = self.shared.budget.profile();
        let _charged = profile.map(|profile| profile.enter(profile.number(node)));
        self.check_grid(grid)?;
        Ok(match &node.plan {
            Plan::Number(value) => Scalars::Constant(*value),
            Plan::Invariant(inner) => Scalars::Constant(self.scalar(inner, grid.first())?.at(0)),
            Plan::Negate(inner) => self.scalar(inner, grid)?.map(|v| -v),
            Plan::Binary(b) => {
                let (lhs, rhs) = (self.scalar(&b.lhs, grid)?, self.scalar(&b.rhs, grid)?);
                lhs.zip(&rhs, grid.len, |l, r| binary_sample::scalars(b.op, l, r))
            }
            Plan::Call(FunctionId::Time, ..) => {
                Scalars::Steps((0..grid.len).map(|i| grid.at(i) as f64 / 1000.0).collect())
            }
            Plan::Call(FunctionId::Scalar, _, args) => self.only_float(self.arg(args, 0)?, grid)?,
            Plan::Call(id @ (FunctionId::MinOf | FunctionId::MaxOf), _, args) => {
                let (a, b) = (self.scalar(self.arg(args, 0)?, grid)?, self.scalar(self.arg(args, 1)?, grid)?);
                let combine = if *id == FunctionId::MinOf {
                    crate::functions::math::min
                } else {
                    crate::functions::math::max
                };
                a.zip(&b, grid.len, combine)
            }
            _ => return Err(defect("a scalar was expected")),
        })
    }
    fn arg(&self, args: &'q [Node], i: usize) -> Result<&'q Node, QueryError> {
        args.get(i).ok_or_else(|| defect("a function lacks an argument"))
    }
    /// `scalar()`: the float of the only series that has one, else NaN.
    fn only_float(&self, node: &'q Node, grid: Grid) -> Result<Scalars, QueryError> {
        let input = self.vector(node, grid)?;
        let columns = self.shared.materialize(&*input)?;
        let mut values = vec![f64::NAN; grid.len];
        let mut seen = vec![0_u8; grid.len];
        for series in &columns.series {
            for step in series.column.present.iter() {
                seen[step] = seen[step].saturating_add(1);
                values[step] = if seen[step] > 1 { f64::NAN } else { series.column.values[step] };
            }
        }
        Ok(Scalars::Steps(values))
    }
    /// Evaluates a node of instant vector type.
    pub(crate) fn vector(&self, node: &'q Node, grid: Grid) -> Result<Input<'q>, QueryError> {
        let Some(profile) = self.shared.budget.profile() else { return self.columns(node, grid) };
        let number = profile.number(node);
        let _charged = profile.enter(number);
        let input = self.columns(node, grid)?;
        profile.count_series(number, input.series().len());
        Ok(source::profiled(input, number, &self.shared.budget))
    }
    fn columns(&self, node: &'q Node, grid: Grid) -> Result<Input<'q>, QueryError> {
        self.shared.budget.check()?;
        self.check_grid(grid)?;
        if grid.len == 0 {
            return Ok(Materialized::default().into_source());
        }
        match &node.plan {
            Plan::Select(selector) => self.select(selector, node, grid, Take::Value),
            Plan::Invariant(inner) => Ok(broadcast(self.vector(inner, grid.first())?, grid.len)),
            Plan::Negate(inner) => {
                let input = self.vector(inner, grid)?;
                let metas = self.without_names(&*input);
                let negated = map(input, metas, |_, _, column| {
                    column.values.iter_mut().for_each(|v| *v = -*v);
                    for (_, h) in &mut column.histograms {
                        crate::histogram::multiply(Arc::make_mut(h), -1.0);
                    }
                });
                if self.features.delayed_name_removal { Ok(negated) } else { self.merged(negated) }
            }
            Plan::Binary(b) => self.binary(b, node, grid),
            Plan::Aggregate(a) => self.once(node, grid, || self.aggregate(a, node, grid)),
            Plan::Call(id, name, args) => self.call(*id, name, args, node, grid),
            _ => Err(defect("an instant vector was expected")),
        }
    }
    /// An instant selector.
    pub(crate) fn select(
        &self,
        selector: &Selector,
        node: &Node,
        grid: Grid,
        take: Take,
    ) -> Result<Input<'q>, QueryError> {
        let smoothed = selector.extension == Some(crate::functions::extended::Extension::Smoothed);
        let stored = self.stored(selector, moment::instants(selector, grid, self.lookback))?;
        Ok(Box::new(InstantSelect {
            metas: metas_of(&stored),
            stored,
            grid,
            anchor: selector.anchor,
            lookback: self.lookback,
            take,
            smoothed,
            stats: selector.stats,
            span: node.span,
            budget: Arc::clone(&self.shared.budget),
        }))
    }
    /// Evaluates a subquery's expression over the subquery's own steps as seen from `grid`.
    pub(crate) fn subquery(
        &self,
        plan: &'q SubqueryPlan,
        grid: Grid,
    ) -> Result<(Materialized, Grid), QueryError> {
        let inner = subquery_grid(plan, grid);
        self.check_grid(inner)?;
        if plan.input.value_type == ValueType::Scalar {
            let mut column = Column::new(inner.len);
            for (step, value) in self.scalar(&plan.input, inner)?.values(inner.len).enumerate() {
                column.set(step, value);
            }
            let meta = SeriesMeta { labels: Labels::empty(), drop_name: false };
            let series = vec![column::Series { meta, column }];
            return Ok((Materialized::charged(series, &self.shared.budget)?, inner));
        }
        let input = self.vector(&plan.input, inner)?;
        Ok((self.shared.materialize(&*input)?, inner))
    }
}

/// The steps of a subquery as seen from `grid`.
fn subquery_grid(plan: &SubqueryPlan, grid: Grid) -> Grid {
    let oldest = plan.anchor.reference(grid.start).saturating_sub(plan.range);
    let newest = plan.anchor.reference(grid.last());
    // Steps are multiples of the step since the epoch; the range is open to the left.
    let start = (oldest.div_euclid(plan.step) + 1).saturating_mul(plan.step);
    Grid::new(start, newest, plan.step)
}

fn metas_of(stored: &[engine::Series]) -> Vec<SeriesMeta> {
    stored.iter().map(|s| SeriesMeta { labels: s.labels().clone(), drop_name: false }).collect()
}

/// An error that only a defect of the program can cause.
pub(crate) fn defect(what: &str) -> QueryError {
    QueryError::Internal(format!("unexpected plan: {what}"))
}
