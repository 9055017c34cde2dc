//! Data points: the leaves of a request, read into the columns.
//!
//! Where it sits: below `walk`. Invariants: a point is stored whole or refused whole, and refused points
//! are counted one by one; its series are keyed by the metric's key, the attribute bytes as they stand,
//! and what is derived (sum, count, bucket, quantile).

use super::config::DeltaMode;
use super::exemplars;
use super::noted::Note;
use super::request::{Derived, Kind, Pending, Place, Point};
use super::walk::Walk;
use crate::Error;
use crate::histogram::{Buckets, storable};
use crate::keys::fold;
use crate::wire::{Field, Reader};
use engine::series_key;
use storage_format::model::histogram::CUSTOM_BUCKETS_SCHEMA;
use storage_format::model::{CounterResetHint, Histogram, Timestamp, stale_nan};

/// Flag of a point that stands for "no value".
const NO_RECORDED_VALUE: u64 = 1;
/// Coarsest exponential scale that can be stored.
const SCALE_MIN: i32 = -4;
/// Width of the zero bucket when a sender does not tell.
const ZERO_THRESHOLD: f64 = 1e-128;

/// What all kinds of data points have.
#[derive(Debug, Default)]
struct Common {
    /// Field number of its attributes.
    attributes: u32,
    /// The run of attribute fields being collected.
    run: Place,
    key: Option<u128>,
    time: Timestamp,
    start: Timestamp,
    stale: bool,
}

