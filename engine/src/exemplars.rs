//! Which exemplars are kept: the policy, the limits, and the reasons for leaving one out.
//!
//! Where it sits: the head asks before it stores one. Invariant: a decision depends on the exemplar and on
//! what was sent for its series before, never on clocks or chance, so that a request sent again is decided
//! as it was, and replicas agree.

use storage_format::model::Exemplar;
use xxhash_rust::xxh3::Xxh3;

/// Which exemplars are chosen, before the limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExemplarPolicy {
    /// All.
    Always,
    /// This share of them, 0 to 1, chosen by a hash of the exemplar.
    Probability(f64),
    /// Those outside of the usual spread of their series: further from the mean than three times the mean
    /// distance from it, both over about the last 64 exemplars sent; the first eight of a series are all
    /// chosen, and so are values that are not finite. The spread is learned anew after a restart.
    Outlier,
}

/// Why an exemplar was not stored. This never fails the request that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// The policy did not choose it.
    Policy = 0,
    /// Its series has as many in this two-hour window as it may.
    SeriesLimit = 1,
    /// The head holds as many as it may.
    HeadLimit = 2,
    /// Older than the out-of-order window.
    TooOld = 3,
    /// Too far in the future.
    OutOfBounds = 4,
    /// Its series is not in the head.
    NoSeries = 5,
    /// Its labels are longer than 4 KiB.
    TooLong = 6,
}

impl LeftOut {
    /// All reasons, in the order of [`crate::AppendOutcome::exemplars_left_out`].
    pub const ALL: [Self; 7] = [
        Self::Policy,
        Self::SeriesLimit,
        Self::HeadLimit,
        Self::TooOld,
        Self::OutOfBounds,
        Self::NoSeries,
        Self::TooLong,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::SeriesLimit => "series_limit",
            Self::HeadLimit => "head_limit",
            Self::TooOld => "too_old",
            Self::OutOfBounds => "out_of_bounds",
            Self::NoSeries => "no_series",
            Self::TooLong => "too_long",
        }
    }
}

/// What the head enforces for exemplars.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExemplarLimits {
    /// Most in the head.
    pub(crate) head_max: u64,
    /// Most of one series with timestamps in one window.
    pub(crate) per_series_max: u32,
    pub(crate) policy: ExemplarPolicy,
}

/// How many exemplars teach a series' spread before anything is left out.
const LEARNED_FROM: u32 = 8;
/// Over about how many exemplars the spread is taken.
const MEMORY: u32 = 64;
/// How many mean distances from the mean are usual.
const USUAL: f64 = 3.0;
/// One exemplar moves the spread as if it were at most so many mean distances away, so that a single
/// extreme does not hide those after it.
const PULL_MAX: f64 = 16.0;

/// The usual spread of a series' exemplars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spread {
    mean: f64,
    /// Mean distance from the mean.
    distance: f64,
    /// Exemplars seen, up to [`MEMORY`].
    seen: u32,
}

impl Spread {
    /// Learns a value. Returns whether it lies outside of what was usual before.
    pub(crate) fn is_outside(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return true;
        }
        let away = value - self.mean;
        let outside = self.seen < LEARNED_FROM || away.abs() > USUAL * self.distance;
        self.seen = (self.seen + 1).min(MEMORY);
        if self.seen == 1 {
            self.mean = value;
            return true;
        }
        let most = if self.distance > 0.0 && self.seen > LEARNED_FROM {
            PULL_MAX * self.distance
        } else {
            f64::INFINITY
        };
        let (pull, weight) = (away.clamp(-most, most), 1.0 / f64::from(self.seen));
        self.mean += pull * weight;
        self.distance += (pull.abs() - self.distance) * weight;
        outside
    }
}

impl ExemplarPolicy {
    /// Whether an exemplar is chosen; `spread` is its series' and learns of it.
    pub(crate) fn chooses(self, exemplar: &Exemplar, spread: &mut Spread) -> bool {
        match self {
            Self::Always => true,
            Self::Probability(share) => place(exemplar) < share,
            Self::Outlier => spread.is_outside(exemplar.value),
        }
    }
}

/// A number from 0 to 1, the same for the same exemplar everywhere.
fn place(exemplar: &Exemplar) -> f64 {
    let mut hash = Xxh3::new();
    for (name, value) in &exemplar.labels {
        hash.update(name.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.as_bytes());
        hash.update(&[0xff]);
    }
    hash.update(&exemplar.timestamp.to_le_bytes());
    hash.update(&exemplar.value.to_bits().to_le_bytes());
    (hash.digest() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Labels;

    fn exemplar(i: i64) -> Exemplar {
        let id = format!("{i:032x}");
        Exemplar { labels: Labels::from_pairs([("trace_id", id)]), value: i as f64, timestamp: 1000 + i }
    }

    /// Numbers from 0 to 1 that look random.
    fn noise(n: usize) -> impl Iterator<Item = f64> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        })
        .take(n)
    }

    #[test]
    fn a_share_is_chosen_and_always_the_same_ones() {
        for share in [0.0, 0.1, 0.5, 1.0] {
            let policy = ExemplarPolicy::Probability(share);
            let chosen = || (0..10_000).filter(|i| policy.chooses(&exemplar(*i), &mut Spread::default()));
            let count = chosen().count() as f64;
            assert!((count - share * 10_000.0).abs() <= 200.0, "{count} of 10,000 at {share}");
            assert!(chosen().eq(chosen()));
        }
    }

    #[test]
    fn outliers_are_chosen_and_the_usual_is_not() {
        // Latencies around 100 ms; every two hundredth takes a second.
        let mut spread = Spread::default();
        let (mut usual, mut slow) = (0, 0);
        for (i, x) in noise(20_000).enumerate() {
            let is_slow = i % 200 == 199;
            let chosen = spread.is_outside(if is_slow { 1.0 } else { 0.08 + 0.04 * x });
            usual += usize::from(chosen && !is_slow);
            slow += usize::from(chosen && is_slow);
        }
        assert_eq!((slow, usual), (100, 8), "all slow ones, and the first eight");
    }

    #[test]
    fn the_tail_of_a_skewed_series_is_a_small_share() {
        let mut spread = Spread::default();
        let chosen = noise(50_000).filter(|x| spread.is_outside(-(1.0 - x).ln())).count();
        assert!((500..3500).contains(&chosen), "{chosen} of 50,000 exponential latencies");
    }

    #[test]
    fn a_new_level_becomes_usual_and_constants_are() {
        let mut spread = Spread::default();
        assert_eq!((0..1000).filter(|_| spread.is_outside(5.0)).count(), 8);
        assert!(spread.is_outside(5.1), "anything else is unusual for a constant");
        let mut spread = Spread::default();
        noise(1000).for_each(|x| {
            spread.is_outside(1.0 + 0.1 * x);
        });
        let late = noise(1000).map(|x| spread.is_outside(50.0 + 0.1 * x)).skip(300).filter(|o| *o).count();
        assert!(late < 70, "{late} of 700 after the level has changed");
        assert!(spread.is_outside(f64::NAN) && spread.is_outside(f64::INFINITY));
        assert!(spread.mean.is_finite() && spread.distance.is_finite());
    }
}
