//! The tree of an OTLP metrics request: resources, scopes, metrics.
//!
//! Where it sits: above `points`, which reads the leaves. Invariants: every level is scanned for what
//! names it before its children are read, because protobuf fields come in any order; names are hashed
//! once at their level; a metric that cannot be translated is refused with all its data points, alone.

use super::config::{Config, DeltaMode};
use super::names::{NameKind, metric_name, unit_name};
use super::noted::Note;
use super::points;
use super::request::{Kind, Metric, Place, Request, Resource, Scope};
use crate::keys::fold;
use crate::labels::clip;
use crate::limits::{Budget, Limits};
use crate::metadata::Seen;
use crate::wire::{Field, Reader};
use crate::{Error, otlp::request::Derived};
use engine::{Metadata, MetricType, series_key};

/// Most `target_info` samples for one resource of one request, so that a single wrong clock cannot ask
/// for millions.
const TARGET_SAMPLES_MAX: i64 = 1_000;

/// One walk over a request.
pub(super) struct Walk<'r> {
    pub(super) request: &'r mut Request,
    pub(super) config: &'r Config,
    pub(super) limits: &'r Limits,
    pub(super) budget: Budget,
    pub(super) seen: &'r Seen,
}

/// Fills the request's columns from its body.
pub(super) fn walk(
    request: &mut Request,
    config: &Config,
    limits: &Limits,
    seen: &Seen,
) -> Result<(), Error> {
    let body = std::mem::take(&mut request.body);
    let done = Walk { request, config, limits, budget: Budget::new(limits), seen }.export(Reader::new(&body));
    request.body = body;
    let batch = &mut request.batch;
    if !batch.starts.is_empty() {
        batch.starts.resize(batch.timestamps.len(), 0);
    }
    done
}

fn place(message: Reader<'_>) -> Place {
    Place { start: message.at() as u32, end: message.end() as u32 }
}

/// The last field `number` of a message, if it is a message or text.
fn last(mut message: Reader<'_>, number: u32) -> Result<Place, Error> {
    let mut found = Place::default();
    while let Some(field) = message.field()? {
        if field.number == number {
            found = place(field.message()?);
        }
    }
    Ok(found)
}

impl Walk<'_> {
    fn export(mut self, mut message: Reader<'_>) -> Result<(), Error> {
        while let Some(field) = message.field()? {
            if field.number == 1 {
                self.resource_metrics(field.message()?)?;
            }
        }
        Ok(())
    }

    fn resource_metrics(&mut self, message: Reader<'_>) -> Result<(), Error> {
        self.budget.elements(8)?;
        let place = last(message, 1)?;
        let key = series_key(message.slice(place.start as usize, place.end as usize));
        let index = self.request.resources.len() as u32;
        self.request.resources.push(Resource { place, key, span: None });
        let mut rest = message;
        while let Some(field) = rest.field()? {
            if field.number == 2 {
                self.scope_metrics(field.message()?, index)?;
            }
        }
        self.target_info(message, index)
    }

    fn scope_metrics(&mut self, message: Reader<'_>, resource: u32) -> Result<(), Error> {
        self.budget.elements(8)?;
        let (scope, schema_url) = (last(message, 1)?, last(message, 3)?);
        let mut key = fold(0, self.request.resources[resource as usize].key);
        if self.config.promote_scope_metadata {
            for part in [scope, schema_url] {
                key = fold(key, series_key(message.slice(part.start as usize, part.end as usize)));
            }
        }
        let index = self.request.scopes.len() as u32;
        self.request.scopes.push(Scope { resource, place: scope, schema_url, key });
        let mut rest = message;
        while let Some(field) = rest.field()? {
            if field.number == 2 {
                self.budget.elements(8)?;
                self.metric(field.message()?, index)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: Reader<'_>, scope: u32) -> Result<(), Error> {
        let (mut name, mut description, mut unit, mut data) =
            (Place::default(), Place::default(), Place::default(), None);
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => name = place(field.message()?),
                2 => description = place(field.message()?),
                3 => unit = place(field.message()?),
                5 | 7 | 9 | 10 | 11 => data = Some(field),
                _ => {}
            }
        }
        let Some(data) = data else { return Ok(()) };
        let text = |p: Place| message.slice(p.start as usize, p.end as usize);
        let shape = Shape::read(&data)?;
        let tag = u128::from(data.number) << 8 | u128::from(shape.monotonic);
        let mut key = fold(self.request.scopes[scope as usize].key, tag);
        for part in [name, unit] {
            key = fold(key, series_key(text(part)));
        }
        let metric = Metric {
            scope,
            name,
            unit,
            kind: shape.kind(data.number),
            delta: shape.temporality == Temporality::Delta,
            key,
        };
        let names = (std::str::from_utf8(text(name)), std::str::from_utf8(text(unit)));
        let (Ok(name), Ok(unit)) = names else {
            self.skip(shape.points, || "metric name or unit is not UTF-8".to_owned());
            return Ok(());
        };
        if shape.points == 0 {
            self.request.noted.add(Note::EmptyDataPoints);
        }
        let refused = match shape.temporality {
            Temporality::Unspecified => Some("has no aggregation temporality"),
            Temporality::Delta if self.config.delta == DeltaMode::Reject => {
                Some("has delta temporality, which this server is configured to refuse")
            }
            _ => None,
        };
        if let Some(why) = refused {
            self.skip(shape.points, || format!("metric {:?} {why}", clip(name.to_owned())));
            return Ok(());
        }
        self.learn(&metric, name, unit, text(description));
        let index = self.request.metrics.len() as u32;
        self.request.has_delta |= metric.delta;
        self.request.metrics.push(metric);
        let mut points = data.message()?;
        while let Some(field) = points.field()? {
            if field.number == 1 {
                points::read(self, field.message()?, index)?;
            }
        }
        Ok(())
    }

    /// Refuses all points of a metric.
    fn skip(&mut self, points: usize, why: impl FnOnce() -> String) {
        self.request.skipped_points += points as u64;
        self.request.refusals.add(points, why);
    }

    /// Keeps what a metric says about itself, unless it is known already.
    fn learn(&mut self, metric: &Metric, name: &str, unit: &str, description: &[u8]) {
        let digest = fold(fold(metric.key, series_key(description)), u128::from(metric.delta));
        if !self.request.metadata.is_new(digest, self.seen) {
            return;
        }
        let Ok(name) = metric_name(self.config, name, unit, metric.name_kind()) else { return };
        let native_delta = metric.delta && self.config.delta == DeltaMode::Native;
        let entry = Metadata {
            metric_type: if native_delta { MetricType::Unknown } else { metric.metric_type() },
            unit: unit_name(self.config, unit),
            help: String::from_utf8_lossy(description).into_owned(),
        };
        self.request.metadata.push(digest, name, entry);
    }

    /// `target_info` from the resource's oldest to its newest data point, often enough that a query in
    /// between finds one, and once at the newest.
    fn target_info(&mut self, message: Reader<'_>, index: u32) -> Result<(), Error> {
        let resource = &self.request.resources[index as usize];
        let Some((oldest, newest)) = resource.span else { return Ok(()) };
        let bytes = message.slice(resource.place.start as usize, resource.place.end as usize);
        if !names_target(Reader::new(bytes))? {
            return Ok(());
        }
        let key = fold(fold(0, resource.key), series_key(b"target_info"));
        let step = self.config.target_info_interval_ms.max(1);
        let mut at = oldest.max(newest.saturating_sub(step.saturating_mul(TARGET_SAMPLES_MAX)));
        self.budget.series()?;
        while at < newest {
            self.request.push(at, 0, 1.0);
            at = at.saturating_add(step);
        }
        self.request.push(newest, 0, 1.0);
        self.request.end_target(key, index);
        Ok(())
    }
}

