//! The codec of a start timestamp column: when the counter behind each sample began, 0 where unknown.
//!
//! Where it sits: beside a timestamp column of the same length, which it is decoded with. Such columns
//! hold few distinct values (one per restart), or follow the timestamps (delta temporality: each start is
//! the timestamp before), so they are stored as runs.

use super::MAX_SAMPLES;
use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::FormatError;

const WHAT: &str = "start timestamp column";
/// Start timestamps equal to the payload.
const CONSTANT: u64 = 0;
/// Start timestamps before their sample by the payload, in milliseconds.
const OFFSET: u64 = 1;
/// Start timestamps equal to the timestamp before; no payload.
const CHAINED: u64 = 2;

/// Appends the encoding of `starts`, which belong to the samples at `timestamps`.
///
/// # Panics
/// When the lengths differ.
pub fn encode(starts: &[i64], timestamps: &[i64], out: &mut Vec<u8>) {
    assert_eq!(starts.len(), timestamps.len(), "a start timestamp for every timestamp");
    let mut at = 0;
    while at < starts.len() {
        let constant = run_of(starts.len(), at, |i| starts[i] == starts[at]);
        let offset = timestamps[at].wrapping_sub(starts[at]);
        let following = run_of(starts.len(), at, |i| timestamps[i].wrapping_sub(starts[i]) == offset);
        let chained = run_of(starts.len(), at, |i| i > 0 && starts[i] == timestamps[i - 1]);
        let (run, kind) = if chained >= constant && chained >= following {
            (chained, CHAINED)
        } else if constant >= following {
            (constant, CONSTANT)
        } else {
            (following, OFFSET)
        };
        put_varint(out, (run as u64 - 1) * 3 + kind);
        match kind {
            CONSTANT => put_varint_signed(out, starts[at]),
            OFFSET => put_varint_signed(out, offset),
            _ => {}
        }
        at += run;
    }
}

fn run_of(len: usize, from: usize, holds: impl Fn(usize) -> bool) -> usize {
    (from..len).take_while(|i| holds(*i)).count()
}

/// Appends the start timestamps of the samples at `timestamps` to `out`.
///
/// # Errors
/// [`FormatError`] when the bytes are no column of that length.
pub fn decode(bytes: &[u8], timestamps: &[i64], out: &mut Vec<i64>) -> Result<(), FormatError> {
    let mut cursor = Cursor::new(WHAT, bytes);
    let mut at = 0;
    while at < timestamps.len() {
        let head = cursor.varint_up_to(MAX_SAMPLES * 3)?;
        let end = at + head / 3 + 1;
        if end > timestamps.len() {
            return Err(cursor.malformed());
        }
        match (head % 3) as u64 {
            CONSTANT => {
                let start = cursor.varint_signed()?;
                out.extend((at..end).map(|_| start));
            }
            OFFSET => {
                let offset = cursor.varint_signed()?;
                out.extend(timestamps[at..end].iter().map(|t| t.wrapping_sub(offset)));
            }
            _ if at == 0 => return Err(cursor.malformed()),
            _ => out.extend_from_slice(&timestamps[at - 1..end - 1]),
        }
        at = end;
    }
    if cursor.is_empty() { Ok(()) } else { Err(cursor.malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::hostile;
    use proptest::prelude::*;

    fn round_trip(starts: &[i64], timestamps: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(starts, timestamps, &mut bytes);
        let mut out = Vec::new();
        decode(&bytes, timestamps, &mut out).unwrap();
        assert_eq!(out, starts);
        bytes.len()
    }

    #[test]
    fn what_happens_in_practice_is_short() {
        let timestamps: Vec<i64> = (0..480).map(|i| 1_795_164_331_223 + i * 15_000 + i % 5).collect();
        assert!(round_trip(&[0; 480], &timestamps) <= 3);
        let mut restarted = vec![1_795_164_000_000; 480];
        restarted[300..].fill(1_795_168_000_000);
        assert!(round_trip(&restarted, &timestamps) <= 16);
        let mut delta_temporality = vec![timestamps[0] - 15_000];
        delta_temporality.extend_from_slice(&timestamps[..479]);
        assert!(round_trip(&delta_temporality, &timestamps) <= 11);
        assert_eq!(round_trip(&[], &[]), 0);
    }

    #[test]
    fn damage_is_refused_or_bounded() {
        let timestamps: Vec<i64> = (0..20).map(|i| i * 15_000).collect();
        let mut starts = vec![3; 20];
        starts[7] = i64::MIN;
        starts[9..15].copy_from_slice(&timestamps[8..14]);
        let mut bytes = Vec::new();
        encode(&starts, &timestamps, &mut bytes);
        hostile::each_damage(&bytes, |bytes| {
            let mut out = Vec::new();
            let _ = decode(bytes, &timestamps, &mut out);
            assert!(out.len() <= timestamps.len());
        });
    }

    proptest! {
        #[test]
        fn any_column_survives(pairs in prop::collection::vec((any::<i64>(), any::<i64>(), 0..4), 0..100)) {
            let timestamps: Vec<i64> = pairs.iter().map(|p| p.0).collect();
            let starts: Vec<i64> = pairs.iter().enumerate().map(|(i, p)| match p.2 {
                0 if i > 0 => timestamps[i - 1],
                1 => p.0.wrapping_sub(5),
                2 => 0,
                _ => p.1,
            }).collect();
            round_trip(&starts, &timestamps);
        }
    }
}
