//! Range functions with running state: windows that overlap are not scanned again.
//!
//! Only where the result stays the same to the last bit: extremes, and sums of whole numbers small enough
//! that no addition rounds. Everything else is computed window by window.

use super::math::{max, min};
use crate::execute::range_input::Window;
use crate::parse::FunctionId;
use std::collections::VecDeque;

/// Sums of whole numbers below this are exact in any order.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The running state of one series.
#[derive(Debug)]
pub(crate) enum Sliding {
    /// Sums of all floats before each one; whether the mean is asked for.
    Sums(Vec<f64>, bool),
    /// Candidates for the extreme, best first; whether the largest is asked for.
    Extremes(VecDeque<u32>, bool, usize),
}

impl Sliding {
    /// State for function `id` over a series with these floats and no histograms; `None` when the function
    /// has none, or the floats do not allow it.
    pub(crate) fn new(id: FunctionId, values: &[f64]) -> Option<Self> {
        match id {
            FunctionId::SumOverTime | FunctionId::AvgOverTime => {
                let sums = exact_sums(values)?;
                Some(Self::Sums(sums, id == FunctionId::AvgOverTime))
            }
            FunctionId::MaxOverTime | FunctionId::MinOverTime => {
                Some(Self::Extremes(VecDeque::new(), id == FunctionId::MaxOverTime, 0))
            }
            _ => None,
        }
    }
    /// The result for the next window; windows must not move backwards. `values` are all of the series.
    pub(crate) fn next(&mut self, w: &Window<'_>, values: &[f64]) -> f64 {
        let (begin, end) = (w.base, w.base + w.values.len());
        match self {
            Self::Sums(sums, mean) => {
                let sum = sums[end] - sums[begin];
                if *mean { sum / (end - begin) as f64 } else { sum }
            }
            Self::Extremes(candidates, largest, seen) => {
                while candidates.front().is_some_and(|i| (*i as usize) < begin) {
                    candidates.pop_front();
                }
                for i in (*seen).max(begin)..end {
                    let value = values[i];
                    if value.is_nan() {
                        continue;
                    }
                    // The earlier of equals stays, as in a scan.
                    let beaten = |old: f64| if *largest { old < value } else { old > value };
                    while candidates.back().is_some_and(|old| beaten(values[*old as usize])) {
                        candidates.pop_back();
                    }
                    candidates.push_back(i as u32);
                }
                *seen = end;
                candidates.front().map_or(f64::NAN, |i| values[*i as usize])
            }
        }
    }
}

/// Running sums, if all values are whole numbers and no sum can round.
fn exact_sums(values: &[f64]) -> Option<Vec<f64>> {
    let (mut low, mut high, mut sum) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0);
    for value in values {
        // A negative zero shows in the mean of one value.
        if value.trunc() != *value || value.to_bits() == (-0.0_f64).to_bits() {
            return None;
        }
        sum += value;
        low = min(low, sum);
        high = max(high, sum);
        sums.push(sum);
    }
    (high - low < EXACT).then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;
    use crate::annotations::Notes;
    use crate::functions::table::range_function;
    use proptest::prelude::*;

    fn window<'a>(times: &'a [i64], values: &'a [f64], base: usize) -> Window<'a> {
        Window {
            times,
            values,
            starts: &[],
            histograms: &[],
            from: 0,
            to: 0,
            at: 0,
            seconds: 1.0,
            marks: &[],
            base,
            use_starts: false,
        }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-50_i32..50).prop_map(f64::from),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => any::<f64>(),
        ]
    }

    proptest! {
        #[test]
        fn sliding_equals_scanning(
            values in prop_oneof![
                prop::collection::vec(value(), 1..40),
                prop::collection::vec((-9_i32..9).prop_map(f64::from), 1..40),
            ],
            width in 1_usize..12,
        ) {
            let times: Vec<i64> = (0..values.len() as i64).collect();
            for id in [
                FunctionId::SumOverTime,
                FunctionId::AvgOverTime,
                FunctionId::MaxOverTime,
                FunctionId::MinOverTime,
            ] {
                let Some(mut sliding) = Sliding::new(id, &values) else { continue };
                let kernel = range_function(id).unwrap().kernel;
                for end in 1..=values.len() {
                    let begin = end.saturating_sub(width);
                    let w = window(&times[begin..end], &values[begin..end], begin);
                    let scanned = kernel(&w, &[], &mut Notes::default());
                    let slid = sliding.next(&w, &values);
                    let Some(Point::Float(scanned)) = scanned else { panic!("no float") };
                    prop_assert!(scanned.to_bits() == slid.to_bits() || scanned.is_nan() && slid.is_nan());
                }
            }
        }
    }
}
