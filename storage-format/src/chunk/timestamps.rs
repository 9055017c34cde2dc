//! The codec of a timestamp column.
//!
//! Where it sits: columns are stored once per distinct content of a block and shared by many series.
//! Two layouts, the smaller is written. *Grid*: scheduled scrapes, a fixed interval with whole intervals
//! missing here and there and a jitter that does not add up. *Deltas*: anything else, the difference to
//! the commonest interval bit-packed, outliers patched in. A column on schedule takes about ten bytes
//! whatever its length.

use super::MAX_SAMPLES;
use crate::bytes::{
    BitReader, BitWriter, Cursor, bits_len, put_varint, put_varint_signed, unzigzag, varint_len, width_of,
    zigzag,
};
use crate::error::FormatError;

const WHAT: &str = "timestamp column";
const GRID: u8 = 0;
const DELTAS: u8 = 1;

/// Appends the encoding of `timestamps`: strictly ascending milliseconds, at most [`MAX_SAMPLES`].
///
/// # Panics
/// When they are too many; in debug builds also when they are not ascending.
pub fn encode(timestamps: &[i64], out: &mut Vec<u8>) {
    assert!(timestamps.len() <= MAX_SAMPLES, "{} timestamps in one column", timestamps.len());
    debug_assert!(timestamps.is_sorted_by(|a, b| a < b), "timestamps out of order");
    put_varint(out, timestamps.len() as u64);
    let Some(first) = timestamps.first() else { return };
    if timestamps.len() == 1 {
        put_varint_signed(out, *first);
        return;
    }
    let interval = commonest_delta(timestamps);
    let mut grid = Vec::new();
    let mut deltas = Vec::new();
    encode_deltas(timestamps, interval, &mut deltas);
    if encode_grid(timestamps, interval, &mut grid) && grid.len() <= deltas.len() {
        out.extend_from_slice(&grid);
    } else {
        out.extend_from_slice(&deltas);
    }
}

/// Appends the timestamps of a column to `out`.
///
/// # Errors
/// [`FormatError`] when the bytes are no column of strictly ascending timestamps.
pub fn decode(bytes: &[u8], out: &mut Vec<i64>) -> Result<(), FormatError> {
    let mut cursor = Cursor::new(WHAT, bytes);
    let count = cursor.varint_up_to(MAX_SAMPLES)?;
    let from = out.len();
    match count {
        0 => {}
        1 => out.push(cursor.varint_signed()?),
        _ => match cursor.u8()? {
            GRID => decode_grid(&mut cursor, count, out)?,
            DELTAS => decode_deltas(&mut cursor, count, out)?,
            _ => return Err(cursor.malformed()),
        },
    }
    if !cursor.is_empty() || !out[from..].is_sorted_by(|a, b| a < b) {
        return Err(cursor.malformed());
    }
    Ok(())
}

/// The number of timestamps in a column, from its first bytes.
///
/// # Errors
/// [`FormatError`] when there are none.
pub fn count(bytes: &[u8]) -> Result<usize, FormatError> {
    Cursor::new(WHAT, bytes).varint_up_to(MAX_SAMPLES)
}

fn deltas(timestamps: &[i64]) -> impl Iterator<Item = u64> + '_ {
    timestamps.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as u64)
}

fn commonest_delta(timestamps: &[i64]) -> u64 {
    let mut all: Vec<u64> = deltas(timestamps).collect();
    all.sort_unstable();
    let longest = all.chunk_by(|a, b| a == b).max_by_key(|run| run.len());
    match longest {
        Some(run) if run.len() * 8 > all.len() => run[0],
        _ => all[all.len() / 2],
    }
}

