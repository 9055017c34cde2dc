//! The head to and from disk: checkpoints of all it holds. The log is `replay.rs`' business.
//!
//! A checkpoint is fuzzy: taken shard by shard while appends go on, so it may hold samples that the log
//! holds too, behind the position it belongs to. Replaying a sample that is there already changes nothing.

use super::exemplars::ExemplarRules;
use super::index::NewSeries;
use super::series::{ChunkKind, SealedChunk};
use super::shard::{histogram_chunks, late_float_chunks};
use super::{Head, Shard};
use crate::{Error, defects, series_key};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use storage_format::FormatError;
use storage_format::checkpoint::{ChunkEntry, SERIES, SeriesEntry, SeriesGroup, SeriesReader};
use storage_format::exemplars;
use storage_format::head_chunk::EncoderState;
use storage_format::label_table::LabelTable;

/// A payload is handed on when it has this many bytes.
const PAYLOAD_BYTES: usize = 1 << 20;
/// Series encoded under one hold of a shard's lock.
const SLICE: usize = 1024;

impl Head {
    /// Encodes everything but what a flush is writing to a block, payload by payload.
    pub(crate) fn checkpoint(&self, emit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let (mut payload, mut group) = (vec![SERIES], SeriesGroup::default());
        for number in 0..self.shards.len() as u32 {
            let slots: Vec<u32> = self.shard(number).slots().collect();
            for slice in slots.chunks(SLICE) {
                let shard = self.shard(number);
                for slot in slice.iter().filter(|s| shard.series[**s as usize].live) {
                    shard.put_checkpoint(*slot, &mut group);
                }
                // Pair numbers hold as long as the lock.
                group.finish(&mut payload);
                drop(shard);
                if payload.len() >= PAYLOAD_BYTES {
                    emit(&payload)?;
                    payload.truncate(1);
                }
            }
        }
        if payload.len() > 1 { emit(&payload) } else { Ok(()) }
    }

    /// Adds the series of a checkpoint's payload (behind its kind byte).
    ///
    /// # Errors
    /// When it is none; the groups before the damage were added.
    pub(crate) fn restore(&self, payload: &[u8]) -> Result<(), FormatError> {
        let mut reader = SeriesReader::new(payload);
        let mut group = Group { series: vec![Vec::new(); self.shards.len()], sets: Vec::new() };
        let (mut key, mut fresh, mut turn, mut damage) = (Vec::new(), NewSeries::default(), 0, None);
        while reader.next_group()? {
            group.sets.clear();
            let mut start = 0;
            while let Some(entry) = reader.next_series(&mut group.sets)? {
                let set = start..group.sets.len();
                start = set.end;
                key.clear();
                reader.table().put_key(&group.sets[set.clone()], &mut key);
                let key = series_key(&key);
                group.series[self.shard_of(key) as usize].push((key, set, entry));
            }
            // Payloads are restored at once; each begins with another shard.
            turn += 1;
            for n in 0..self.shards.len() {
                let number = (n + turn) % self.shards.len();
                damage = self.restore_group(number as u32, reader.table(), &mut group, &mut fresh).or(damage);
            }
        }
        damage.map_or(Ok(()), Err)
    }

    /// Adds the series of a group that belong to a shard. Returns what is damaged of them.
    fn restore_group(
        &self,
        number: u32,
        table: &LabelTable<'_>,
        group: &mut Group<'_>,
        fresh: &mut NewSeries,
    ) -> Option<FormatError> {
        let mut shard = self.shard(number);
        let shard = &mut *shard;
        let (mut newest, mut id_end, mut count, mut damage) = (i64::MIN, 0, 0, None);
        let rules = ExemplarRules::open(&self.exemplars);
        for (key, set, entry) in group.series[number as usize].drain(..) {
            if shard.find(key, u32::MAX).is_some() {
                continue;
            }
            let slot = shard.create_unindexed(key, entry.id);
            fresh.add(slot, table, &group.sets[set], &mut shard.index);
            damage = shard.restore_state(slot, &entry, &rules).err().or(damage);
            (newest, id_end, count) = (newest.max(entry.timestamp), id_end.max(entry.id + 1), count + 1);
        }
        shard.index.insert_all(fresh);
        self.series.fetch_add(count, Relaxed);
        if !defects::SERIES_NUMBER_REUSED {
            self.next_id.fetch_max(id_end, Relaxed);
        }
        self.newest.fetch_max(newest, Relaxed);
        damage
    }
}