/// Whether a resource has a `target_info`: something that identifies it, and something else to tell.
fn names_target(mut resource: Reader<'_>) -> Result<bool, Error> {
    let (mut identified, mut tells) = (false, false);
    while let Some(field) = resource.field()? {
        if field.number != 1 {
            continue;
        }
        let mut attribute = field.message()?;
        while let Some(field) = attribute.field()? {
            if field.number == 1 {
                let key = field.bytes()?;
                identified |= matches!(key, b"service.name" | b"service.instance.id" | b"job" | b"instance");
                tells |= !matches!(key, b"service.name" | b"service.instance.id" | b"service.namespace");
            }
        }
    }
    Ok(identified && tells)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Unspecified,
    Delta,
    Cumulative,
    /// The kind of metric has none.
    None,
}

/// What a metric's data says about all its points.
#[derive(Debug)]
struct Shape {
    points: usize,
    temporality: Temporality,
    monotonic: bool,
}

impl Shape {
    fn read(data: &Field<'_>) -> Result<Self, Error> {
        let has_temporality = matches!(data.number, 7 | 9 | 10);
        let mut shape = Self {
            points: 0,
            temporality: if has_temporality { Temporality::Unspecified } else { Temporality::None },
            monotonic: false,
        };
        let mut message = data.message()?;
        while let Some(field) = message.field()? {
            match field.number {
                1 => shape.points += 1,
                2 if has_temporality => {
                    shape.temporality = match field.varint()? {
                        1 => Temporality::Delta,
                        2 => Temporality::Cumulative,
                        _ => Temporality::Unspecified,
                    }
                }
                3 if data.number == 7 => shape.monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(shape)
    }
    fn kind(&self, number: u32) -> Kind {
        match number {
            7 => Kind::Sum { monotonic: self.monotonic },
            9 => Kind::Histogram,
            10 => Kind::Exponential,
            11 => Kind::Summary,
            _ => Kind::Gauge,
        }
    }
}

impl Metric {
    pub(super) fn name_kind(&self) -> NameKind {
        match self.kind {
            Kind::Gauge => NameKind::Gauge,
            Kind::Sum { monotonic: true } => NameKind::Counter,
            _ => NameKind::Other,
        }
    }
    pub(super) fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Gauge | Kind::Sum { monotonic: false } => MetricType::Gauge,
            Kind::Sum { monotonic: true } => MetricType::Counter,
            Kind::Histogram | Kind::Exponential => MetricType::Histogram,
            Kind::Summary => MetricType::Summary,
        }
    }
}

impl Walk<'_> {
    /// The key of a series derived from a data point.
    #[inline]
    pub(super) fn derived_key(point: u128, derived: Derived, bound: f64) -> u128 {
        match derived {
            Derived::Plain => point,
            Derived::At(_) => fold(point, u128::from(bound.to_bits()) << 8 | 0xff),
            other => fold(point, u128::from(other.to_wire())),
        }
    }
}
