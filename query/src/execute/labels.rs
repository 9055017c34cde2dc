//! What happens to label sets on the way: names dropped, duplicates merged or refused.

use super::Evaluator;
use super::column::{Series, SeriesMeta};
use super::source::{Input, Materialized, Source};
use crate::QueryError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use storage_format::model::{Labels, METRIC_NAME};

/// The labels that say what a metric is, and go when its values are changed.
pub(crate) fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// Labels without those that say what the metric is.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    labels.without(is_metadata)
}

/// Prometheus' refusal of two samples with the same labels at the same time.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Joins series with equal labels; refuses when they have samples at the same step.
pub(crate) fn merge_same(series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    let mut at: HashMap<Labels, usize> = HashMap::with_capacity(series.len());
    let mut merged: Vec<Series> = Vec::with_capacity(series.len());
    for s in series {
        match at.entry(s.meta.labels.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(merged.len());
                merged.push(s);
            }
            Entry::Occupied(slot) => {
                if !merged[*slot.get()].column.absorb(&s.column) {
                    return Err(same_labelset());
                }
            }
        }
    }
    Ok(merged)
}

fn has_duplicates<'a>(mut metas: impl Iterator<Item = &'a SeriesMeta>) -> bool {
    let mut seen = std::collections::HashSet::new();
    metas.any(|m| !seen.insert(&m.labels))
}

impl<'q> Evaluator<'q> {
    /// What becomes of a series whose values are changed: its name is dropped now or at the end.
    pub(crate) fn without_name(&self, meta: &SeriesMeta) -> SeriesMeta {
        if self.features.delayed_name_removal {
            SeriesMeta { labels: meta.labels.clone(), drop_name: true }
        } else {
            SeriesMeta { labels: without_metadata(&meta.labels), drop_name: meta.drop_name }
        }
    }
    /// All series of a source, their names dropped.
    pub(crate) fn without_names(&self, source: &dyn Source) -> Vec<SeriesMeta> {
        source.series().iter().map(|m| self.without_name(m)).collect()
    }
    /// `input` with equal label sets joined where their samples do not collide; an error where they do.
    pub(crate) fn merged(&self, input: Input<'q>) -> Result<Input<'q>, QueryError> {
        if !has_duplicates(input.series().iter()) {
            return Ok(input);
        }
        let rows = self.shared.materialize(&*input)?;
        let series = merge_same(rows.series)?;
        Ok(Materialized { series, held: rows.held }.into_source())
    }
    /// As [`Self::merged`], but under delayed name removal only at range queries, as Prometheus does.
    pub(crate) fn checked(&self, input: Input<'q>, steps: usize) -> Result<Input<'q>, QueryError> {
        if self.features.delayed_name_removal && steps == 1 { Ok(input) } else { self.merged(input) }
    }
    /// `input`; an error when two series with samples have equal labels, whether these collide or not.
    pub(crate) fn distinct(&self, input: Input<'q>) -> Result<Input<'q>, QueryError> {
        if self.features.delayed_name_removal || !has_duplicates(input.series().iter()) {
            return Ok(input);
        }
        let rows = self.shared.materialize(&*input)?;
        if has_duplicates(rows.series.iter().map(|s| &s.meta)) {
            return Err(same_labelset());
        }
        Ok(rows.into_source())
    }
}