impl Common {
    /// Takes an attribute field; runs of them are hashed together.
    #[inline]
    fn attribute(
        &mut self,
        field: &Field<'_>,
        rest: &mut Reader<'_>,
        whole: Reader<'_>,
    ) -> Result<(), Error> {
        field.message()?;
        rest.skip_run((self.attributes << 3) as u8 | crate::wire::BYTES);
        let (start, end) = (field.start as u32, rest.at() as u32);
        if self.run.end != start {
            self.flush(whole);
            self.run.start = start;
        }
        self.run.end = end;
        Ok(())
    }
    #[inline]
    fn flush(&mut self, whole: Reader<'_>) {
        if self.run.end > self.run.start {
            let hash = series_key(whole.slice(self.run.start as usize, self.run.end as usize));
            self.key = Some(self.key.map_or(hash, |key| fold(key, hash)));
        }
    }
    /// The key of the point, under its metric's.
    #[inline]
    fn key(&mut self, metric: u128, whole: Reader<'_>) -> u128 {
        self.flush(whole);
        fold(metric, self.key.unwrap_or(0))
    }
    /// Takes the fields that stand at the same number in all kinds of points.
    #[inline]
    fn take(
        &mut self,
        field: &Field<'_>,
        rest: &mut Reader<'_>,
        whole: Reader<'_>,
        flags: u32,
    ) -> Result<bool, Error> {
        match field.number {
            n if n == self.attributes => self.attribute(field, rest, whole)?,
            2 => self.start = milliseconds(field.fixed64()?),
            3 => self.time = milliseconds(field.fixed64()?),
            n if n == flags => self.stale = field.varint()? & NO_RECORDED_VALUE != 0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn milliseconds(nanoseconds: u64) -> Timestamp {
    (nanoseconds / 1_000_000).cast_signed()
}

/// Reads one data point of the metric at `index`.
pub(super) fn read(walk: &mut Walk<'_>, message: Reader<'_>, index: u32) -> Result<(), Error> {
    walk.budget.elements(1)?;
    let metric = walk.request.metrics[index as usize];
    let point = walk.request.points.len() as u32;
    let place = Place { start: message.at() as u32, end: message.end() as u32 };
    walk.request.points.push(Point { metric: index, place });
    let exemplars = walk.request.exemplars.len();
    let done = match metric.kind {
        Kind::Gauge | Kind::Sum { .. } => number(walk, message, (metric.key, point), metric.kind)?,
        Kind::Histogram => explicit(walk, message, (metric.key, point), metric.delta)?,
        Kind::Exponential => exponential(walk, message, (metric.key, point), metric.delta)?,
        Kind::Summary => summary(walk, message, (metric.key, point))?,
    };
    match done {
        Ok(time) => {
            let scope = &walk.request.scopes[metric.scope as usize];
            let span = &mut walk.request.resources[scope.resource as usize].span;
            let (oldest, newest) = span.unwrap_or((time, time));
            *span = Some((oldest.min(time), newest.max(time)));
        }
        Err(why) => {
            walk.request.exemplars.truncate(exemplars);
            let name = message.slice(metric.name.start as usize, metric.name.end as usize);
            let name = || crate::labels::clip(String::from_utf8_lossy(name).into_owned());
            walk.request.refusals.add(1, || format!("metric {:?}: {why}", name()));
        }
    }
    Ok(())
}

/// The point's time, or why it is refused; the outer error is a body that cannot be read.
type Stored = Result<Result<Timestamp, String>, Error>;

/// A number's data point as its fields stand.
#[derive(Debug, Default)]
struct Number {
    common: Common,
    value: Option<f64>,
    /// Whether the value is an integer that no float is equal to.
    inexact: bool,
}

impl Number {
    fn whole(&mut self, whole: i64) {
        // Up to 2^53 every integer is a float.
        self.inexact =
            whole.unsigned_abs() > 1 << f64::MANTISSA_DIGITS && (whole as f64) as i128 != i128::from(whole);
        self.value = Some(whole as f64);
    }
    fn double(&mut self, value: f64) {
        (self.inexact, self.value) = (false, Some(value));
    }
    /// Reads a point of the usual shape: numbers, one run of plain attributes and small flags, in any order.
    /// `None` for any other, which means nothing about it.
    #[inline]
    fn usual(mut rest: Reader<'_>) -> Option<Self> {
        let mut number = Self { common: Common { attributes: 7, ..Common::default() }, ..Self::default() };
        while let Some(tag) = rest.rest().first() {
            match tag {
                0x11 | 0x19 | 0x21 | 0x31 => {
                    let bits = u64::from_le_bytes(*rest.rest().get(1..)?.first_chunk()?);
                    match tag {
                        0x11 => number.common.start = milliseconds(bits),
                        0x19 => number.common.time = milliseconds(bits),
                        0x21 => number.double(f64::from_bits(bits)),
                        _ => number.whole(bits.cast_signed()),
                    }
                    rest.advance(9);
                }
                0x3a => {
                    let start = rest.at();
                    rest.skip_run(0x3a);
                    if number.common.run != Place::default() || rest.at() == start {
                        return None;
                    }
                    number.common.run = Place { start: start as u32, end: rest.at() as u32 };
                }
                0x40 => {
                    let flags = rest.rest().get(1).filter(|flags| **flags < 0x80)?;
                    number.common.stale = u64::from(*flags) & NO_RECORDED_VALUE != 0;
                    rest.advance(2);
                }
                _ => return None,
            }
        }
        Some(number)
    }
    fn read(walk: &mut Walk<'_>, message: Reader<'_>) -> Result<Self, Error> {
        let mut number = Self { common: Common { attributes: 7, ..Common::default() }, ..Self::default() };
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if number.common.take(&field, &mut fields, message, 8)? {
                continue;
            }
            match field.number {
                4 => number.double(field.double()?),
                6 => number.whole(field.fixed64()?.cast_signed()),
                5 => exemplar(walk, &field)?,
                _ => {}
            }
        }
        Ok(number)
    }
}

fn number(walk: &mut Walk<'_>, message: Reader<'_>, (metric, point): (u128, u32), kind: Kind) -> Stored {
    let usual = Number::usual(message);
    let Number { mut common, value, inexact } = match usual {
        Some(number) => number,
        None => Number::read(walk, message)?,
    };
    let value = if common.stale { Some(stale_nan()) } else { value };
    let Some(value) = value else { return Ok(Err("data point without a value".to_owned())) };
    if inexact {
        walk.request.noted.add(Note::InexactInteger);
    }
    // A gauge has no start that means anything.
    let start = if kind == Kind::Gauge { 0 } else { common.start };
    let key = common.key(metric, message);
    walk.budget.series()?;
    walk.request.push(common.time, start, value);
    walk.request.end_point(key, point, Derived::Plain);
    Ok(Ok(common.time))
}

/// An explicit histogram as its fields stand. Kept between points for its allocations.
#[derive(Debug, Default)]
pub(super) struct Explicit {
    count: u64,
    sum: Option<f64>,
    extremes: Extremes,
    counts: Vec<u64>,
    bounds: Vec<f64>,
}

impl Explicit {
    fn clear(&mut self) {
        (self.count, self.sum, self.extremes) = (0, None, Extremes::default());
        self.counts.clear();
        self.bounds.clear();
    }
    fn check(&self) -> Result<(), String> {
        if !self.counts.is_empty() && self.counts.len() != self.bounds.len() + 1 {
            return Err(format!(
                "histogram with {} bucket counts and {} bounds",
                self.counts.len(),
                self.bounds.len()
            ));
        }
        if self.bounds.iter().any(|b| b.is_nan()) || self.bounds.windows(2).any(|w| w[0] >= w[1]) {
            return Err("histogram bounds must be in strictly increasing order".to_owned());
        }
        let total = self.counts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
        match total {
            Some(total) if total <= self.count => Ok(()),
            _ => Err(format!("histogram buckets hold more than its count of {}", self.count)),
        }
    }
}

fn explicit(walk: &mut Walk<'_>, message: Reader<'_>, (metric, point): (u128, u32), delta: bool) -> Stored {
    let mut h = std::mem::take(&mut walk.request.explicit);
    h.clear();
    let done = explicit_point(walk, message, (metric, point), delta, &mut h);
    walk.request.explicit = h;
    done
}

fn explicit_point(
    walk: &mut Walk<'_>,
    message: Reader<'_>,
    (metric, point): (u128, u32),
    delta: bool,
    h: &mut Explicit,
) -> Stored {
    let mut common = Common { attributes: 9, ..Common::default() };
    let mut fields = message;
    let first = walk.request.exemplars.len();
    while let Some(field) = fields.field()? {
        if common.take(&field, &mut fields, message, 10)? {
            continue;
        }
        match field.number {
            4 => h.count = field.fixed64()?,
            5 => h.sum = Some(field.double()?),
            6 => {
                walk.budget.elements(field.element_bound(8))?;
                field.each_fixed64(|n| h.counts.push(n))?;
            }
            7 => {
                walk.budget.elements(field.element_bound(8))?;
                field.each_fixed64(|b| h.bounds.push(f64::from_bits(b)))?;
            }
            8 => exemplar(walk, &field)?,
            11 => h.extremes.least = Some(field.double()?),
            12 => h.extremes.greatest = Some(field.double()?),
            _ => {}
        }
    }
    if h.count == 0 && h.sum.is_some_and(|sum| sum != 0.0) {
        walk.request.noted.add(Note::HistogramZeroCountNonZeroSum);
    }
    if let Err(why) = h.check() {
        return Ok(Err(why));
    }
    if h.counts.len() > walk.limits.buckets {
        return Ok(Err(crate::histogram::too_many_buckets(walk.limits)));
    }
    let key = common.key(metric, message);
    if walk.config.convert_histograms_to_nhcb {
        return custom_buckets(walk, &common, h, (key, point), delta);
    }
    let mut push = |derived, bound, value: f64| {
        walk.budget.series()?;
        walk.request.push(common.time, common.start, if common.stale { stale_nan() } else { value });
        walk.request.end_point(Walk::derived_key(key, derived, bound), point, derived);
        Ok::<_, Error>(())
    };
    if let Some(sum) = h.sum {
        push(Derived::Sum, 0.0, sum)?;
    }
    push(Derived::Count, 0.0, h.count as f64)?;
    let mut cumulative = 0;
    let buckets = h.counts.len().saturating_sub(1);
    for (i, (count, bound)) in h.counts.iter().zip(&h.bounds).enumerate() {
        // A bound of +Inf is the last bucket, which follows.
        if *bound == f64::INFINITY {
            break;
        }
        cumulative += count;
        push(Derived::At(i as u32), *bound, cumulative as f64)?;
    }
    push(Derived::Infinity, 0.0, h.count as f64)?;
    extremes(walk, &common, h.extremes, (key, point))?;
    place_exemplars(walk, message, first, &h.bounds[..buckets]);
    Ok(Ok(common.time))
}

/// Stores an explicit histogram as a native one with custom bounds.
fn custom_buckets(
    walk: &mut Walk<'_>,
    common: &Common,
    explicit: &mut Explicit,
    (key, point): (u128, u32),
    delta: bool,
) -> Stored {
    if explicit.bounds.last() == Some(&f64::INFINITY) {
        explicit.bounds.pop();
        let beyond = explicit.counts.pop().unwrap_or(0);
        if let Some(last) = explicit.counts.last_mut() {
            *last += beyond;
        }
    }
    let mut buckets = Buckets::default();
    // Observations of which no bucket is known are above the last bound.
    let known = explicit.counts.iter().sum::<u64>();
    if explicit.counts.is_empty() {
        explicit.counts.resize(explicit.bounds.len() + 1, 0);
    }
    if let Some(last) = explicit.counts.last_mut() {
        *last += explicit.count - known;
    }
    for (i, count) in explicit.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
        if let Err(why) = buckets.push(i as i64, *count as f64) {
            return Ok(Err(why));
        }
    }
    let h = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        integer: true,
        count: explicit.count as f64,
        sum: explicit.sum.unwrap_or(0.0),
        positive_spans: buckets.spans,
        positive_counts: buckets.counts,
        custom_bounds: explicit.bounds.clone(),
        ..Histogram::default()
    };
    let stored = native(walk, common, h, i32::from(CUSTOM_BUCKETS_SCHEMA), (key, point), delta)?;
    if stored.is_ok() {
        extremes(walk, common, explicit.extremes, (key, point))?;
    }
    Ok(stored)
}

