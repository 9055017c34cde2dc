//! Decoded slices, a few per thread: series are read one by one, but stored 128 together.
//!
//! Reading one series means reading its group's directory and tables, which costs more than the series
//! itself. Where a query selected several series of a page, the first read of one decodes all of them, and
//! the others find their columns here. Bounded: a thread keeps at most [`VALUES_MAX`] values.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use storage_format::FormatError;
use storage_format::model::Timestamp;

/// Most values (of eight bytes) that a thread keeps: some pages of a usual slice. Queries read series in the
/// order in which they are stored, so more would hardly ever be used.
const VALUES_MAX: usize = 1 << 20;

/// What an entry counts for besides its values: looking one up goes through all of them.
const ENTRY_VALUES: usize = 4096;

/// The float columns of the selected series of one page over one slice.
#[derive(Debug, Default)]
pub(super) struct DecodedSlice {
    /// By place in the page: number of the timestamp column, and where its values begin and end.
    pub(super) places: Vec<Option<(u32, std::ops::Range<usize>)>>,
    pub(super) values: Vec<f64>,
    /// Distinct timestamp columns: number, content.
    pub(super) columns: Vec<(u32, Vec<Timestamp>)>,
}

impl DecodedSlice {
    fn size(&self) -> usize {
        ENTRY_VALUES + self.values.len() + self.columns.iter().map(|c| c.1.len()).sum::<usize>()
    }

    /// The timestamps and values of a series; `None` when it has no floats here.
    pub(super) fn series(&self, place: usize) -> Option<(&[Timestamp], &[f64])> {
        let (column, range) = self.places.get(place)?.as_ref()?;
        let (_, timestamps) = self.columns.iter().find(|(n, _)| n == column)?;
        Some((timestamps, self.values.get(range.clone())?))
    }
}

/// The selection of a page's series (unique in the process), and the slice.
pub(super) type Key = (u64, usize);

type Entries = VecDeque<(Key, Rc<DecodedSlice>)>;

thread_local! {
    static DECODED: RefCell<Entries> = const { RefCell::new(VecDeque::new()) };
}

/// The decoded slice under `key`; `decode` is called when this thread does not have it.
pub(super) fn decoded(
    key: Key,
    decode: impl FnOnce() -> Result<DecodedSlice, FormatError>,
) -> Result<Rc<DecodedSlice>, FormatError> {
    let known = DECODED.with_borrow(|entries| {
        entries.iter().rev().find(|(known, _)| *known == key).map(|(_, slice)| Rc::clone(slice))
    });
    if let Some(slice) = known {
        return Ok(slice);
    }
    let slice = Rc::new(decode()?);
    DECODED.with_borrow_mut(|entries| {
        entries.push_back((key, Rc::clone(&slice)));
        let mut size: usize = entries.iter().map(|(_, slice)| slice.size()).sum();
        while size > VALUES_MAX && entries.len() > 1 {
            size -= entries.pop_front().map_or(0, |(_, slice)| slice.size());
        }
    });
    Ok(slice)
}
