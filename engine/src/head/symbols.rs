//! Interned strings of the head with reference counts: label names and values, each kept once.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Debug, Default)]
struct Entry {
    text: Box<str>,
    references: u32,
}

/// Strings by number. Numbers of strings that nobody refers to are used again.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    entries: Vec<Entry>,
    free: Vec<u32>,
    table: HashTable<u32>,
}

impl Symbols {
    /// The string's number, if it is known.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let hash = xxh3_64(text.as_bytes());
        self.table.find(hash, |n| *self.entries[*n as usize].text == *text).copied()
    }

    /// The string's number; counts one more reference to it.
    pub(super) fn acquire(&mut self, text: &str) -> u32 {
        if let Some(n) = self.find(text) {
            self.entries[n as usize].references += 1;
            return n;
        }
        let entry = Entry { text: text.into(), references: 1 };
        let n = match self.free.pop() {
            Some(n) => {
                self.entries[n as usize] = entry;
                n
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let entries = &self.entries;
        self.table
            .insert_unique(xxh3_64(text.as_bytes()), n, |n| xxh3_64(entries[*n as usize].text.as_bytes()));
        n
    }

    /// Counts one reference less and forgets the string with the last one.
    pub(super) fn release(&mut self, n: u32) {
        let entry = &mut self.entries[n as usize];
        entry.references -= 1;
        if entry.references == 0 {
            let hash = xxh3_64(entry.text.as_bytes());
            if let Ok(found) = self.table.find_entry(hash, |other| *other == n) {
                found.remove();
            }
            self.entries[n as usize] = Entry::default();
            self.free.push(n);
        }
    }

    /// The string of a number.
    pub(super) fn get(&self, n: u32) -> &str {
        &self.entries[n as usize].text
    }
}
