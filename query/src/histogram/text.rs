//! A native histogram as text, as `count_values` puts it into a label.

use super::buckets::{Bucket, Side, side_buckets, zero_bucket};
use crate::format::general;
use std::fmt::Write;
use storage_format::model::Histogram;

/// `{count:3, sum:5, (1,2]:3}`: populated buckets in ascending order.
pub(crate) fn to_text(h: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", general(h.count), general(h.sum));
    let mut push = |b: Bucket| {
        let open = if b.lower_inclusive { '[' } else { '(' };
        let close = if b.upper_inclusive { ']' } else { ')' };
        let (lower, upper, count) = (general(b.lower), general(b.upper), general(b.count));
        let _ = write!(text, ", {open}{lower},{upper}{close}:{count}");
    };
    let mut negative: Vec<_> = side_buckets(h, Side::Negative).filter(|b| b.count != 0.0).collect();
    negative.reverse();
    negative.into_iter().for_each(&mut push);
    if h.zero_count != 0.0 {
        push(zero_bucket(h));
    }
    side_buckets(h, Side::Positive).filter(|b| b.count != 0.0).for_each(&mut push);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Span;

    #[test]
    fn buckets_stand_in_ascending_order() {
        let h = Histogram {
            count: 6.0,
            sum: 1.5,
            zero_threshold: 0.001,
            zero_count: 1.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_counts: vec![2.0, 0.0],
            negative_spans: vec![Span { offset: 0, length: 2 }],
            negative_counts: vec![1.0, 2.0],
            ..Histogram::default()
        };
        assert_eq!(to_text(&h), "{count:6, sum:1.5, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:1, (1,2]:2}");
    }
}
