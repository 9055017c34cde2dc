//! Bounded decompression of request bodies.
//!
//! Where it sits: between the raw body and the decoders. Invariants: a declared length is compared with
//! the limit before anything is allocated; output never exceeds the limit; zstd windows are capped at
//! 8 MiB. The output buffer is the caller's and is reused.

use crate::Error;
use crate::limits::Limit;
use std::cell::RefCell;
use std::io::Read;

/// Largest zstd window accepted: 2^23 bytes, which is what RFC 8878 asks receivers to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// Snappy's block format.
    Snappy,
    /// Zstandard, any number of frames.
    Zstd,
    /// Gzip, any number of members.
    Gzip,
    /// HTTP's "deflate": zlib, or a bare deflate stream as some senders mean it.
    Deflate,
}

impl Encoding {
    /// From a `Content-Encoding` header; empty means identity.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        let value = value.trim();
        let is = |name: &str| value.eq_ignore_ascii_case(name);
        match () {
            () if value.is_empty() || is("identity") || is("none") => Some(Self::Identity),
            () if is("snappy") => Some(Self::Snappy),
            () if is("zstd") => Some(Self::Zstd),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") || is("zlib") => Some(Self::Deflate),
            () => None,
        }
    }
}

impl Encoding {
    /// The decompressed `body`, at most `limit` bytes.
    ///
    /// # Errors
    /// When it is malformed or longer.
    pub fn decompress(self, body: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        let mut into = Vec::new();
        decompress(self, body, limit, &mut into)?;
        Ok(into)
    }
}

/// Replaces the content of `into` by the decompressed `body`, at most `limit` bytes.
pub(crate) fn decompress(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    match encoding {
        Encoding::Identity => {
            within(body.len(), limit)?;
            into.clear();
            into.extend_from_slice(body);
            Ok(())
        }
        Encoding::Snappy => snappy(body, limit, into),
        Encoding::Zstd => zstd(body, limit, into),
        Encoding::Gzip => bounded(flate2::bufread::MultiGzDecoder::new(body), limit, into, "gzip body"),
        Encoding::Deflate if is_zlib(body) => {
            bounded(flate2::bufread::ZlibDecoder::new(body), limit, into, "zlib body")
        }
        Encoding::Deflate => bounded(flate2::bufread::DeflateDecoder::new(body), limit, into, "deflate body"),
    }
}

fn within(len: usize, limit: usize) -> Result<(), Error> {
    if len > limit {
        Limit::BodyBytes.refused();
        return Err(Error::TooLarge { what: "bytes", limit });
    }
    Ok(())
}

fn snappy(body: &[u8], limit: usize, into: &mut Vec<u8>) -> Result<(), Error> {
    let bad = Error::BadPayload { what: "snappy block", offset: 0 };
    let Ok(len) = snap::raw::decompress_len(body) else { return Err(bad) };
    within(len, limit)?;
    // An element of a block makes at most 64 bytes from three, so a larger claim is a lie.
    if len > body.len().saturating_mul(32) {
        return Err(bad);
    }
    // The buffer keeps its old bytes: clearing would mean zeroing it again for every request.
    into.resize(len, 0);
    match snap::raw::Decoder::new().decompress(body, into) {
        Ok(n) if n == len => Ok(()),
        _ => Err(bad),
    }
}

fn zstd(body: &[u8], limit: usize, into: &mut Vec<u8>) -> Result<(), Error> {
    thread_local! {
        static CONTEXT: RefCell<Option<::zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    if let Ok(Some(declared)) = ::zstd::zstd_safe::get_frame_content_size(body) {
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        within(declared, limit)?;
        // A claim far above the body is answered by the streaming decoder, which allocates as it goes.
        if declared <= body.len().saturating_mul(256) {
            into.clear();
            into.reserve(declared);
            let done = CONTEXT.with_borrow_mut(|slot| {
                if slot.is_none() {
                    *slot = ::zstd::bulk::Decompressor::new().ok();
                }
                slot.as_mut().is_some_and(|d| d.decompress_to_buffer(body, into).is_ok())
            });
            if done && into.len() <= limit {
                return Ok(());
            }
        }
    }
    let mut decoder = ::zstd::stream::read::Decoder::with_buffer(body)
        .map_err(|_| Error::BadPayload { what: "zstd body", offset: 0 })?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(|_| Error::BadPayload { what: "zstd body", offset: 0 })?;
    bounded(decoder, limit, into, "zstd body")
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flags, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0)
}

