//! Bits behind one another, the highest first, and the numbers that chunks are made of.

/// A growing run of bits.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Free bits of the last byte.
    free: u32,
}

impl Bits {
    /// Begins behind `head`.
    pub(super) fn after(head: &[u8]) -> Self {
        Self { bytes: head.to_vec(), free: 0 }
    }

    /// Appends the lowest `count` bits of `value`, at most 64.
    pub(super) fn push(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let part = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part << (self.free - taken)) as u8;
            }
            self.free -= taken;
            left -= taken;
        }
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn push_uvarint(&mut self, value: u64) {
        let mut bytes = Vec::with_capacity(10);
        super::super::protobuf::push_varint(&mut bytes, value);
        bytes.iter().for_each(|byte| self.push(u64::from(*byte), 8));
    }

    /// A prefix of ones for the class of size, then as many bits.
    pub(super) fn push_varbit(&mut self, value: i64) {
        let fits = |bits: u32| -((1 << (bits - 1)) - 1) <= value && value <= 1 << (bits - 1);
        self.push_class(value as u64, value == 0, fits);
    }

    /// The same for numbers without a sign.
    pub(super) fn push_varbit_unsigned(&mut self, value: u64) {
        self.push_class(value, value == 0, |bits| value < 1 << bits);
    }

    fn push_class(&mut self, value: u64, is_zero: bool, fits: impl Fn(u32) -> bool) {
        if is_zero {
            return self.push(0, 1);
        }
        for (ones, bits) in [(1, 3), (2, 6), (3, 9), (4, 12), (5, 18), (6, 25), (7, 56)] {
            if fits(bits) {
                self.push((1 << (ones + 1)) - 2, ones + 1);
                return self.push(value, bits);
            }
        }
        self.push(0xff, 8);
        self.push(value, 64);
    }

    /// Its bytes, the last one filled with zeros; `head` overwrites the first ones.
    pub(super) fn finish(mut self, head: &[u8]) -> Vec<u8> {
        self.bytes[..head.len()].copy_from_slice(head);
        self.bytes
    }
}

/// A value that is written as what differs from the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Xor {
    previous: u64,
    /// The window of the last difference: zeros before and behind it.
    window: Option<(u32, u32)>,
}

impl Xor {
    pub(super) fn new(first: f64) -> Self {
        Self { previous: first.to_bits(), window: None }
    }

    pub(super) fn push(&mut self, value: f64, bits: &mut Bits) {
        let difference = value.to_bits() ^ self.previous;
        self.previous = value.to_bits();
        if difference == 0 {
            return bits.push(0, 1);
        }
        bits.push(1, 1);
        // Five bits hold the number of leading zeros.
        let (leading, trailing) = (difference.leading_zeros().min(31), difference.trailing_zeros());
        if let Some((before, behind)) = self.window.filter(|(b, t)| leading >= *b && trailing >= *t) {
            bits.push(0, 1);
            return bits.push(difference >> behind, 64 - before - behind);
        }
        self.window = Some((leading, trailing));
        let significant = 64 - leading - trailing;
        bits.push(1, 1);
        bits.push(u64::from(leading), 5);
        // Sixty-four does not fit into six bits; there is never none, so nought stands for it.
        bits.push(u64::from(significant & 63), 6);
        bits.push(difference >> trailing, significant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_class() {
        let written = |push: &dyn Fn(&mut Bits)| {
            let mut bits = Bits::default();
            push(&mut bits);
            let used = bits.bytes.len() as u32 * 8 - bits.free;
            let text: String = bits.bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            text[..used as usize].to_owned()
        };
        for (value, expected) in [
            (0, "0"),
            (-3, "10101"),
            (4, "10100"),
            (-4, "110111100"),
            (32, "110100000"),
            (33, "1110000100001"),
            (-256, "11110111100000000"),
        ] {
            assert_eq!(written(&|bits| bits.push_varbit(value)), expected, "{value}");
        }
        for (value, expected) in
            [(0, "0"), (7, "10111"), (8, "110001000"), (63, "110111111"), (64, "1110001000000")]
        {
            assert_eq!(written(&|bits| bits.push_varbit_unsigned(value)), expected, "{value}");
        }
        assert_eq!(written(&|bits| bits.push_varbit(i64::MIN)).len(), 72);
        assert_eq!(written(&|bits| bits.push_varbit((1 << 55) + 1)).len(), 72);
        assert_eq!(written(&|bits| bits.push_varbit(1 << 55)).len(), 64);
        assert_eq!(written(&|bits| bits.push_varbit_unsigned(u64::MAX)).len(), 72);
    }
}
