//! Tombstones: which samples a delete removed from the blocks that were there at the time.
//!
//! Where it sits: in a delete's record of the log, and in the catalog until no block needs it any more. A
//! tombstone names series by matchers, not by number, so that it holds for blocks that cannot be read now.
//!
//! Bytes: last block varint · first timestamp zigzag varint · end of the range zigzag varint · number of
//! sets varint, each: number of matchers varint, each: operator u8 (0 `=`, 1 `!=`, 2 `=~`, 3 `!~`), length
//! varint and bytes of the name, the same of the value.

use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::FormatError;
use crate::model::TimeRange;

/// What a delete removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// It holds in blocks of this number or a lower one; those made later hold what came after the delete.
    pub last_block: u64,
    /// The samples inside are gone.
    pub range: TimeRange,
    /// Of the series that fulfil all matchers of any of these sets; every series does of an empty set.
    pub sets: Vec<Vec<MatcherText>>,
}

/// A matcher as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatcherText {
    /// `=`, `!=`, `=~`, `!~` as 0 to 3.
    pub operator: u8,
    /// Label name.
    pub name: String,
    /// Literal, or regular expression in RE2's syntax, anchored at both ends.
    pub value: String,
}

/// Highest number of an operator.
const OPERATOR_MAX: u8 = 3;

/// Appends a tombstone.
pub fn put_tombstone(tombstone: &Tombstone, out: &mut Vec<u8>) {
    put_varint(out, tombstone.last_block);
    put_varint_signed(out, tombstone.range.start);
    put_varint_signed(out, tombstone.range.end);
    put_varint(out, tombstone.sets.len() as u64);
    for set in &tombstone.sets {
        put_varint(out, set.len() as u64);
        for matcher in set {
            out.push(matcher.operator);
            for text in [&matcher.name, &matcher.value] {
                put_varint(out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Reads one tombstone and leaves the cursor behind it.
///
/// # Errors
/// When the bytes are none.
pub fn take_tombstone(cursor: &mut Cursor<'_>) -> Result<Tombstone, FormatError> {
    let last_block = cursor.varint()?;
    let range = TimeRange::new(cursor.varint_signed()?, cursor.varint_signed()?);
    let mut sets = Vec::new();
    for _ in 0..cursor.varint()? {
        let mut set = Vec::new();
        for _ in 0..cursor.varint()? {
            let operator = cursor.u8()?;
            if operator > OPERATOR_MAX {
                return Err(cursor.malformed());
            }
            set.push(MatcherText { operator, name: take_text(cursor)?, value: take_text(cursor)? });
        }
        sets.push(set);
    }
    Ok(Tombstone { last_block, range, sets })
}

fn take_text(cursor: &mut Cursor<'_>) -> Result<String, FormatError> {
    let length = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
    let bytes = cursor.take(length)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| cursor.malformed())
}

/// Reads a delete's record: one tombstone.
///
/// # Errors
/// When the bytes are none, or more.
pub fn read_tombstone(payload: &[u8]) -> Result<Tombstone, FormatError> {
    let mut cursor = Cursor::new("WAL delete record", payload);
    let tombstone = take_tombstone(&mut cursor)?;
    if cursor.is_empty() { Ok(tombstone) } else { Err(cursor.malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_tombstone_survives(
            last_block in any::<u64>(),
            (start, end) in any::<(i64, i64)>(),
            sets in prop::collection::vec(prop::collection::vec((0u8..4, ".{0,9}", ".{0,9}"), 1..4), 0..4),
        ) {
            let matcher = |(operator, name, value)| MatcherText { operator, name, value };
            let sets = sets.into_iter().map(|set| set.into_iter().map(matcher).collect()).collect();
            let tombstone = Tombstone { last_block, range: TimeRange::new(start, end), sets };
            let mut bytes = Vec::new();
            put_tombstone(&tombstone, &mut bytes);
            prop_assert_eq!(read_tombstone(&bytes), Ok(tombstone));
            for cut in 0..bytes.len() {
                prop_assert!(read_tombstone(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn damaged_tombstones_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_tombstone(&bytes);
        }
    }
}