fn exponential(
    walk: &mut Walk<'_>,
    message: Reader<'_>,
    (metric, point): (u128, u32),
    delta: bool,
) -> Stored {
    let mut common = Common { attributes: 1, ..Common::default() };
    let mut h = Histogram { integer: true, ..Histogram::default() };
    let (mut fields, mut scale) = (message, 0);
    let (mut positive, mut negative, mut range) = (None, None, Extremes::default());
    while let Some(field) = fields.field()? {
        if common.take(&field, &mut fields, message, 10)? {
            continue;
        }
        match field.number {
            4 => h.count = field.fixed64()? as f64,
            5 => h.sum = field.double()?,
            6 => scale = field.sint32()?,
            7 => h.zero_count = field.fixed64()? as f64,
            8 => positive = Some(field),
            9 => negative = Some(field),
            11 => exemplar(walk, &field)?,
            12 => range.least = Some(field.double()?),
            13 => range.greatest = Some(field.double()?),
            14 => h.zero_threshold = field.double()?,
            _ => {}
        }
    }
    if scale < SCALE_MIN {
        return Ok(Err(format!(
            "cannot convert exponential to native histogram: scale must be >= {SCALE_MIN}, was {scale}"
        )));
    }
    if h.zero_threshold == 0.0 {
        h.zero_threshold = ZERO_THRESHOLD;
    }
    let excess = (scale - 8).max(0);
    for (side, spans, counts) in [
        (positive, &mut h.positive_spans, &mut h.positive_counts),
        (negative, &mut h.negative_spans, &mut h.negative_counts),
    ] {
        let Some(side) = side else { continue };
        walk.budget.elements(side.element_bound(1))?;
        match exponential_side(&side, excess.min(62) as u32)? {
            Ok(buckets) => (*spans, *counts) = (buckets.spans, buckets.counts),
            Err(why) => return Ok(Err(why)),
        }
    }
    let key = common.key(metric, message);
    if h.count == 0.0 && h.sum != 0.0 {
        walk.request.noted.add(Note::HistogramZeroCountNonZeroSum);
    }
    let stored = native(walk, &common, h, scale.min(8), (key, point), delta)?;
    if stored.is_ok() {
        extremes(walk, &common, range, (key, point))?;
    }
    Ok(stored)
}

