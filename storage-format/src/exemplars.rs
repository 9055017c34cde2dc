//! Lists of exemplars as bytes: in log records, checkpoints and blocks alike.
//!
//! Bytes: until the end, for each series: its number varint, number of exemplars varint, each: timestamp
//! less that of the one before (of the first: less 0) zigzag varint, value f64, length varint, labels as
//! `model::labels::put_key` writes them. What the number of a series means is the business of whoever keeps
//! the list.

use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::FormatError;
use crate::model::labels::put_key;
use crate::model::{Exemplar, Labels};

/// Longest labels of an exemplar, in bytes as `model::labels::put_key` writes them. The rule of 128
/// characters keeps senders far below.
pub const LABEL_BYTES_MAX: usize = 4096;

/// Appends the exemplars of one series to a list; of none it appends nothing.
pub fn put<'a>(number: u64, exemplars: impl ExactSizeIterator<Item = &'a Exemplar>, out: &mut Vec<u8>) {
    if exemplars.len() == 0 {
        return;
    }
    put_varint(out, number);
    put_varint(out, exemplars.len() as u64);
    let (mut before, mut key) = (0, Vec::new());
    for exemplar in exemplars {
        put_varint_signed(out, exemplar.timestamp.wrapping_sub(before));
        before = exemplar.timestamp;
        out.extend_from_slice(&exemplar.value.to_le_bytes());
        key.clear();
        put_key(&exemplar.labels, &mut key);
        put_varint(out, key.len() as u64);
        out.extend_from_slice(&key);
    }
}

/// Visits a list: number of the series, exemplar.
///
/// # Errors
/// When the bytes are none; what stands before the damage was visited.
pub fn visit(bytes: &[u8], visit: &mut dyn FnMut(u64, Exemplar)) -> Result<(), FormatError> {
    let mut cursor = Cursor::new("list of exemplars", bytes);
    while !cursor.is_empty() {
        let number = cursor.varint()?;
        let mut timestamp = 0i64;
        for _ in 0..cursor.varint()? {
            timestamp = timestamp.wrapping_add(cursor.varint_signed()?);
            let value = cursor.f64()?;
            let length = cursor.varint_up_to(LABEL_BYTES_MAX)?;
            let labels = Labels::from_key(cursor.take(length)?)?;
            visit(number, Exemplar { labels, value, timestamp });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::chunk::hostile::each_damage;

    pub(crate) fn exemplar(timestamp: i64, value: f64, id: &str) -> Exemplar {
        Exemplar { labels: Labels::from_pairs([("trace_id", id)]), value, timestamp }
    }

    #[test]
    fn lists_survive_and_damage_does_not_panic() {
        let mine = [exemplar(i64::MIN, -0.0, "a"), exemplar(5, f64::from_bits(0x7ff0_0000_0000_0002), "")];
        let yours = [exemplar(i64::MAX, 1e300, "b"), exemplar(-3, 2.5, "c"), exemplar(-3, 2.5, "c")];
        let mut bytes = Vec::new();
        put(u64::MAX, mine.iter(), &mut bytes);
        put(8, [].iter(), &mut bytes);
        put(3, yours.iter(), &mut bytes);
        let mut seen = Vec::new();
        visit(&bytes, &mut |number, e| seen.push((number, e.timestamp, e.value.to_bits(), e.labels)))
            .expect("own bytes");
        let expected = mine.iter().map(|e| (u64::MAX, e)).chain(yours.iter().map(|e| (3, e)));
        let expected: Vec<_> =
            expected.map(|(n, e)| (n, e.timestamp, e.value.to_bits(), e.labels.clone())).collect();
        assert_eq!(seen, expected);
        each_damage(&bytes, |bad| {
            let _ = visit(bad, &mut |_, _| {});
        });
    }

    #[test]
    fn repetitions_go_and_the_order_is_one() {
        let mut all =
            vec![exemplar(2, 1.0, "b"), exemplar(1, 9.0, "z"), exemplar(2, 1.0, "a"), exemplar(2, 1.0, "b")];
        all.push(exemplar(2, 0.5, "z"));
        all.push(exemplar(2, f64::NAN, "n"));
        all.push(exemplar(2, f64::NAN, "n"));
        Exemplar::settle(&mut all);
        let seen: Vec<_> =
            all.iter().map(|e| (e.timestamp, e.labels.get("trace_id").unwrap_or(""))).collect();
        assert_eq!(seen, [(1, "z"), (2, "z"), (2, "a"), (2, "b"), (2, "n")]);
    }
}
