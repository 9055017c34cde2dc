//! Bench: finding series by their labels among two million, one label having a million values.
//!
//! `cargo run --release -p marigram-engine --example index -- [SERIES] [VALUES]`
//!
//! Each question is asked of the head and then, after a flush, of the block; the median and the longest of
//! eleven times are printed, the first time apart. Matchers are compiled anew each time.
#![expect(clippy::print_stdout, reason = "printing is this program's job")]

use engine::{Engine, MatchOp, Matcher, Options, Snapshot, WalSync, WriteBatch, series_key};
use std::time::{Duration, Instant};
use storage_format::model::labels::put_key;
use storage_format::model::{Labels, TimeRange};

/// How to compare, label, value.
type Condition<'a> = (MatchOp, &'a str, String);
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const RUNS: usize = 11;
const REQUEST: usize = 2_000;

fn labels(n: usize, values: usize) -> Labels {
    // Values come in an order that is not theirs, as those of users or sessions do.
    let id = (n % values).wrapping_mul(48_271) % values;
    let pairs = [
        ("__name__", format!("http_requests_{:03}_total", n / values * 500 + id % 500)),
        ("env", ["production", "staging"][id % 2].to_owned()),
        ("instance", format!("host-{:03}:9100", id % 200)),
        ("job", "api".to_owned()),
        ("user", format!("user-{id:07}")),
    ];
    Labels::from_pairs(pairs.iter().map(|(n, v)| (*n, v.as_str())))
}

fn fill(engine: &Engine, series: usize, values: usize) -> Outcome<()> {
    let (mut batch, mut key) = (WriteBatch::default(), Vec::new());
    for first in (0..series).step_by(REQUEST) {
        batch.clear();
        for n in first..series.min(first + REQUEST) {
            key.clear();
            put_key(&labels(n, values), &mut key);
            batch.timestamps.push(1_700_000_000_000);
            batch.values.push(n as f64);
            batch.end_series(series_key(&key), n as u32, 0);
        }
        let (_, wait) =
            engine.append_batch(&batch, &mut |entry| Ok(labels(entry.key_offset as usize, values)))?;
        wait.wait()?;
    }
    Ok(())
}

/// Asks several times; prints what it took and how much was found.
fn time(what: &str, mut ask: impl FnMut() -> Outcome<usize>) -> Outcome<()> {
    let (mut times, mut found) = (Vec::new(), 0);
    for _ in 0..=RUNS {
        let start = Instant::now();
        found = ask()?;
        times.push(start.elapsed());
    }
    let first = times.remove(0);
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, longest) = (times[RUNS / 2], times[RUNS - 1]);
    println!("| {what} | {found} | {:.2} | {:.2} | {:.2} |", ms(first), ms(median), ms(longest));
    Ok(())
}

fn ask_all(snapshot: &Snapshot, values: usize) -> Outcome<()> {
    println!("| question | found | first ms | median ms | longest ms |");
    println!("|---|---:|---:|---:|---:|");
    use MatchOp::{Equal, NotEqual, Regex};
    let matcher = |(op, name, value): &Condition<'_>| Matcher::new(*op, name, value);
    let user = |id: usize| format!("user-{:07}", id % values);
    let thousand: Vec<String> = (0..1000).map(|i| user(i * 997)).collect();
    let questions: Vec<(&str, Vec<Condition<'_>>)> = vec![
        ("`user=\"…\"`", vec![(Equal, "user", user(123_456))]),
        ("`user=~\"user-0012.*\"`", vec![(Regex, "user", "user-0012.*".into())]),
        ("`user=~\"(a|…)\"`, 1,000 literals", vec![(Regex, "user", thousand.join("|"))]),
        ("`user=~\".*99999\"`", vec![(Regex, "user", ".*99999".into())]),
        ("`user=~\".*9{4}[0-9]\"`", vec![(Regex, "user", ".*9{4}[0-9]".into())]),
        (
            "`instance=\"…\"`, `user=~\".*9{2}[0-9]\"`, name=\"…\"",
            vec![
                (Equal, "__name__", "http_requests_199_total".into()),
                (Equal, "instance", "host-199:9100".into()),
                (Regex, "user", ".*9{2}[0-9]".into()),
            ],
        ),
        (
            "`job=\"api\"`, `env!=\"staging\"`, `user=\"…\"`",
            vec![
                (Equal, "job", "api".into()),
                (NotEqual, "env", "staging".into()),
                (Equal, "user", user(123_456)),
            ],
        ),
    ];
    for (what, matchers) in &questions {
        time(what, || {
            let matchers = matchers.iter().map(matcher).collect::<Result<Vec<_>, _>>()?;
            Ok(snapshot.select(&matchers, TimeRange::ALL)?.len())
        })?;
    }
    let sets = |pairs: &[Condition<'_>]| -> Outcome<Vec<Vec<Matcher>>> {
        Ok(vec![pairs.iter().map(matcher).collect::<Result<Vec<_>, _>>()?])
    };
    let narrow = sets(&[(Equal, "instance", "host-007:9100".into())])?;
    let wide = sets(&[(Equal, "job", "api".into())])?;
    time("values of `instance`, all series", || {
        Ok(snapshot.label_values("instance", &[], TimeRange::ALL, 0)?.len())
    })?;
    time("values of `instance` with `job=\"api\"`", || {
        Ok(snapshot.label_values("instance", &wide, TimeRange::ALL, 0)?.len())
    })?;
    time("values of `user` with `instance=\"…\"`", || {
        Ok(snapshot.label_values("user", &narrow, TimeRange::ALL, 0)?.len())
    })?;
    time("names with `instance=\"…\"`", || Ok(snapshot.label_names(&narrow, TimeRange::ALL, 0)?.len()))?;
    time("names with `job=\"api\"`", || Ok(snapshot.label_names(&wide, TimeRange::ALL, 0)?.len()))
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |text| text.parse());
    let (series, values) = (number(0, 2_000_000)?, number(1, 1_000_000)?);
    let dir = tempfile::tempdir()?;
    let options = Options { retention_ms: i64::MAX, wal_sync: WalSync::None, ..Options::new(dir.path()) };
    let engine = Engine::open(options)?;
    fill(&engine, series, values)?;
    println!("{series} series, `user` has {values} values. In the head:\n");
    ask_all(&engine.snapshot(), values)?;
    engine.flush()?;
    println!("\nIn a block:\n");
    ask_all(&engine.snapshot(), values)?;
    engine.close()?;
    Ok(())
}
