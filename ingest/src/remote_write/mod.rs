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
use crate::labels::{Pairs, clip};
use crate::limits::Budget;
use crate::metadata::Seen;
use crate::refusals::MESSAGES_MAX;
use crate::relabel::{Relabeled, Relabeling};
use crate::{Decoded, Encoding, Error, Limits};
use engine::{AppendOutcome, Engine, SeriesEntry, Ticket};
use scratch::Scratch;
use std::sync::{Arc, LazyLock};
use storage_format::model::Labels;

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

impl Version {
    const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The version with a message's full name.
    ///
    /// # Errors
    /// A sentence with the names there are.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|version| version.name() == name);
        found.ok_or_else(|| format!("must be {V1_PROTO} or {V2_PROTO}"))
    }
    /// The full name of its message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => V1_PROTO,
            Self::V2 => V2_PROTO,
        }
    }
}

/// What became of a request. Answer once `ticket` says that it is durable: success when `rejected` is
/// empty, else 400 with the reasons; what was written stays written.
#[derive(Debug)]
pub struct Receipt {
    /// Version of the request.
    pub version: Version,
    /// Float samples stored, or dropped because the relabeling rules say so.
    pub samples_written: u64,
    /// Native histograms stored or dropped likewise.
    pub histograms_written: u64,
    /// Exemplars stored.
    pub exemplars_written: u64,
    /// Samples and histograms that were not stored.
    pub rejected_count: u64,
    /// Why, for the first of them; empty when everything was stored.
    pub rejected: Vec<String>,
    /// Whether the same request may fare better a second later. What was written stays written; writing it
    /// again changes nothing.
    pub retry_later: bool,
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
    relabeling: Arc<Relabeling>,
    /// Whether metadata becomes labels.
    type_and_unit_labels: bool,
}

impl Receiver {
    /// A receiver with limits of one's own, usually [`Limits::REMOTE_WRITE`].
    #[must_use]
    pub fn new(engine: Arc<Engine>, limits: Limits) -> Self {
        Self { engine, limits, known: Known::default() }
    }
    /// The same receiver; when `on`, the metadata of a series of version 2 become its labels `__type__` and
    /// `__unit__`.
    #[must_use]
    pub fn with_type_and_unit_labels(mut self, on: bool) -> Self {
        self.known.type_and_unit_labels = on;
        self
    }
    /// The same receiver under relabeling rules, which may change while it works.
    #[must_use]
    pub fn with_relabeling(mut self, relabeling: Arc<Relabeling>) -> Self {
        self.known.relabeling = relabeling;
        self
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
        decode(scratch, (version, encoding), body, limits, known)?;
        scratch.metadata.tell(engine, &known.seen)?;
        append(engine, version, scratch, limits, known)
    })
}

/// Decodes a request into columns and throws them away: what decoding alone costs, for measurements and
/// fuzzing. Returns the number of samples and histograms.
///
/// # Errors
/// As [`Receiver::receive`], apart from the engine's.
pub fn decode_only(request: RequestInfo<'_>, body: &[u8]) -> Result<usize, Error> {
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    let (version, encoding) = negotiate(request)?;
    scratch::with(|scratch| {
        decode(scratch, (version, encoding), body, &Limits::REMOTE_WRITE, &KNOWN)?;
        scratch.metadata.remember(&KNOWN.seen);
        Ok(scratch.batch.timestamps.len() + scratch.batch.histograms.len())
    })
}

/// Decodes a request and stores nothing.
///
/// # Errors
/// As [`Receiver::receive`], apart from the engine's.
pub fn inspect(request: RequestInfo<'_>, body: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let encoding = negotiate(request)?;
    scratch::with(|scratch| {
        decode(scratch, encoding, body, limits, &Known::default())?;
        let view: &Scratch = scratch;
        Ok(Decoded::new(&view.batch, view.refusals.count, &mut |e| labels(encoding.0, view, e, limits)))
    })
}

