//! Floats as integers: the lossless map under the value codec.
//!
//! Where it sits: first step of encoding a column, last of decoding one. Most monitoring values are
//! decimals with few places, so `v` is stored as the integer `m` for which `m / 10^places` is `v` bit for
//! bit. Sums of decimals miss that by what rounding added up, a few units in the last place, which then
//! stand in the low bits of the integer. Other columns are the bits of their floats in ascending order. Values that spoil a column (staleness
//! markers, a NaN among counters) are exceptions and stand aside with their positions.

/// Largest magnitude of a mapped decimal: integers up to here are exact as floats.
const MAX_INTEGER: u64 = 1 << 53;
/// Decimals with more digits may be no decimals at all, as any float is one with enough places.
const MANY_DIGITS: u64 = 1 << 46;
/// The most decimal places tried.
pub(super) const MAX_PLACES: u8 = 15;

/// Powers of ten, all exact.
const POWERS: [f64; MAX_PLACES as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The most low bits for units in the last place: products with `MAX_INTEGER` and steps stay in 64 bits.
pub(super) const MAX_SLACK: u8 = 8;
/// Further places that are worth leaving aside the values which need them.
const ODD_PLACES: u8 = 3;
/// Values looked at to find the shape of a column of near decimals.
const PROBES: usize = 48;
/// Bits that near decimals must save over the bits of the floats to be worth their arithmetic.
const NEAR_MUST_SAVE: u32 = 3;

/// How the integers of a column stand for floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    /// `v = m / 10^places`.
    Decimal(u8),
    /// `m * 2^slack + ulps`: `v` is so many units in the last place above `m / 10^places`;
    /// `-2^(slack - 1) <= ulps < 2^(slack - 1)`.
    Near { places: u8, slack: u8 },
    /// The bits of `v`, in an order in which larger floats are larger integers.
    Bits,
}

impl Mapping {
    /// The float that `m` stands for.
    #[inline]
    pub(super) fn float(self, m: i64) -> f64 {
        match self {
            Self::Decimal(0) => m as f64,
            Self::Decimal(places) => m as f64 / POWERS[usize::from(places & 15)],
            Self::Near { places, slack } => {
                let unused = 64 - u32::from(slack.clamp(1, MAX_SLACK));
                let ulps = m << unused >> unused;
                let decimal = (m.wrapping_sub(ulps) >> slack) as f64 / POWERS[usize::from(places & 15)];
                f64::from_bits(decimal.to_bits().wrapping_add(ulps as u64))
            }
            Self::Bits => f64::from_bits(flipped(m) as u64),
        }
    }
}

/// Maps the bits of negative floats below those of positive ones, and back.
fn flipped(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The integer that `v` is at `places` decimal places, if it is one exactly.
#[inline]
fn integer_at(v: f64, places: u8) -> Option<i64> {
    let power = POWERS[usize::from(places)];
    let scaled = v * power;
    let m = (scaled + 0.5f64.copysign(scaled)) as i64;
    (m.unsigned_abs() < MAX_INTEGER && (m as f64 / power).to_bits() == v.to_bits()).then_some(m)
}

/// The decimal at `places` nearest to `v`, and by how many units in the last place `v` is above it.
fn nearest(v: f64, places: u8) -> Option<(i64, i64)> {
    let power = POWERS[usize::from(places)];
    let scaled = v * power;
    let m = (scaled + 0.5f64.copysign(scaled)) as i64;
    let ulps = v.to_bits().wrapping_sub((m as f64 / power).to_bits()) as i64;
    (m.unsigned_abs() < MAX_INTEGER).then_some((m, ulps))
}

fn integer_near(v: f64, places: u8, slack: u8) -> Option<i64> {
    let (m, ulps) = nearest(v, places)?;
    let half = 1 << (slack - 1);
    (-half..half).contains(&ulps).then(|| (m << slack) + ulps)
}

/// A run of equal values that stand aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exception {
    /// Index of the first one in the column.
    pub(super) position: usize,
    /// How many there are, at least one.
    pub(super) len: usize,
    /// Their bits.
    pub(super) bits: u64,
}

