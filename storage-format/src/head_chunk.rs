//! Head chunks: float samples of one series as the head keeps them, appended one sample at a time.
//!
//! Where it sits: the head's memory and its checkpoint files. Blocks use the column codecs of `chunk`,
//! which are smaller; this one is cheap to append to and needs two to three bytes for a usual sample.
//!
//! Bytes: the first sample is a zigzag varint of its timestamp and the eight bytes of its value. Each
//! further sample is a control byte `vvvvvttt`, then what it announces, timestamp before value.
//! `ttt`: 0 the delta is that of the sample before, 1/2/3 the delta's change as i8/i16/i32, 4 the delta
//! as a zigzag varint (and the next sample's delta starts from 0).
//! `vvvvv`: 0 the same bits; 1/2/3/4 change of the scaled integer as i8/i16/i32/i64; 5 XOR with the value
//! before: a byte `zzzznnnn` (zero bytes at the low end, significant bytes less one), then the `n + 1`
//! bytes; 6 a new scale (one byte) and the eight bytes of the value.
//! The byte 0xff announces a start timestamp (zigzag varint, 0 for unknown) that holds from the following
//! sample on; one before the first control byte holds for the first sample too.
//!
//! Scaled integers: at scale `s <= 9` a value is `m / 10^s` with an integer `|m| < 2^53`, exact to the bit
//! (division rounds correctly). At scale 15 nothing is scaled. Where the value before is no such number,
//! its `m` counts as 0.

use crate::bytes::{Cursor, zigzag};
use crate::error::FormatError;
use crate::model::{Samples, Timestamp};

/// Most bytes one sample can take, a start timestamp before it included.
pub const SAMPLE_BYTES_MAX: usize = 40;
const UNSCALED: u8 = 15;
const SCALE_MAX: u8 = 9;
const START: u8 = 0xff;
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What an encoder must remember between two samples of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderState {
    /// Timestamp of the newest sample.
    pub timestamp: Timestamp,
    /// Bits of the newest value.
    pub value: u64,
    /// Delta that the next timestamp is predicted by.
    pub delta: i32,
    /// Scale in force.
    pub scale: u8,
}

/// The bytes of one sample, on the stack.
#[derive(Debug)]
pub struct SampleBytes {
    bytes: [u8; SAMPLE_BYTES_MAX],
    len: usize,
}

impl SampleBytes {
    /// No bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: [0; SAMPLE_BYTES_MAX], len: 0 }
    }
    /// What was written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }
    fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
    fn put_varint(&mut self, value: i64) {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.put([(rest as u8) | 0x80]);
            rest >>= 7;
        }
        self.put([rest as u8]);
    }
}

impl Default for SampleBytes {
    fn default() -> Self {
        Self::new()
    }
}

/// `value * 10^scale` as an integer, when that is exact in the sense of the module's description.
#[inline]
fn scaled(value: f64, scale: u8) -> Option<i64> {
    let power = POWERS[usize::from(scale)];
    let m = (value * power).round_ties_even();
    // The integer has no -0.0, so going through it refuses that value; NaN fails the first comparison.
    (m.abs() < EXACT && (m as i64 as f64 / power).to_bits() == value.to_bits()).then_some(m as i64)
}

fn scale_for(value: f64, from: u8) -> u8 {
    (from..=SCALE_MAX).find(|s| scaled(value, *s).is_some()).unwrap_or(UNSCALED)
}

