//! Compensated summation: Kahan's, with Neumaier's improvement.
//!
//! Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974).
//! The order of operations is part of PromQL: results must agree with Prometheus to the last bits.

/// A running sum and what rounding took away from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Kahan {
    /// The sum as rounded.
    pub(crate) sum: f64,
    /// The compensation, to be added at the end.
    pub(crate) rest: f64,
}

impl Kahan {
    /// A sum that starts at `value`.
    pub(crate) fn new(value: f64) -> Self {
        Self { sum: value, rest: 0.0 }
    }
    /// Adds one number.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.rest = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.rest += (self.sum - total) + value;
        } else {
            self.rest += (value - total) + self.sum;
        }
        self.sum = total;
    }
    /// The compensated sum.
    #[inline]
    pub(crate) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.rest }
    }
    /// Adds another compensated sum.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.add(other.sum);
        if !self.sum.is_infinite() {
            self.rest += other.rest;
        }
    }
    /// Multiplies both parts.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.rest *= factor;
    }
    /// Divides both parts.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.rest /= divisor;
    }
}

/// A mean: the compensated sum divided by the count while the sum does not overflow, a compensated
/// incremental mean from there on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    total: Kahan,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Adds one number.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = Kahan::new(value);
            return;
        }
        if !self.incremental {
            let mut next = self.total;
            next.add(value);
            if !next.sum.is_infinite() {
                self.total = next;
                return;
            }
            self.incremental = true;
            self.total.divide(self.count - 1.0);
        }
        let weight = (self.count - 1.0) / self.count;
        self.total = Kahan { sum: weight * self.total.sum, rest: weight * self.total.rest };
        self.total.add(value / self.count);
    }
    /// The mean; meaningless before the first number.
    #[inline]
    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.total.sum + self.total.rest
        } else {
            self.total.sum / self.count + self.total.rest / self.count
        }
    }
    /// Adds the numbers another mean has seen.
    pub(crate) fn absorb(&mut self, other: Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        let mut joined = self.total;
        joined.absorb(other.total);
        if !self.incremental && !other.incremental && !joined.sum.is_infinite() {
            *self = Self { total: joined, count, incremental: false };
            return;
        }
        let (mut a, mut b) = (*self, other);
        for part in [&mut a, &mut b] {
            if !part.incremental {
                part.total.divide(part.count);
            }
            part.total.scale(part.count / count);
        }
        a.total.absorb(b.total);
        *self = Self { total: a.total, count, incremental: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_survive_large_ones() {
        let mut sum = Kahan::default();
        for v in [1.0, 1e100, 1.0, -1e100] {
            sum.add(v);
        }
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn mean_survives_overflow() {
        let mut mean = Mean::default();
        for _ in 0..3 {
            mean.add(f64::MAX);
        }
        assert!((mean.value() / f64::MAX - 1.0).abs() < 1e-15);
    }

    #[test]
    fn joined_means_equal_one_mean() {
        let values = [3.0, 5.5, -2.0, 1e17, 4.0];
        let (mut whole, mut left, mut right) = (Mean::default(), Mean::default(), Mean::default());
        for (i, v) in values.iter().enumerate() {
            whole.add(*v);
            if i < 2 { left.add(*v) } else { right.add(*v) }
        }
        left.absorb(right);
        assert!((whole.value() - left.value()).abs() <= whole.value().abs() * 1e-15);
    }
}
