//! Reading and writing of bytes: checked cursor, varints, bit runs, compression.
//!
//! Where it sits: under every decoder of this crate. Readers check each length before they use it;
//! writers append to a `Vec<u8>`. All fixed-width integers are little-endian.

mod bits;
mod cursor;
mod squeeze;
mod varint;

pub use bits::{BitReader, BitWriter, SHORT_BITS, bits_len, width_of};
pub use cursor::Cursor;
pub use squeeze::{inflate, squeeze};
pub use varint::{MAX_VARINT_LEN, put_varint, put_varint_signed, unzigzag, varint_len, zigzag};
