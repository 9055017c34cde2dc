//! Histogram chunks: round trips to the bit, size of a realistic series, damage.

use super::*;
use crate::chunk::hostile;
use crate::model::Span;
use proptest::prelude::*;

/// All bits of a sample; `==` on floats would take NaN for different and -0 for equal.
fn bits(sample: &HistogramSample) -> (i64, i64, String, Vec<u64>) {
    let h = &sample.2;
    let shape = format!(
        "{:?} {} {} {:?} {:?} {} {}",
        h.reset_hint,
        h.schema,
        h.integer,
        h.positive_spans,
        h.negative_spans,
        h.positive_counts.len(),
        h.negative_counts.len()
    );
    let floats = [h.zero_threshold, h.zero_count, h.count, h.sum].into_iter();
    let floats = floats.chain(h.positive_counts.iter().copied()).chain(h.negative_counts.iter().copied());
    (sample.0, sample.1, shape, floats.chain(h.custom_bounds.iter().copied()).map(f64::to_bits).collect())
}

fn round_trip(samples: &[HistogramSample]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(samples, &mut bytes);
    let mut out = Vec::new();
    decode(&bytes, &mut out).unwrap();
    assert_eq!(out.iter().map(bits).collect::<Vec<_>>(), samples.iter().map(bits).collect::<Vec<_>>());
    bytes
}

/// A latency histogram: `buckets` buckets growing at different paces.
fn growing(samples: usize, buckets: usize) -> Vec<HistogramSample> {
    let mut noise = 1u64;
    let mut counts = vec![0.0; buckets];
    let mut sum = 0.0;
    (0..samples)
        .map(|i| {
            for (bucket, count) in counts.iter_mut().enumerate() {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let more = ((noise >> 40) % (1 + bucket as u64)) as f64;
                *count += more;
                sum += more * 0.1234;
            }
            let histogram = Histogram {
                integer: true,
                schema: 3,
                zero_threshold: 1e-128,
                count: counts.iter().sum(),
                sum,
                positive_spans: vec![Span { offset: -7, length: buckets as u32 }],
                positive_counts: counts.clone(),
                ..Histogram::default()
            };
            (1_795_164_331_223 + i as i64 * 15_000, 1_795_000_000_000, histogram)
        })
        .collect()
}

#[test]
fn a_growing_histogram_costs_little_per_bucket() {
    let samples = growing(120, 20);
    let bytes = round_trip(&samples);
    assert!(bytes.len() < 120 * 24, "{} bytes for 120 histograms of 20 buckets", bytes.len());
}

#[test]
fn layouts_hints_and_staleness_markers_may_change_at_any_sample() {
    let mut samples = growing(30, 6);
    samples[7].2 = Histogram::stale();
    samples[8].2.reset_hint = CounterResetHint::CounterReset;
    samples[9].2.reset_hint = CounterResetHint::Gauge;
    samples[9].1 = 0;
    samples[15].2.positive_spans = vec![Span { offset: 0, length: 1 }, Span { offset: 3, length: 5 }];
    samples[16].2.integer = false;
    samples[16].2.zero_count = -0.0;
    samples[17].2 = Histogram {
        schema: -53,
        custom_bounds: vec![0.1, 1.0, f64::INFINITY],
        positive_spans: vec![Span { offset: 0, length: 4 }],
        positive_counts: vec![1.0, 2.5, f64::NAN, f64::from_bits(0x7ff8_dead_0000_0001)],
        negative_spans: vec![Span { offset: i32::MIN, length: u32::MAX }],
        negative_counts: vec![7.0],
        ..Histogram::default()
    };
    round_trip(&samples);
    round_trip(&[]);
    round_trip(&samples[17..18]);
}

#[test]
fn more_than_256_buckets_take_several_groups() {
    for buckets in [252, 253, 254, 600] {
        round_trip(&growing(3, buckets));
    }
}

#[test]
fn long_columns_are_cut_where_a_chunk_is_full() {
    let samples = growing(2, 20);
    assert_eq!(fitting(&samples), 2);
    let wide = (0, 0, Histogram { positive_counts: vec![0.0; MAX_VALUES / 2], ..Histogram::default() });
    assert_eq!(fitting(&[wide.clone(), wide.clone(), wide]), 1);
}

#[test]
fn a_wide_layout_of_many_samples_is_refused_before_it_is_laid_out() {
    let spans = 20_000;
    let layout =
        Histogram { positive_spans: vec![Span { offset: 0, length: 0 }; spans], ..Histogram::default() };
    let mut bytes = Vec::new();
    let times: Vec<i64> = (0..1000).collect();
    put_part(&mut bytes, |part| timestamps::encode(&times, part));
    put_part(&mut bytes, |part| starts::encode(&[0; 1000], &times, part));
    put_runs(&mut bytes, std::iter::repeat_n(0, 1000));
    put_varint(&mut bytes, 1);
    Layout::of(&layout).encode(&mut bytes);
    put_runs(&mut bytes, std::iter::repeat_n(0, 1000));
    let refused = FormatError::malformed(WHAT, bytes.len());
    assert_eq!(decode(&bytes, &mut Vec::new()), Err(refused));
}

#[test]
fn damage_is_refused_or_bounded() {
    let mut samples = growing(6, 3);
    samples[3].2 = Histogram::stale();
    hostile::each_damage(&round_trip(&samples), |bytes| {
        let mut out = Vec::new();
        let _ = decode(bytes, &mut out);
        assert!(out.len() <= MAX_SAMPLES);
    });
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let float = prop_oneof![any::<u64>().prop_map(f64::from_bits), (0u32..50).prop_map(f64::from)];
    let span = (-5i32..5, 0u32..4).prop_map(|(offset, length)| Span { offset, length });
    (
        (0u64..4, prop_oneof![Just(-53i8), -4i8..=8], any::<bool>()),
        prop::collection::vec(float.clone(), 4),
        (prop::collection::vec(span.clone(), 0..3), prop::collection::vec(span, 0..3)),
        (prop::collection::vec(float.clone(), 0..6), prop::collection::vec(float.clone(), 0..6)),
        prop::collection::vec(float, 0..3),
    )
        .prop_map(|((hint, schema, integer), floats, spans, counts, custom_bounds)| Histogram {
            reset_hint: CounterResetHint::from_wire(hint),
            schema,
            integer,
            zero_threshold: floats[0],
            zero_count: floats[1],
            count: floats[2],
            sum: floats[3],
            positive_spans: spans.0,
            negative_spans: spans.1,
            positive_counts: counts.0,
            negative_counts: counts.1,
            custom_bounds,
        })
}

proptest! {
    #[test]
    fn any_histograms_survive(histograms in prop::collection::vec((any::<i64>(), any_histogram(), 1usize..4), 0..12)) {
        let mut samples = Vec::new();
        for (start, histogram, times) in histograms {
            for _ in 0..times {
                samples.push((samples.len() as i64 * 15_000, start, histogram.clone()));
            }
        }
        round_trip(&samples);
    }
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&bytes, &mut Vec::new());
    }
}
