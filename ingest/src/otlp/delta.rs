//! Delta temporality added up: what a stream sent so far becomes the value of its series.
//!
//! Where it sits: between the walk and the engine, for requests that hold deltas. Invariants: the engine's
//! newest sample of a series is the state of its stream, so what was acknowledged survives a crash and
//! nothing else has to; a point with a timestamp that was added already is a repetition, a success, and is
//! not added again; totals and times only move forward. `streams` keeps a copy of that state, made when a
//! stream is first seen, and lets one request at a time add to a stream.

use super::config::Config;
use super::noted::{Note, Noted};
use super::request::{Derived, Kind, Metric, Origin, Request, push_float};
use super::resolve::Resolver;
use super::streams::{Claim, Claims, Stream, Streams, Total};
use crate::keys::{Canonical, Learned};
use crate::limits::Limits;
use crate::{Error, merge};
use engine::{AppendOutcome, Engine, MatchOp, Matcher, SeriesEntry, Snapshot, WriteBatch};
use std::ops::Range;
use storage_format::model::{Labels, Samples, TimeRange, Timestamp, is_stale};

/// A stream that was silent for longer begins anew. Milliseconds.
const STALE_MS: i64 = 3_600_000;
/// Points of one request that are looked up in the engine because they are older than their stream's newest
/// ones; of more than that nobody says whether they are repetitions, and they are refused as late.
const LOOKUPS_MAX: u32 = 1_000;

/// What a pass over a request needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) engine: &'a Engine,
    pub(super) config: &'a Config,
    pub(super) limits: &'a Limits,
    pub(super) streams: &'a Streams,
    pub(super) canonical: &'a Canonical,
}

/// What becomes of one sample of a delta point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Add,
    Repeated,
    Refused(Note, &'static str),
}

/// Replaces the deltas in the request's batch by totals; points that cannot be added are taken out and
/// refused, repetitions are taken out. The claims are to be kept until the engine has the batch, and then
/// told by [`settle`].
///
/// # Errors
/// When the engine cannot be asked for a stream's newest sample.
pub(super) fn accumulate<'a>(request: &mut Request, context: Context<'a>) -> Result<Claims<'a>, Error> {
    name_canonically(request, context);
    let keys = request.batch.series.iter().filter(|e| delta_metric(request, e).is_some()).map(|e| e.key);
    let claims = context.streams.claim(keys);
    let mut out = std::mem::take(&mut request.spare);
    out.clear();
    let mut pass = Pass {
        claims,
        out,
        refused: Vec::new(),
        noted: Noted::default(),
        request,
        snapshot: None,
        lookups: 0,
        resolver: Resolver::new(request, context.config, context.limits),
        engine: context.engine,
        decisions: Vec::new(),
    };
    let mut from = 0;
    for group in request.batch.series.chunk_by(|a, b| a.key_offset == b.key_offset) {
        if let Err(e) = pass.point(from, group) {
            // What was added up so far is not going to be stored.
            pass.claims.forget_all();
            return Err(e);
        }
        from += group.len();
    }
    let Pass { claims, out, refused, noted, .. } = pass;
    request.spare = std::mem::replace(&mut request.batch, out);
    request.noted.merge(&noted);
    let batch = &mut request.batch;
    if !batch.starts.is_empty() {
        batch.starts.resize(batch.timestamps.len(), 0);
    }
    for why in refused {
        request.refusals.add(1, || why);
    }
    Ok(claims)
}

/// Gives the streams back once the engine has answered: a stream of which it refused something is forgotten,
/// and read from the engine when it comes again; `None` (it refused everything) forgets all.
pub(super) fn settle(mut claims: Claims<'_>, batch: &WriteBatch, outcome: Option<&AppendOutcome>) {
    let Some(outcome) = outcome else { return claims.forget_all() };
    for entry in outcome.rejected_entries.iter().filter_map(|i| batch.series.get(*i as usize)) {
        claims.forget(entry.key);
    }
}