/// A column as integers.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) mapping: Mapping,
    /// The values without the exceptions.
    pub(super) integers: Vec<i64>,
    /// Ascending by position.
    pub(super) exceptions: Vec<Exception>,
}

impl Column {
    /// Maps `values`.
    pub(super) fn of(values: &[f64]) -> Self {
        let allowed = 2 + values.len() / 16;
        let decimal_at = |places, allowed| {
            Self::mapped(values, Mapping::Decimal(places), allowed, |v| integer_at(v, places))
        };
        let mut decimal = None;
        if let Some(places) = places_of(values, allowed) {
            // A few values with many places must not spoil a column with few.
            let usual = usual_places(values, places);
            if usual + ODD_PLACES <= places {
                decimal = decimal_at(usual, 1 + values.len() / 32);
            }
            decimal = decimal.or_else(|| decimal_at(places, allowed));
            if let Some(column) =
                decimal.take_if(|c| c.integers.iter().all(|m| m.unsigned_abs() < MANY_DIGITS))
            {
                return column;
            }
        }
        if let Some((places, slack)) = near_of(values) {
            let mapping = Mapping::Near { places, slack };
            if let Some(column) = Self::mapped(values, mapping, allowed, |v| integer_near(v, places, slack)) {
                return column;
            }
        }
        if let Some(column) = decimal {
            return column;
        }
        let bits = |v: f64| (!crate::model::is_stale(v)).then(|| flipped(v.to_bits() as i64));
        Self::mapped(values, Mapping::Bits, values.len(), bits).expect("any number of exceptions is allowed")
    }

    fn mapped(
        values: &[f64],
        mapping: Mapping,
        allowed: usize,
        integer: impl Fn(f64) -> Option<i64>,
    ) -> Option<Self> {
        let mut integers = Vec::with_capacity(values.len());
        let mut exceptions: Vec<Exception> = Vec::new();
        for (position, v) in values.iter().enumerate() {
            if let Some(m) = integer(*v) {
                integers.push(m);
                continue;
            }
            let bits = v.to_bits();
            let full = exceptions.len() == allowed;
            match exceptions.last_mut() {
                Some(run) if run.bits == bits && run.position + run.len == position => run.len += 1,
                _ if full => return None,
                _ => exceptions.push(Exception { position, len: 1, bits }),
            }
        }
        Some(Self { mapping, integers, exceptions })
    }
}

/// The fewest decimal places that suit all values but `allowed` runs of equal ones.
fn places_of(values: &[f64], allowed: usize) -> Option<u8> {
    let mut places = 0;
    let mut failed = 0;
    let mut odd = None;
    for v in values {
        if integer_at(*v, places).is_some() || odd == Some(v.to_bits()) {
            continue;
        }
        match (places + 1..=MAX_PLACES).find(|p| integer_at(*v, *p).is_some()) {
            Some(p) => places = p,
            None if failed == allowed => return None,
            None => {
                failed += 1;
                odd = Some(v.to_bits());
            }
        }
    }
    Some(places)
}

/// The places, fewer than `places`, that nearly all of some probed values get by with.
fn usual_places(values: &[f64], places: u8) -> u8 {
    let mut tally = [0usize; MAX_PLACES as usize + 1];
    let mut probed = 0;
    for v in values.iter().step_by(values.len().div_ceil(PROBES).max(1)) {
        if let Some(needed) = (0..=places).find(|p| integer_at(*v, *p).is_some()) {
            tally[usize::from(needed)] += 1;
            probed += 1;
        }
    }
    let mut within = 0;
    let enough = |p: &u8| {
        within += tally[usize::from(*p)];
        within * 32 >= probed * 31
    };
    (0..places).find(enough).unwrap_or(places)
}

