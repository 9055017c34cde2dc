//! Functions over range vectors: each series is read once, and all its windows are computed from there.

use super::column::{Bits, Column, Grid, SeriesMeta};
use super::range_input::{RangeInput, RangeSeries, computed};
use super::select::Anchor;
use super::source::{Input, Materialized, Scratch, Source};
use super::{Evaluator, Scalars, defect, metas_of, moment};
use crate::annotations::{Notes, invalid_quantile, quoted};
use crate::functions::extended::Extension;
use crate::functions::label::absent_labels;
use crate::functions::rate::{change_marks, reset_marks};
use crate::functions::sliding::Sliding;
use crate::functions::table::{Marks, RangeFunction, extended_function, extended_functions, range_function};
use crate::parse::{FunctionId, Span};
use crate::plan::{Node, Plan};
use crate::{Point, QueryError};
use std::sync::Arc;
use storage_format::model::Labels;

/// A range function applied to each series of a range input.
struct Applied {
    input: RangeInput,
    metas: Vec<SeriesMeta>,
    function: RangeFunction,
    id: FunctionId,
    params: Vec<Scalars>,
    /// Where the first argument stands.
    first_span: Span,
    type_labels: bool,
}

impl Source for Applied {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        out.reset(self.input.grid.len);
        let notes =
            self.input.with_samples(i, scratch, |samples, scratch| -> Result<Notes, QueryError> {
                let mut notes = Notes::default();
                let mut marks = std::mem::take(&mut scratch.marks);
                marks.clear();
                match self.function.marks {
                    Marks::None => {}
                    Marks::Resets => {
                        reset_marks(&samples.timestamps, &samples.values, &samples.starts, &mut marks);
                    }
                    Marks::Changes => change_marks(&samples.values, &mut marks),
                }
                let sliding = samples.histograms.is_empty().then(|| Sliding::new(self.id, &samples.values));
                if let Some(mut sliding) = sliding.flatten() {
                    self.input.windows(samples, &marks, |step, w| {
                        scratch.look(step, w.values.len() as u64);
                        out.set(step, sliding.next(w, &samples.values));
                    })?;
                    scratch.marks = marks;
                    return Ok(notes);
                }
                let mut params = [0.0; 2];
                self.input.windows(samples, &marks, |step, w| {
                    for (slot, scalars) in params.iter_mut().zip(&self.params) {
                        *slot = scalars.at(step);
                    }
                    let seen = w.values.len() as u64
                        + w.histograms.iter().map(|h| crate::histogram::size_in_samples(&h.2)).sum::<u64>();
                    scratch.look(step, seen);
                    match (self.function.kernel)(w, &params, &mut notes) {
                        Some(Point::Float(value)) => out.set(step, value),
                        Some(Point::Histogram(h)) => out.push_histogram(step, h),
                        None => {}
                    }
                    if self.id == FunctionId::QuantileOverTime
                        && !w.values.is_empty()
                        && !(0.0..=1.0).contains(&params[0])
                    {
                        scratch.annotations.warn(invalid_quantile(params[0]), self.first_span);
                    }
                })?;
                scratch.marks = marks;
                Ok(notes)
            })??;
        let labels = &self.input.metas[i].labels;
        // Of the first argument too where that is a parameter, as Prometheus has it.
        notes.write(labels.metric_name().unwrap_or(""), self.first_span, &mut scratch.annotations);
        if matches!(self.id, FunctionId::Rate | FunctionId::Increase) && out.present.any() {
            self.note_non_counter(labels, scratch);
        }
        Ok(())
    }
}