impl EncoderState {
    /// Begins a chunk. `start` is the start timestamp, 0 when unknown.
    pub fn first(timestamp: Timestamp, start: Timestamp, value: f64, out: &mut SampleBytes) -> Self {
        out.put_varint(timestamp);
        out.put(value.to_bits().to_le_bytes());
        if start != 0 {
            out.put([START]);
            out.put_varint(start);
        }
        // A chunk that begins with a special value learns its scale when it changes.
        let scale = if value.is_finite() { scale_for(value, 0) } else { 0 };
        out.put([scale]);
        Self { timestamp, value: value.to_bits(), delta: 0, scale }
    }
    /// Announces that `start` is the start timestamp from the next sample on.
    pub fn new_start(start: Timestamp, out: &mut SampleBytes) {
        out.put([START]);
        out.put_varint(start);
    }
    /// Appends a sample; `timestamp` is greater than that of the sample before.
    #[inline]
    pub fn next(&mut self, timestamp: Timestamp, value: f64, out: &mut SampleBytes) {
        let at = out.len;
        out.put([0]);
        let time_class = self.put_time(timestamp, out);
        let value_class = self.put_value(value, out);
        out.bytes[at] = value_class << 3 | time_class;
        self.timestamp = timestamp;
        self.value = value.to_bits();
    }
    #[inline]
    fn put_time(&mut self, timestamp: Timestamp, out: &mut SampleBytes) -> u8 {
        let delta = timestamp.wrapping_sub(self.timestamp);
        let change = delta.wrapping_sub(i64::from(self.delta));
        let Ok(short) = i32::try_from(delta) else {
            out.put_varint(delta);
            self.delta = 0;
            return 4;
        };
        self.delta = short;
        if change == 0 {
            0
        } else if let Ok(change) = i8::try_from(change) {
            out.put(change.to_le_bytes());
            1
        } else if let Ok(change) = i16::try_from(change) {
            out.put(change.to_le_bytes());
            2
        } else if let Ok(change) = i32::try_from(change) {
            out.put(change.to_le_bytes());
            3
        } else {
            out.put_varint(delta);
            self.delta = 0;
            4
        }
    }
    #[inline]
    fn put_value(&mut self, value: f64, out: &mut SampleBytes) -> u8 {
        let bits = value.to_bits();
        if bits == self.value {
            return 0;
        }
        if self.scale <= SCALE_MAX && value.is_finite() {
            let Some(m) = scaled(value, self.scale) else {
                self.scale = scale_for(value, self.scale + 1);
                out.put([self.scale]);
                out.put(bits.to_le_bytes());
                return 6;
            };
            let change = m - scaled(f64::from_bits(self.value), self.scale).unwrap_or(0);
            if change == 0 {
                // Only a special value before can have the same integer: 0.
                out.put([self.scale]);
                out.put(bits.to_le_bytes());
                return 6;
            }
            if let Ok(change) = i8::try_from(change) {
                out.put(change.to_le_bytes());
                return 1;
            }
            if let Ok(change) = i16::try_from(change) {
                out.put(change.to_le_bytes());
                return 2;
            }
            if let Ok(change) = i32::try_from(change) {
                out.put(change.to_le_bytes());
                return 3;
            }
            out.put(change.to_le_bytes());
            return 4;
        }
        let xor = bits ^ self.value;
        let zeros = xor.trailing_zeros() / 8;
        let significant = xor >> (zeros * 8);
        let n = (64 - significant.leading_zeros()).div_ceil(8) as usize;
        out.put([(zeros << 4) as u8 | (n - 1) as u8]);
        out.put_slice(&significant.to_le_bytes()[..n]);
        5
    }
}

/// Timestamp of a head chunk's first sample; `None` when the bytes are cut.
#[must_use]
pub fn first_timestamp(bytes: &[u8]) -> Option<Timestamp> {
    Cursor::new("head chunk", bytes).varint_signed().ok()
}

/// Appends the samples of a head chunk to `into`.
///
/// # Errors
/// When the bytes are not a head chunk of `count` samples. What was decoded before stays in `into`.
pub fn decode(bytes: &[u8], count: usize, into: &mut Samples) -> Result<(), FormatError> {
    let mut cursor = Cursor::new("head chunk", bytes);
    if count == 0 {
        return Ok(());
    }
    if count > bytes.len() {
        return Err(cursor.truncated());
    }
    let mut timestamp = cursor.varint_signed()?;
    let mut value = cursor.u64()?;
    let mut start = 0;
    let mut scale = cursor.u8()?;
    if scale == START {
        start = cursor.varint_signed()?;
        scale = cursor.u8()?;
    }
    let mut delta = 0i64;
    into.timestamps.reserve(count);
    into.values.reserve(count);
    into.push_float(timestamp, start, f64::from_bits(value));
    for _ in 1..count {
        let mut control = cursor.u8()?;
        if control == START {
            start = cursor.varint_signed()?;
            control = cursor.u8()?;
        }
        match control & 7 {
            0 => {}
            1 => delta += i64::from(cursor.u8()? as i8),
            2 => delta += i64::from(cursor.u16()? as i16),
            3 => delta += i64::from(cursor.u32()? as i32),
            4 => delta = cursor.varint_signed()?,
            _ => return Err(cursor.malformed()),
        }
        timestamp = timestamp.wrapping_add(delta);
        if control & 7 == 4 {
            delta = 0;
        }
        value = decode_value(&mut cursor, control >> 3, value, &mut scale)?;
        into.push_float(timestamp, start, f64::from_bits(value));
    }
    Ok(())
}

