//! Deterministic numbers from a seed: the same seed gives the same run, and a value can be recomputed
//! from what it belongs to without being kept.

/// One 64-bit mix (the finaliser of SplitMix64, Steele et al., 2014).
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of several numbers; the order matters.
pub fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x5eed, |acc, &p| mix(acc ^ mix(p)))
}

/// A stream of numbers from a seed.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A stream that depends on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// A number in `[low, high)`; `high` must be above `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next_u64() % (high - low)
    }
}