/// The buckets of one side, merged `2^excess` to one. OTLP counts buckets from 0 at `(1, base]`,
/// Prometheus from 1.
fn exponential_side(field: &Field<'_>, excess: u32) -> Result<Result<Buckets, String>, Error> {
    let (mut message, mut offset) = (field.message()?, 0);
    let mut fields = message;
    while let Some(field) = fields.field()? {
        if field.number == 1 {
            offset = field.sint32()?;
        }
    }
    let (mut buckets, mut index, mut failed) = (Buckets::default(), i64::from(offset), None);
    while let Some(field) = message.field()? {
        if field.number == 2 {
            field.each_varint(|count| {
                if count > 0
                    && let Err(why) = buckets.push((index >> excess) + 1, count as f64)
                {
                    failed = Some(why);
                }
                index += 1;
            })?;
        }
    }
    Ok(failed.map_or(Ok(buckets), Err))
}

/// Least and greatest value of a histogram, where the sender tells them.
#[derive(Debug, Clone, Copy, Default)]
struct Extremes {
    least: Option<f64>,
    greatest: Option<f64>,
}

/// Stores least and greatest value of a histogram, if they are kept. They have no start: for cumulative
/// histograms they are those since the start, for deltas those of the interval.
fn extremes(
    walk: &mut Walk<'_>,
    common: &Common,
    extremes: Extremes,
    (key, point): (u128, u32),
) -> Result<(), Error> {
    if !walk.config.keep_histogram_min_max {
        return Ok(());
    }
    for (value, derived) in [(extremes.least, Derived::Minimum), (extremes.greatest, Derived::Maximum)] {
        let value = if common.stale { Some(stale_nan()) } else { value };
        if let Some(value) = value {
            walk.budget.series()?;
            walk.request.push(common.time, 0, value);
            walk.request.end_point(Walk::derived_key(key, derived, 0.0), point, derived);
        }
    }
    Ok(())
}