fn decode(
    scratch: &mut Scratch,
    (version, encoding): (Version, Encoding),
    body: &[u8],
    limits: &Limits,
    known: &Known,
) -> Result<(), Error> {
    scratch.clear();
    scratch.type_and_unit_labels = known.type_and_unit_labels;
    decompress(encoding, body, limits.body_bytes, &mut scratch.body)?;
    let mut budget = Budget::new(limits);
    // Walked while the columns beside it fill.
    let body = std::mem::take(&mut scratch.body);
    let done = match version {
        Version::V1 => v1::walk(&body, scratch, limits, &mut budget, &known.seen),
        Version::V2 => v2::walk(&body, scratch, limits, &mut budget, &known.seen),
    };
    scratch.body = body;
    done
}

/// The labels of a series of the batch, as they are stored.
fn labels(version: Version, view: &Scratch, entry: &SeriesEntry, limits: &Limits) -> Result<Labels, String> {
    match view.relabel.as_deref() {
        None => pairs(version, view, entry, limits)?.series(),
        Some(rules) => pairs(version, view, entry, &Limits::BEFORE_RELABELING)?.relabeled(rules, limits),
    }
}

fn pairs<'a>(
    version: Version,
    view: &'a Scratch,
    entry: &SeriesEntry,
    limits: &'a Limits,
) -> Result<Pairs<'a>, String> {
    match version {
        Version::V1 => v1::pairs(view, entry, limits),
        Version::V2 => v2::pairs(view, entry, limits),
    }
}

/// Puts the batch under the relabeling rules in force; `None` when there are none.
fn relabel(version: Version, scratch: &mut Scratch, relabeling: &Relabeling) -> Option<Relabeled> {
    let rules = relabeling.current()?;
    let mut batch = std::mem::take(&mut scratch.batch);
    let relabeled =
        rules.relabel(&mut batch, &mut |e| pairs(version, scratch, e, &Limits::BEFORE_RELABELING)?.any());
    (scratch.batch, scratch.relabel) = (batch, Some(rules));
    if !relabeled.moved.is_empty() {
        scratch.exemplars.retain_mut(|pending| match relabeled.moved.get(pending.entry as usize) {
            Some(Some(entry)) => {
                pending.entry = *entry;
                true
            }
            _ => false,
        });
    }
    relabeling.count(&relabeled);
    Some(relabeled)
}

fn append(
    engine: &Engine,
    version: Version,
    scratch: &mut Scratch,
    limits: &Limits,
    known: &Known,
) -> Result<Receipt, Error> {
    let relabeled = relabel(version, scratch, &known.relabeling);
    let learns = version == Version::V2 && relabeled.is_none();
    if learns {
        known.canonical.apply(&mut scratch.batch, |_| ());
    }
    let wrong = read_exemplars(version, scratch, limits);
    let mut learned = Learned::default();
    let view: &Scratch = scratch;
    let (outcome, ticket) = engine.append_batch(&view.batch, &mut |e| {
        let labels = labels(version, view, e, limits)?;
        if learns {
            learned.add(e.key, &labels);
        }
        Ok(labels)
    })?;
    known.canonical.learn(learned);
    let (samples, histograms) = (view.batch.timestamps.len() as u64, view.batch.histograms.len() as u64);
    let mut rejected = std::mem::take(&mut scratch.refusals.messages);
    describe(&outcome, &mut rejected);
    rejected.extend(wrong.into_iter().take(MESSAGES_MAX.saturating_sub(rejected.len())));
    // What was to be dropped was handled as it should be, and is nothing to send again.
    let dropped =
        relabeled.map_or((0, 0), |r| (r.dropped_samples - r.dropped_histograms, r.dropped_histograms));
    let refused_floats = outcome.rejected_count.saturating_sub(outcome.rejected_histograms);
    Ok(Receipt {
        version,
        samples_written: samples.saturating_sub(refused_floats) + dropped.0,
        histograms_written: histograms.saturating_sub(outcome.rejected_histograms) + dropped.1,
        // Ones that are left out cost the sender nothing, as with Prometheus.
        exemplars_written: outcome.exemplars_stored,
        rejected_count: outcome.rejected_count + scratch.refusals.count,
        rejected,
        retry_later: outcome.passes_by_itself(),
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
