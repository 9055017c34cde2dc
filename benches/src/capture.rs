//! The real capture as a template: for each of two scraped targets its series and, for every second, their
//! values.
//!
//! A target's scrapes are laid on a grid of one-second slots; a series has a value in each slot where it was
//! scraped. Values of a slot lie side by side, which is the order they are sent in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use tests_support::remote_write::put_label;

/// Seconds between two scrapes of a simulated target.
pub const INTERVAL: i64 = 15;
/// Slots from one simulated scrape to the next, as the capture's README proposes.
pub const STRIDE: usize = 5;

/// How a series' values continue past the end of the capture and differ between instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// For a counter, its last value less the first: it grows by that with each pass through the capture.
    pub increase: Option<f64>,
    /// Whether what an instance changes must be the same for all series of the target, as the parts of a
    /// histogram must agree.
    pub shared: bool,
    /// `10^d` when every value has at most `d` ≤ 6 decimals: results are rounded to them, as the exporter's
    /// own arithmetic would have it.
    pub scale: Option<f64>,
    /// Whether all values are so small that they are counts or states rather than magnitudes.
    pub small: bool,
}

/// One series of a target.
#[derive(Debug)]
pub struct Series {
    /// Labels before `instance`, as fields of a remote-write series.
    pub before: Vec<u8>,
    /// Labels after `instance`.
    pub after: Vec<u8>,
    /// How it goes on.
    pub shape: Shape,
}

/// One scraped target of the capture.
#[derive(Debug)]
pub struct Target {
    /// The `job` label.
    pub job: String,
    /// Its series, in the capture's order.
    pub series: Vec<Series>,
    /// `values[slot * series.len() + series]`; `None` where the series was not there.
    values: Vec<Option<f64>>,
    /// Milliseconds by which each slot's scrape was off its second.
    pub jitter: Vec<i64>,
}

impl Target {
    /// The values of all series in a slot.
    pub fn slot(&self, slot: usize) -> &[Option<f64>] {
        let width = self.series.len();
        &self.values[slot * width..(slot + 1) * width]
    }

    /// Slots in the capture, a multiple of [`STRIDE`].
    pub fn slots(&self) -> usize {
        self.jitter.len()
    }
}

#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    timestamps: Vec<i64>,
    values: Vec<Option<f64>>,
}

/// Reads `capture.jsonl.zst`.
///
/// # Errors
/// When the file cannot be read or is not the capture.
pub fn load(path: &Path) -> io::Result<Vec<Target>> {
    let mut decoder = zstd::Decoder::new(File::open(path)?)?;
    decoder.window_log_max(27)?;
    let mut jobs: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for line in BufReader::new(decoder).lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let job = line.metric.get("job").cloned().unwrap_or_default();
        jobs.entry(job).or_default().push(line);
    }
    Ok(jobs.into_iter().map(|(job, lines)| target(job, &lines)).collect())
}

fn target(job: String, lines: &[Line]) -> Target {
    let times = || lines.iter().flat_map(|l| l.timestamps.iter().copied());
    let base = times().min().unwrap_or(0);
    let last = times().max().unwrap_or(0);
    let slot_of = |t: i64| usize::try_from((t - base + 500) / 1000).expect("times start at the base");
    let slots = (slot_of(last) + 1) / STRIDE * STRIDE;
    let width = lines.len();
    let mut values = vec![None; slots * width];
    let mut jitter = vec![0; slots];
    for (column, line) in lines.iter().enumerate() {
        for (&t, &value) in line.timestamps.iter().zip(&line.values) {
            let slot = slot_of(t);
            if slot < slots {
                // A NaN (null) is left out: not every server counts it as a sample.
                values[slot * width + column] = value;
                jitter[slot] = t - base - i64::try_from(slot).expect("few slots") * 1000;
            }
        }
        bridge_single_gaps(&mut values, width, column);
    }
    Target { job, series: lines.iter().map(series).collect(), values, jitter }
}

/// A scrape that slipped into the next second leaves a slot empty; the series was there all the same.
fn bridge_single_gaps(values: &mut [Option<f64>], width: usize, column: usize) {
    for at in (column + width..values.len().saturating_sub(width)).step_by(width) {
        if values[at].is_none() && values[at + width].is_some() {
            values[at] = values[at - width];
        }
    }
}

fn series(line: &Line) -> Series {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (name, value) in line.metric.iter().filter(|(name, _)| *name != "instance") {
        let out = if name.as_str() < "instance" { &mut before } else { &mut after };
        put_label(out, name.as_bytes(), value.as_bytes());
    }
    let name = line.metric.get("__name__").map_or("", String::as_str);
    let known: Vec<f64> = line.values.iter().flatten().copied().collect();
    Series { before, after, shape: shape(name, &known) }
}

fn shape(name: &str, values: &[f64]) -> Shape {
    let shared = ["_bucket", "_count", "_sum"].iter().any(|s| name.ends_with(s));
    let falls = values.windows(2).any(|w| w[1] < w[0]);
    let increase = match (values.first(), values.last()) {
        (Some(first), Some(last)) if (shared || name.ends_with("_total")) && !falls => Some(last - first),
        _ => None,
    };
    let decimals = values.iter().map(|v| decimals(*v)).max().unwrap_or(0);
    let scale = (decimals <= 6).then(|| 10f64.powi(i32::try_from(decimals).expect("at most 6")));
    Shape { increase, shared, scale, small: values.iter().all(|v| v.abs() <= 16.0) }
}

fn decimals(value: f64) -> usize {
    value.to_string().split_once('.').map_or(0, |(_, d)| d.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_from_gauges_and_their_decimals_found() {
        let counter = shape("cpu_seconds_total", &[1.0, 1.25, 17.5]);
        let expected = Shape { increase: Some(16.5), shared: false, scale: Some(100.0), small: false };
        assert_eq!(counter, expected);
        assert_eq!(shape("load", &[1.0, 2.0]).increase, None);
        assert_eq!(shape("falling_total", &[2.0, 1.0]).increase, None);
        let long = shape("x_sum", &[0.1, 0.123_456_789]);
        assert!(long.shared && long.small && long.scale.is_none());
    }

    #[test]
    fn a_slipped_scrape_is_bridged_and_a_real_end_is_not() {
        let mut values = [Some(1.0), None, Some(3.0), None, None, Some(6.0)];
        bridge_single_gaps(&mut values, 1, 0);
        assert_eq!(values, [Some(1.0), Some(1.0), Some(3.0), None, None, Some(6.0)]);
    }
}
