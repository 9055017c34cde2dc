//! Chunks of floats: second differences of timestamps, differing bits of values.

use super::bits::{Bits, Xor};
use super::{Chunk, SAMPLES_MAX};
use crate::wire::protobuf::zigzag;
use storage_format::model::Timestamp;

#[derive(Debug)]
pub(super) struct XorChunk {
    bits: Bits,
    value: Xor,
    first: Timestamp,
    last: Timestamp,
    step: i64,
    count: u16,
}

impl XorChunk {
    pub(super) fn new(timestamp: Timestamp, value: f64) -> Self {
        let mut bits = Bits::after(&[0, 0]);
        bits.push_uvarint(zigzag(timestamp));
        bits.push(value.to_bits(), 64);
        Self { bits, value: Xor::new(value), first: timestamp, last: timestamp, step: 0, count: 1 }
    }

    pub(super) fn has_room(&self) -> bool {
        self.count < SAMPLES_MAX
    }

    pub(super) fn push(&mut self, timestamp: Timestamp, value: f64) {
        let step = timestamp.wrapping_sub(self.last);
        if self.count == 1 {
            self.bits.push_uvarint(step as u64);
        } else {
            self.push_change(step.wrapping_sub(self.step));
        }
        self.value.push(value, &mut self.bits);
        (self.last, self.step, self.count) = (timestamp, step, self.count + 1);
    }

    fn push_change(&mut self, change: i64) {
        if change == 0 {
            return self.bits.push(0, 1);
        }
        for (prefix, ones, bits) in [(0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20)] {
            if -((1 << (bits - 1)) - 1) <= change && change <= 1 << (bits - 1) {
                self.bits.push(prefix, ones);
                return self.bits.push(change as u64, bits);
            }
        }
        self.bits.push(0b1111, 4);
        self.bits.push(change as u64, 64);
    }

    pub(super) fn finish(self) -> Chunk {
        let bytes = self.bits.finish(&self.count.to_be_bytes());
        Chunk { encoding: 1, first: self.first, last: self.last, bytes }
    }
}
