//! Bytes that were written once and must be read for ever: one of each layout of `FORMAT.md`.
//!
//! Encoders may write other bytes for the same samples later on; what stands here stays readable.

use super::histogram::{self, HistogramSample};
use super::values::Group;
use super::{starts, timestamps};
use crate::model::{CounterResetHint, Histogram, Span, stale_nan};

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Numbers that look random, the same on every machine.
fn noise(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
}

fn grid() -> Vec<i64> {
    let mut grid: Vec<i64> = (0..20).map(|i| 1_795_164_331_223 + i * 15_000 + i % 3).collect();
    grid.drain(7..9);
    grid
}

fn deltas() -> Vec<i64> {
    vec![-5, 0, 14_995, 29_995, 44_998, 60_000, 160_001, 175_001, 190_001, 205_001, 220_001]
}

/// One column of each kind, and a long one.
fn columns() -> Vec<Vec<f64>> {
    let counter = |i: u64| (0..i).map(|j| noise(j) % 9).sum::<u64>() as f64;
    let mut spoiled: Vec<f64> = (0..40).map(counter).collect();
    spoiled[11] = stale_nan();
    spoiled[20..23].fill(f64::NAN);
    let mut sum = 1000.0;
    let mut total = || {
        sum += 0.015_000_001 * (noise(sum as u64) % 100) as f64;
        sum
    };
    vec![
        vec![3.0; 40],
        vec![3.0; 40],
        vec![0.1 + 0.2; 7],
        vec![],
        (0..40).map(counter).collect(),
        (0..40).map(|i| counter(i) + (i / 4) as f64).collect(),
        spoiled,
        (0..40).map(|i| (noise(i) % 1000) as f64 / 100.0).collect(),
        (0..40).map(|i| 4096.0 * (noise(i) % 5) as f64).collect(),
        (0..40).map(|_| total()).collect(),
        (0..40).map(|i| f64::from_bits(noise(i) << 40 | noise(i + 99))).collect(),
        vec![1.0, 70_000.0],
        (0..1100).map(|i| (noise(i) % 3) as f64).collect(),
    ]
}

fn repeated() -> Vec<Vec<f64>> {
    (0..8).map(|_| (0..60).map(|i| (noise(i) % 60_000) as f64).collect()).collect()
}

/// The same run of steps in several columns, beginning at different places: inflated as a whole.
fn shifted() -> Vec<Vec<f64>> {
    (0..24).map(|k| (0..60).map(|i| (noise(i + 3 * k) % 60_000) as f64).collect()).collect()
}

fn histograms() -> Vec<HistogramSample> {
    let histogram = |i: u64| Histogram {
        reset_hint: if i == 0 { CounterResetHint::CounterReset } else { CounterResetHint::NotCounterReset },
        schema: 3,
        integer: true,
        zero_threshold: 1e-128,
        count: (5 * i + noise(i) % 4) as f64,
        sum: 0.1 * i as f64,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 4, length: 1 }],
        positive_counts: vec![i as f64, (2 * i) as f64, (noise(i) % 4) as f64],
        ..Histogram::default()
    };
    let mut samples: Vec<HistogramSample> =
        (0..6).map(|i| (15_000 * i as i64, 1_000, histogram(i))).collect();
    samples.push((90_000, 0, Histogram::stale()));
    let custom = Histogram {
        schema: -53,
        custom_bounds: vec![0.5, 1.0],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_counts: vec![2.5],
        ..Histogram::default()
    };
    samples.push((105_000, 0, custom));
    samples
}

fn assert_group(golden: &str, columns: &[Vec<f64>]) {
    let bytes = bytes_of(golden);
    let group = Group::parse(&bytes).unwrap();
    assert_eq!(group.len(), columns.len());
    for (i, column) in columns.iter().enumerate() {
        let mut out = Vec::new();
        group.decode(i, &mut out).unwrap();
        assert!(out.iter().map(|v| v.to_bits()).eq(column.iter().map(|v| v.to_bits())), "series {i}");
    }
}

#[test]
fn timestamp_columns_stay_readable() {
    for (golden, column) in
        [(include_str!("golden/grid.hex"), grid()), (include_str!("golden/deltas.hex"), deltas())]
    {
        let mut out = Vec::new();
        timestamps::decode(&bytes_of(golden), &mut out).unwrap();
        assert_eq!(out, column);
    }
}

#[test]
fn start_timestamp_columns_stay_readable() {
    let mut out = Vec::new();
    starts::decode(&bytes_of(include_str!("golden/starts.hex")), &deltas(), &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 0, -9, 9_995, 24_995, 60_000, 160_001, 175_001, 190_001]);
}

#[test]
fn groups_stay_readable() {
    assert_group(include_str!("golden/group.hex"), &columns());
    assert_group(include_str!("golden/repeated.hex"), &repeated());
    assert_group(include_str!("golden/shifted.hex"), &shifted());
}

#[test]
fn histogram_chunks_stay_readable() {
    let mut out = Vec::new();
    histogram::decode(&bytes_of(include_str!("golden/histograms.hex")), &mut out).unwrap();
    // Not equal to itself by `==`: the staleness marker is a NaN.
    assert!(out[6].2.is_stale());
    let mut expected = histograms();
    assert_eq!((out.remove(6).0, expected.remove(6).0), (90_000, 90_000));
    assert_eq!(out, expected);
}
