//! Which blocks to merge next. Pure: block entries in, numbers of blocks out.

use crate::head::WINDOW_MS;
use storage_format::catalog::BlockEntry;
use storage_format::chunk::MAX_SAMPLES;
use storage_format::model::{TimeRange, Timestamp};

/// Each level's ranges are this many times as long as those of the level below.
const FACTOR: i64 = 3;
/// Most samples a series should have in one slice of a block: more compress a little better, fewer are
/// read faster where a query needs a short range.
const SLICE_SAMPLES: u64 = 2048;

/// Length of a slice that cannot hold too many samples of a series; a part of every window.
const DENSE_SLICE_MS: i64 = WINDOW_MS / 8;
const _: () = assert!(DENSE_SLICE_MS <= MAX_SAMPLES as i64);

/// The blocks to merge into one, and the range that they fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Numbers of the blocks.
    pub(crate) blocks: Vec<u64>,
    /// Aligned range of the result.
    pub(crate) range: TimeRange,
}

/// The next merge that is due, if any: overlapping blocks first, then the shortest ranges. A range is due
/// when the data has gone past its end; with ranges of at most `range_ms_max` milliseconds. Blocks in
/// `damaged` (numbers) stay as they are.
pub(crate) fn next_merge(
    blocks: &[BlockEntry],
    damaged: &[u64],
    newest: Timestamp,
    range_ms_max: i64,
) -> Option<Merge> {
    let (damaged, whole): (Vec<BlockEntry>, Vec<BlockEntry>) =
        blocks.iter().partition(|block| damaged.contains(&block.number));
    let mut length = WINDOW_MS;
    while length <= range_ms_max.max(WINDOW_MS) {
        if let Some(merge) = merge_of_length(&whole, &damaged, length, newest) {
            return Some(merge);
        }
        length *= FACTOR;
    }
    None
}

/// A range of this length that at least two blocks lie in. At the lowest level these overlap.
fn merge_of_length(
    blocks: &[BlockEntry],
    damaged: &[BlockEntry],
    length: i64,
    newest: Timestamp,
) -> Option<Merge> {
    let mut by_range: Vec<(Timestamp, &BlockEntry)> = blocks
        .iter()
        .filter(|block| block.min.div_euclid(length) == block.max.div_euclid(length))
        .map(|block| (block.min.div_euclid(length).saturating_mul(length), block))
        .collect();
    by_range.sort_by_key(|(start, block)| (*start, block.rank));
    by_range.chunk_by(|a, b| a.0 == b.0).find_map(|group| {
        let start = group[0].0;
        let end = start.saturating_add(length);
        let due = group.len() >= 2 && newest >= end && !damaged.iter().any(|d| stands_between(d, group));
        due.then(|| Merge {
            blocks: group.iter().map(|(_, block)| block.number).collect(),
            range: TimeRange::new(start, end),
        })
    })
}

/// Whether merging `group` (ascending by rank) would change which of two samples with the same timestamp
/// holds: that of a block left out whose rank lies between theirs, and whose time overlaps one of theirs.
fn stands_between(left_out: &BlockEntry, group: &[(Timestamp, &BlockEntry)]) -> bool {
    let (first, last) = (group[0].1.rank, group[group.len() - 1].1.rank);
    let overlaps = |block: &BlockEntry| block.min <= left_out.max && left_out.min <= block.max;
    (first..=last).contains(&left_out.rank) && group.iter().any(|(_, block)| overlaps(block))
}