/// Grid: origin, interval, missing slots, then the jitter over the slot, bit-packed. False when the
/// timestamps have no such shape.
fn encode_grid(timestamps: &[i64], interval: u64, out: &mut Vec<u8>) -> bool {
    let first = timestamps[0];
    let Some(span) = timestamps[timestamps.len() - 1].checked_sub(first) else { return false };
    if interval == 0 || span > i64::MAX / 4 {
        return false;
    }
    let mut slot = 0u64;
    let mut gaps = Vec::new();
    let mut jitters = vec![0i64];
    for (i, delta) in deltas(timestamps).enumerate() {
        let steps = (delta + interval / 2) / interval;
        if steps == 0 {
            return false;
        }
        if steps > 1 {
            gaps.push((i + 1, steps - 1));
        }
        slot += steps;
        jitters.push(timestamps[i + 1].wrapping_sub(first) - (slot * interval) as i64);
    }
    let lowest = jitters.iter().copied().min().unwrap_or(0);
    let highest = jitters.iter().copied().max().unwrap_or(0);
    let width = width_of((highest - lowest) as u64);
    out.push(GRID);
    put_varint_signed(out, first.wrapping_add(lowest));
    put_varint(out, interval);
    out.push(width as u8);
    put_varint(out, gaps.len() as u64);
    let mut at = 0;
    for (i, missing) in gaps {
        put_varint(out, (i - at) as u64);
        put_varint(out, missing);
        at = i;
    }
    let mut bits = BitWriter::new(out);
    for jitter in jitters {
        bits.put((jitter - lowest) as u64, width);
    }
    bits.finish();
    true
}

fn decode_grid(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), FormatError> {
    let origin = cursor.varint_signed()?;
    let interval = cursor.varint()?;
    let width = u32::from(cursor.u8()?);
    if width > 64 {
        return Err(cursor.malformed());
    }
    let gaps = cursor.varint_up_to(count)?;
    let mut gap_bytes = cursor.clone();
    for _ in 0..gaps {
        cursor.varint()?;
        cursor.varint()?;
    }
    let mut bits = BitReader::new(cursor.take(bits_len(count * width as usize))?);
    let mut base = origin;
    let mut done = 0;
    out.reserve(count);
    for gap in 0..=gaps {
        let (run, missing) = if gap < gaps {
            (gap_bytes.varint_up_to(count - done)?, gap_bytes.varint()?)
        } else {
            (count - done, 0)
        };
        let slots = (0..run as i64).map(|slot| base.wrapping_add(slot.wrapping_mul(interval as i64)));
        if width == 0 {
            out.extend(slots);
        } else {
            out.extend(slots.map(|slot| slot.wrapping_add(bits.get(width) as i64)));
        }
        base = base.wrapping_add((run as i64).wrapping_mul(interval as i64));
        base = base.wrapping_add(missing.wrapping_mul(interval) as i64);
        done += run;
    }
    Ok(())
}

/// Deltas: first timestamp, base interval, width, patches, then the packed zigzag differences.
fn encode_deltas(timestamps: &[i64], interval: u64, out: &mut Vec<u8>) {
    let rests: Vec<u64> = deltas(timestamps).map(|d| zigzag(d.wrapping_sub(interval) as i64)).collect();
    let width = cheapest_width(&rests);
    let over: Vec<usize> = (0..rests.len()).filter(|i| width_of(rests[*i]) > width).collect();
    out.push(DELTAS);
    put_varint_signed(out, timestamps[0]);
    put_varint(out, interval);
    out.push(width as u8);
    put_varint(out, over.len() as u64);
    let mut at = 0;
    for i in over {
        put_varint(out, (i - at) as u64);
        put_varint(out, rests[i] >> width);
        at = i;
    }
    let mut bits = BitWriter::new(out);
    for rest in rests {
        bits.put(rest, width);
    }
    bits.finish();
}

/// The packing width with the fewest bytes, patches counted.
fn cheapest_width(rests: &[u64]) -> u32 {
    let cost = |width: u32| {
        let patches = rests.iter().filter(|r| width_of(**r) > width);
        bits_len(rests.len() * width as usize) + patches.map(|r| 1 + varint_len(r >> width)).sum::<usize>()
    };
    (0..=63).min_by_key(|width| cost(*width)).unwrap_or(63)
}

