//! The labels of a series that the engine has not seen: the slow path, taken once a series.
//!
//! Where it sits: behind the engine's question, over a decoded `Request`. Order of assembly, as
//! Prometheus has it: attributes of the data point, promoted attributes of the resource, job and instance,
//! scope, type and unit, then name, `le` and `quantile`; what comes later overwrites.

use super::attributes::{self, Attribute};
use super::config::{Config, DeltaMode};
use super::names::{label_name, metric_name, unit_name};
use super::points::quantile;
use super::request::{Derived, Kind, Metric, Origin, Point, Request};
use crate::labels::Pairs;
use crate::limits::Limits;
use crate::wire::Reader;
use engine::{MetricType, SeriesEntry};
use std::cell::Cell;
use std::collections::BTreeMap;
use storage_format::model::{Labels, METRIC_NAME};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Labels being collected; the values borrow from the request where they can.
type LabelMap = BTreeMap<String, String>;

/// Answers the engine's questions about one request.
pub(super) struct Resolver<'a> {
    request: &'a Request,
    config: &'a Config,
    limits: &'a Limits,
    /// What a resource adds to each of its series.
    resources: BTreeMap<u32, Result<ResourceLabels, String>>,
    names: BTreeMap<u32, Result<String, String>>,
    /// Attributes that fell together with another one.
    collisions: Cell<u64>,
    /// Whether labels are asked for as they are before relabeling.
    is_original: bool,
}

#[derive(Debug, Default, Clone)]
struct ResourceLabels {
    promoted: LabelMap,
    job: Option<String>,
    instance: Option<String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(request: &'a Request, config: &'a Config, limits: &'a Limits) -> Self {
        let (resources, names) = (BTreeMap::new(), BTreeMap::new());
        let (collisions, is_original) = (Cell::new(0), false);
        Self { request, config, limits, resources, names, collisions, is_original }
    }

    /// How many attributes fell together with another one under one label name so far.
    pub(super) fn collisions(&self) -> u64 {
        self.collisions.get()
    }

    /// The labels of a series of the batch.
    ///
    /// # Errors
    /// A sentence for the sender when it has none.
    pub(super) fn labels(&mut self, entry: &SeriesEntry) -> Result<Labels, String> {
        match Origin::of(entry) {
            Origin::Target(resource) => self.target(resource),
            Origin::Point(point, derived) => self.point(point, derived),
        }
    }

    /// The labels of a series of the batch before relabeling.
    ///
    /// # Errors
    /// As [`Resolver::labels`].
    pub(super) fn original(&mut self, entry: &SeriesEntry) -> Result<Labels, String> {
        self.is_original = true;
        let labels = self.labels(entry);
        self.is_original = false;
        labels
    }

    fn finish(&self, labels: &LabelMap) -> Result<Labels, String> {
        let rules = self.request.relabel.as_deref().filter(|_| !self.is_original);
        let checked_later = self.is_original || rules.is_some();
        let limits = if checked_later { &Limits::BEFORE_RELABELING } else { self.limits };
        let mut pairs = Pairs::new(limits);
        for (name, value) in labels {
            if !value.is_empty() {
                pairs.push(name.as_bytes(), value.as_bytes())?;
            }
        }
        match rules {
            Some(rules) => pairs.relabeled(rules, self.limits),
            None if self.is_original => pairs.any(),
            None => pairs.series(),
        }
    }

