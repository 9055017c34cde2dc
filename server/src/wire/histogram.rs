//! Native histograms as JSON: count, sum, and the populated buckets with their bounds.
//!
//! Source: Prometheus' native histogram specification. A bucket is `[rule, lower, upper, count]`; the rule
//! says which bounds belong to it: 0 the upper, 1 the lower, 2 none, 3 both.

use super::number;
use query::all_buckets;
use storage_format::model::{Histogram, Timestamp};

/// Appends `[timestamp, histogram]`.
pub(super) fn push_pair(out: &mut Vec<u8>, timestamp: Timestamp, histogram: &Histogram) {
    out.push(b'[');
    number::push_timestamp(out, timestamp);
    out.push(b',');
    push(out, histogram);
    out.push(b']');
}

fn push(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    push_quoted(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    push_quoted(out, histogram.sum);
    let mut any = false;
    for bucket in all_buckets(histogram).into_iter().filter(|b| b.count != 0.0) {
        out.extend_from_slice(if any { b"," } else { b",\"buckets\":[" });
        any = true;
        let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        };
        out.extend_from_slice(&[b'[', rule]);
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            push_quoted(out, value);
        }
        out.push(b']');
    }
    out.extend_from_slice(if any { b"]}" } else { b"}" });
}

fn push_quoted(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    number::push_value(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Span;
    use storage_format::model::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn json(histogram: &Histogram) -> String {
        let mut out = Vec::new();
        push_pair(&mut out, 1500, histogram);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn exponential_buckets_have_their_bounds_and_rules() {
        let histogram = Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 10.0,
            sum: 12.5,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive_counts: vec![1.0, 0.0, 3.0],
            negative_spans: vec![Span { offset: 0, length: 2 }],
            negative_counts: vec![1.0, 3.0],
            ..Histogram::default()
        };
        assert_eq!(
            json(&histogram),
            concat!(
                r#"[1.500,{"count":"10","sum":"12.5","buckets":[[1,"-2","-1","3"],[1,"-1","-0.5","1"],"#,
                r#"[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"4","8","3"]]}]"#
            )
        );
    }

    #[test]
    fn custom_buckets_are_open_at_the_left_but_for_the_first() {
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 6.0,
            sum: f64::NAN,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_counts: vec![1.0, 2.0, 3.0],
            custom_bounds: vec![0.5, 2.0],
            ..Histogram::default()
        };
        assert_eq!(
            json(&histogram),
            concat!(
                r#"[1.500,{"count":"6","sum":"NaN","buckets":[[3,"-Inf","0.5","1"],[0,"0.5","2","2"],"#,
                r#"[0,"2","+Inf","3"]]}]"#
            )
        );
    }

    #[test]
    fn without_populated_buckets_the_key_is_absent() {
        assert_eq!(json(&Histogram::default()), r#"[1.500,{"count":"0","sum":"0"}]"#);
    }
}