impl Applied {
    /// Notes that a metric does not look like a counter.
    fn note_non_counter(&self, labels: &Labels, scratch: &mut Scratch) {
        let Some(name) = labels.metric_name() else { return };
        if self.type_labels {
            let kind = labels.get("__type__").unwrap_or("");
            if !matches!(kind, "counter" | "histogram") {
                let text = "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
                let text = format!("{text}, got {}: {}", quoted(kind), quoted(name));
                scratch.annotations.info(text, self.first_span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|s| name.ends_with(s)) {
            let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
            scratch.annotations.info(format!("{text} {}", quoted(name)), self.first_span);
        }
    }
}

impl<'q> Evaluator<'q> {
    /// The samples and windows of a range vector node.
    pub(crate) fn range_input(&self, node: &'q Node, grid: Grid) -> Result<RangeInput, QueryError> {
        let profile = self.shared.budget.profile();
        let operator = profile.map_or(0, |profile| profile.number(node.inner()));
        let _charged = profile.map(|profile| profile.enter(operator));
        let input = self.samples_and_windows(node, grid, operator)?;
        if let Some(profile) = profile {
            profile.count_series(operator, input.metas.len());
        }
        Ok(input)
    }
    fn samples_and_windows(
        &self,
        node: &'q Node,
        grid: Grid,
        operator: u32,
    ) -> Result<RangeInput, QueryError> {
        match &node.inner().plan {
            Plan::Window(selector, range) => {
                let margin = moment::margin(selector, self.lookback);
                let stored = self.stored(selector, moment::windows(selector, grid, *range, self.lookback))?;
                Ok(RangeInput {
                    metas: metas_of(&stored),
                    series: RangeSeries::Stored(stored),
                    grid,
                    anchor: selector.anchor,
                    range: *range,
                    margin,
                    use_starts: self.features.use_start_timestamps,
                    stats: selector.stats,
                    budget: Arc::clone(&self.shared.budget),
                    operator,
                    held: Vec::new(),
                })
            }
            Plan::Subquery(plan) => {
                let (rows, inner) = self.subquery(plan, grid)?;
                let (series, metas, held) = computed(rows, inner);
                let anchor: Anchor = plan.anchor;
                Ok(RangeInput {
                    series,
                    metas,
                    grid,
                    anchor,
                    range: plan.range,
                    margin: (0, 0),
                    use_starts: false,
                    stats: false,
                    budget: Arc::clone(&self.shared.budget),
                    operator,
                    held,
                })
            }
            _ => Err(defect("a range vector was expected")),
        }
    }
    /// A function with a range vector among its arguments.
    pub(crate) fn range_function(
        &self,
        id: FunctionId,
        name: &str,
        args: &'q [Node],
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let is_range = |n: &&Node| matches!(n.inner().plan, Plan::Window(..) | Plan::Subquery(_));
        let range = args.iter().find(is_range).ok_or_else(|| defect("no range vector"))?;
        let scalars = args.iter().filter(|n| !is_range(n));
        let params: Vec<Scalars> = scalars.map(|n| self.scalar(n, grid)).collect::<Result<_, _>>()?;
        let extension = match &range.inner().plan {
            Plan::Window(selector, _) => selector.extension,
            _ => None,
        };
        let function = match extension {
            None => range_function(id).ok_or_else(|| defect("no range function"))?,
            Some(extension) => extended_function(id, extension).ok_or_else(|| {
                let word = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
                let safe = extended_functions(extension);
                QueryError::Execution(format!(
                    "{word} modifier can only be used with: {safe} - not with {name}"
                ))
            })?,
        };
        let input = self.range_input(range, grid)?;
        if id == FunctionId::DoubleExponentialSmoothing && !input.metas.is_empty() {
            check_factors(&params, grid)?;
        }
        let keeps_name = matches!(id, FunctionId::FirstOverTime | FunctionId::LastOverTime);
        let metas = if keeps_name {
            input.metas.clone()
        } else {
            input.metas.iter().map(|m| self.without_name(m)).collect()
        };
        let applied = Applied {
            input,
            metas,
            function,
            id,
            params,
            first_span: match args.first().map(Node::inner) {
                // Prometheus forgets where a subquery stands when it evaluates it.
                Some(Node { plan: Plan::Subquery(_), .. }) => Span::default(),
                first => first.map_or(range.span, |a| a.span),
            },
            type_labels: self.features.type_and_unit_labels,
        };
        if id == FunctionId::AbsentOverTime {
            let matchers = match &range.inner().plan {
                Plan::Window(selector, _) => selector.matchers.as_slice(),
                _ => &[],
            };
            return self.absent(&applied, absent_labels(matchers), grid);
        }
        self.distinct(Box::new(applied))
    }
    /// 1 at the steps where no series of `input` has a sample.
    pub(crate) fn absent(
        &self,
        input: &dyn Source,
        labels: Labels,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let occupied = self.shared.for_each(input, |_, column| Ok(column.occupied()))?;
        let mut seen = Bits::new(grid.len);
        occupied.iter().for_each(|o| seen.or(o));
        let mut column = Column::new(grid.len);
        column.values.fill(1.0);
        column.present = Bits::ones(grid.len);
        column.present.and_not(&seen);
        let meta = SeriesMeta { labels, drop_name: false };
        let series = vec![super::column::Series { meta, column }];
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
}

fn check_factors(params: &[Scalars], grid: Grid) -> Result<(), QueryError> {
    for (scalars, (word, letters)) in params.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
        if let Some(bad) = scalars.values(grid.len).find(|v| *v <= 0.0 || *v >= 1.0) {
            return Err(QueryError::Execution(format!(
                "invalid {word} factor. Expected: 0 < {letters} < 1, got: {bad:.6}"
            )));
        }
    }
    Ok(())
}
