//! Chunk codecs: how columns of timestamps, float values, start timestamps and native histograms
//! become bytes.
//!
//! Where it sits: between the data model and the block layout. Pure functions over slices; checksums
//! stand outside, around whole block sections. Every round trip is exact to the bit. Decoders take
//! hostile bytes: they return [`FormatError`](crate::FormatError), never panic, and allocate for at most
//! [`MAX_SAMPLES`] samples at a time. `README.md` here tells what was measured, `FORMAT.md` the bytes.

pub mod histogram;
pub mod starts;
pub mod timestamps;
pub mod values;

/// The most samples in one column; writers cut longer ones. A reader never allocates for more.
pub const MAX_SAMPLES: usize = 1 << 20;

#[cfg(test)]
mod golden;

#[cfg(test)]
pub(crate) mod hostile {
    /// Hands `check` the bytes with each single bit flipped, and cut at each length.
    pub(crate) fn each_damage(bytes: &[u8], mut check: impl FnMut(&[u8])) {
        for cut in 0..bytes.len() {
            check(&bytes[..cut]);
        }
        let mut damaged = bytes.to_vec();
        for bit in 0..bytes.len() * 8 {
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&damaged);
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