/// The metric of an entry that has to be added up.
fn delta_metric<'r>(request: &'r Request, entry: &SeriesEntry) -> Option<&'r Metric> {
    match Origin::of(entry) {
        Origin::Point(_, Derived::Minimum | Derived::Maximum) | Origin::Target(_) => None,
        Origin::Point(point, _) => {
            let point = request.points.get(point as usize)?;
            request.metrics.get(point.metric as usize).filter(|metric| metric.delta)
        }
    }
}

/// Gives the entries that hold deltas their canonical keys: two spellings of a series are one stream.
fn name_canonically(request: &mut Request, context: Context<'_>) {
    let unknown = std::mem::take(&mut request.unknown_keys);
    if !unknown.is_empty() {
        let mut learned = Learned::default();
        let mut resolver = Resolver::new(request, context.config, context.limits);
        let mut found = Vec::new();
        for i in &unknown {
            let Some(entry) = request.batch.series.get(*i as usize) else { continue };
            // Series that have no labels are refused by the engine in a moment.
            if let (Some(_), Ok(labels)) = (delta_metric(request, entry), resolver.labels(entry)) {
                found.push((*i, learned.add(entry.key, &labels)));
            }
        }
        for (i, key) in found {
            request.batch.series[i as usize].key = key;
        }
        context.canonical.learn(learned);
    }
    request.unknown_keys = unknown;
}

/// One pass over a batch.
struct Pass<'a, 's> {
    claims: Claims<'s>,
    out: WriteBatch,
    refused: Vec<String>,
    noted: Noted,
    request: &'a Request,
    snapshot: Option<Snapshot>,
    lookups: u32,
    resolver: Resolver<'a>,
    engine: &'a Engine,
    decisions: Vec<Decision>,
}

impl Pass<'_, '_> {
    /// Takes over the entries of one data point, `group`, the first of which is number `from`.
    fn point(&mut self, from: usize, group: &[SeriesEntry]) -> Result<(), Error> {
        let metric = group.iter().find_map(|entry| delta_metric(self.request, entry));
        let Some(metric) = metric.filter(|_| !self.is_stale(from)) else {
            for i in 0..group.len() {
                self.copy(from + i);
            }
            return Ok(());
        };
        let monotonic = metric.kind != Kind::Sum { monotonic: false };
        self.decisions.clear();
        for (i, entry) in group.iter().enumerate() {
            let decision = self.decide(from + i, entry, monotonic)?;
            if let Decision::Refused(note, why) = decision {
                let name = metric.name.of(&self.request.body);
                let name = crate::labels::clip(String::from_utf8_lossy(name).into_owned());
                self.refused.push(format!("metric {name:?}: {why}"));
                self.noted.add(note);
                return Ok(());
            }
            self.decisions.push(decision);
        }
        let mut decided = self.decisions.iter().zip(group);
        if decided.all(|(decision, entry)| *decision == Decision::Repeated || is_extreme(entry)) {
            self.noted.add(Note::DeltaRepeated);
            return Ok(());
        }
        for (i, entry) in group.iter().enumerate() {
            // After a crash some series of a point may have been stored and others not.
            if self.decisions[i] == Decision::Add {
                self.add(from + i, entry);
            }
        }
        Ok(())
    }

    /// Where the samples of entry `i` stand: floats, histograms.
    fn ranges(&self, i: usize) -> (Range<usize>, Range<usize>) {
        let series = &self.request.batch.series;
        let (f, h) = i.checked_sub(1).map_or((0, 0), |b| (series[b].floats_end, series[b].histograms_end));
        (f as usize..series[i].floats_end as usize, h as usize..series[i].histograms_end as usize)
    }

    fn is_stale(&self, i: usize) -> bool {
        let (floats, histograms) = self.ranges(i);
        let batch = &self.request.batch;
        batch.values[floats].iter().any(|v| is_stale(*v))
            || batch.histograms[histograms].iter().any(|h| h.2.is_stale())
    }

