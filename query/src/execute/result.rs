//! From the plan's root to the answer: names dropped at last, series sorted, values shaped.

use super::Evaluator;
use super::column::{Grid, Series, SeriesMeta};
use super::labels::{merge_same, same_labelset, without_metadata};
use super::range_input::{RangeInput, drop_stale};
use crate::budget::Held;
use crate::parse::ValueType;
use crate::plan::{Node, Plan};
use crate::{MatrixSeries, Point, QueryError, Value, VectorSample};
use std::sync::Arc;
use storage_format::model::{Labels, Samples};

/// Evaluates the whole plan. `instant`: the answer is for one moment, not a range of one step. The answer's
/// memory is charged as long as the holdings beside it live.
pub(crate) fn evaluate(
    evaluator: &Evaluator<'_>,
    node: &Node,
    grid: Grid,
    instant: bool,
) -> Result<(Value, Vec<Held>), QueryError> {
    match node.value_type {
        ValueType::Scalar => scalar(evaluator, node, grid, instant),
        ValueType::String => {
            Ok((Value::String { timestamp: grid.start, value: node.text().to_owned() }, Vec::new()))
        }
        ValueType::Matrix => matrix(evaluator, node, grid),
        _ => {
            let input = evaluator.vector(node, grid)?;
            let rows = evaluator.shared.materialize(&*input)?;
            drop(input);
            let series = final_names(evaluator, rows.series)?;
            Ok((if instant { vector(series, grid) } else { range(series, grid) }, rows.held))
        }
    }
}

fn scalar(
    evaluator: &Evaluator<'_>,
    node: &Node,
    grid: Grid,
    instant: bool,
) -> Result<(Value, Vec<Held>), QueryError> {
    let scalars = evaluator.scalar(node, grid)?;
    if instant {
        return Ok((Value::Scalar { timestamp: grid.start, value: scalars.at(0) }, Vec::new()));
    }
    let held = evaluator.shared.budget.hold(grid.len as u64, grid.len as u64 * 16)?;
    let series = MatrixSeries {
        labels: Labels::empty(),
        timestamps: (0..grid.len).map(|i| grid.at(i)).collect(),
        values: scalars.values(grid.len).collect(),
        histograms: Vec::new(),
    };
    Ok((Value::Matrix(vec![series]), vec![held]))
}

/// Delayed name removal: now is the time.
fn final_names(evaluator: &Evaluator<'_>, mut series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    if !evaluator.features.delayed_name_removal {
        return Ok(series);
    }
    for s in series.iter_mut().filter(|s| s.meta.drop_name) {
        s.meta.labels = without_metadata(&s.meta.labels);
    }
    merge_same(series)
}

fn vector(series: Vec<Series>, grid: Grid) -> Value {
    let samples = series.into_iter().filter_map(|s| {
        let point = match s.column.sample(0)? {
            super::column::Sample::Float(value) => Point::Float(value),
            super::column::Sample::Histogram(h) => Point::Histogram(Arc::clone(h)),
        };
        Some(VectorSample { labels: s.meta.labels, timestamp: grid.start, point })
    });
    Value::Vector(samples.collect())
}

fn range(mut series: Vec<Series>, grid: Grid) -> Value {
    series.sort_by(|a, b| a.meta.labels.cmp(&b.meta.labels));
    let shape = |s: Series| {
        let Series { meta, column } = s;
        let all = column.present.all();
        MatrixSeries {
            labels: meta.labels,
            timestamps: column.present.iter().map(|i| grid.at(i)).collect(),
            values: if all {
                column.values
            } else {
                column.present.iter().map(|i| column.values[i]).collect()
            },
            histograms: column.histograms.into_iter().map(|(i, h)| (grid.at(i as usize), h)).collect(),
        }
    };
    Value::Matrix(series.into_iter().map(shape).collect())
}

/// A range vector as the whole answer: samples at their own times.
fn matrix(evaluator: &Evaluator<'_>, node: &Node, grid: Grid) -> Result<(Value, Vec<Held>), QueryError> {
    let input = evaluator.range_input(node, grid.first())?;
    let mut out = Vec::new();
    let mut held = Vec::new();
    let indexes: Vec<usize> = (0..input.metas.len()).collect();
    let rows = evaluator.shared.run(indexes.len(), indexes.len() > 8, |i, scratch| {
        input.with_samples(i, scratch, |samples, _| window_of(&input, node, &input.metas[i], samples))?
    })?;
    for row in rows.into_iter().flatten() {
        held.push(evaluator.shared.budget.hold(row.values.len() as u64, row.values.len() as u64 * 16)?);
        out.push(row);
    }
    if evaluator.features.delayed_name_removal {
        out = merge_rows(out, &input.metas)?;
    }
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok((Value::Matrix(out), held))
}

fn window_of(
    input: &RangeInput,
    node: &Node,
    meta: &SeriesMeta,
    samples: &Samples,
) -> Result<Option<MatrixSeries>, QueryError> {
    let extension = match &node.inner().plan {
        Plan::Window(selector, _) => selector.extension,
        _ => None,
    };
    let mut row = None;
    let mut samples = samples.clone();
    drop_stale(&mut samples);
    input.windows(&samples, &[], |_, w| {
        let mut series = MatrixSeries { labels: meta.labels.clone(), ..MatrixSeries::default() };
        if let (Some(extension), true) = (extension, w.histograms.is_empty()) {
            (series.timestamps, series.values) =
                crate::functions::extended::bordered(w, extension).into_iter().unzip();
        } else {
            series.timestamps = w.times.to_vec();
            series.values = w.values.to_vec();
            series.histograms = w.histograms.iter().map(|h| (h.0, Arc::new(h.2.clone()))).collect();
        }
        row = (!series.timestamps.is_empty() || !series.histograms.is_empty()).then_some(series);
    })?;
    Ok(row)
}

fn merge_rows(mut rows: Vec<MatrixSeries>, metas: &[SeriesMeta]) -> Result<Vec<MatrixSeries>, QueryError> {
    let dropped: std::collections::HashSet<&Labels> =
        metas.iter().filter(|m| m.drop_name).map(|m| &m.labels).collect();
    if dropped.is_empty() {
        return Ok(rows);
    }
    for row in &mut rows {
        if dropped.contains(&row.labels) {
            row.labels = without_metadata(&row.labels);
        }
    }
    rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    if rows.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return Err(same_labelset());
    }
    Ok(rows)
}
