//! OTLP metrics: one export request in, one receipt out.
//!
//! Where it sits: the server hands over the body and its format, the engine takes the columns. JSON is
//! rewritten as protobuf first, so that both formats have one decoder and one meaning. Invariants: one bad
//! data point never costs the others; refused data points are counted exactly; known series cost hashes.

mod attributes;
mod config;
mod delta;
mod exemplars;
mod json;
mod names;
mod noted;
mod points;
mod request;
mod resolve;
pub mod response;
mod schema;
mod streams;
mod walk;

pub use config::{Config, DeltaMode, TranslationStrategy};
pub use noted::{Note, Noted};

use crate::compression::decompress;
use crate::keys::{Canonical, Learned};
use crate::labels::clip;
use crate::metadata::Seen;
use crate::refusals::MESSAGES_MAX;
use crate::relabel::Relabeling;
use crate::{Decoded, Encoding, Error, Limits};
use engine::{AppendOutcome, Engine, Ticket};
use request::{Origin, Request};
use resolve::Resolver;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use streams::Streams;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Format {
    /// From a `Content-Type` header, parameters aside.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        match value.split(';').next().unwrap_or_default().trim() {
            t if t.eq_ignore_ascii_case("application/x-protobuf") => Some(Self::Protobuf),
            t if t.eq_ignore_ascii_case("application/json") => Some(Self::Json),
            _ => None,
        }
    }
    /// The content type of answers, without parameters: some clients compare it as a whole.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What became of an export request. Answer success once `ticket` says that it is durable, with the
/// refused data points as partial success.
#[derive(Debug)]
pub struct Receipt {
    /// Data points in the request.
    pub points: u64,
    /// Data points that were not stored.
    pub rejected: u64,
    /// Why, for the first of them; empty when nothing is to be told.
    pub message: String,
    /// What was noticed on the way.
    pub noted: Noted,
    /// Whether the same request may fare better a second later. What was stored stays stored; sending it
    /// again changes nothing.
    pub retry_later: bool,
    /// The engine's promise.
    pub ticket: Ticket,
}

/// Receives OTLP metrics for one engine. Share it.
#[derive(Debug)]
pub struct Receiver {
    engine: Arc<Engine>,
    config: Config,
    limits: Limits,
    relabeling: Arc<Relabeling>,
    seen: Seen,
    canonical: Canonical,
    streams: Streams,
}

impl Receiver {
    /// A receiver; `limits` are usually [`Limits::OTLP`].
    #[must_use]
    pub fn new(engine: Arc<Engine>, config: Config, limits: Limits) -> Self {
        Self {
            engine,
            config,
            limits,
            relabeling: Arc::default(),
            seen: Seen::default(),
            canonical: Canonical::default(),
            streams: Streams::default(),
        }
    }

    /// The same receiver under relabeling rules, which may change while it works.
    #[must_use]
    pub fn with_relabeling(self, relabeling: Arc<Relabeling>) -> Self {
        Self { relabeling, ..self }
    }

    /// Decodes, translates and stores one `ExportMetricsServiceRequest`.
    ///
    /// # Errors
    /// When nothing was stored: a body that is malformed or over a limit, or an engine that refuses
    /// writes.
    pub fn receive(&self, format: Format, encoding: Encoding, body: &[u8]) -> Result<Receipt, Error> {
        request::with(|request| {
            decode(request, (format, encoding), body, &self.config, &self.limits, &self.seen)?;
            self.store(request)
        })
    }

    fn store(&self, request: &mut Request) -> Result<Receipt, Error> {
        request.metadata.tell(&self.engine, &self.seen)?;
        let adds_up = request.has_delta && self.config.delta == DeltaMode::ToCumulative;
        self.name(request, adds_up);
        let (outcome, ticket) = if adds_up { self.add_up(request)? } else { self.append(request)? };
        let late = refused_points(request, &outcome);
        let retry_later = outcome.passes_by_itself();
        let points = request.points.len() as u64 + request.skipped_points;
        let rejected = request.refusals.count + late;
        let mut messages = std::mem::take(&mut request.refusals.messages);
        describe(&outcome, &mut messages);
        let (message, noted) = (messages.join("; "), request.noted);
        Ok(Receipt { points, rejected, message, noted, retry_later, ticket })
    }

    /// Gives the batch the keys by which the engine knows its series best, under relabeling rules those of
    /// the new labels. Where the request `adds_up`, the entries are noted whose best key is not known yet.
    fn name(&self, request: &mut Request, adds_up: bool) {
        let Some(rules) = self.relabeling.current() else {
            let Request { batch, unknown_keys, .. } = request;
            return self.canonical.apply(batch, |i| {
                if adds_up {
                    unknown_keys.push(i);
                }
            });
        };
        let mut batch = std::mem::take(&mut request.batch);
        let mut resolver = Resolver::new(request, &self.config, &self.limits);
        let relabeled = rules.relabel(&mut batch, &mut |e| resolver.original(e));
        (request.batch, request.relabel) = (batch, Some(rules));
        self.relabeling.count(&relabeled);
    }

