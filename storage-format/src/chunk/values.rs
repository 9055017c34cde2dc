//! The codec of float values: groups of neighbouring series, each with its column of values.

use super::MAX_SAMPLES;
use crate::bytes::{Cursor, put_varint};
use crate::error::FormatError;

const WHAT: &str = "chunk group";
/// The most series in one group.
pub const MAX_GROUP_SERIES: usize = 1 << 12;

/// Collects the columns of neighbouring series and encodes them together.
#[derive(Debug, Default)]
pub struct GroupEncoder {
    columns: Vec<Vec<u8>>,
    counts: Vec<usize>,
}

impl GroupEncoder {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Series pushed so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }
    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
    /// Adds the column of the next series: at most `MAX_SAMPLES` values.
    ///
    /// # Panics
    /// When the column is longer, or the group already has [`MAX_GROUP_SERIES`].
    pub fn push(&mut self, values: &[f64]) {
        assert!(values.len() <= MAX_SAMPLES && self.len() < MAX_GROUP_SERIES, "a group beyond its limits");
        self.counts.push(values.len());
        self.columns.push(values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    /// The encoded group; the encoder is empty again.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.columns.len() as u64);
        for count in &self.counts {
            put_varint(&mut out, *count as u64);
        }
        for column in &self.columns {
            out.extend_from_slice(column);
        }
        self.columns.clear();
        self.counts.clear();
        out
    }
}

/// An encoded group, its directory read.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    counts: Vec<usize>,
    columns: Vec<&'a [u8]>,
}

impl<'a> Group<'a> {
    /// Reads the directory of an encoded group.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no group.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(WHAT, bytes);
        let len = cursor.varint_up_to(MAX_GROUP_SERIES)?;
        let mut counts = Vec::new();
        for _ in 0..len {
            counts.push(cursor.varint_up_to(MAX_SAMPLES)?);
        }
        let mut columns = Vec::new();
        for count in &counts {
            columns.push(cursor.take(8 * *count)?);
        }
        if !cursor.is_empty() {
            return Err(cursor.malformed());
        }
        Ok(Self { counts, columns })
    }
    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }
    /// Whether there are no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
    /// Number of values of series `series`; 0 when there is no such series.
    #[must_use]
    pub fn count(&self, series: usize) -> usize {
        self.counts.get(series).copied().unwrap_or(0)
    }
    /// Appends the values of series `series` to `out`.
    ///
    /// # Errors
    /// [`FormatError`] when there is no such series or its bytes are damaged.
    pub fn decode(&self, series: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let column = self.columns.get(series).ok_or_else(|| FormatError::malformed(WHAT, series))?;
        let mut cursor = Cursor::new(WHAT, column);
        while !cursor.is_empty() {
            out.push(cursor.f64()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_group_survives(columns in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..50), 0..20)) {
            let mut encoder = GroupEncoder::new();
            for column in &columns {
                let column: Vec<f64> = column.iter().map(|v| f64::from_bits(*v)).collect();
                encoder.push(&column);
            }
            let bytes = encoder.finish();
            let group = Group::parse(&bytes).unwrap();
            prop_assert_eq!(group.len(), columns.len());
            for (i, column) in columns.iter().enumerate() {
                let mut out = Vec::new();
                group.decode(i, &mut out).unwrap();
                let bits: Vec<u64> = out.iter().map(|v| v.to_bits()).collect();
                prop_assert_eq!(&bits, column);
                prop_assert_eq!(group.count(i), column.len());
            }
        }
    }
}
