//! Bucket boundaries of the exponential schemas.
//!
//! The fractions of schema n are those of schema n-1 with one more in each gap, the lower one times
//! 2^(2^-n): how Prometheus' table was made, so that boundaries agree to the last digit.

use std::sync::OnceLock;

/// Highest schema with a table of fractions.
const SCHEMAS: usize = 9;
/// The square root of 2 as in Prometheus' table: one unit in the last place below the nearest double.
const SQRT_2_LOW: f64 = f64::from_bits(0x3ff6_a09e_667f_3bcc);

fn fractions(schema: usize) -> &'static [f64] {
    static TABLE: OnceLock<Vec<Vec<f64>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = vec![vec![0.5]];
        for schema in 1..SCHEMAS {
            let factor = if schema == 1 { SQRT_2_LOW } else { (0.5_f64).powi(schema as i32).exp2() };
            let previous = &table[schema - 1];
            let mut next = Vec::with_capacity(1 << schema);
            for bound in previous {
                next.push(*bound);
                next.push(bound * factor);
            }
            table.push(next);
        }
        table
    });
    &table[schema]
}

/// `fraction * 2^exponent`, exact, subnormals and overflow included.
fn scale(fraction: f64, exponent: i64) -> f64 {
    let exponent = exponent.clamp(-2200, 2200) as i32;
    // Three factors keep each power representable.
    let third = exponent / 3;
    fraction * (2.0_f64).powi(third) * (2.0_f64).powi(third) * (2.0_f64).powi(exponent - 2 * third)
}

/// Upper bound (inclusive) of the positive bucket `index` of an exponential schema.
pub(super) fn exponential(index: i32, schema: i8) -> f64 {
    if schema < 0 {
        let exponent = i64::from(index) << (-i32::from(schema)).clamp(0, 16);
        return if exponent == 1024 { f64::MAX } else { scale(1.0, exponent) };
    }
    let schema = usize::from(schema.unsigned_abs()).min(SCHEMAS - 1);
    let fraction = fractions(schema)[(index & ((1 << schema) - 1)) as usize];
    let exponent = i64::from(index >> schema) + 1;
    // The last finite bucket ends at the largest float, the overflow bucket beyond it at +Inf.
    if fraction == 0.5 && exponent == 1025 { f64::MAX } else { scale(fraction, exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_agree_with_the_published_table() {
        assert_eq!(exponential(0, 0), 1.0);
        assert_eq!(exponential(3, 0), 8.0);
        assert_eq!(exponential(-1, 0), 0.5);
        assert_eq!(exponential(1, -2), 16.0);
        assert_eq!(exponential(1024, 0), f64::MAX);
        assert_eq!(exponential(1025, 0), f64::INFINITY);
        assert_eq!(exponential(256, -2), f64::MAX);
        let schema4 = [
            0.5,
            0.522_136_891_213_706_9,
            0.545_253_866_332_628_8,
            0.569_394_317_378_345_8,
            0.594_603_557_501_360_5,
            0.620_928_906_036_742,
            0.648_419_777_325_504_8,
            0.677_127_773_468_446_3,
            0.707_106_781_186_547_5,
            0.738_413_072_969_749_6,
            0.771_105_412_703_970_4,
            0.805_245_165_974_627,
            0.840_896_415_253_714_4,
            0.878_126_080_186_649_5,
            0.917_004_043_204_671_1,
            0.957_603_280_698_573_5,
        ];
        assert_eq!(fractions(4), schema4);
        assert_eq!(exponential(-1074 * 4, 2), f64::from_bits(1));
    }
}
