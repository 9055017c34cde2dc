//! Reset hints of histograms as a reader may rely on them.
//!
//! Senders' hints tell about what they saw, not about what is stored. So hints are told anew by comparing
//! neighbours: "not after a reset" where that is so, unknown elsewhere; gauges stay gauges.

use super::detect_reset;
use storage_format::model::{CounterResetHint, Histogram, Timestamp};

/// Sets the hints of one series' samples, of which `before` is the last one before them. `resets`: whether resets are marked as such, as Prometheus does
/// where only counts and sums are asked for; otherwise they are left unknown.
pub(crate) fn tell_hints(
    before: Option<&Histogram>,
    samples: &mut [(Timestamp, Timestamp, Histogram)],
    resets: bool,
) {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    let counts = |h: &Histogram| h.reset_hint != Gauge && !h.is_stale();
    let mut hints = Vec::with_capacity(samples.len());
    for (i, (_, _, h)) in samples.iter().enumerate() {
        let before = i.checked_sub(1).map_or(before, |i| Some(&samples[i].2)).filter(|before| counts(before));
        hints.push(match before {
            _ if !counts(h) => h.reset_hint,
            None => Unknown,
            Some(before) => {
                // A sender's claim that there was no reset does not hold against the counts.
                let reset = if h.reset_hint == NotCounterReset {
                    let mut plain = h.clone();
                    plain.reset_hint = Unknown;
                    detect_reset(&plain, before)
                } else {
                    detect_reset(h, before)
                };
                match (reset, resets) {
                    (false, _) => NotCounterReset,
                    (true, true) => CounterReset,
                    (true, false) => Unknown,
                }
            }
        });
    }
    samples.iter_mut().zip(hints).for_each(|(s, hint)| s.2.reset_hint = hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_tell() {
        let of = |count: f64, reset_hint| (0, 0, Histogram { count, reset_hint, ..Histogram::default() });
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let mut samples =
            [of(1.0, NotCounterReset), of(2.0, Unknown), of(1.0, Unknown), of(3.0, Gauge), of(4.0, Unknown)];
        tell_hints(None, &mut samples, true);
        let hints: Vec<_> = samples.iter().map(|s| s.2.reset_hint).collect();
        assert_eq!(hints, [Unknown, NotCounterReset, CounterReset, Gauge, Unknown]);
    }
}