fn decode_deltas(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), FormatError> {
    let mut timestamp = cursor.varint_signed()?;
    let interval = cursor.varint()? as i64;
    let width = u32::from(cursor.u8()?);
    if width > 63 {
        return Err(cursor.malformed());
    }
    let patches = cursor.varint_up_to(count)?;
    let mut patch_bytes = cursor.clone();
    for _ in 0..patches {
        cursor.varint()?;
        cursor.varint()?;
    }
    let mut bits = BitReader::new(cursor.take(bits_len((count - 1) * width as usize))?);
    let from = out.len();
    out.push(timestamp);
    if width == 0 {
        out.resize(from + count, 0);
    } else {
        out.extend((1..count).map(|_| bits.get(width) as i64));
    }
    let rests = &mut out[from + 1..];
    let mut at = 0;
    for _ in 0..patches {
        at += patch_bytes.varint_up_to(rests.len() - 1 - at)?;
        rests[at] |= (patch_bytes.varint()? << width) as i64;
    }
    for rest in rests {
        timestamp = timestamp.wrapping_add(interval).wrapping_add(unzigzag(*rest as u64));
        *rest = timestamp;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::hostile;
    use proptest::prelude::*;

    fn encoded(timestamps: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(timestamps, &mut out);
        out
    }

    fn assert_round_trip(timestamps: &[i64]) {
        let bytes = encoded(timestamps);
        let mut out = vec![42];
        decode(&bytes, &mut out).unwrap();
        assert_eq!(out[0], 42);
        assert_eq!(&out[1..], timestamps);
        assert_eq!(count(&bytes), Ok(timestamps.len()));
    }

    #[test]
    fn a_column_on_schedule_takes_a_few_bytes() {
        let on_schedule: Vec<i64> = (0..480).map(|i| 1_795_164_331_223 + i * 15_000).collect();
        assert_round_trip(&on_schedule);
        assert!(encoded(&on_schedule).len() <= 14, "{}", encoded(&on_schedule).len());
    }

    #[test]
    fn gaps_and_rare_jitter_are_cheap() {
        let mut timestamps: Vec<i64> = (0..480).map(|i| 1_795_164_331_223 + i * 15_000).collect();
        timestamps.drain(100..140);
        timestamps.remove(300);
        assert_round_trip(&timestamps);
        assert!(encoded(&timestamps).len() <= 20);
        timestamps[200] += 3;
        timestamps[350] += 1;
        assert_round_trip(&timestamps);
        assert!(encoded(&timestamps).len() <= 40, "{}", encoded(&timestamps).len());
    }

    #[test]
    fn constant_jitter_is_packed_around_the_schedule() {
        let jittered: Vec<i64> = (0..480).map(|i| 1_795_164_331_223 + i * 15_000 + (i * 7919) % 16).collect();
        assert_round_trip(&jittered);
        assert!(encoded(&jittered).len() <= 480 / 2 + 20);
    }

    #[test]
    fn extremes_survive() {
        assert_round_trip(&[]);
        assert_round_trip(&[i64::MIN]);
        assert_round_trip(&[i64::MIN, i64::MAX]);
        assert_round_trip(&[i64::MIN, -1, 0, 1, i64::MAX]);
        assert_round_trip(&[i64::MAX - 1, i64::MAX]);
    }

    #[test]
    fn damage_is_refused_or_bounded() {
        let mut gapped: Vec<i64> = (0..60).map(|i| 1_795_164_331_223 + i * 15_000 + i % 3).collect();
        gapped.drain(20..25);
        let irregular: Vec<i64> = (0..60).map(|i| i * i * i * 977).collect();
        for timestamps in [&[5][..], &gapped, &irregular] {
            hostile::each_damage(&encoded(timestamps), |bytes| {
                let mut out = Vec::new();
                let _ = decode(bytes, &mut out);
                assert!(out.len() <= MAX_SAMPLES);
            });
        }
    }

    proptest! {
        #[test]
        fn any_ascending_column_survives(mut timestamps in prop::collection::vec(any::<i64>(), 0..200)) {
            timestamps.sort_unstable();
            timestamps.dedup();
            assert_round_trip(&timestamps);
        }
        #[test]
        fn scheduled_columns_survive(
            first in -1_000_000_000_000i64..2_000_000_000_000,
            interval in 1i64..120_000,
            steps in prop::collection::vec((1i64..4, 0i64..5), 1..300),
        ) {
            let mut slot = 0;
            let mut timestamps: Vec<i64> = steps.iter().map(|(step, jitter)| {
                slot += step;
                first + slot * interval + jitter
            }).collect();
            timestamps.dedup();
            if timestamps.is_sorted_by(|a, b| a < b) {
                assert_round_trip(&timestamps);
            }
        }
        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            let _ = decode(&bytes, &mut out);
            prop_assert!(out.len() <= MAX_SAMPLES);
        }
    }
}
