//! Prometheus remote write 1.0 and 2.0: one request in, one receipt out.
//!
//! Where it sits: the server hands over headers and body, the engine takes the columns. Invariants: the
//! body is decompressed and walked once; known series cost a hash of the bytes that name them; buffers
//! belong to the thread and are reused, up to a size.

mod scratch;
mod v1;
mod v2;

use crate::compression::decompress;
use crate::keys::{Canonical, Learned};
use crate::labels::clip;
use crate::limits::Budget;
use crate::metadata::Seen;
use crate::refusals::MESSAGES_MAX;
use crate::{Encoding, Error, Limits};
use engine::{AppendOutcome, Engine, Ticket};
use scratch::Scratch;
use std::sync::{Arc, LazyLock};

/// The content type of remote write 2.0, for servers that announce it.
pub const V2_PROTO: &str = "io.prometheus.write.v2.Request";
const V1_PROTO: &str = "prometheus.WriteRequest";

/// The headers that say how a body is to be read; `None` where the request has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestInfo<'a> {
    /// `Content-Type`. Absent means remote write 1.0.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`. Absent means snappy.
    pub content_encoding: Option<&'a str>,
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`, whose answer carries the counts of what was written.
    V2,
}

/// What became of a request. Answer once `ticket` says that it is durable: success when `rejected` is
/// empty, else 400 with the reasons; what was written stays written.
#[derive(Debug)]
pub struct Receipt {
    /// Version of the request.
    pub version: Version,
    /// Float samples stored.
    pub samples_written: u64,
    /// Native histograms stored.
    pub histograms_written: u64,
    /// Exemplars stored.
    pub exemplars_written: u64,
    /// Samples and histograms that were not stored.
    pub rejected_count: u64,
    /// Why, for the first of them; empty when everything was stored.
    pub rejected: Vec<String>,
    /// The engine's promise.
    pub ticket: Ticket,
}

/// What the headers of a remote write request say about its body.
///
/// # Errors
/// `UnsupportedMediaType` and `UnsupportedEncoding`.
pub fn negotiate(request: RequestInfo<'_>) -> Result<(Version, Encoding), Error> {
    let version = version(request.content_type.unwrap_or_default())?;
    let encoding = match request.content_encoding.map(str::trim) {
        None | Some("") => Encoding::Snappy,
        Some(name) => match Encoding::from_header(name) {
            Some(known @ (Encoding::Snappy | Encoding::Zstd | Encoding::Gzip)) => known,
            _ => return Err(Error::UnsupportedEncoding(clip(name.to_owned()))),
        },
    };
    Ok((version, encoding))
}

fn version(content_type: &str) -> Result<Version, Error> {
    let unsupported = || Error::UnsupportedMediaType(clip(content_type.to_owned()));
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if media.is_empty() {
        return Ok(Version::V1);
    }
    if !media.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(unsupported());
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !name.trim().eq_ignore_ascii_case("proto") {
            continue;
        }
        return match value.trim().trim_matches('"') {
            V1_PROTO => Ok(Version::V1),
            V2_PROTO => Ok(Version::V2),
            _ => Err(unsupported()),
        };
    }
    Ok(Version::V1)
}

/// Receives remote write for one engine. Share it: its cache of known metadata serves all connections.
#[derive(Debug)]
pub struct Receiver {
    engine: Arc<Engine>,
    limits: Limits,
    known: Known,
}

/// What earlier requests have taught.
#[derive(Debug, Default)]
struct Known {
    seen: Seen,
    canonical: Canonical,
}

impl Receiver {
    /// A receiver with limits of one's own, usually [`Limits::REMOTE_WRITE`].
    #[must_use]
    pub fn new(engine: Arc<Engine>, limits: Limits) -> Self {
        Self { engine, limits, known: Known::default() }
    }
    /// Decodes, validates and stores one request.
    ///
    /// # Errors
    /// When nothing was stored: headers that are not understood, a body that is malformed or over a limit,
    /// or an engine that refuses writes.
    pub fn receive(&self, request: RequestInfo<'_>, body: &[u8]) -> Result<Receipt, Error> {
        store(&self.engine, request, body, &self.limits, &self.known)
    }
}

/// Decodes, validates and stores one request with the default limits and without a [`Receiver`]'s cache:
/// all metadata is told to the engine again.
///
/// # Errors
/// As [`Receiver::receive`].
pub fn receive(engine: &Engine, request: RequestInfo<'_>, body: &[u8]) -> Result<Receipt, Error> {
    store(engine, request, body, &Limits::REMOTE_WRITE, &Known::default())
}

fn store(
    engine: &Engine,
    request: RequestInfo<'_>,
    body: &[u8],
    limits: &Limits,
    known: &Known,
) -> Result<Receipt, Error> {
    let (version, encoding) = negotiate(request)?;
    scratch::with(|scratch| {
        decode(scratch, version, encoding, body, limits, &known.seen)?;
        scratch.metadata.tell(engine, &known.seen)?;
        append(engine, version, scratch, limits, &known.canonical)
    })
}

/// Decodes a request into columns and throws them away: what decoding alone costs, for measurements and
/// fuzzing. Returns the number of samples and histograms.
///
/// # Errors
/// As [`Receiver::receive`], apart from the engine's.
pub fn decode_only(request: RequestInfo<'_>, body: &[u8]) -> Result<usize, Error> {
    static SEEN: LazyLock<Seen> = LazyLock::new(Seen::default);
    let (version, encoding) = negotiate(request)?;
    scratch::with(|scratch| {
        decode(scratch, version, encoding, body, &Limits::REMOTE_WRITE, &SEEN)?;
        scratch.metadata.remember(&SEEN);
        Ok(scratch.batch.timestamps.len() + scratch.batch.histograms.len())
    })
}

fn decode(
    scratch: &mut Scratch,
    version: Version,
    encoding: Encoding,
    body: &[u8],
    limits: &Limits,
    seen: &Seen,
) -> Result<(), Error> {
    scratch.clear();
    decompress(encoding, body, limits.body_bytes, &mut scratch.body)?;
    let budget = Budget::new(limits);
    match version {
        Version::V1 => v1::decode(scratch, limits, budget, seen),
        Version::V2 => v2::decode(scratch, limits, budget, seen),
    }
}

fn append(
    engine: &Engine,
    version: Version,
    scratch: &mut Scratch,
    limits: &Limits,
    canonical: &Canonical,
) -> Result<Receipt, Error> {
    if version == Version::V2 {
        canonical.apply(&mut scratch.batch, |_| ());
    }
    let wrong = read_exemplars(version, scratch, limits);
    let mut learned = Learned::default();
    let view: &Scratch = scratch;
    let (outcome, ticket) = match version {
        Version::V1 => engine.append_batch(&view.batch, &mut |e| v1::labels(view, e, limits))?,
        Version::V2 => engine.append_batch(&view.batch, &mut |e| {
            let labels = v2::labels(view, e, limits)?;
            learned.add(e.key, &labels);
            Ok(labels)
        })?,
    };
    canonical.learn(learned);
    let (samples, histograms) = (view.batch.timestamps.len() as u64, view.batch.histograms.len() as u64);
    let mut rejected = std::mem::take(&mut scratch.refusals.messages);
    describe(&outcome, &mut rejected);
    rejected.extend(wrong.into_iter().take(MESSAGES_MAX.saturating_sub(rejected.len())));
    let refused_floats = outcome.rejected_count.saturating_sub(outcome.rejected_histograms);
    Ok(Receipt {
        version,
        samples_written: samples.saturating_sub(refused_floats),
        histograms_written: histograms.saturating_sub(outcome.rejected_histograms),
        // Ones that are left out cost the sender nothing, as with Prometheus.
        exemplars_written: outcome.exemplars_stored,
        rejected_count: outcome.rejected_count + scratch.refusals.count,
        rejected,
        ticket,
    })
}

/// Reads the exemplars of the request into the batch. Returns what is wrong with the malformed ones.
fn read_exemplars(version: Version, scratch: &mut Scratch, limits: &Limits) -> Vec<String> {
    let (mut wrong, mut read) = (Vec::new(), Vec::with_capacity(scratch.exemplars.len()));
    for pending in &scratch.exemplars {
        let message = scratch.body.get(pending.start as usize..pending.end as usize).unwrap_or_default();
        let exemplar = match version {
            Version::V1 => v1::exemplar(message, limits),
            Version::V2 => v2::exemplar(scratch, message, limits),
        };
        match exemplar {
            Ok(exemplar) => read.push((pending.entry, exemplar)),
            Err(why) => wrong.push(format!("exemplar: {why}")),
        }
    }
    scratch.batch.exemplars = read;
    wrong
}

/// Adds the engine's reasons in the words of Prometheus.
fn describe(outcome: &AppendOutcome, into: &mut Vec<String>) {
    let samples = outcome.rejected.iter().map(|r| {
        format!("{} for series {} at timestamp {}", r.reason, clip(r.labels.to_string()), r.timestamp)
    });
    let room = MESSAGES_MAX.saturating_sub(into.len());
    into.extend(samples.chain(outcome.invalid_series.iter().cloned()).take(room));
    if into.is_empty() && outcome.rejected_count > 0 {
        into.push(format!("{} samples were not stored", outcome.rejected_count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let cases = [
            ("", Some(Version::V1)),
            ("application/x-protobuf", Some(Version::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1)),
            ("application/x-protobuf; proto=io.prometheus.write.v2.Request", Some(Version::V2)),
            ("Application/X-Protobuf;proto=\"io.prometheus.write.v2.Request\"", Some(Version::V2)),
            ("application/x-protobuf;charset=utf-8", Some(Version::V1)),
            ("application/x-protobuf;proto=unknown", None),
            ("application/x-protobuf;proto=", None),
            ("application/json", None),
            ("text/plain", None),
        ];
        for (content_type, want) in cases {
            assert_eq!(version(content_type).ok(), want, "{content_type}");
        }
    }

    #[test]
    fn content_encodings() {
        let cases = [
            (None, Some(Encoding::Snappy)),
            (Some("snappy"), Some(Encoding::Snappy)),
            (Some("zstd"), Some(Encoding::Zstd)),
            (Some("gzip"), Some(Encoding::Gzip)),
            (Some("br"), None),
            (Some("identity"), None),
        ];
        for (content_encoding, want) in cases {
            let got = negotiate(RequestInfo { content_type: None, content_encoding });
            assert_eq!(got.ok().map(|g| g.1), want, "{content_encoding:?}");
        }
    }
}