    /// The labels of one of a data point's series.
    ///
    /// # Errors
    /// As [`Resolver::labels`].
    pub(super) fn point(&mut self, index: u32, derived: Derived) -> Result<Labels, String> {
        let request = self.request;
        let point = request.points.get(index as usize).ok_or("data point is not there")?;
        let metric = request.metrics[point.metric as usize];
        let scope = &request.scopes[metric.scope as usize];
        let message = self.message(point);
        let number = match metric.kind {
            Kind::Histogram => 9,
            Kind::Exponential => 1,
            _ => 7,
        };
        let mut labels = LabelMap::new();
        let own = attributes::list(message, number).map_err(|e| e.to_string())?;
        self.add_attributes(own, &mut labels)?;
        self.add_resource(scope.resource, &mut labels)?;
        if self.config.promote_scope_metadata {
            self.add_scope(metric.scope, &mut labels)?;
        }
        if self.config.type_and_unit_labels {
            self.add_type_and_unit(&metric, derived, &mut labels);
        }
        let mut name = self.name(point.metric, &metric)?;
        match derived {
            Derived::Plain => {}
            Derived::Sum => name += "_sum",
            Derived::Count => name += "_count",
            Derived::Minimum => name += "_min",
            Derived::Maximum => name += "_max",
            Derived::Infinity => {
                name += "_bucket";
                labels.insert("le".to_owned(), "+Inf".to_owned());
            }
            Derived::At(i) if metric.kind == Kind::Summary => {
                labels.insert("quantile".to_owned(), float(nth_quantile(message, i)));
            }
            Derived::At(i) => {
                name += "_bucket";
                labels.insert("le".to_owned(), float(nth_bound(message, i)));
            }
        }
        labels.insert(METRIC_NAME.to_owned(), name);
        self.finish(&labels)
    }