    /// Stores a request that holds deltas as totals.
    fn add_up(&self, request: &mut Request) -> Result<(AppendOutcome, Ticket), Error> {
        let context = delta::Context {
            engine: &self.engine,
            config: &self.config,
            limits: &self.limits,
            streams: &self.streams,
            canonical: &self.canonical,
        };
        // Held until the engine has the totals, so that two requests for one stream cannot cross.
        let claims = delta::accumulate(request, context)?;
        let appended = self.append(request);
        delta::settle(claims, &request.batch, appended.as_ref().ok().map(|appended| &appended.0));
        appended
    }

    /// Delta streams whose totals are kept in memory.
    #[must_use]
    pub fn delta_streams(&self) -> usize {
        self.streams.len()
    }

    fn append(&self, request: &mut Request) -> Result<(AppendOutcome, Ticket), Error> {
        exemplars::place(request, &self.config, &self.limits);
        let mut resolver = Resolver::new(request, &self.config, &self.limits);
        let mut learned = Learned::default();
        // What a key stands for under rules is theirs to remember.
        let learns = request.relabel.is_none();
        let appended = self.engine.append_batch(&request.batch, &mut |e| {
            let labels = resolver.labels(e)?;
            if learns {
                learned.add(e.key, &labels);
            }
            Ok(labels)
        })?;
        let collisions = resolver.collisions();
        self.canonical.learn(learned);
        request.noted.add_many(Note::LabelNameCollision, collisions);
        Ok(appended)
    }
}

/// Decodes a request into columns and throws them away: what decoding alone costs, for measurements and
/// fuzzing. Returns the number of samples and histograms.
///
/// # Errors
/// As [`Receiver::receive`], apart from the engine's.
pub fn decode_only(format: Format, encoding: Encoding, body: &[u8]) -> Result<usize, Error> {
    static SEEN: LazyLock<Seen> = LazyLock::new(Seen::default);
    static CONFIG: LazyLock<Config> = LazyLock::new(Config::default);
    request::with(|request| {
        decode(request, (format, encoding), body, &CONFIG, &Limits::OTLP, &SEEN)?;
        request.metadata.remember(&SEEN);
        Ok(request.batch.timestamps.len() + request.batch.histograms.len())
    })
}

/// Decodes and translates a request and stores nothing; deltas stay as they are.
///
/// # Errors
/// As [`Receiver::receive`], apart from the engine's.
pub fn inspect(
    format: Format,
    encoding: Encoding,
    body: &[u8],
    config: &Config,
    limits: &Limits,
) -> Result<Decoded, Error> {
    request::with(|request| {
        decode(request, (format, encoding), body, config, limits, &Seen::default())?;
        let request: &Request = request;
        let mut resolver = Resolver::new(request, config, limits);
        Ok(Decoded::new(&request.batch, request.refusals.count, &mut |e| resolver.labels(e)))
    })
}

fn decode(
    request: &mut Request,
    (format, encoding): (Format, Encoding),
    body: &[u8],
    config: &Config,
    limits: &Limits,
    seen: &Seen,
) -> Result<(), Error> {
    request.clear();
    let limit = limits.body_bytes;
    match (format, encoding) {
        (Format::Protobuf, _) => decompress(encoding, body, limit, &mut request.body)?,
        (Format::Json, Encoding::Identity) if body.len() <= limit => {
            json::to_protobuf(body, limit, &mut request.body)?;
        }
        (Format::Json, _) => {
            let mut text = Vec::new();
            decompress(encoding, body, limit, &mut text)?;
            json::to_protobuf(&text, limit, &mut request.body)?;
        }
    }
    walk::walk(request, config, limits, seen)
}

/// Data points of which the engine did not store everything. A `target_info` is no data point.
fn refused_points(request: &Request, outcome: &AppendOutcome) -> u64 {
    let points = outcome.rejected_entries.iter().filter_map(|i| {
        match Origin::of(request.batch.series.get(*i as usize)?) {
            Origin::Point(point, _) => Some(point),
            Origin::Target(_) => None,
        }
    });
    points.collect::<HashSet<_>>().len() as u64
}

/// Adds the engine's reasons in the words of Prometheus.
fn describe(outcome: &AppendOutcome, into: &mut Vec<String>) {
    let samples = outcome.rejected.iter().map(|r| {
        format!("{} for series {} at timestamp {}", r.reason, clip(r.labels.to_string()), r.timestamp)
    });
    let room = MESSAGES_MAX.saturating_sub(into.len());
    into.extend(samples.chain(outcome.invalid_series.iter().cloned()).take(room));
    into.dedup();
}
