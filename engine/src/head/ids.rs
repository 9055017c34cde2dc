//! Series numbers of the log to slots of a shard, while the log is replayed.
//!
//! Numbers are given in order, so those alive are dense; the map is an array in pages, which are only there
//! where a number is.

use hashbrown::HashMap;

const PAGE: u64 = 64;
const NONE: u32 = u32::MAX;

/// Slots by series number.
#[derive(Debug, Default)]
pub(super) struct SlotsById {
    pages: HashMap<u64, Box<[u32; PAGE as usize]>>,
}

impl SlotsById {
    /// The slot of a number.
    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<u32> {
        let slot = self.pages.get(&(id / PAGE))?[(id % PAGE) as usize];
        (slot != NONE).then_some(slot)
    }

    /// Sets the slot of a number.
    pub(super) fn insert(&mut self, id: u64, slot: u32) {
        let page = self.pages.entry(id / PAGE).or_insert_with(|| Box::new([NONE; PAGE as usize]));
        page[(id % PAGE) as usize] = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_near_and_far_are_found() {
        let mut slots = SlotsById::default();
        let ids = [0, 1, 63, 64, 1 << 40, u64::MAX];
        ids.iter().zip(7..).for_each(|(id, slot)| slots.insert(*id, slot));
        for (id, slot) in ids.iter().zip(7..) {
            assert_eq!(slots.get(*id), Some(slot));
        }
        assert_eq!((slots.get(2), slots.get(65), slots.get(1 << 41)), (None, None, None));
    }
}
