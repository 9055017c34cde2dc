//! Series keys folded from the hashes of their parts, so that parts shared by many series are hashed once.
//!
//! Invariant: a polynomial over keyed 128-bit hashes with a secret factor: nobody outside can aim for
//! collisions, and order matters. Like the engine's keys they are never stored.

use engine::series_key;
use std::sync::OnceLock;

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
