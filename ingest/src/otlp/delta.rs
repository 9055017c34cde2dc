//! Delta temporality added up: what a stream sent so far becomes the value of its series.
//!
//! Where it sits: between the walk and the engine, for requests that hold deltas. Invariants: the engine's
//! newest sample of a series is the state of its stream, so what was acknowledged survives a crash and
//! nothing else has to; a point with a timestamp that was added already is a repetition and is not added
//! again; totals and times only move forward. What is kept here is a copy, made when a stream is first seen.

use super::config::Config;
use super::request::{Derived, Kind, Origin, Request, push_float};
use super::resolve::Resolver;
use crate::limits::Limits;
use crate::{Error, merge};
use engine::{AppendOutcome, Engine, MatchOp, Matcher, SeriesEntry, Snapshot, WriteBatch};
use std::collections::HashMap;
use std::ops::Range;
use storage_format::model::{Histogram, Labels, Samples, TimeRange, Timestamp, is_stale};

/// A stream that was silent for longer begins anew. Milliseconds.
const STALE_MS: i64 = 3_600_000;
/// Streams kept; more of them are refused until some have been silent for long enough.
const STREAMS_MAX: usize = 1_000_000;
/// Timestamps of a stream by which repetitions are known.
const RECENT: usize = 16;

/// What a stream has sent so far.
#[derive(Debug, Clone)]
struct Stream {
    start: Timestamp,
    /// Ascending; the last one is that of the newest point.
    recent: Vec<Timestamp>,
    total: Total,
}

#[derive(Debug, Clone)]
enum Total {
    Float(f64),
    Native(Box<Histogram>),
}

impl Stream {
    fn newest(&self) -> Timestamp {
        self.recent.last().copied().unwrap_or(Timestamp::MIN)
    }
    fn advance(&mut self, time: Timestamp) {
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(time);
    }
}

/// The streams of a receiver.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    streams: HashMap<u128, Stream>,
}

/// What becomes of one sample of a delta point.
enum Decision {
    Add,
    Repeated,
    Refused(&'static str),
}

/// Streams as they are once the engine has taken the request.
pub(super) struct Staged(HashMap<u128, Stream>);

impl Accumulator {
    /// Replaces the deltas in the request's batch by totals; points that cannot be added are taken out and
    /// refused, repetitions are taken out.
    ///
    /// # Errors
    /// When the engine cannot be asked for a stream's newest sample.
    pub(super) fn accumulate(
        &mut self,
        request: &mut Request,
        config: &Config,
        limits: &Limits,
        engine: &Engine,
    ) -> Result<Staged, Error> {
        let mut pass = Pass {
            streams: &self.streams,
            staged: HashMap::new(),
            out: WriteBatch::default(),
            refused: Vec::new(),
            request,
            snapshot: engine.snapshot(),
            resolver: Resolver::new(request, config, limits),
        };
        let mut from = 0;
        for group in request.batch.series.chunk_by(|a, b| a.key_offset == b.key_offset) {
            pass.point(from, group)?;
            from += group.len();
        }
        let Pass { staged, out, refused, .. } = pass;
        request.batch = out;
        let batch = &mut request.batch;
        if !batch.starts.is_empty() {
            batch.starts.resize(batch.timestamps.len(), 0);
        }
        for why in refused {
            request.refusals.add(1, || why);
        }
        Ok(Staged(staged))
    }

    /// Keeps what the engine has taken. A stream of which it refused something is forgotten, and read from
    /// the engine when it comes again.
    pub(super) fn commit(&mut self, staged: Staged, batch: &WriteBatch, outcome: &AppendOutcome) {
        let mut staged = staged.0;
        for i in &outcome.rejected_entries {
            if let Some(entry) = batch.series.get(*i as usize) {
                staged.remove(&entry.key);
                self.streams.remove(&entry.key);
            }
        }
        self.streams.extend(staged);
        if self.streams.len() > STREAMS_MAX {
            let newest = self.streams.values().map(Stream::newest).max().unwrap_or(0);
            self.streams.retain(|_, s| s.newest() > newest - STALE_MS);
        }
    }
}

/// One pass over a batch.
struct Pass<'a> {
    streams: &'a HashMap<u128, Stream>,
    staged: HashMap<u128, Stream>,
    out: WriteBatch,
    refused: Vec<String>,
    request: &'a Request,
    snapshot: Snapshot,
    resolver: Resolver<'a>,
}

