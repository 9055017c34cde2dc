//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over classic and native histograms.
//!
//! Classic buckets are grouped by their labels without `le` once; then each group is worked through step by
//! step. Where a group has both kinds at a step, neither is evaluated.

use super::column::{Column, Grid, Series, SeriesMeta};
use super::labels::without_metadata;
use super::source::{Input, Materialized};
use super::{Evaluator, Scalars};
use crate::QueryError;
use crate::annotations::{Annotations, for_metric, invalid_quantile, quoted};
use crate::format::open_metrics;
use crate::functions::label::with_label;
use crate::histogram::classic::{self, ClassicBucket};
use crate::histogram::quantile::{self as native, NanEffect};
use crate::parse::{FunctionId, Span};
use crate::plan::Node;
use std::collections::HashMap;
use std::sync::Arc;
use storage_format::model::{Histogram, Labels};

/// What is computed from each histogram.
enum Measure {
    Quantile(Scalars),
    Fraction(Scalars, Scalars),
}

/// The series that make one histogram.
#[derive(Default)]
struct Group {
    /// (bound, index of the series) of the classic buckets.
    buckets: Vec<(f64, usize)>,
    /// Series with these labels that may hold native histograms.
    native: Option<usize>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn histogram_function(
        &self,
        id: FunctionId,
        args: &'q [Node],
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let quantiles = id == FunctionId::HistogramQuantiles;
        let vector_at = match id {
            FunctionId::HistogramQuantiles => 0,
            FunctionId::HistogramQuantile => 1,
            _ => 2,
        };
        let vector = self.arg(args, vector_at)?;
        let mut annotations = Annotations::default();
        let scalar_args: Vec<&Node> =
            if quantiles { args.iter().skip(2).collect() } else { args.iter().take(vector_at).collect() };
        let scalars: Vec<Scalars> =
            scalar_args.iter().map(|n| self.scalar(n, grid)).collect::<Result<_, _>>()?;
        let mut measures = Vec::new();
        if id == FunctionId::HistogramFraction {
            let mut bounds = scalars.into_iter();
            if let (Some(lower), Some(upper)) = (bounds.next(), bounds.next()) {
                measures.push(Measure::Fraction(lower, upper));
            }
        } else {
            for (scalars, arg) in scalars.into_iter().zip(&scalar_args) {
                for q in scalars.values(grid.len).filter(|q| !(0.0..=1.0).contains(q)) {
                    annotations.warn(invalid_quantile(q), arg.span);
                }
                measures.push(Measure::Quantile(scalars));
            }
        }
        let input = self.vector(vector, grid)?;
        let rows = self.shared.materialize(&*input)?;
        let groups = self.groups(&rows.series, vector.span, &mut annotations);
        let label = if quantiles { Some(self.arg(args, 1)?.text()) } else { None };
        let mut series = Vec::new();
        for measure in &measures {
            for (labels, group) in &groups {
                self.measure_group(
                    (labels, group),
                    &rows.series,
                    (measure, label),
                    grid,
                    vector.span,
                    &mut annotations,
                    &mut series,
                )?;
            }
        }
        self.shared.annotate(annotations);
        drop(rows);
        self.checked(Materialized::charged(series, &self.shared.budget)?.into_source(), grid.len)
    }
    /// The metric's name in annotations; names are gone by then without delayed removal.
    fn noted_name(&self, labels: &Labels) -> String {
        let name = labels.metric_name().filter(|_| self.features.delayed_name_removal);
        name.unwrap_or("").to_owned()
    }
    /// Groups series to histograms, in the order in which they first appear.
    fn groups(
        &self,
        series: &[Series],
        span: Span,
        annotations: &mut Annotations,
    ) -> Vec<(SeriesMeta, Group)> {
        let mut at: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<(SeriesMeta, Group)> = Vec::new();
        for (i, s) in series.iter().enumerate() {
            if !s.column.histograms.is_empty() {
                let slot = *at.entry(s.meta.labels.clone()).or_insert_with(|| {
                    groups.push((s.meta.clone(), Group::default()));
                    groups.len() - 1
                });
                groups[slot].1.native = Some(i);
            }
            if !s.column.present.any() {
                continue;
            }
            let le = s.meta.labels.get("le").unwrap_or("");
            let Some(bound) = parse_bound(le) else {
                let text =
                    format!("bucket label \"le\" is missing or has a malformed value of {}", quoted(le));
                annotations.warn(for_metric(&text, &self.noted_name(&s.meta.labels)), span);
                continue;
            };
            let labels = s.meta.labels.without(|n| n == "le");
            let slot = *at.entry(labels.clone()).or_insert_with(|| {
                let meta = SeriesMeta { labels, drop_name: s.meta.drop_name };
                groups.push((meta, Group::default()));
                groups.len() - 1
            });
            groups[slot].1.buckets.push((bound, i));
        }
        groups
    }
    fn measure_group(
        &self,
        (meta, group): (&SeriesMeta, &Group),
        series: &[Series],
        (measure, label): (&Measure, Option<&str>),
        grid: Grid,
        span: Span,
        annotations: &mut Annotations,
        out: &mut Vec<Series>,
    ) -> Result<(), QueryError> {
        self.shared.budget.check()?;
        let name = meta.labels.metric_name().unwrap_or("").to_owned();
        let noted = self.noted_name(&meta.labels);
        let native_column = group.native.map(|i| &series[i].column);
        let mut columns = Columns::new(grid.len, label.is_some());
        let mut buckets = Vec::with_capacity(group.buckets.len());
        for step in 0..grid.len {
            buckets.clear();
            for (upper, i) in &group.buckets {
                let column = &series[*i].column;
                if column.present.get(step) {
                    buckets.push(ClassicBucket { upper: *upper, count: column.values[step] });
                }
            }
            let native = native_column.and_then(|c| c.histogram(step));
            let value = match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    let text = "vector contains a mix of classic and native histograms";
                    annotations.warn(for_metric(text, &noted), span);
                    continue;
                }
                (Some(h), true) => {
                    let name = if self.features.delayed_name_removal { &name } else { "" };
                    measure_native(measure, step, h, name, span, annotations)
                }
                (None, false) => {
                    measure_classic(measure, step, &mut buckets, &noted, grid, span, annotations)
                }
                (None, true) => continue,
            };
            columns.set(measure, step, value);
        }
        for (q, column) in columns.list {
            if column.is_empty() {
                continue;
            }
            let mut meta = meta.clone();
            if group.native.is_none() || !group.buckets.is_empty() {
                // Classic histograms lose their name at once.
                meta.labels = meta.labels.without(|n| n == storage_format::model::METRIC_NAME);
            }
            if self.features.delayed_name_removal {
                meta.drop_name = true;
            } else {
                meta.labels = without_metadata(&meta.labels);
            }
            if let Some(label) = label {
                meta.labels = with_label(&meta.labels, label, &open_metrics(f64::from_bits(q)));
            }
            out.push(Series { meta, column });
        }
        Ok(())
    }
}

