//! The head: the mutable, in-memory recent part of the data.
//!
//! Where it sits: the engine appends to it, logs what it accepted, selects from it, and cuts it into
//! blocks. It does not know files. Series are spread over shards by the hash of their key.
//!
//! Invariants: a request's samples become visible together: appliers hold `gate` for reading over all
//! shards, a selection holds it for writing while it copies (compressed) chunks. A shard's records reach
//! the log in the order in which they were applied, because they are handed over under the shard's lock.

mod append;
mod cardinality;
mod delete;
mod exemplars;
mod flush;
mod ids;
mod index;
mod read;
mod replay;
mod restore;
mod series;
mod shard;
mod slab;
mod symbols;

pub(crate) use cardinality::SeriesLimits;
pub(crate) use flush::{FlushedSeries, Part};
pub(crate) use read::{HeadData, HeadSeries};
pub(crate) use replay::{Change, Replay};
pub(crate) use series::ChunkKind;
pub(crate) use shard::{WINDOW_MS, decode_chunk, window_of};

use cardinality::Cardinality;
use shard::Shard;

use crate::Options;
use crate::batch::series_key;
use crate::exemplars::ExemplarLimits;
use crate::sync::{Mutex, MutexGuard, RwLock};
use hashbrown::HashMap;
use shard::Bounds;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use storage_format::model::labels::put_key;
use storage_format::model::{Labels, Timestamp};

/// Where a series is known under a key that is not its canonical one.
#[derive(Debug, Clone, Copy)]
struct Alias {
    shard: u32,
    slot: u32,
    id: u64,
}

/// Most alias keys kept; when there are more they are all forgotten and learned again.
const ALIASES_MAX: usize = 4 << 20;

/// The head.
#[derive(Debug)]
pub(crate) struct Head {
    shards: Vec<Mutex<Shard>>,
    gate: RwLock<()>,
    aliases: RwLock<HashMap<u128, Alias>>,
    /// Newest timestamp, `i64::MIN` while there is none.
    newest: AtomicI64,
    /// No sample is older; `i64::MAX` while there is none. Counted anew when chunks are dropped.
    oldest: AtomicI64,
    series: AtomicU64,
    /// Exemplars held.
    exemplars: AtomicU64,
    cardinality: Cardinality,
    /// The next series' number in the log.
    next_id: AtomicU64,
    limits: HeadLimits,
}

/// What the head enforces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) out_of_order_window_ms: i64,
    pub(crate) future_window_ms: i64,
    pub(crate) series: SeriesLimits,
    pub(crate) exemplars: ExemplarLimits,
}

impl HeadLimits {
    /// As an engine's settings say.
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            out_of_order_window_ms: options.out_of_order_window_ms,
            future_window_ms: options.future_window_ms,
            series: SeriesLimits {
                series: options.series_max,
                per_metric: options.series_per_metric_max,
                values_per_label: options.values_per_label_max,
                new_per_second: options.new_series_per_second,
            },
            exemplars: ExemplarLimits {
                head_max: options.exemplars_max as u64,
                per_series_max: options.exemplars_per_series_max,
                policy: options.exemplar_policy,
            },
        }
    }
}

impl Head {
    /// An empty head.
    pub(crate) fn new(shards: u32, limits: HeadLimits) -> Self {
        let shard = |_| Mutex::new(Shard::default());
        Self {
            shards: (0..shards.max(1)).map(shard).collect(),
            gate: RwLock::default(),
            aliases: RwLock::default(),
            newest: AtomicI64::new(i64::MIN),
            oldest: AtomicI64::new(i64::MAX),
            series: AtomicU64::new(0),
            exemplars: AtomicU64::new(0),
            cardinality: Cardinality::new(limits.series),
            next_id: AtomicU64::new(0),
            limits,
        }
    }

    fn shard(&self, number: u32) -> MutexGuard<'_, Shard> {
        self.shards[number as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of(&self, key: u128) -> u32 {
        ((key >> 64) as u64 % self.shards.len() as u64) as u32
    }

    /// Newest timestamp in the head.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        let newest = self.newest.load(Relaxed);
        (newest != i64::MIN).then_some(newest)
    }

    /// Number of series.
    pub(crate) fn series_count(&self) -> u64 {
        self.series.load(Relaxed)
    }

    /// A timestamp that no sample in the head is older than, if there are samples.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let oldest = self.oldest.load(Relaxed);
        (oldest != i64::MAX).then_some(oldest)
    }

    /// Number of samples.
    pub(crate) fn sample_count(&self) -> u64 {
        (0..self.shards.len() as u32).map(|number| self.shard(number).samples).sum()
    }

    /// Number of label pairs, added up over the shards.
    pub(crate) fn label_pair_count(&self) -> u64 {
        (0..self.shards.len() as u32).map(|number| self.shard(number).index.pair_count() as u64).sum()
    }

    /// For each label pair of each shard the number of its series.
    pub(crate) fn visit_cardinality(&self, visit: &mut dyn FnMut(&str, &str, u64)) {
        for number in 0..self.shards.len() as u32 {
            self.shard(number).index.visit_cardinality(visit);
        }
    }

    /// Counts what was restored, for the limits of new series.
    pub(crate) fn count_restored(&self) {
        for number in 0..self.shards.len() as u32 {
            self.cardinality.add_all(&self.shard(number).index);
        }
    }

    /// Number of exemplars.
    pub(crate) fn exemplar_count(&self) -> u64 {
        self.exemplars.load(Relaxed)
    }

    fn bounds(&self, now: Timestamp) -> Bounds {
        let newest = self.newest.load(Relaxed);
        let window = self.limits.out_of_order_window_ms;
        let back = |by: i64| if newest == i64::MIN { i64::MIN } else { newest.saturating_sub(by) };
        Bounds {
            late_from: back(window),
            ordered_from: back(window.max(WINDOW_MS / 2)),
            until: now.saturating_add(self.limits.future_window_ms),
            take_late: window > 0,
        }
    }
}

/// The key by which the head knows a label set.
fn key_of(labels: &Labels, scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    put_key(labels, scratch);
    series_key(scratch)
}