fn bounded(reader: impl Read, limit: usize, into: &mut Vec<u8>, what: &'static str) -> Result<(), Error> {
    into.clear();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(into).map_err(|_| Error::BadPayload { what, offset: 0 })?;
    within(into.len(), limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const LIMIT: usize = 1 << 20;

    fn compressed(encoding: Encoding, data: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => data.to_vec(),
            Encoding::Snappy => snap::raw::Encoder::new().compress_vec(data).unwrap(),
            Encoding::Zstd => ::zstd::encode_all(data, 3).unwrap(),
            Encoding::Gzip => {
                let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut w = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
        }
    }

    const ALL: [Encoding; 5] =
        [Encoding::Identity, Encoding::Snappy, Encoding::Zstd, Encoding::Gzip, Encoding::Deflate];

    #[test]
    fn a_bomb_is_refused_by_its_output_and_never_grows_beyond_the_limit() {
        let zeros = vec![0; 4 * LIMIT];
        for encoding in ALL {
            let mut into = Vec::new();
            let got = decompress(encoding, &compressed(encoding, &zeros), LIMIT, &mut into);
            assert!(matches!(got, Err(Error::TooLarge { .. })), "{encoding:?}: {got:?}");
            assert!(into.capacity() <= 2 * LIMIT + 64, "{encoding:?} allocated {}", into.capacity());
        }
    }

    #[test]
    fn a_declared_snappy_length_is_not_believed() {
        for declared in [u64::from(u32::MAX), (LIMIT as u64) - 1, 1 << 40] {
            let mut body = Vec::new();
            crate::wire::push_varint(&mut body, declared);
            body.extend([0, 1, 2]);
            let mut into = Vec::new();
            assert!(decompress(Encoding::Snappy, &body, LIMIT, &mut into).is_err());
            assert!(into.capacity() < 4096);
        }
    }

    #[test]
    fn zstd_streams_without_size_many_frames_and_wide_windows() {
        let mut streamed = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        streamed.write_all(b"hello ").unwrap();
        let mut body = streamed.finish().unwrap();
        body.extend(::zstd::encode_all(&b"world"[..], 1).unwrap());
        let mut into = Vec::new();
        decompress(Encoding::Zstd, &body, LIMIT, &mut into).unwrap();
        assert_eq!(into, b"hello world");

        let mut wide = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        wide.set_parameter(::zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
        wide.include_contentsize(false).unwrap();
        wide.write_all(&vec![7; 1000]).unwrap();
        wide.flush().unwrap();
        wide.write_all(&vec![8; 1000]).unwrap();
        assert!(decompress(Encoding::Zstd, &wide.finish().unwrap(), LIMIT, &mut into).is_err());
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let mut body = compressed(Encoding::Gzip, b"a");
        body.extend(compressed(Encoding::Gzip, b"b"));
        let mut into = Vec::new();
        decompress(Encoding::Gzip, &body, LIMIT, &mut into).unwrap();
        assert_eq!(into, b"ab");
    }

    #[test]
    fn header_names() {
        assert_eq!(Encoding::from_header(""), Some(Encoding::Identity));
        assert_eq!(Encoding::from_header("GZIP"), Some(Encoding::Gzip));
        assert_eq!(Encoding::from_header("br"), None);
        assert_eq!(Encoding::from_header("gzip, gzip"), None);
    }

    proptest! {
        #[test]
        fn round_trips_and_survives_damage(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            which in 0usize..5,
            cut in any::<proptest::sample::Index>(),
            flip in any::<(proptest::sample::Index, u8)>(),
        ) {
            let encoding = ALL[which];
            let mut body = compressed(encoding, &data);
            let mut into = Vec::new();
            decompress(encoding, &body, LIMIT, &mut into).unwrap();
            prop_assert_eq!(&into, &data);
            if !body.is_empty() {
                let _ = decompress(encoding, &body[..cut.index(body.len())], LIMIT, &mut into);
                let at = flip.0.index(body.len());
                body[at] ^= flip.1;
                let _ = decompress(encoding, &body, LIMIT, &mut into);
                prop_assert!(into.len() <= LIMIT);
            }
        }
    }
}
