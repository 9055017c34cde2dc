//! Groups: round trips to the bit on random and realistic columns, sizes, damage.

use super::*;
use crate::chunk::hostile;
use crate::model::stale_nan;
use proptest::prelude::*;

fn encoded(columns: &[Vec<f64>]) -> Vec<u8> {
    let mut encoder = GroupEncoder::new();
    for column in columns {
        encoder.push(column);
    }
    let bytes = encoder.finish();
    assert!(encoder.is_empty());
    bytes
}

fn round_trip(columns: &[Vec<f64>]) -> Vec<u8> {
    let bytes = encoded(columns);
    let group = Group::parse(&bytes).unwrap();
    assert_eq!(group.len(), columns.len());
    // Last series first: none depends on another having been read.
    for (i, column) in columns.iter().enumerate().rev() {
        let mut out = vec![42.0];
        group.decode(i, &mut out).unwrap();
        assert_eq!(group.count(i), column.len());
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out[1..]), bits(column), "series {i}");
    }
    assert!(group.decode(columns.len(), &mut Vec::new()).is_err());
    bytes
}

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

/// A counter that grows by 0..`most` a sample.
fn counter(seed: u64, len: usize, most: u64) -> Vec<f64> {
    let mut next = noise(seed);
    let mut sum = seed * 1000;
    (0..len)
        .map(|_| {
            sum += next() % (most + 1);
            sum as f64
        })
        .collect()
}

#[test]
fn every_bit_pattern_survives() {
    let odd = [
        0x8000_0000_0000_0000,
        1,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x7ff0_0000_0000_0002,
        0x7ff8_0000_0000_0001,
        0xfff8_dead_beef_0000,
        0x000f_ffff_ffff_ffff,
        f64::MAX.to_bits(),
        f64::MIN_POSITIVE.to_bits(),
    ];
    let odd: Vec<f64> = odd.into_iter().map(f64::from_bits).collect();
    for v in &odd {
        round_trip(&[vec![*v], vec![*v; 7], vec![1.0, *v, 2.0]]);
        let mut counter = counter(3, 100, 10);
        counter[0] = *v;
        counter[57] = *v;
        counter[99] = *v;
        round_trip(&[counter.clone(), counter]);
    }
    round_trip(&[odd.clone(), vec![], odd.iter().rev().copied().cycle().take(1000).collect()]);
    round_trip(&[]);
    round_trip(&[vec![], vec![]]);
}

#[test]
fn constant_and_linear_columns_take_a_few_bytes() {
    let constants: Vec<_> = (0..100).map(|_| vec![1.0; 480]).collect();
    assert!(round_trip(&constants).len() < 60);
    let linear: Vec<f64> = (0..480).map(|i| 17.25 + f64::from(i) * 0.25).collect();
    assert!(round_trip(&[linear]).len() < 25);
}

#[test]
fn staleness_markers_do_not_spoil_a_counter() {
    let clean = counter(1, 480, 7);
    let mut stale = clean.clone();
    stale[479] = stale_nan();
    stale[200] = stale_nan();
    let (clean, stale) = (round_trip(&[clean]).len(), round_trip(&[stale]).len());
    assert!(stale <= clean + 8, "{stale} against {clean}");
}

#[test]
fn a_quantile_that_is_often_nan_keeps_its_decimals() {
    let values = counter(4, 480, 9).iter().map(|v| (v % 89.0) / 1000.0).collect::<Vec<_>>();
    let mut idle = values.clone();
    idle[20..200].fill(f64::NAN);
    idle[300..460].fill(f64::NAN);
    let (values, idle) = (round_trip(&[values]).len(), round_trip(&[idle]).len());
    assert!(idle < values / 2, "{idle} against {values}");
}

#[test]
fn counters_come_near_the_entropy_of_their_steps() {
    let columns: Vec<_> = (0..64).map(|i| counter(i, 480, 15)).collect();
    let bytes = round_trip(&columns).len();
    assert!(bytes < 64 * 480 / 2 * 105 / 100, "{bytes} for four bits a sample");
}

