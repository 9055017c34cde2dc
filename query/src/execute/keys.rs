//! Ordinals of label sets by some of their labels: groups of aggregations, signatures of joins.
//!
//! Labels are compared as bytes in a buffer that is used again and again; nothing is built for a series
//! that falls in with others.

use std::collections::HashMap;
use storage_format::model::Labels;

/// The distinct choices of labels seen so far, numbered in the order of their first appearance.
#[derive(Default)]
pub(super) struct Keys {
    ordinals: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
    last_key: Vec<u8>,
    last: usize,
}

impl Keys {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ordinals.len()
    }
    /// The ordinal of what `labels` has of the labels for which `kept` holds; a new one is [`Keys::len`]
    /// from before.
    pub(super) fn ordinal(&mut self, labels: &Labels, kept: impl Fn(&str) -> bool) -> usize {
        self.key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| kept(name)) {
            for text in [name, value] {
                self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
                self.key.extend_from_slice(text.as_bytes());
            }
        }
        // Neighbours often have the same.
        if self.ordinals.is_empty() || self.key != self.last_key {
            let next = self.ordinals.len();
            self.last = match self.ordinals.get(self.key.as_slice()) {
                Some(known) => *known,
                None => {
                    self.ordinals.insert(self.key.as_slice().into(), next);
                    next
                }
            };
            std::mem::swap(&mut self.key, &mut self.last_key);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_label_sets_apart_by_what_is_kept() {
        let of = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let sets = [
            of(&[("a", "1"), ("b", "x")]),
            of(&[("a", "1"), ("b", "y")]),
            of(&[("b", "x")]),
            of(&[("a", "1"), ("c", "z")]),
            of(&[]),
            // Text that runs into its neighbour is not the same text.
            of(&[("a", "12")]),
            of(&[("a", "1"), ("a2", "")]),
            of(&[("a", "1cz")]),
        ];
        let mut keys = Keys::default();
        let ordinals: Vec<usize> = sets.iter().map(|l| keys.ordinal(l, |n| n != "b")).collect();
        assert_eq!(ordinals, [0, 0, 1, 2, 1, 3, 0, 4]);
        assert_eq!(keys.len(), 5);
    }
}
