//! Remote write 1.0 bodies, written out by hand from the protocol (protobuf fields of
//! `prometheus.WriteRequest`, snappy block format): the tests' own witness against the server's decoder.

use snap::raw::Encoder;

/// The headers of a remote write 1.0 request.
pub const HEADERS: [(&str, &str); 4] = [
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf"),
    ("User-Agent", "marigram-tests"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// Bytes of a protobuf varint.
pub const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a protobuf varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends one label pair as field 1 of a series.
pub fn put_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let inner = 2 + varint_len(name.len() as u64) + name.len() + varint_len(value.len() as u64) + value.len();
    out.push(0x0a);
    put_varint(out, inner as u64);
    out.push(0x0a);
    put_varint(out, name.len() as u64);
    out.extend_from_slice(name);
    out.push(0x12);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Bytes of one sample as field 2 of a series, without the field's own tag and length.
pub const fn sample_len(timestamp: i64) -> usize {
    9 + 1 + varint_len(timestamp as u64)
}

/// Appends one sample (milliseconds, any bit pattern) as field 2 of a series.
pub fn put_sample(out: &mut Vec<u8>, timestamp: i64, value: f64) {
    out.push(0x12);
    put_varint(out, sample_len(timestamp) as u64);
    out.push(0x09);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
    out.push(0x10);
    put_varint(out, timestamp as u64);
}

/// A write request under construction.
#[derive(Debug, Default)]
pub struct Request {
    proto: Vec<u8>,
    scratch: Vec<u8>,
}

impl Request {
    /// Adds a series; labels must be sorted by name.
    pub fn series(&mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
        self.scratch.clear();
        for (name, value) in labels {
            put_label(&mut self.scratch, name.as_bytes(), value.as_bytes());
        }
        for &(timestamp, value) in samples {
            put_sample(&mut self.scratch, timestamp, value);
        }
        self.proto.push(0x0a);
        put_varint(&mut self.proto, self.scratch.len() as u64);
        self.proto.extend_from_slice(&self.scratch);
    }

    /// The body to send, compressed; the request is empty afterwards.
    pub fn take_body(&mut self) -> Vec<u8> {
        let body = Encoder::new().compress_vec(&self.proto).expect("a request is far below snappy's limit");
        self.proto.clear();
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_the_protocol_says() {
        let mut request = Request::default();
        request.series(&[("__name__", "up")], &[(300, 1.0)]);
        let expected = [
            &[0x0a, 0x1e][..],
            &[0x0a, 0x0e, 0x0a, 0x08],
            b"__name__",
            &[0x12, 0x02],
            b"up",
            &[0x12, 0x0c, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02],
        ]
        .concat();
        assert_eq!(request.proto, expected);
        let body = request.take_body();
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&body).unwrap(), expected);
    }

    #[test]
    fn varints_have_the_length_they_are_said_to_have() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }
}