#[test]
fn cumulative_buckets_cost_their_own_increments() {
    let mut buckets = vec![counter(1, 480, 15)];
    for i in 2..=12 {
        let below: &Vec<f64> = &buckets[buckets.len() - 1];
        buckets.push(counter(i, 480, 15).iter().zip(below).map(|(own, below)| own + below).collect());
    }
    let bytes = round_trip(&buckets).len();
    // Four bits each for their own; two hops in three are over one other bucket, the third begins anew.
    assert!(bytes < 12 * 480 * 5 / 8, "{bytes}");
}

#[test]
fn what_comes_again_in_other_series_is_stored_once() {
    let columns: Vec<_> = (0..32).map(|i| counter(7, 1000, 60_000)[i * 10..i * 10 + 600].to_vec()).collect();
    let bytes = round_trip(&columns).len();
    assert!(bytes < 8_000, "{bytes}");
}

#[test]
fn damage_is_refused_or_bounded() {
    let mut stale = counter(5, 40, 300);
    stale[20] = stale_nan();
    let doubles: Vec<f64> = (0..30).map(|i| f64::from(i).sqrt()).collect();
    let gauge: Vec<f64> = counter(9, 40, 9).iter().map(|v| v % 7.0 / 100.0).collect();
    let small = [vec![1.0; 9], stale, vec![2.5; 9], doubles, gauge];
    let repeated: Vec<_> = (0..12).map(|_| counter(7, 200, 60_000)).collect();
    for columns in [&small[..], &small[1..2], &repeated] {
        let limit = 1 << 18;
        hostile::each_damage(&encoded(columns), |bytes| {
            let Ok(group) = Group::parse(bytes) else { return };
            for i in 0..group.len().min(limit) {
                let mut out = Vec::new();
                let _ = group.decode(i, &mut out);
                assert!(out.len() == group.count(i) || out.is_empty());
            }
        });
    }
}

fn any_column() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i64>().prop_map(|m| m as f64),
        (any::<i32>(), 0i32..16).prop_map(|(m, places)| f64::from(m) / 10f64.powi(places)),
        Just(-0.0),
        Just(stale_nan()),
    ];
    let walk = (any::<i32>(), prop::collection::vec(-100i32..100, 0..300), 0i32..6).prop_map(
        |(start, steps, places)| {
            let mut m = i64::from(start);
            let walk = steps.into_iter().map(|s| {
                m += i64::from(s);
                m as f64 / 10f64.powi(places)
            });
            walk.collect::<Vec<_>>()
        },
    );
    let sums = (any::<f64>(), prop::collection::vec(0u32..1_000_000, 0..300)).prop_map(|(start, steps)| {
        let mut sum = start % 1000.0;
        let sums = steps.into_iter().map(|s| {
            sum += f64::from(s) * 1e-6;
            sum
        });
        sums.collect::<Vec<_>>()
    });
    let spoiled = (
        prop_oneof![walk.clone(), sums],
        prop::collection::vec((any::<prop::sample::Index>(), value.clone()), 0..6),
    );
    prop_oneof![
        prop::collection::vec(value, 0..40),
        walk,
        spoiled.prop_map(|(mut walk, odd)| {
            for (at, value) in odd {
                if !walk.is_empty() {
                    let at = at.index(walk.len());
                    let end = walk.len().min(at + 1 + at % 3);
                    walk[at..end].fill(value);
                }
            }
            walk
        }),
    ]
}

proptest! {
    #[test]
    fn any_group_survives(columns in prop::collection::vec(any_column(), 0..20)) {
        round_trip(&columns);
    }
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(group) = Group::parse(&bytes) {
            for i in 0..group.len().min(100) {
                let _ = group.decode(i, &mut Vec::new());
            }
        }
    }
}
