//! The codec of float values: groups of neighbouring series, each with its column of values.
//!
//! Where it sits: what a block stores of float series, and what histogram chunks are made of. A group
//! shares a directory and frequency tables; any one of its series can be read without the others. Floats
//! become integers (`column`), integers small numbers (`predict`), those an entropy coded stream (`rans`,
//! `tables`); `encode` puts a group together and `Group` takes it apart.

mod column;
mod encode;
mod group;
mod predict;
mod rans;
mod reference;
mod tables;

use super::MAX_SAMPLES;
use encode::Prepared;
pub use group::Group;

const WHAT: &str = "chunk group";
/// The most series in one group.
pub const MAX_GROUP_SERIES: usize = 1 << 12;
/// The most bytes of a compressed section before compression: what a reader allocates for at most.
const MAX_INFLATED: usize = 1 << 25;

/// In place of a width: the numbers are varints.
const VARINTS: u8 = 9;

/// What the values of a series are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Constant = 0,
    Decimal = 1,
    Bits = 2,
    Near = 3,
}

/// How the value of a constant series is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum ConstantKind {
    AsBefore = 0,
    Integer = 1,
    Bits = 2,
}

/// The first byte of a series in the directory.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: Kind,
    /// The predictor, or the kind of constant.
    detail: u8,
    exceptions: bool,
    verbatim: bool,
    reference: bool,
}

impl Head {
    fn byte(self, same_count: bool) -> u8 {
        self.kind as u8
            | self.detail << 2
            | u8::from(self.exceptions) << 4
            | u8::from(self.verbatim) << 5
            | u8::from(!same_count) << 6
            | u8::from(self.reference) << 7
    }

    /// The head, and whether a count follows.
    fn of(byte: u8) -> (Self, bool) {
        let kind = [Kind::Constant, Kind::Decimal, Kind::Bits, Kind::Near][usize::from(byte & 3)];
        let (exceptions, verbatim, reference) = (byte & 16 != 0, byte & 32 != 0, byte & 128 != 0);
        (Self { kind, detail: (byte >> 2) & 3, exceptions, verbatim, reference }, byte & 64 != 0)
    }
}

/// Collects the columns of neighbouring series and encodes them together.
#[derive(Debug, Default)]
pub struct GroupEncoder {
    columns: Vec<Prepared>,
    coded_only: bool,
}

impl GroupEncoder {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// An empty group that can always be read series by series, even where inflating all of them at once
    /// would take less space.
    #[must_use]
    pub fn coded() -> Self {
        Self { coded_only: true, ..Self::default() }
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
    /// Adds the column of the next series: at most [`MAX_SAMPLES`] values.
    ///
    /// # Panics
    /// When the column is longer, or the group already has [`MAX_GROUP_SERIES`].
    pub fn push(&mut self, values: &[f64]) {
        assert!(values.len() <= MAX_SAMPLES && self.len() < MAX_GROUP_SERIES, "a group beyond its limits");
        self.columns.push(Prepared::of(values));
    }
    /// The encoded group; the encoder is empty again.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let out = encode::encode(&self.columns, self.coded_only);
        self.columns.clear();
        out
    }
}

#[cfg(test)]
mod tests;