/// A series of a group: its key, where its labels' numbers stand, the rest.
type GroupSeries<'a> = (u128, Range<usize>, SeriesEntry<'a>);

/// A group of a checkpoint's series, by the shard they belong to.
struct Group<'a> {
    series: Vec<Vec<GroupSeries<'a>>>,
    /// Their labels' numbers in the group's table, one series after the other.
    sets: Vec<u32>,
}

impl Shard {
    /// Puts a series back as an entry says.
    ///
    /// # Errors
    /// When its exemplars are damaged; everything else is there.
    fn restore_state(
        &mut self,
        slot: u32,
        entry: &SeriesEntry<'_>,
        rules: &ExemplarRules<'_>,
    ) -> Result<(), FormatError> {
        let state = &mut self.series[slot as usize];
        state.encoder = EncoderState {
            timestamp: entry.timestamp,
            value: entry.value,
            delta: entry.delta,
            scale: entry.scale,
        };
        state.newest_is_histogram = entry.newest_is_histogram;
        if entry.start != 0 {
            state.has_start = true;
            self.starts.insert(slot, entry.start);
        }
        for chunk in &entry.chunks {
            let Some(kind) = ChunkKind::from_number(chunk.kind) else { continue };
            self.restore_sealed(slot, SealedChunk::new(chunk.bytes, chunk.min, chunk.max, chunk.count, kind));
        }
        self.restore_open(slot, entry.open, entry.open_count);
        exemplars::visit(entry.exemplars, &mut |_, exemplar| {
            // Everything goes but a repetition.
            let _ = self.append_exemplar(slot, &exemplar, rules);
        })
    }

    fn put_checkpoint(&self, slot: u32, group: &mut SeriesGroup) {
        let state = &self.series[slot as usize];
        let mut chunks: Vec<&SealedChunk> = self.sealed_of(slot).filter(|chunk| !chunk.flushing).collect();
        chunks.reverse();
        let loose: Vec<SealedChunk> = self.rare_of(slot).map_or_else(Vec::new, |rare| {
            histogram_chunks(&rare.histograms, ChunkKind::Histograms)
                .chain(histogram_chunks(&rare.late_histograms, ChunkKind::LateHistograms))
                .chain(late_float_chunks(&rare.late_floats))
                .filter(|chunk| !(defects::LATE_DROPPED_AT_CHECKPOINT && chunk.is_late()))
                .collect()
        });
        chunks.extend(&loose);
        let open = self.open_chunk(slot);
        let mut exemplars = Vec::new();
        self.put_exemplars(slot, &mut exemplars);
        let entry = SeriesEntry {
            id: state.id,
            timestamp: state.encoder.timestamp,
            value: state.encoder.value,
            delta: state.encoder.delta,
            scale: state.encoder.scale,
            newest_is_histogram: state.newest_is_histogram,
            start: if state.has_start { self.start_of(slot) } else { 0 },
            open_count: open.as_ref().map_or(0, |open| open.count),
            open: open.map_or(&[], |open| open.bytes),
            chunks: chunks
                .into_iter()
                .map(|chunk| ChunkEntry {
                    kind: chunk.kind as u8,
                    count: chunk.count,
                    min: chunk.min,
                    max: chunk.max,
                    bytes: &chunk.bytes,
                })
                .collect(),
            exemplars: &exemplars,
        };
        group.put(&entry, self.index.slot_pairs(slot), |pair| self.index.pair_text(pair));
    }
}
