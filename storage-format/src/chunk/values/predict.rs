//! Integer columns as small numbers, and back.
//!
//! Where it sits: between the map from floats and the entropy coder. Four predictors, of which the cheapest
//! for the column is taken: its minimum, the value before plus the least or the median step, the value
//! before plus the step before. Arithmetic wraps, so that any column of any integers comes back exactly.

use super::WHAT;
use super::column::Mapping;
use super::rans;
use crate::bytes::{Cursor, put_varint, put_varint_signed, unzigzag, zigzag};
use crate::error::FormatError;

/// What a number is the difference to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Predictor {
    /// The least integer of the column.
    Minimum = 0,
    /// The integer before plus the least step; differences are unsigned.
    LeastStep = 1,
    /// The integer before plus the median step.
    MedianStep = 2,
    /// The integer before plus the step before.
    StepBefore = 3,
}

impl Predictor {
    pub(super) const ALL: [Self; 4] = [Self::Minimum, Self::LeastStep, Self::MedianStep, Self::StepBefore];

    /// Numbers it leaves of `integers` ones: the first or first two stand in the parameters.
    pub(super) fn numbers(self, integers: usize) -> usize {
        integers.saturating_sub(match self {
            Self::Minimum => 0,
            Self::LeastStep | Self::MedianStep => 1,
            Self::StepBefore => 2,
        })
    }
}

/// A predictor with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prediction {
    pub(super) predictor: Predictor,
    /// All steps are multiples of it; at least 1.
    divisor: u64,
    /// The minimum or the first integer.
    base: i64,
    /// The least, median or first step, in divisors; unused by `Minimum`.
    step: i64,
}

/// The largest divisor of all steps: for bits a power of two, which wrapping respects.
pub(super) fn divisor_of(mapping: Mapping, steps: &[i64]) -> u64 {
    if mapping == Mapping::Bits {
        let all = steps.iter().fold(0, |all, step| all | step);
        return if all == 0 { 1 } else { 1 << all.trailing_zeros().min(62) };
    }
    let mut divisor = 0u64;
    for step in steps {
        let mut rest = step.unsigned_abs();
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        if divisor == 1 {
            break;
        }
    }
    divisor.max(1)
}

/// The steps of a column.
pub(super) fn steps_of(integers: &[i64]) -> Vec<i64> {
    integers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
}

impl Prediction {
    /// The prediction by `predictor` of `integers` (not empty), whose steps are `steps` divisors.
    pub(super) fn fit(predictor: Predictor, divisor: u64, integers: &[i64], steps: &[i64]) -> Self {
        let base = match predictor {
            Predictor::Minimum => integers.iter().copied().min(),
            _ => integers.first().copied(),
        };
        let step = match predictor {
            Predictor::Minimum => None,
            Predictor::LeastStep => steps.iter().copied().min(),
            Predictor::MedianStep if steps.is_empty() => None,
            Predictor::MedianStep => {
                let mut sorted = steps.to_vec();
                Some(*sorted.select_nth_unstable(steps.len() / 2).1)
            }
            Predictor::StepBefore => steps.first().copied(),
        };
        Self { predictor, divisor, base: base.unwrap_or(0), step: step.unwrap_or(0) }
    }

    /// A prediction without fitted parameters: differences to nothing, or to the integer before.
    pub(super) fn verbatim(predictor: Predictor, divisor: u64, integers: &[i64]) -> Self {
        let base = if predictor == Predictor::Minimum { 0 } else { integers.first().copied().unwrap_or(0) };
        Self { predictor, divisor: if predictor == Predictor::Minimum { 1 } else { divisor }, base, step: 0 }
    }

    /// Replaces `numbers` by what the prediction leaves.
    pub(super) fn apply(&self, integers: &[i64], steps: &[i64], numbers: &mut Vec<u64>) {
        numbers.clear();
        match self.predictor {
            Predictor::Minimum => {
                let from_base = integers.iter().map(|m| m.wrapping_sub(self.base) as u64);
                if self.divisor == 1 {
                    numbers.extend(from_base);
                } else {
                    numbers.extend(from_base.map(|n| n / self.divisor));
                }
            }
            Predictor::LeastStep => numbers.extend(steps.iter().map(|s| s.wrapping_sub(self.step) as u64)),
            Predictor::MedianStep => numbers.extend(steps.iter().map(|s| zigzag(s.wrapping_sub(self.step)))),
            Predictor::StepBefore => {
                numbers.extend(steps.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0]))));
            }
        }
    }

    /// Appends the parameters.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.divisor - 1);
        put_varint_signed(out, self.base);
        if self.predictor != Predictor::Minimum {
            put_varint_signed(out, self.step);
        }
    }

    /// Reads the parameters.
    pub(super) fn decode(predictor: Predictor, cursor: &mut Cursor<'_>) -> Result<Self, FormatError> {
        let divisor =
            cursor.varint()?.checked_add(1).ok_or_else(|| FormatError::malformed(WHAT, cursor.position()))?;
        let base = cursor.varint_signed()?;
        let step = if predictor == Predictor::Minimum { 0 } else { cursor.varint_signed()? };
        Ok(Self { predictor, divisor, base, step })
    }

    /// Replaces the numbers, which stand behind as many free places as the predictor keeps integers out of
    /// them, by the floats of the column, in place. All are carried as the bits of floats.
    pub(super) fn undo(&self, column: &mut [f64], mapping: Mapping) {
        match mapping {
            Mapping::Decimal(0) => self.undo_with(column, |m| m as f64),
            _ => self.undo_with(column, |m| mapping.float(m)),
        }
    }

    /// As [`Prediction::undo`], with any carrier of integers instead of floats.
    pub(super) fn undo_with(&self, column: &mut [f64], float: impl Fn(i64) -> f64) {
        let divisor = self.divisor as i64;
        let mut value = self.base;
        match self.predictor {
            Predictor::Minimum => {
                for v in column {
                    *v = float(value.wrapping_add((v.to_bits() as i64).wrapping_mul(divisor)));
                }
            }
            Predictor::LeastStep | Predictor::MedianStep => {
                let signed = self.predictor == Predictor::MedianStep;
                let Some((first, rest)) = column.split_first_mut() else { return };
                *first = float(value);
                let least = self.step.wrapping_mul(divisor);
                for v in rest {
                    let number = v.to_bits();
                    let number = if signed { unzigzag(number) } else { number as i64 };
                    value = value.wrapping_add(least).wrapping_add(number.wrapping_mul(divisor));
                    *v = float(value);
                }
            }
            Predictor::StepBefore => {
                let mut step = self.step;
                for (i, v) in column.iter_mut().enumerate() {
                    if i > 0 {
                        if i > 1 {
                            step = step.wrapping_add(unzigzag(v.to_bits()));
                        }
                        value = value.wrapping_add(step.wrapping_mul(divisor));
                    }
                    *v = float(value);
                }
            }
        }
    }
}