/// How to cut the range of a merge: into the longest slices (of a level's length) in which a series has
/// few enough samples on average, and in which no series can have more than a column holds. `densest` is
/// the number of samples of the series that has most.
pub(crate) fn slices(range: TimeRange, series: u64, samples: u64, densest: u64) -> Vec<TimeRange> {
    let mut length = range.end - range.start;
    let per_series = samples / series.max(1);
    let span = length.max(1) as u64;
    while length > WINDOW_MS && per_series.saturating_mul(length as u64) / span > SLICE_SAMPLES {
        length /= FACTOR;
    }
    // Timestamps are whole milliseconds: a slice has no more samples of a series than milliseconds.
    if densest > MAX_SAMPLES as u64 {
        length = length.min(DENSE_SLICE_MS);
    }
    let count = (range.end - range.start) / length;
    (0..count.max(1))
        .map(|n| TimeRange::new(range.start + n * length, range.start + (n + 1) * length))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;

    fn block(number: u64, min: i64, max: i64) -> BlockEntry {
        BlockEntry {
            number,
            rank: number,
            min,
            max,
            level: 1,
            series: 10,
            samples: 100,
            densest: 9,
            bytes: 1,
        }
    }

    #[test]
    fn complete_ranges_are_merged_shortest_first() {
        let blocks: Vec<_> = (0..9).map(|n| block(n as u64, n * 2 * H, (n + 1) * 2 * H - 1)).collect();
        let first = next_merge(&blocks, &[], 100 * H, 1000 * H).expect("due");
        assert_eq!(first, Merge { blocks: vec![0, 1, 2], range: TimeRange::new(0, 6 * H) });
        assert_eq!(next_merge(&blocks[..2], &[], 5 * H, 1000 * H), None, "its range is not complete");
        assert_eq!(next_merge(&blocks[..1], &[], 100 * H, 1000 * H), None, "nothing to merge with");
        let merged = [block(10, 0, 6 * H - 1), block(11, 6 * H, 12 * H - 1), block(12, 12 * H, 18 * H - 1)];
        assert_eq!(next_merge(&merged, &[], 100 * H, 18 * H).map(|m| m.blocks), Some(vec![10, 11, 12]));
        assert_eq!(next_merge(&merged, &[], 100 * H, 6 * H), None, "longer than allowed");
    }

    #[test]
    fn blocks_of_the_same_window_are_merged_before_others() {
        let blocks = [block(1, 0, 6 * H - 1), block(2, 6 * H, 8 * H - 1), block(3, 6 * H + 5, 7 * H)];
        let merge = next_merge(&blocks, &[], 100 * H, 1000 * H).expect("due");
        assert_eq!(merge, Merge { blocks: vec![2, 3], range: TimeRange::new(6 * H, 8 * H) });
    }

    #[test]
    fn damaged_blocks_are_left_out_and_keep_their_rank() {
        let blocks = [block(1, 0, H), block(2, 2 * H, 3 * H), block(3, 4 * H, 5 * H)];
        let merge = next_merge(&blocks, &[2], 100 * H, 6 * H).expect("the others are due");
        assert_eq!(merge.blocks, [1, 3]);
        assert_eq!(next_merge(&blocks, &[1, 3], 100 * H, 6 * H), None);
        // Samples of the second block hold against those of the third at the same time; merged with the first
        // they would hold against it.
        let overlapping = [block(1, 0, H), block(2, 0, H), block(3, 0, H)];
        assert_eq!(next_merge(&overlapping, &[2], 100 * H, 6 * H), None);
        assert_eq!(next_merge(&overlapping, &[3], 100 * H, 6 * H).map(|m| m.blocks), Some(vec![1, 2]));
    }

    #[test]
    fn slices_get_shorter_with_more_samples() {
        let range = TimeRange::new(0, 18 * H);
        assert_eq!(slices(range, 10, 10 * 2000, 2000).len(), 1);
        assert_eq!(slices(range, 10, 10 * 4320, 4320).len(), 3);
        assert_eq!(slices(range, 10, 10 * 64_800, 64_800).len(), 9);
        assert_eq!(slices(range, 0, 0, 0), [range]);
        assert_eq!(
            slices(range, 1000, 2_000_000, 1_500_000).len(),
            72,
            "one series a thousand times a second"
        );
    }
}
