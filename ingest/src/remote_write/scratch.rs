//! The buffers of one request, kept by the thread for the next one.

use crate::metadata::News;
use crate::refusals::Refusals;
use crate::relabel::Generation;
use engine::WriteBatch;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes a thread keeps of each buffer between requests.
const KEEP_BYTES: usize = 4 << 20;
/// Elements a thread keeps of each column between requests.
const KEEP_ELEMENTS: usize = KEEP_BYTES / 16;
/// Key offsets from here on point into `side`; bodies are far smaller.
pub(super) const SIDE: u32 = 1 << 31;

/// Everything a request needs while it is decoded and stored.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The decompressed body.
    pub(super) body: Vec<u8>,
    /// Key bytes that do not stand in one piece in the body.
    pub(super) side: Vec<u8>,
    pub(super) batch: WriteBatch,
    /// The symbol table of version 2.
    pub(super) symbols: Vec<Symbol>,
    pub(super) metadata: News,
    pub(super) refusals: Refusals,
    pub(super) exemplars: Vec<Pending>,
    /// Whether metadata becomes labels; then the metadata of the series that have some, by key offset.
    pub(super) type_and_unit_labels: bool,
    pub(super) told: HashMap<u32, Told>,
    /// The relabeling rules in force when the request came.
    pub(super) relabel: Option<Arc<Generation>>,
}

/// An exemplar of the request: the number of its series in the batch, and its message in the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) entry: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What a series of version 2 says about its metric: symbols of name, help and unit, and the kind on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub(super) metric: u32,
    pub(super) kind: u64,
    pub(super) help: u32,
    pub(super) unit: u32,
}

/// One entry of the symbol table: where it stands in the body, and its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) hash: u128,
}

impl Symbol {
    pub(super) fn of<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.start as usize..(self.start + self.len) as usize).unwrap_or_default()
    }
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.side.clear();
        self.batch.clear();
        self.symbols.clear();
        self.metadata.clear();
        self.refusals.clear();
        self.exemplars.clear();
        self.relabel = None;
        if !self.told.is_empty() {
            self.told = HashMap::new();
        }
    }
    /// The bytes that name a series.
    pub(super) fn key_bytes(&self, offset: u32, len: u32) -> &[u8] {
        let (from, start) = if offset >= SIDE { (&self.side, offset - SIDE) } else { (&self.body, offset) };
        from.get(start as usize..start as usize + len as usize).unwrap_or_default()
    }
    fn shrink(&mut self) {
        if self.body.capacity() > KEEP_BYTES {
            self.body = Vec::new();
        }
        self.side.shrink_to(KEEP_BYTES);
        self.batch.clear();
        self.batch.series.shrink_to(KEEP_ELEMENTS);
        self.batch.timestamps.shrink_to(KEEP_ELEMENTS);
        self.batch.values.shrink_to(KEEP_ELEMENTS);
        self.batch.starts.shrink_to(KEEP_ELEMENTS);
        self.batch.histograms.shrink_to(1024);
        self.symbols.shrink_to(KEEP_ELEMENTS);
        self.metadata.clear();
        self.relabel = None;
        self.exemplars.shrink_to(1024);
    }
}

/// Calls `work` with this thread's buffers.
pub(super) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    }
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let done = work(&mut scratch);
    scratch.shrink();
    SCRATCH.set(Some(scratch));
    done
}