    fn copy(&mut self, i: usize) {
        let (floats, histograms) = self.ranges(i);
        let batch = &self.request.batch;
        for at in floats {
            let start = batch.starts.get(at).copied().unwrap_or(0);
            push_float(&mut self.out, batch.timestamps[at], start, batch.values[at]);
        }
        self.out.histograms.extend_from_slice(&batch.histograms[histograms]);
        let entry = batch.series[i];
        self.out.end_series(entry.key, entry.key_offset, entry.key_len);
    }

    /// Time and start of the one sample of entry `i`, and the sample.
    fn sample(&self, i: usize) -> (Timestamp, Timestamp, Total) {
        let (floats, histograms) = self.ranges(i);
        let batch = &self.request.batch;
        match batch.histograms.get(histograms.start).filter(|_| !histograms.is_empty()) {
            Some((time, start, h)) => (*time, *start, Total::Native(Box::new(h.clone()))),
            None => {
                let at = floats.start;
                let start = batch.starts.get(at).copied().unwrap_or(0);
                (batch.timestamps[at], start, Total::Float(batch.values[at]))
            }
        }
    }

    /// Time, start and, unless it is a histogram, value of the one sample of entry `i`.
    fn times(&self, i: usize) -> (Timestamp, Timestamp, Option<f64>) {
        let (floats, histograms) = self.ranges(i);
        let batch = &self.request.batch;
        match batch.histograms.get(histograms.start).filter(|_| !histograms.is_empty()) {
            Some((time, start, _)) => (*time, *start, None),
            None => {
                let at = floats.start;
                let start = batch.starts.get(at).copied().unwrap_or(0);
                (batch.timestamps[at], start, Some(batch.values[at]))
            }
        }
    }

    fn decide(&mut self, i: usize, entry: &SeriesEntry, monotonic: bool) -> Result<Decision, Error> {
        let (time, start, value) = self.times(i);
        let derived = match Origin::of(entry) {
            Origin::Point(_, derived) => derived,
            Origin::Target(_) => Derived::Plain,
        };
        if matches!(derived, Derived::Minimum | Derived::Maximum) {
            return Ok(Decision::Add);
        }
        if value.is_some_and(|v| derived != Derived::Sum && (v.is_nan() || monotonic && v < 0.0)) {
            return Ok(Decision::Refused(Note::DeltaInvalid, "delta that is negative or not a number"));
        }
        if start > time {
            return Ok(Decision::Refused(Note::DeltaInvalid, "delta that ends before it starts"));
        }
        if matches!(self.claims.get(entry.key), Some(Claim::Unread)) {
            let found = self.find(entry, time)?;
            if let Some(claim) = self.claims.get(entry.key) {
                *claim = found.map_or(Claim::New, Claim::Known);
            }
        }
        let Some(Claim::Known(stream)) = self.claims.get(entry.key) else { return Ok(Decision::Add) };
        let newest = stream.newest();
        if stream.has_recent(time) {
            return Ok(Decision::Repeated);
        }
        if time < newest {
            return Ok(match self.is_stored(entry, time)? {
                true => Decision::Repeated,
                false => Decision::Refused(Note::DeltaLate, "delta older than the newest one of its stream"),
            });
        }
        if start != 0 && start < newest {
            return Ok(Decision::Refused(Note::DeltaOverlapping, "delta that overlaps the one before"));
        }
        Ok(Decision::Add)
    }

    /// Reads a stream from the engine, if it is there and was not silent too long.
    fn find(&mut self, entry: &SeriesEntry, time: Timestamp) -> Result<Option<Stream>, Error> {
        // Series that have no labels are refused by the engine in a moment.
        let Ok(labels) = self.resolver.labels(entry) else { return Ok(None) };
        let range = TimeRange::new(time.saturating_sub(STALE_MS), Timestamp::MAX);
        Ok(newest(&self.read(&labels, range)?))
    }

