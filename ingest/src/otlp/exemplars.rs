//! Exemplars of OTLP: read where they stand, and given to the entries of their series.
//!
//! Where it sits: just before the engine takes the batch. Source: the OpenMetrics rule that an exemplar's labels hold
//! at most 128 characters; ids of trace and span come first, attributes only if all of them fit.

use super::attributes::{self, Attribute};
use super::config::Config;
use super::names::label_name;
use super::request::{Origin, Request};
use crate::labels::Pairs;
use crate::limits::Limits;
use crate::wire::Reader;
use engine::{Exemplar, WriteBatch};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

/// Most characters of all names and values of an exemplar's labels.
const CHARACTERS_MAX: usize = 128;

/// The value of an exemplar message.
pub(super) fn value(message: &[u8]) -> Option<f64> {
    let (mut message, mut value) = (Reader::new(message), None);
    while let Ok(Some(field)) = message.field() {
        match field.number {
            3 => value = field.double().ok(),
            6 => value = field.fixed64().ok().map(|v| v.cast_signed() as f64),
            _ => {}
        }
    }
    value
}

/// Reads an exemplar message.
///
/// # Errors
/// A sentence for the sender when it is malformed.
pub(super) fn read(message: &[u8], config: &Config, limits: &Limits) -> Result<Exemplar, String> {
    let Some(value) = value(message) else { return Err("exemplar without a value".to_owned()) };
    let (mut fields, mut timestamp) = (Reader::new(message), 0);
    let (mut trace, mut span, mut own) = (String::new(), String::new(), Vec::new());
    while let Some(field) = fields.field().map_err(|e| e.to_string())? {
        match field.number {
            2 => timestamp = (field.fixed64().map_err(|e| e.to_string())? / 1_000_000).cast_signed(),
            4 => span = hex(field.bytes().map_err(|e| e.to_string())?),
            5 => trace = hex(field.bytes().map_err(|e| e.to_string())?),
            7 => {
                let message = field.message().map_err(|e| e.to_string())?;
                own.push(attributes::key_value(message).map_err(|e| e.to_string())?);
            }
            _ => {}
        }
    }
    let mut labels: Vec<Attribute<'_>> = vec![("span_id", Cow::Owned(span)), ("trace_id", Cow::Owned(trace))];
    labels.retain(|(_, id)| !id.is_empty());
    let characters =
        |all: &[Attribute<'_>]| all.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum::<usize>();
    if characters(&labels) + characters(&own) <= CHARACTERS_MAX {
        labels.append(&mut own);
    }
    let names: Result<Vec<_>, _> = labels.iter().map(|(name, _)| label_name(config, name)).collect();
    let names = names?;
    let mut pairs = Pairs::new(limits);
    for (name, (_, value)) in names.iter().zip(&labels) {
        pairs.push(name.as_bytes(), value.as_bytes())?;
    }
    Ok(Exemplar { labels: pairs.any()?, value, timestamp })
}

/// Reads the request's exemplars into its batch. Those of data points that were taken out go with them; what
/// is wrong with one is told, but costs no data point.
pub(super) fn place(request: &mut Request, config: &Config, limits: &Limits) {
    if request.exemplars.is_empty() {
        return;
    }
    let mut wanted: HashMap<(u32, u32), Vec<Exemplar>> = HashMap::new();
    for pending in std::mem::take(&mut request.exemplars) {
        match read(pending.place.of(&request.body), config, limits) {
            Ok(exemplar) => {
                let series = (pending.point, pending.derived.to_wire());
                wanted.entry(series).or_default().push(exemplar);
            }
            Err(why) => request.refusals.add(0, || why),
        }
    }
    let WriteBatch { series, exemplars, .. } = &mut request.batch;
    for (i, entry) in series.iter().enumerate() {
        if let Origin::Point(point, derived) = Origin::of(entry)
            && let Some(mine) = wanted.remove(&(point, derived.to_wire()))
        {
            exemplars.extend(mine.into_iter().map(|exemplar| (i as u32, exemplar)));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