impl Pass<'_> {
    /// Takes over the entries of one data point, `group`, the first of which is number `from`.
    fn point(&mut self, from: usize, group: &[SeriesEntry]) -> Result<(), Error> {
        let metric = match group.first().map(Origin::of) {
            Some(Origin::Point(point, _)) => {
                let point = self.request.points[point as usize];
                Some(self.request.metrics[point.metric as usize]).filter(|m| m.delta)
            }
            _ => None,
        };
        let Some(metric) = metric.filter(|_| !self.is_stale(from)) else {
            for i in 0..group.len() {
                self.copy(from + i);
            }
            return Ok(());
        };
        let monotonic = metric.kind != Kind::Sum { monotonic: false };
        let mut decisions = Vec::with_capacity(group.len());
        for (i, entry) in group.iter().enumerate() {
            match self.decide(from + i, entry, monotonic)? {
                Decision::Refused(why) => {
                    let name = metric.name.of(&self.request.body);
                    let name = crate::labels::clip(String::from_utf8_lossy(name).into_owned());
                    self.refused.push(format!("metric {name:?}: {why}"));
                    return Ok(());
                }
                decision => decisions.push(decision),
            }
        }
        for (i, entry) in group.iter().enumerate() {
            if matches!(decisions[i], Decision::Add) {
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

    fn decide(&mut self, i: usize, entry: &SeriesEntry, monotonic: bool) -> Result<Decision, Error> {
        let (time, start, value) = self.sample(i);
        let is_sum = matches!(Origin::of(entry), Origin::Point(_, Derived::Sum));
        if let Total::Float(v) = value
            && !is_sum
            && (v.is_nan() || monotonic && v < 0.0)
        {
            return Ok(Decision::Refused("delta that is negative or not a number"));
        }
        if start > time {
            return Ok(Decision::Refused("delta that ends before it starts"));
        }
        self.find(entry, time)?;
        let Some(stream) = self.staged.get(&entry.key).or_else(|| self.streams.get(&entry.key)) else {
            let full = self.streams.len() + self.staged.len() >= STREAMS_MAX;
            return Ok(if full { Decision::Refused("too many delta streams") } else { Decision::Add });
        };
        Ok(match time {
            t if stream.recent.contains(&t) => Decision::Repeated,
            t if t < stream.newest() => Decision::Refused("delta older than the newest one of its stream"),
            _ if start != 0 && start < stream.newest() => {
                Decision::Refused("delta that overlaps the one before")
            }
            _ => Decision::Add,
        })
    }

    /// Reads a stream that is not known here from the engine, if it is there and was not silent too long.
    fn find(&mut self, entry: &SeriesEntry, time: Timestamp) -> Result<(), Error> {
        let known = self.staged.contains_key(&entry.key)
            || self.streams.get(&entry.key).is_some_and(|s| s.newest() >= time.saturating_sub(STALE_MS));
        if known {
            return Ok(());
        }
        // Series that have no labels are refused by the engine in a moment.
        let Ok(labels) = self.resolver.labels(entry) else { return Ok(()) };
        let range = TimeRange::new(time.saturating_sub(STALE_MS), Timestamp::MAX);
        if let Some(stream) = newest(&self.snapshot, &labels, range)? {
            self.staged.insert(entry.key, stream);
        }
        Ok(())
    }

    fn add(&mut self, i: usize, entry: &SeriesEntry) {
        let (time, start, value) = self.sample(i);
        let fresh = |start, total| Stream { start, recent: Vec::new(), total };
        let before = self.staged.remove(&entry.key).or_else(|| {
            let kept = self.streams.get(&entry.key);
            kept.filter(|s| s.newest() >= time.saturating_sub(STALE_MS)).cloned()
        });
        let mut stream = match (before, value) {
            (Some(mut stream), Total::Float(v)) if matches!(stream.total, Total::Float(_)) => {
                if let Total::Float(total) = &mut stream.total {
                    *total += v;
                }
                stream
            }
            (Some(stream), Total::Native(h)) => match &stream.total {
                // Other bounds than before cannot be added: the series begins anew.
                Total::Native(total) => match merge::add(total, &h) {
                    Ok(Some(sum)) => Stream { total: Total::Native(Box::new(sum)), ..stream },
                    Ok(None) | Err(_) => fresh(start, Total::Native(h)),
                },
                Total::Float(_) => fresh(start, Total::Native(h)),
            },
            (_, value) => fresh(start, value),
        };
        stream.advance(time);
        match &stream.total {
            Total::Float(total) => push_float(&mut self.out, time, stream.start, *total),
            Total::Native(h) => self.out.histograms.push((time, stream.start, (**h).clone())),
        }
        self.out.end_series(entry.key, entry.key_offset, entry.key_len);
        self.staged.insert(entry.key, stream);
    }
}

/// The state of a stream as the engine has it: the newest value of its series.
fn newest(snapshot: &Snapshot, labels: &Labels, range: TimeRange) -> Result<Option<Stream>, Error> {
    let matchers: Result<Vec<_>, _> =
        labels.iter().map(|(n, v)| Matcher::new(MatchOp::Equal, n, v)).collect();
    let Ok(matchers) = matchers else { return Ok(None) };
    let found = snapshot.select(&matchers, range)?;
    // Matchers also find series with more labels.
    let Some(series) = found.iter().find(|s| s.labels() == labels) else { return Ok(None) };
    let mut samples = Samples::default();
    series.read(range, &mut samples)?;
    let float = (0..samples.timestamps.len()).rfind(|i| !is_stale(samples.values[*i]));
    let native = samples.histograms.iter().rfind(|h| !h.2.is_stale());
    let mut recent: Vec<_> =
        samples.timestamps.iter().chain(samples.histograms.iter().map(|h| &h.0)).copied().collect();
    recent.sort_unstable();
    recent.drain(..recent.len().saturating_sub(RECENT));
    let float = float
        .map(|i| (samples.timestamps[i], samples.starts.get(i).copied().unwrap_or(0), samples.values[i]));
    Ok(match (float, native) {
        (Some((t, ..)), Some((time, start, h))) if t < *time => {
            Some(Stream { start: *start, recent, total: Total::Native(Box::new(h.clone())) })
        }
        (None, Some((_, start, h))) => {
            Some(Stream { start: *start, recent, total: Total::Native(Box::new(h.clone())) })
        }
        (Some((_, start, value)), _) => Some(Stream { start, recent, total: Total::Float(value) }),
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_knows_its_latest_times() {
        let mut stream = Stream { start: 0, recent: Vec::new(), total: Total::Float(0.0) };
        (0..40).for_each(|t| stream.advance(t));
        assert_eq!((stream.recent.len(), stream.recent[0], stream.newest()), (RECENT, 24, 39));
    }
}