/// Stores a native histogram.
fn native(
    walk: &mut Walk<'_>,
    common: &Common,
    mut h: Histogram,
    schema: i32,
    (key, point): (u128, u32),
    delta: bool,
) -> Stored {
    walk.budget.elements(crate::histogram::ELEMENTS_EACH)?;
    walk.budget.series()?;
    if common.stale {
        h = Histogram { integer: true, ..Histogram::stale() };
    }
    if delta && walk.config.delta == DeltaMode::Native {
        h.reset_hint = CounterResetHint::Gauge;
    }
    match storable(h, schema, walk.limits) {
        Ok(h) => {
            walk.request.batch.histograms.push((common.time, common.start, h));
            walk.request.end_point(key, point, Derived::Plain);
            Ok(Ok(common.time))
        }
        Err(why) => Ok(Err(why)),
    }
}

fn summary(walk: &mut Walk<'_>, message: Reader<'_>, (metric, point): (u128, u32)) -> Stored {
    let mut common = Common { attributes: 7, ..Common::default() };
    let (mut fields, mut count, mut sum) = (message, 0, 0.0);
    let mut quantiles = Vec::new();
    while let Some(field) = fields.field()? {
        if common.take(&field, &mut fields, message, 8)? {
            continue;
        }
        match field.number {
            4 => count = field.fixed64()?,
            5 => sum = field.double()?,
            6 => {
                walk.budget.elements(1)?;
                quantiles.push(quantile(field.message()?)?);
            }
            _ => {}
        }
    }
    let key = common.key(metric, message);
    let mut push = |derived, at, value: f64| {
        walk.budget.series()?;
        walk.request.push(common.time, common.start, if common.stale { stale_nan() } else { value });
        walk.request.end_point(Walk::derived_key(key, derived, at), point, derived);
        Ok::<_, Error>(())
    };
    push(Derived::Sum, 0.0, sum)?;
    push(Derived::Count, 0.0, count as f64)?;
    for (i, (quantile, value)) in quantiles.into_iter().enumerate() {
        push(Derived::At(i as u32), quantile, value)?;
    }
    Ok(Ok(common.time))
}

/// Quantile and value.
pub(super) fn quantile(mut message: Reader<'_>) -> Result<(f64, f64), Error> {
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => quantile = field.double()?,
            2 => value = field.double()?,
            _ => {}
        }
    }
    Ok((quantile, value))
}

/// Notes an exemplar of the point that is being read.
fn exemplar(walk: &mut Walk<'_>, field: &Field<'_>) -> Result<(), Error> {
    walk.budget.elements(1)?;
    let message = field.message()?;
    let point = walk.request.points.len() as u32 - 1;
    let place = Place { start: message.at() as u32, end: message.end() as u32 };
    walk.request.exemplars.push(Pending { point, derived: Derived::Plain, place });
    Ok(())
}

/// Gives the exemplars noted since `first` to the buckets their values lie in.
fn place_exemplars(walk: &mut Walk<'_>, message: Reader<'_>, first: usize, bounds: &[f64]) {
    for pending in walk.request.exemplars.iter_mut().skip(first) {
        let bytes = message.slice(pending.place.start as usize, pending.place.end as usize);
        let bucket = exemplars::value(bytes).map_or(bounds.len(), |v| bounds.partition_point(|b| *b < v));
        let finite = bounds.get(bucket).is_some_and(|b| *b != f64::INFINITY);
        pending.derived = if finite { Derived::At(bucket as u32) } else { Derived::Infinity };
    }
}
