//! `/federate`: the newest sample of each selected series, as text another Prometheus scrapes.
//!
//! Floats only: native histograms exist in the protobuf format alone, which is not offered.

use crate::error::ApiError;
use crate::flags::millis;
use crate::observe::exposition::{Format, push_labels};
use crate::observe::log;
use crate::params::Params;
use crate::state::App;
use crate::wire::body::{Encode, encoded};
use crate::wire::number;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::{Matcher, Snapshot};
use hyper::header;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;
use storage_format::model::labels::is_legacy_name;
use storage_format::model::{Labels, METRIC_NAME, Samples, TimeRange, Timestamp, is_stale};

type Newest = (Timestamp, f64);

/// `GET /federate`
pub async fn federate(State(app): State<Arc<App>>, params: Params) -> Response {
    match text(&app, &params).await {
        Ok(body) => ([(header::CONTENT_TYPE, Format::Prometheus.content_type())], body).into_response(),
        Err(error) => error.into_text_response(),
    }
}

async fn text(app: &App, params: &Params) -> Result<Body, ApiError> {
    let engine = app.engine()?;
    let sets = params.matchers().map_err(ApiError::bad_data)?;
    let now = log::now();
    let range = TimeRange::left_open(now.saturating_sub(millis(app.flags.lookback_delta)), now);
    app.run(&app.lookups, app.flags.query_timeout, move |_| {
        let found = newest(&engine.snapshot(), &sets, range)?;
        Ok(encoded(Text { rows: found.into_iter(), name: None }))
    })
    .await
}

fn newest(
    snapshot: &Snapshot,
    sets: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<Vec<(Labels, Newest)>, ApiError> {
    let mut found = BTreeMap::new();
    let mut samples = Samples::default();
    let selections: Vec<_> = sets.iter().map(|set| (set.as_slice(), range)).collect();
    let snapshot = snapshot.at_once(&selections)?;
    for set in sets {
        for series in snapshot.select(set, range)? {
            if series.labels().metric_name().is_none() || found.contains_key(series.labels()) {
                continue;
            }
            series.read(range, &mut samples)?;
            let float = samples.timestamps.last().copied().zip(samples.values.last().copied());
            let histogram_is_newer =
                samples.histograms.last().is_some_and(|h| float.is_none_or(|f| h.0 > f.0));
            if let Some((timestamp, value)) = float.filter(|(_, v)| !is_stale(*v) && !histogram_is_newer) {
                found.insert(series.labels().clone(), (timestamp, value));
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|a, b| a.0.metric_name().cmp(&b.0.metric_name()));
    Ok(found)
}

struct Text {
    rows: vec::IntoIter<(Labels, Newest)>,
    /// The metric written last, whose type need not be told again.
    name: Option<String>,
}

impl Encode for Text {
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool {
        while out.len() < target {
            let Some((labels, (timestamp, value))) = self.rows.next() else { return false };
            let name = labels.metric_name().unwrap_or("");
            // Names that are no identifiers stand quoted among the labels, where the text format has them.
            let plain = name.split(':').all(|part| {
                part.is_empty() || is_legacy_name(part.trim_start_matches(|c: char| c.is_ascii_digit()))
            });
            if self.name.as_deref() != Some(name) {
                out.extend_from_slice(b"# TYPE ");
                push_name(out, name, plain);
                out.extend_from_slice(b" untyped\n");
                self.name = Some(name.to_owned());
            }
            let others = labels.iter().filter(|(n, _)| *n != METRIC_NAME);
            let instance = labels.get("instance").is_none().then_some(("instance", ""));
            if plain {
                out.extend_from_slice(name.as_bytes());
                push_labels(out, others.chain(instance));
            } else {
                let mut rest = Vec::new();
                push_labels(&mut rest, others.chain(instance));
                out.push(b'{');
                push_name(out, name, false);
                out.push(b',');
                out.extend_from_slice(rest.get(1..).unwrap_or(b"}"));
            }
            out.push(b' ');
            number::push_exposition(out, value);
            out.push(b' ');
            number::push_integer(out, timestamp);
            out.push(b'\n');
        }
        true
    }
}

fn push_name(out: &mut Vec<u8>, name: &str, plain: bool) {
    if plain {
        out.extend_from_slice(name.as_bytes());
    } else {
        crate::wire::json::push_string(out, name);
    }
}