    fn message(&self, point: &Point) -> Reader<'a> {
        Reader::new(point.place.of(&self.request.body))
    }

    fn name(&mut self, index: u32, metric: &Metric) -> Result<String, String> {
        let (request, config) = (self.request, self.config);
        let translate = || {
            let name = utf8(metric.name.of(&request.body))?;
            metric_name(config, name, utf8(metric.unit.of(&request.body))?, metric.name_kind())
        };
        self.names.entry(index).or_insert_with(translate).clone()
    }

    /// Adds attributes under their label names; of several that fall together the values are joined in
    /// the order of the original keys.
    fn add_attributes(&self, mut attributes: Vec<Attribute<'_>>, into: &mut LabelMap) -> Result<(), String> {
        attributes.sort_by(|a, b| a.0.cmp(b.0));
        for (key, value) in attributes {
            if key == METRIC_NAME {
                continue;
            }
            let slot = into.entry(label_name(self.config, key)?.into_owned()).or_default();
            if !slot.is_empty() {
                self.collisions.set(self.collisions.get() + 1);
                slot.push(';');
            }
            slot.push_str(&value);
        }
        Ok(())
    }

    fn add_resource(&mut self, index: u32, into: &mut LabelMap) -> Result<(), String> {
        if !self.resources.contains_key(&index) {
            let made = self.resource(index);
            self.resources.insert(index, made);
        }
        let labels = match &self.resources[&index] {
            Ok(labels) => labels,
            Err(why) => return Err(why.clone()),
        };
        for (name, value) in &labels.promoted {
            if into.get(name).is_none_or(String::is_empty) {
                into.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in [("job", &labels.job), ("instance", &labels.instance)] {
            if let Some(value) = value {
                into.insert(name.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    fn resource(&self, index: u32) -> Result<ResourceLabels, String> {
        let all = self.resource_attributes(index)?;
        let mut labels = identity(&all);
        let promoted = all.into_iter().filter(|(key, _)| self.is_promoted(key)).collect();
        self.add_attributes(promoted, &mut labels.promoted)?;
        Ok(labels)
    }

    fn resource_attributes(&self, index: u32) -> Result<Vec<Attribute<'a>>, String> {
        let resource = &self.request.resources[index as usize];
        let message = Reader::new(resource.place.of(&self.request.body));
        attributes::list(message, 1).map_err(|e| e.to_string())
    }

    fn is_promoted(&self, key: &str) -> bool {
        if self.config.promote_all_resource_attributes {
            return !self.config.ignore_resource_attributes.iter().any(|k| k == key);
        }
        self.config.promote_resource_attributes.iter().any(|k| k == key)
    }

    fn add_scope(&self, index: u32, into: &mut LabelMap) -> Result<(), String> {
        let scope = &self.request.scopes[index as usize];
        let mut message = Reader::new(scope.place.of(&self.request.body));
        let (mut name, mut version, mut own) = ("", "", Vec::new());
        let mut read = || {
            while let Some(field) = message.field()? {
                match field.number {
                    1 => name = field.str()?,
                    2 => version = field.str()?,
                    3 => own.push(attributes::key_value(field.message()?)?),
                    _ => {}
                }
            }
            Ok::<_, crate::Error>(())
        };
        read().map_err(|e| e.to_string())?;
        if name.is_empty() {
            return Ok(());
        }
        let prefixed: Vec<_> = own.iter().map(|(k, v)| (format!("otel_scope_{k}"), v.clone())).collect();
        let mut labels = LabelMap::new();
        self.add_attributes(prefixed.iter().map(|(k, v)| (k.as_str(), v.clone())).collect(), &mut labels)?;
        let schema_url = utf8(scope.schema_url.of(&self.request.body))?;
        for (key, value) in [("name", name), ("version", version), ("schema_url", schema_url)] {
            labels.insert(format!("otel_scope_{key}"), value.to_owned());
        }
        into.append(&mut labels);
        Ok(())
    }

    fn add_type_and_unit(&self, metric: &Metric, derived: Derived, into: &mut LabelMap) {
        let native_delta = metric.delta && self.config.delta == DeltaMode::Native;
        let kind = match metric.metric_type() {
            _ if matches!(derived, Derived::Minimum | Derived::Maximum) => "gauge",
            _ if native_delta => "",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
            _ => "",
        };
        let unit = utf8(metric.unit.of(&self.request.body)).unwrap_or_default();
        into.insert("__type__".to_owned(), kind.to_owned());
        into.insert("__unit__".to_owned(), unit_name(self.config, unit));
    }

    fn target(&self, index: u32) -> Result<Labels, String> {
        let all = self.resource_attributes(index)?;
        let ResourceLabels { job, instance, .. } = identity(&all);
        let mut labels = LabelMap::new();
        let keep = self.config.keep_identifying_resource_attributes;
        let told = all
            .into_iter()
            .filter(|(k, _)| keep || ![SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE].contains(k));
        self.add_attributes(told.collect(), &mut labels)?;
        labels.extend(job.map(|v| ("job".to_owned(), v)));
        labels.extend(instance.map(|v| ("instance".to_owned(), v)));
        labels.insert(METRIC_NAME.to_owned(), "target_info".to_owned());
        self.finish(&labels)
    }
}

/// Job and instance of a resource.
fn identity(attributes: &[Attribute<'_>]) -> ResourceLabels {
    let get = |name: &str| attributes.iter().rev().find(|(k, _)| *k == name).map(|(_, v)| v.as_ref());
    let job = get(SERVICE_NAME).map(|name| match get(SERVICE_NAMESPACE) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    });
    let instance = get(SERVICE_INSTANCE).map(str::to_owned);
    ResourceLabels { promoted: LabelMap::new(), job, instance }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8".to_owned())
}

/// A bound or quantile as a label's value.
fn float(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

fn nth_bound(mut point: Reader<'_>, n: u32) -> f64 {
    let (mut i, mut found) = (0, f64::NAN);
    while let Ok(Some(field)) = point.field() {
        if field.number == 7 {
            // The fields were read once already, so they can be read again.
            let _ = field.each_fixed64(|bits| {
                if i == n {
                    found = f64::from_bits(bits);
                }
                i += 1;
            });
        }
    }
    found
}

fn nth_quantile(mut point: Reader<'_>, n: u32) -> f64 {
    let mut i = 0;
    while let Ok(Some(field)) = point.field() {
        if field.number != 6 {
            continue;
        }
        if i == n {
            return field.message().and_then(quantile).map_or(f64::NAN, |q| q.0);
        }
        i += 1;
    }
    f64::NAN
}