/// Output columns: one, or with a quantile label one per value the quantile takes.
struct Columns {
    list: Vec<(u64, Column)>,
    by_quantile: bool,
    len: usize,
}

impl Columns {
    fn new(len: usize, by_quantile: bool) -> Self {
        Self { list: Vec::new(), by_quantile, len }
    }
    fn set(&mut self, measure: &Measure, step: usize, value: f64) {
        let key = match measure {
            Measure::Quantile(q) if self.by_quantile => q.at(step).to_bits(),
            _ => 0,
        };
        let at = self.list.iter().position(|c| c.0 == key).unwrap_or_else(|| {
            self.list.push((key, Column::new(self.len)));
            self.list.len() - 1
        });
        self.list[at].1.set(step, value);
    }
}

/// A `le` value as a number.
fn parse_bound(le: &str) -> Option<f64> {
    // What Go parses and Rust does not, or the other way round, is of no use as a bound.
    let bound: f64 = match le {
        "+Inf" | "Inf" | "+inf" | "inf" => f64::INFINITY,
        "-Inf" | "-inf" => f64::NEG_INFINITY,
        _ => le.parse().ok()?,
    };
    Some(bound)
}

fn measure_native(
    measure: &Measure,
    step: usize,
    h: &Arc<Histogram>,
    name: &str,
    span: Span,
    annotations: &mut Annotations,
) -> f64 {
    match measure {
        Measure::Quantile(q) => {
            let (value, effect) = native::quantile(q.at(step), h);
            let text = match effect {
                NanEffect::None => None,
                NanEffect::ResultNan => {
                    Some("input to histogram_quantile has NaN observations, result is NaN")
                }
                NanEffect::SkewedHigher => {
                    Some("input to histogram_quantile has NaN observations, result is skewed higher")
                }
            };
            if let Some(text) = text {
                annotations.info(for_metric(text, name), span);
            }
            value
        }
        Measure::Fraction(lower, upper) => {
            let (value, nans) = native::fraction(lower.at(step), upper.at(step), h);
            if nans {
                let text =
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                annotations.info(for_metric(text, name), span);
            }
            value
        }
    }
}

fn measure_classic(
    measure: &Measure,
    step: usize,
    buckets: &mut Vec<ClassicBucket>,
    name: &str,
    grid: Grid,
    span: Span,
    annotations: &mut Annotations,
) -> f64 {
    match measure {
        Measure::Quantile(q) => {
            let (value, forced) = classic::quantile(q.at(step), buckets);
            if let Some(f) = forced {
                let time = grid.at(step);
                annotations.forced_monotonicity(name, span, time, (f.from, f.to), f.by);
            }
            value
        }
        Measure::Fraction(lower, upper) => classic::fraction(lower.at(step), upper.at(step), buckets),
    }
}
