//! Stores the server's own metrics like any scraped target's, so that the first query already answers.
//!
//! Series carry `job="marigram"` and `instance` (the listen address); `up` and the scrape's own figures
//! stand beside them, as Prometheus writes them. A failed append is logged and tried again next time.

use super::family::Family;
use super::log;
use crate::state::App;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use storage_format::model::{Labels, LabelsBuilder, METRIC_NAME, Samples, Timestamp};

/// Runs until the server stops. The first scrape is at once, the next ones at multiples of `interval`.
pub async fn run(app: Arc<App>, instance: String, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = app.stop.raised() => return,
            _ = ticks.tick() => {}
        }
        let (app, instance) = (Arc::clone(&app), instance.clone());
        let scraped = tokio::task::spawn_blocking(move || scrape(&app, &instance)).await;
        if let Err(error) = scraped {
            log::error("the self-scrape panicked", &[("err", &error)]);
        }
    }
}

/// Stores one scrape.
pub fn scrape(app: &App, instance: &str) {
    let Ok(engine) = app.engine() else { return };
    let begun = Instant::now();
    let now = log::now();
    let families = app.gather(Some(&engine));
    let mut batch = batch(&families, instance, now);
    let scraped = batch.len() as f64;
    for (name, value) in [
        ("up", 1.0),
        ("scrape_duration_seconds", begun.elapsed().as_secs_f64()),
        ("scrape_samples_scraped", scraped),
        ("scrape_samples_post_metric_relabeling", scraped),
    ] {
        batch.push(row(name, "", &[], instance, now, value));
    }
    if let Err(error) = engine.append(&batch) {
        log::warn("own metrics were not stored", &[("err", &error)]);
    }
    let metadata: Vec<_> = families.iter().map(metadata).collect();
    // What a metric means does not change while the process runs.
    if !app.metadata_stored.swap(true, Ordering::Relaxed)
        && let Err(error) = engine.set_metadata(&metadata)
    {
        log::warn("metadata of own metrics was not stored", &[("err", &error)]);
    }
}

fn batch(families: &[Family], instance: &str, now: Timestamp) -> Vec<(Labels, Samples)> {
    let samples = families.iter().flat_map(|f| f.samples.iter().map(move |s| (f.name, s)));
    samples.map(|(name, s)| row(name, s.suffix, &s.labels, instance, now, s.value)).collect()
}

fn row(
    name: &str,
    suffix: &str,
    labels: &[(&'static str, String)],
    instance: &str,
    now: Timestamp,
    value: f64,
) -> (Labels, Samples) {
    let mut builder = LabelsBuilder::default();
    builder.set(METRIC_NAME, &format!("{name}{suffix}"));
    for (name, value) in labels {
        builder.set(name, value);
    }
    builder.set("job", "marigram").set("instance", instance);
    let mut samples = Samples::default();
    samples.push_float(now, 0, value);
    (builder.build(), samples)
}

fn metadata(family: &Family) -> (String, engine::Metadata) {
    use super::family::Kind;
    let metric_type = match family.kind {
        Kind::Counter => engine::MetricType::Counter,
        Kind::Gauge => engine::MetricType::Gauge,
        Kind::Histogram => engine::MetricType::Histogram,
        Kind::Summary => engine::MetricType::Summary,
    };
    let entry = engine::Metadata { metric_type, unit: String::new(), help: family.help.to_owned() };
    (family.name.to_owned(), entry)
}