#[inline]
fn decode_value(cursor: &mut Cursor<'_>, class: u8, before: u64, scale: &mut u8) -> Result<u64, FormatError> {
    let change = match class {
        0 => return Ok(before),
        1 => i64::from(cursor.u8()? as i8),
        2 => i64::from(cursor.u16()? as i16),
        3 => i64::from(cursor.u32()? as i32),
        4 => cursor.i64()?,
        5 => {
            let control = cursor.u8()?;
            let (zeros, n) = (u32::from(control >> 4), usize::from(control & 15) + 1);
            if zeros + n as u32 > 8 {
                return Err(cursor.malformed());
            }
            let mut significant = [0; 8];
            significant[..n].copy_from_slice(cursor.take(n)?);
            return Ok(before ^ u64::from_le_bytes(significant) << (zeros * 8));
        }
        6 => {
            *scale = cursor.u8()?;
            return cursor.u64();
        }
        _ => return Err(cursor.malformed()),
    };
    if *scale > SCALE_MAX {
        return Err(cursor.malformed());
    }
    let m = scaled(f64::from_bits(before), *scale).unwrap_or(0).wrapping_add(change);
    Ok((m as f64 / POWERS[usize::from(*scale)]).to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::STALE_NAN_BITS;
    use proptest::prelude::*;

    fn encode(samples: &[(i64, i64, f64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut state: Option<EncoderState> = None;
        let mut last_start = 0;
        for (t, start, v) in samples {
            let mut out = SampleBytes::new();
            match &mut state {
                None => state = Some(EncoderState::first(*t, *start, *v, &mut out)),
                Some(state) => {
                    if *start != last_start {
                        EncoderState::new_start(*start, &mut out);
                    }
                    state.next(*t, *v, &mut out);
                }
            }
            last_start = *start;
            bytes.extend_from_slice(out.as_slice());
        }
        bytes
    }

    fn check(samples: &[(i64, i64, f64)]) -> usize {
        let bytes = encode(samples);
        let mut back = Samples::default();
        decode(&bytes, samples.len(), &mut back).expect("own bytes");
        for (i, (t, start, v)) in samples.iter().enumerate() {
            assert_eq!(back.timestamps[i], *t, "timestamp {i}");
            assert_eq!(back.values[i].to_bits(), v.to_bits(), "value {i}");
            assert_eq!(back.starts.get(i).copied().unwrap_or(0), *start, "start {i}");
        }
        bytes.len()
    }

    #[test]
    fn usual_series_are_small() {
        let counter: Vec<_> =
            (0..100).map(|i| (1_700_000_000_000 + i * 15_000, 0, (i * 37) as f64)).collect();
        assert!(check(&counter) < 230);
        let constant: Vec<_> = (0..100).map(|i| (1_700_000_000_000 + i * 15_000, 0, 4.25)).collect();
        assert!(check(&constant) < 125);
        let cents: Vec<_> =
            (0..100).map(|i| (1_700_000_000_000 + i * 15_000, 5, 12345.67 + i as f64 * 0.25)).collect();
        assert!(check(&cents) < 360);
    }

    #[test]
    fn negative_zero_among_scaled_values_keeps_its_sign() {
        for before in [1.5, 1.0, -0.25, 0.0] {
            check(&[(1, 0, before), (2, 0, -0.0), (3, 0, before)]);
        }
    }

    #[test]
    fn special_values_keep_their_bits() {
        let values = [
            0.0,
            -0.0,
            f64::NAN,
            f64::from_bits(STALE_NAN_BITS),
            1.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            5e-324,
            f64::MAX,
            0.1,
            f64::from_bits(0x7ff8_0000_0000_0001),
            9_007_199_254_740_991.0,
            -9_007_199_254_740_991.0,
            1e300,
            0.30000000000000004,
            -0.0,
            0.0,
        ];
        let samples: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as i64, 0, *v)).collect();
        check(&samples);
        let reversed: Vec<_> =
            values.iter().rev().enumerate().map(|(i, v)| (i as i64 * 1000, 0, *v)).collect();
        check(&reversed);
    }

    proptest! {
        #[test]
        fn every_chunk_survives(
            steps in prop::collection::vec((prop_oneof![Just(15_000i64), 1i64..100, 1i64..1 << 40], 0u8..6, any::<u64>(), 0i64..2), 1..60),
            t0 in -(1i64 << 50)..1i64 << 50,
        ) {
            let (mut t, mut n) = (t0, 0.0f64);
            let mut samples = Vec::new();
            for (step, kind, bits, start) in steps {
                t += step;
                let value = match kind {
                    0 => n,
                    1 => { n += (bits % 1000) as f64; n }
                    2 => (bits % 100_000) as f64 / 100.0,
                    3 => f64::from_bits(STALE_NAN_BITS),
                    _ => f64::from_bits(bits),
                };
                samples.push((t, start * 1234, value));
            }
            check(&samples);
        }

        #[test]
        fn damaged_chunks_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..100) {
            let _ = decode(&bytes, count, &mut Samples::default());
            let good: Vec<_> = (0..20).map(|i| (i * 1000, 0, i as f64)).collect();
            let encoded = encode(&good);
            for (i, b) in bytes.iter_mut().enumerate() {
                *b ^= encoded.get(i).copied().unwrap_or(0);
            }
            let _ = decode(&bytes, 20, &mut Samples::default());
        }
    }
}