/// A column predicted: the prediction and what it leaves.
#[derive(Debug)]
pub(super) struct Predicted {
    pub(super) prediction: Prediction,
    pub(super) numbers: Vec<u64>,
    pub(super) counts: rans::Counts,
    /// Bits the numbers take at least, by their empirical entropy.
    pub(super) bits: f64,
}

/// The cheapest prediction of `integers`, not empty, by the entropy of what it leaves.
pub(super) fn cheapest(mapping: Mapping, integers: &[i64]) -> Predicted {
    let mut steps = steps_of(integers);
    let divisor = divisor_of(mapping, &steps);
    if divisor > 1 {
        steps.iter_mut().for_each(|s| *s /= divisor as i64);
    }
    let mut best: Option<Predicted> = None;
    let mut numbers = Vec::new();
    for predictor in Predictor::ALL {
        let prediction = Prediction::fit(predictor, divisor, integers, &steps);
        if predictor == Predictor::MedianStep && best.as_ref().is_some_and(|b| b.bits == 0.0) {
            break;
        }
        prediction.apply(integers, &steps, &mut numbers);
        let counts = rans::count_tokens(&numbers);
        let bits = rans::entropy_bits(&counts) + rans::extra_bits(&counts) as f64;
        if best.as_ref().is_none_or(|b| bits < b.bits) {
            best = Some(Predicted { prediction, numbers: std::mem::take(&mut numbers), counts, bits });
        }
    }
    best.expect("there are predictors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(mapping: Mapping, integers: &[i64]) {
        let steps = steps_of(integers);
        let divisor = divisor_of(mapping, &steps);
        let in_divisors: Vec<i64> = steps.iter().map(|s| s / divisor as i64).collect();
        for predictor in Predictor::ALL {
            let prediction = Prediction::fit(predictor, divisor, integers, &in_divisors);
            let mut bytes = Vec::new();
            prediction.encode(&mut bytes);
            assert_eq!(Prediction::decode(predictor, &mut Cursor::new("test", &bytes)), Ok(prediction));
            let mut numbers = Vec::new();
            prediction.apply(integers, &in_divisors, &mut numbers);
            assert_eq!(numbers.len(), predictor.numbers(integers.len()));
            let mut column = vec![0.0; integers.len() - numbers.len()];
            column.extend(numbers.iter().map(|n| f64::from_bits(*n)));
            prediction.undo_with(&mut column, |m| f64::from_bits(m as u64));
            let out: Vec<i64> = column.iter().map(|v| v.to_bits() as i64).collect();
            assert_eq!(out, integers, "{predictor:?}");
        }
    }

    proptest! {
        #[test]
        fn any_integers_survive_as_bits(integers in prop::collection::vec((any::<i64>(), 0u32..64), 1..50)) {
            let integers: Vec<i64> = integers.into_iter().map(|(m, shift)| m >> shift << (shift / 2)).collect();
            round_trip(Mapping::Bits, &integers);
        }
        #[test]
        fn any_decimals_survive(
            integers in prop::collection::vec(-(1i64 << 53)..1 << 53, 1..50), divisor in 1i64..5000, offset in 0i64..100,
        ) {
            let multiples: Vec<i64> = integers.iter().map(|m| m / divisor * divisor + offset).collect();
            round_trip(Mapping::Decimal(3), &integers);
            round_trip(Mapping::Decimal(0), &multiples);
        }
    }

    #[test]
    fn the_cheapest_prediction_suits_the_column() {
        let noise = |i: i64| (i * i * 7919 + i * i * i * 31) % 61;
        let of = |f: &dyn Fn(i64) -> i64| {
            let integers: Vec<i64> = (0..500).map(f).collect();
            let best = cheapest(Mapping::Decimal(0), &integers);
            (best.prediction.predictor, best.prediction.divisor)
        };
        assert_eq!(of(&|i| 1_000_000 + noise(i) * 4096), (Predictor::Minimum, 4096));
        assert_eq!(cheapest(Mapping::Decimal(0), &(0..500).map(|i| i * 15).collect::<Vec<_>>()).bits, 0.0);
    }
}