    /// Whether the engine has a sample of the series at this time.
    fn is_stored(&mut self, entry: &SeriesEntry, time: Timestamp) -> Result<bool, Error> {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MAX {
            return Ok(false);
        }
        let Ok(labels) = self.resolver.labels(entry) else { return Ok(false) };
        let samples = self.read(&labels, TimeRange::closed(time, time))?;
        Ok(newest(&samples).is_some())
    }

    /// The samples of the series with these labels.
    fn read(&mut self, labels: &Labels, range: TimeRange) -> Result<Samples, Error> {
        let mut samples = Samples::default();
        let matchers: Result<Vec<_>, _> =
            labels.iter().map(|(n, v)| Matcher::new(MatchOp::Equal, n, v)).collect();
        let Ok(matchers) = matchers else { return Ok(samples) };
        // Taken after the streams were claimed: from then on nobody else adds to them.
        let snapshot = self.snapshot.get_or_insert_with(|| self.engine.snapshot());
        let found = snapshot.select(&matchers, range)?;
        // Matchers also find series with more labels.
        if let Some(series) = found.iter().find(|s| s.labels() == labels) {
            series.read(range, &mut samples)?;
        }
        Ok(samples)
    }

    fn add(&mut self, i: usize, entry: &SeriesEntry) {
        let (time, start, value) = self.sample(i);
        let Some(claim) = self.claims.get(entry.key).filter(|_| !is_extreme(entry)) else {
            return self.copy(i);
        };
        let before = match std::mem::replace(claim, Claim::New) {
            Claim::Known(stream) if stream.newest() >= time.saturating_sub(STALE_MS) => Some(stream),
            _ => None,
        };
        let mut stream = match (before, value) {
            (Some(mut stream), value) => match (&mut stream.total, value) {
                (Total::Float(total), Total::Float(v)) => {
                    *total += v;
                    stream
                }
                (Total::Native(total), Total::Native(h)) => match merge::add(total, &h) {
                    Ok(Some(sum)) => {
                        **total = sum;
                        stream
                    }
                    // Other bounds than before cannot be added: the series begins anew.
                    Ok(None) | Err(_) => Stream::new(start, Total::Native(h)),
                },
                (_, value) => Stream::new(start, value),
            },
            (None, value) => Stream::new(start, value),
        };
        stream.advance(time);
        match &stream.total {
            Total::Float(total) => push_float(&mut self.out, time, stream.start, *total),
            Total::Native(h) => self.out.histograms.push((time, stream.start, (**h).clone())),
        }
        *claim = Claim::Known(stream);
        self.out.end_series(entry.key, entry.key_offset, entry.key_len);
    }
}

/// Whether the entry is the least or greatest value of a histogram's interval, which does not add up.
fn is_extreme(entry: &SeriesEntry) -> bool {
    matches!(Origin::of(entry), Origin::Point(_, Derived::Minimum | Derived::Maximum))
}

/// The state of a stream as the engine has it: the newest value of its series.
fn newest(samples: &Samples) -> Option<Stream> {
    let float = (0..samples.timestamps.len()).rfind(|i| !is_stale(samples.values[*i]));
    let native = samples.histograms.iter().rfind(|h| !h.2.is_stale());
    let float = float
        .map(|i| (samples.timestamps[i], samples.starts.get(i).copied().unwrap_or(0), samples.values[i]));
    let mut stream = match (float, native) {
        (Some((t, ..)), Some((time, start, h))) if t < *time => {
            Stream::new(*start, Total::Native(Box::new(h.clone())))
        }
        (None, Some((_, start, h))) => Stream::new(*start, Total::Native(Box::new(h.clone()))),
        (Some((_, start, value)), _) => Stream::new(start, Total::Float(value)),
        (None, None) => return None,
    };
    let floats =
        samples.timestamps.iter().zip(&samples.values).filter(|(_, v)| !is_stale(**v)).map(|(t, _)| *t);
    let natives = samples.histograms.iter().filter(|h| !h.2.is_stale()).map(|h| h.0);
    let mut times: Vec<_> = floats.chain(natives).collect();
    times.sort_unstable();
    times.into_iter().for_each(|time| stream.advance(time));
    Some(stream)
}