/// Places and slack that suit a column of near decimals: of all places at which most values are within
/// reach, those which leave the fewest bits of the floats' own.
fn near_of(values: &[f64]) -> Option<(u8, u8)> {
    let stride = values.len().div_ceil(PROBES).max(1);
    let probes = || values.iter().step_by(stride).filter(|v| v.is_finite());
    let mut best: Option<(u32, u8, u8)> = None;
    for places in 0..=12 {
        let mut widths = [0usize; MAX_SLACK as usize + 1];
        let mut spacing = u32::MAX;
        for v in probes() {
            let Some((_, ulps)) = nearest(*v, places) else { continue };
            let width = 1 + crate::bytes::width_of((ulps ^ (ulps >> 63)) as u64) as usize;
            if let Some(fits) = widths.get_mut(width) {
                *fits += 1;
            }
            // The decimals lie 10^-places / ulp apart, as a power of two rounded down.
            let exponent = ((v.to_bits() >> 52) & 0x7ff) as i32 - 1023;
            let apart = (-f64::from(places) * std::f64::consts::LOG2_10) as i32 + 52 - exponent;
            spacing = spacing.min(apart.max(0) as u32);
        }
        let total = probes().count();
        let mut within = 0;
        let slack = (1..=MAX_SLACK).find(|slack| {
            within += widths[usize::from(*slack)];
            within * 24 >= total * 23 && total > 0
        });
        let Some(slack) = slack else { continue };
        let saved = spacing.saturating_sub(u32::from(slack));
        if saved >= NEAR_MUST_SAVE && best.is_none_or(|(most, ..)| saved > most) {
            best = Some((saved, places, slack));
        }
    }
    best.map(|(_, places, slack)| (places, slack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_nan;

    #[test]
    fn decimals_are_found_with_the_fewest_places() {
        assert_eq!(Column::of(&[1.0, -2.0, 3e15]).mapping, Mapping::Decimal(0));
        let column = Column::of(&[1.5, 0.25, -1234.567]);
        assert_eq!((column.mapping, column.integers), (Mapping::Decimal(3), vec![1500, 250, -1_234_567]));
        assert_eq!(Column::of(&[0.1, 0.2, 0.3, 0.5].map(f64::sqrt)).mapping, Mapping::Bits);
    }

    #[test]
    fn one_value_with_many_places_stands_aside() {
        let mut values: Vec<f64> = (0..480).map(|i| f64::from(i % 97) / 100.0).collect();
        values[77] = 0.1 + 0.2;
        let column = Column::of(&values);
        assert_eq!(column.mapping, Mapping::Decimal(2));
        assert_eq!(column.exceptions, [Exception { position: 77, len: 1, bits: (0.1f64 + 0.2).to_bits() }]);
    }

    #[test]
    fn sums_of_decimals_are_near_decimals() {
        let mut sum = 1234.5;
        let sums: Vec<f64> = (0..400i32)
            .map(|i| {
                sum += f64::from(i.wrapping_mul(7919) % 100_000) * 1e-9 + 0.015;
                sum
            })
            .collect();
        let column = Column::of(&sums);
        assert!(matches!(column.mapping, Mapping::Near { places: 9, .. }), "{:?}", column.mapping);
        assert!(column.exceptions.is_empty());
        assert!(
            column.integers.iter().zip(&sums).all(|(m, v)| column.mapping.float(*m).to_bits() == v.to_bits())
        );
    }

    #[test]
    fn what_spoils_a_column_stands_aside() {
        let column = Column::of(&[1.0, stale_nan(), 2.0, -0.0, -0.0]);
        assert_eq!(column.integers, [1, 2]);
        assert_eq!(
            column.exceptions.iter().map(|e| (e.position, e.len)).collect::<Vec<_>>(),
            [(1, 1), (3, 2)]
        );
    }

    #[test]
    fn bits_keep_the_order_of_floats() {
        let ascending = [f64::NEG_INFINITY, -1.5, -1e-310, -0.0, 0.0, 5e-324, 2.0, f64::INFINITY];
        let mapped: Vec<i64> = ascending.iter().map(|v| flipped(v.to_bits() as i64)).collect();
        assert!(mapped.is_sorted_by(|a, b| a < b));
        assert!(
            mapped
                .iter()
                .map(|m| Mapping::Bits.float(*m).to_bits())
                .eq(ascending.iter().map(|v| v.to_bits()))
        );
    }
}
