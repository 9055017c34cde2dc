//! zstd with contexts kept per thread: making one costs more than the small sections here take.
//!
//! Frames carry no checksum of their own; blocks have theirs.

use crate::error::FormatError;
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// Effort for everything squeezed here.
const LEVEL: i32 = 3;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// `bytes` as a zstd frame, when that is shorter.
#[must_use]
pub fn squeeze(bytes: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Compressor::new(LEVEL).ok();
        }
        slot.as_mut()?.compress(bytes).ok().filter(|squeezed| squeezed.len() < bytes.len())
    })
}

/// The `len` bytes that `frame` holds; `what` names them in errors. The caller has bounded `len`.
///
/// # Errors
/// Malformed, when the frame is damaged or holds another number of bytes.
pub fn inflate(what: &'static str, frame: &[u8], len: usize) -> Result<Vec<u8>, FormatError> {
    let inflated = DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        slot.as_mut()?.decompress(frame, len).ok()
    });
    inflated.filter(|bytes| bytes.len() == len).ok_or_else(|| FormatError::malformed(what, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_squeezed_comes_back() {
        let bytes: Vec<u8> = (0..1000).map(|i| (i % 7) as u8).collect();
        let squeezed = squeeze(&bytes).unwrap();
        assert_eq!(inflate("test", &squeezed, 1000).unwrap(), bytes);
        assert!(inflate("test", &squeezed, 999).is_err());
        assert!(inflate("test", &squeezed, 1001).is_err());
        assert!(inflate("test", &squeezed[1..], 1000).is_err());
        assert_eq!(squeeze(&[1, 2, 3]), None);
    }
}
