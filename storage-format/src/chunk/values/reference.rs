//! Columns as the difference to another column of the group.
//!
//! Where it sits: between the map to integers and prediction. The buckets of a classic histogram are
//! cumulative, so each holds the increments of the next smaller one; counters of one request path move
//! together; some metrics are exposed twice. A column that is cheaper as the difference to one of its
//! predecessors is stored so, over a few hops at most, because reading it reads those too.

use super::encode::Prepared;
use super::predict::{self, Predicted};
use crate::bytes::{width_of, zigzag};

/// The most columns read to read one.
pub(super) const MAX_HOPS: usize = 3;
/// How many columns back a reference is looked for.
const WINDOW: usize = 64;
/// Columns for which the search is worth its time have at least this many integers.
const MIN_INTEGERS: usize = 16;

/// A column stored as a difference.
#[derive(Debug)]
pub(super) struct Reference {
    /// How many columns before it stands the one it refers to, at least 1.
    pub(super) distance: usize,
    pub(super) predicted: Predicted,
}

/// For each column the reference that makes it cheaper, if there is one.
pub(super) fn choose(columns: &[Prepared]) -> Vec<Option<Reference>> {
    let steps: Vec<Option<Steps>> = columns.iter().map(Steps::of).collect();
    let mut hops = vec![0; columns.len()];
    let mut chosen = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        let best = candidate(columns, &steps, &hops, i);
        let reference = best.and_then(|j| {
            let difference = differences(column, &columns[j])?;
            let predicted = predict::cheapest(mapping_of(column)?, &difference);
            let own = predicted_of(column)?.bits;
            (predicted.bits + 16.0 < own * 0.97).then_some(Reference { distance: i - j, predicted })
        });
        if let Some(reference) = &reference {
            hops[i] = hops[i - reference.distance] + 1;
        }
        chosen.push(reference);
    }
    chosen
}

/// The column whose steps are nearest to those of column `i`, when they tell something.
fn candidate(columns: &[Prepared], steps: &[Option<Steps>], hops: &[usize], i: usize) -> Option<usize> {
    let own = steps[i].as_ref()?;
    let whole = own.weights.last().copied().unwrap_or(0);
    let mut least = whole - whole / 16;
    let mut best = None;
    for j in (i.saturating_sub(WINDOW)..i).rev() {
        let Some(other) = &steps[j] else { continue };
        let alike =
            other.steps.len() == own.steps.len() && mapping_of(&columns[j]) == mapping_of(&columns[i]);
        if !alike || hops[j] == MAX_HOPS {
            continue;
        }
        if let Some(weight) = own.weight_against(other, least) {
            least = weight;
            best = Some(j);
        }
    }
    best
}

/// The steps of a column that may take part.
struct Steps {
    steps: Vec<i64>,
    /// Bits that the steps up to the end of each stretch take.
    weights: Vec<u64>,
}

impl Steps {
    /// Steps that are weighed between two looks at whether to go on.
    const STRETCH: usize = 32;
    /// Bits by which a difference may be behind on the way.
    const LENIENCY: u64 = 32;

    fn of(column: &Prepared) -> Option<Self> {
        let Prepared::Varying { column, .. } = column else { return None };
        if !column.exceptions.is_empty() || column.integers.len() < MIN_INTEGERS {
            return None;
        }
        let steps = predict::steps_of(&column.integers);
        let mut weight = 0;
        let weigh = |stretch: &[i64]| {
            weight += stretch.iter().map(|s| u64::from(width_of(zigzag(*s)))).sum::<u64>();
            weight
        };
        let weights = steps.chunks(Self::STRETCH).map(weigh).collect();
        Some(Self { steps, weights })
    }

    /// Bits of the differences of the steps, when they are fewer than `limit` and have not fallen behind
    /// the steps' own on the way.
    fn weight_against(&self, other: &Self, limit: u64) -> Option<u64> {
        let mut weight = 0;
        let stretches = self.steps.chunks(Self::STRETCH).zip(other.steps.chunks(Self::STRETCH));
        for ((own, other), so_far) in stretches.zip(&self.weights) {
            let bits = own.iter().zip(other).map(|(a, b)| width_of(zigzag(a.wrapping_sub(*b))));
            weight += u64::from(bits.sum::<u32>());
            if weight >= limit || weight > so_far + Self::LENIENCY {
                return None;
            }
        }
        Some(weight)
    }
}

fn mapping_of(column: &Prepared) -> Option<super::column::Mapping> {
    match column {
        Prepared::Varying { column, .. } => Some(column.mapping),
        Prepared::Constant { .. } => None,
    }
}

fn predicted_of(column: &Prepared) -> Option<&Predicted> {
    match column {
        Prepared::Varying { predicted, .. } => predicted.as_deref(),
        Prepared::Constant { .. } => None,
    }
}

fn differences(column: &Prepared, other: &Prepared) -> Option<Vec<i64>> {
    let (Prepared::Varying { column, .. }, Prepared::Varying { column: other, .. }) = (column, other) else {
        return None;
    };
    Some(column.integers.iter().zip(&other.integers).map(|(a, b)| a.wrapping_sub(*b)).collect())
}
