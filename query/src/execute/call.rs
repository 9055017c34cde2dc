//! Functions over instant vectors: dispatch, and those that change one column at a time.

use super::column::{Column, Grid, Series, SeriesMeta};
use super::select::Take;
use super::source::{Input, Materialized, map};
use super::{Evaluator, Scalars, defect};
use crate::functions::label::{Replace, absent_labels, is_label_name, join, natural_order};
use crate::functions::math::{max, min, number_function, round};
use crate::functions::table::range_function;
use crate::functions::time::date_function;
use crate::parse::FunctionId;
use crate::plan::{Node, Plan};
use crate::{Point, QueryError, annotations::Annotations};
use std::cmp::Ordering;
use storage_format::model::{Histogram, Labels, METRIC_NAME};

impl<'q> Evaluator<'q> {
    /// Any function that gives an instant vector.
    pub(super) fn call(
        &self,
        id: FunctionId,
        name: &str,
        args: &'q [Node],
        node: &'q Node,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        use FunctionId as F;
        if range_function(id).is_some() {
            return self.range_function(id, name, args, grid);
        }
        if let Some(f) = number_function(id) {
            return self.floats(self.arg(args, 0)?, grid, move |_, v| Some(f(v)));
        }
        match id {
            F::Round => {
                let to = match args.get(1) {
                    Some(to) => self.scalar(to, grid)?,
                    None => Scalars::Constant(1.0),
                };
                self.floats(self.arg(args, 0)?, grid, move |step, v| Some(round(v, to.at(step))))
            }
            F::Clamp | F::ClampMin | F::ClampMax => self.clamp(id, args, grid),
            F::Vector => {
                let scalars = self.scalar(self.arg(args, 0)?, grid)?;
                self.single(&scalars, grid)
            }
            F::Year
            | F::Month
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::DaysInMonth
            | F::Hour
            | F::Minute => match args.first() {
                Some(arg) => self.floats(arg, grid, move |_, v| Some(date_function(id, v))),
                None => {
                    let at = |i| date_function(id, grid.at(i).div_euclid(1000) as f64);
                    self.single(&Scalars::Steps((0..grid.len).map(at).collect()), grid)
                }
            },
            F::Timestamp | F::StartTimestamp => self.timestamp(id, self.arg(args, 0)?, grid),
            F::Absent => {
                let arg = self.arg(args, 0)?;
                let labels = match &arg.inner().plan {
                    Plan::Select(selector) => absent_labels(&selector.matchers),
                    _ => Labels::empty(),
                };
                let input = self.vector(arg, grid)?;
                self.absent(&*input, labels, grid)
            }
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => self.sort(id, args, node, grid),
            F::LabelReplace => {
                let text = |i| self.arg(args, i).map(Node::text);
                let replace = Replace::new(text(1)?, text(2)?, text(3)?, text(4)?)?;
                self.relabel(self.arg(args, 0)?, grid, &replace.to, |labels| replace.apply(labels))
            }
            F::LabelJoin => self.label_join(args, grid),
            F::HistogramCount => self.histograms(self.arg(args, 0)?, grid, |h| h.count),
            F::HistogramSum => self.histograms(self.arg(args, 0)?, grid, |h| h.sum),
            F::HistogramAvg => self.histograms(self.arg(args, 0)?, grid, |h| h.sum / h.count),
            F::HistogramStdvar => {
                self.histograms(self.arg(args, 0)?, grid, crate::histogram::quantile::variance)
            }
            F::HistogramStddev => {
                self.histograms(self.arg(args, 0)?, grid, |h| crate::histogram::quantile::variance(h).sqrt())
            }
            F::HistogramQuantile | F::HistogramFraction | F::HistogramQuantiles => {
                self.histogram_function(id, args, grid)
            }
            F::Info => self.info(args, grid),
            _ => Err(defect("a function that gives an instant vector was expected")),
        }
    }
    /// A vector of one series without labels.
    fn single(&self, scalars: &Scalars, grid: Grid) -> Result<Input<'q>, QueryError> {
        let mut column = Column::new(grid.len);
        for (step, value) in scalars.values(grid.len).enumerate() {
            column.set(step, value);
        }
        let meta = SeriesMeta { labels: Labels::empty(), drop_name: false };
        let series = vec![Series { meta, column }];
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
    /// Changes the floats of a vector (dropping those for which `f` gives none) and drops its histograms.
    fn floats(
        &self,
        arg: &'q Node,
        grid: Grid,
        f: impl Fn(usize, f64) -> Option<f64> + Send + Sync + 'q,
    ) -> Result<Input<'q>, QueryError> {
        let input = self.vector(arg, grid)?;
        let metas = self.without_names(&*input);
        let changed = map(input, metas, move |_, _, column| {
            column.histograms.clear();
            for step in 0..column.values.len() {
                if column.present.get(step) {
                    match f(step, column.values[step]) {
                        Some(value) => column.values[step] = value,
                        None => column.present.clear(step),
                    }
                }
            }
        });
        self.checked(changed, grid.len)
    }
    /// A number read out of each histogram; floats are dropped.
    fn histograms(
        &self,
        arg: &'q Node,
        grid: Grid,
        f: impl Fn(&Histogram) -> f64 + Send + Sync + 'q,
    ) -> Result<Input<'q>, QueryError> {
        let input = self.vector(arg, grid)?;
        let metas = self.without_names(&*input);
        let changed = map(input, metas, move |_, _, column| {
            column.present.reset(column.values.len());
            for (step, h) in std::mem::take(&mut column.histograms) {
                column.set(step as usize, f(&h));
            }
        });
        self.checked(changed, grid.len)
    }
    fn clamp(&self, id: FunctionId, args: &'q [Node], grid: Grid) -> Result<Input<'q>, QueryError> {
        let bound = |i: usize| self.scalar(self.arg(args, i)?, grid);
        let (low, high) = match id {
            FunctionId::ClampMin => (bound(1)?, Scalars::Constant(f64::INFINITY)),
            FunctionId::ClampMax => (Scalars::Constant(f64::NEG_INFINITY), bound(1)?),
            _ => (bound(1)?, bound(2)?),
        };
        self.floats(self.arg(args, 0)?, grid, move |step, v| {
            let (low, high) = (low.at(step), high.at(step));
            if high < low { None } else { Some(max(low, min(high, v))) }
        })
    }
    /// `timestamp` and `start_timestamp`: of the sample for a selector, else of the evaluation (the latter:
    /// nothing).
    fn timestamp(&self, id: FunctionId, arg: &'q Node, grid: Grid) -> Result<Input<'q>, QueryError> {
        let take = if id == FunctionId::Timestamp { Take::Timestamp } else { Take::StartTimestamp };
        let input = match &arg.inner().plan {
            Plan::Select(selector) if selector.extension.is_none() => {
                self.select(selector, arg.inner(), grid, take)?
            }
            _ if take == Take::StartTimestamp => return Ok(Materialized::default().into_source()),
            _ => {
                let input = self.vector(arg, grid)?;
                let metas = input.series().to_vec();
                map(input, metas, move |_, _, column| {
                    for step in column.occupied().iter() {
                        column.set(step, grid.at(step) as f64 / 1000.0);
                    }
                    column.histograms.clear();
                })
            }
        };
        let metas = self.without_names(&*input);
        self.checked(map(input, metas, |_, _, _| {}), grid.len)
    }
    /// Changes labels; `None` leaves a series as it is.
    fn relabel(
        &self,
        arg: &'q Node,
        grid: Grid,
        to: &str,
        change: impl Fn(&Labels) -> Option<Labels>,
    ) -> Result<Input<'q>, QueryError> {
        let input = self.vector(arg, grid)?;
        let metas = input.series().iter().map(|m| match change(&m.labels) {
            Some(labels) => SeriesMeta { labels, drop_name: m.drop_name && to != METRIC_NAME },
            None => m.clone(),
        });
        let metas = metas.collect();
        self.merged(map(input, metas, |_, _, _| {}))
    }
    fn label_join(&self, args: &'q [Node], grid: Grid) -> Result<Input<'q>, QueryError> {
        let to = self.arg(args, 1)?.text();
        let separator = self.arg(args, 2)?.text();
        let from: Vec<&str> = args.iter().skip(3).map(Node::text).collect();
        let refuse = |what: &str, name: &str| {
            Err(QueryError::Execution(format!("invalid {what} label name in label_join(): {name}")))
        };
        if let Some(bad) = from.iter().find(|name| !is_label_name(name)) {
            return refuse("source", bad);
        }
        if !is_label_name(to) {
            return refuse("destination", to);
        }
        self.relabel(self.arg(args, 0)?, grid, to, |labels| Some(join(labels, to, separator, &from)))
    }
    /// Orders an instant query's series; range queries only get a warning, for their order is fixed.
    fn sort(
        &self,
        id: FunctionId,
        args: &'q [Node],
        node: &Node,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let input = self.vector(self.arg(args, 0)?, grid)?;
        let by_value = matches!(id, FunctionId::Sort | FunctionId::SortDesc);
        if grid.len > 1 {
            let mut annotations = Annotations::default();
            let text = "sort is ineffective for range queries since results are always ordered by labels";
            annotations.warn(text.to_owned(), node.span);
            self.shared.annotate(annotations);
        }
        let mut rows = self.shared.materialize(&*input)?;
        if by_value {
            rows.series.iter_mut().for_each(|s| s.column.histograms.clear());
            rows.series.retain(|s| !s.column.is_empty());
        }
        if grid.len > 1 {
            return Ok(rows.into_source());
        }
        let labels: Vec<&str> = args.iter().skip(1).map(Node::text).collect();
        rows.series.sort_by(|a, b| match id {
            FunctionId::Sort => by_number(first_value(a), first_value(b), false),
            FunctionId::SortDesc => by_number(first_value(a), first_value(b), true),
            FunctionId::SortByLabel => by_labels(a, b, &labels),
            _ => by_labels(b, a, &labels),
        });
        Ok(rows.into_source())
    }
}

fn first_value(s: &Series) -> f64 {
    match s.column.sample(0) {
        Some(super::column::Sample::Float(value)) => value,
        _ => f64::NAN,
    }
}

/// NaN last in either direction.
fn by_number(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
        (a, b) => a.cmp(&b),
    }
}

fn by_labels(a: &Series, b: &Series, names: &[&str]) -> Ordering {
    let (a, b) = (&a.meta.labels, &b.meta.labels);
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or("").to_owned();
    names
        .iter()
        .map(|name| natural_order(&value(a, name), &value(b, name)))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.cmp(b))
}

/// A point as a step of a column.
pub(super) fn put(column: &mut Column, step: usize, point: Point) {
    match point {
        Point::Float(value) => column.set(step, value),
        Point::Histogram(h) => column.push_histogram(step, h),
    }
}
