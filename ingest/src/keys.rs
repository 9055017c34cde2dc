//! Series keys folded from the hashes of their parts, so that parts shared by many series are hashed once,
//! and the canonical keys they stand for.
//!
//! Invariants: a folded key is a polynomial over keyed 128-bit hashes with a secret factor, so nobody
//! outside can aim for collisions, and order matters. Which canonical key it stands for follows from what
//! was folded alone, so what was learned once stays true. Like the engine's keys they are never stored.

use engine::{WriteBatch, series_key};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{OnceLock, PoisonError, RwLock};
use storage_format::model::Labels;
use storage_format::model::labels::put_key;

/// Canonical keys remembered, 32 bytes each; when there are more it starts again.
const CANONICAL_MAX: usize = 4 << 20;

/// Appends one part's hash to a key.
#[inline]
pub(crate) fn fold(key: u128, part: u128) -> u128 {
    key.wrapping_add(part).wrapping_mul(factor())
}

/// Joins two polynomials; a factor of its own keeps the powers of the two apart.
#[inline]
pub(crate) fn join(a: u128, b: u128) -> u128 {
    static FACTOR: OnceLock<u128> = OnceLock::new();
    a.wrapping_mul(*FACTOR.get_or_init(|| series_key(b"factor of joined keys") | 1)).wrapping_add(b)
}

/// Ends a key: the upper bits depend on everything before them, tables look at the lower ones too.
#[inline]
pub(crate) fn finish(key: u128) -> u128 {
    key ^ key.rotate_left(64)
}

/// The factor: random, and 3 modulo 8, so that no power of it is close to 1.
#[inline]
pub(crate) fn factor() -> u128 {
    static FACTOR: OnceLock<u128> = OnceLock::new();
    *FACTOR.get_or_init(|| series_key(b"factor of folded keys") & !7 | 3)
}

/// Hashes keys and digests, which are hashes already, by their low half.
pub(crate) type AsHash = BuildHasherDefault<LowHalf>;

#[derive(Debug, Default)]
pub(crate) struct LowHalf(u64);

impl Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// The canonical keys of folded ones. The engine finds a series fastest by its canonical key.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    keys: RwLock<HashMap<u128, u128, AsHash>>,
}

impl Canonical {
    /// Replaces the folded keys of a batch as far as their canonical ones are known; the numbers of the
    /// other entries are told.
    pub(crate) fn apply(&self, batch: &mut WriteBatch, mut unknown: impl FnMut(u32)) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        for (i, entry) in batch.series.iter_mut().enumerate() {
            match keys.get(&entry.key) {
                Some(canonical) => entry.key = *canonical,
                None => unknown(i as u32),
            }
        }
    }
    /// Remembers what was learned while a request was stored.
    pub(crate) fn learn(&self, learned: Learned) {
        if learned.keys.is_empty() {
            return;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() + learned.keys.len() > CANONICAL_MAX {
            keys.clear();
        }
        keys.extend(learned.keys);
    }
}

/// Labels that were built for folded keys, as canonical keys.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    keys: Vec<(u128, u128)>,
    bytes: Vec<u8>,
}

impl Learned {
    /// Notes the labels of a key; returns the canonical one.
    pub(crate) fn add(&mut self, key: u128, labels: &Labels) -> u128 {
        self.bytes.clear();
        put_key(labels, &mut self.bytes);
        let canonical = series_key(&self.bytes);
        if canonical != key {
            self.keys.push((key, canonical));
        }
        canonical
    }
}
