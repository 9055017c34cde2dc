//! A protobuf writer for tests: says exactly which bytes go on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "each test binary uses a part of it")]

/// A message being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

pub(crate) fn message() -> Message {
    Message::default()
}

pub(crate) fn varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

pub(crate) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

impl Message {
    fn tag(&mut self, field: u32, wire: u64) {
        varint(&mut self.0, u64::from(field) << 3 | wire);
    }
    pub(crate) fn int(mut self, field: u32, n: i64) -> Self {
        self.tag(field, 0);
        varint(&mut self.0, n as u64);
        self
    }
    pub(crate) fn sint(self, field: u32, n: i64) -> Self {
        self.int(field, zigzag(n) as i64)
    }
    pub(crate) fn double(self, field: u32, v: f64) -> Self {
        self.fixed(field, v.to_bits())
    }
    pub(crate) fn fixed(mut self, field: u32, bits: u64) -> Self {
        self.tag(field, 1);
        self.0.extend(bits.to_le_bytes());
        self
    }
    pub(crate) fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.tag(field, 2);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
    pub(crate) fn sub(self, field: u32, message: Message) -> Self {
        self.bytes(field, message.0)
    }
    pub(crate) fn packed_doubles(self, field: u32, values: &[f64]) -> Self {
        self.bytes(field, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }
    pub(crate) fn packed_fixed(self, field: u32, values: &[u64]) -> Self {
        self.bytes(field, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }
    pub(crate) fn packed(self, field: u32, values: &[u64]) -> Self {
        let mut bytes = Vec::new();
        values.iter().for_each(|v| varint(&mut bytes, *v));
        self.bytes(field, bytes)
    }
    pub(crate) fn packed_sint(self, field: u32, values: &[i64]) -> Self {
        self.packed(field, &values.iter().map(|v| zigzag(*v)).collect::<Vec<_>>())
    }
}

pub(crate) fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}
