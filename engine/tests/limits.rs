//! Limits of series: what is refused and with which words, that known series go on, and that the counts
//! survive restarts and evictions.

use engine::io::{Clock, memory::MemoryDisk};
use engine::{AppendOutcome, Engine, MatchOp, Matcher, Options, Rejection};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use storage_format::model::{Labels, Samples, TimeRange};

const HOUR: i64 = 3_600_000;

#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Fixture {
    disk: Arc<MemoryDisk>,
    clock: Arc<HandClock>,
    options: Options,
    engine: Engine,
}

fn fixture(change: impl FnOnce(&mut Options)) -> Fixture {
    let mut options = Options { shards: 3, retention_ms: i64::MAX, ..Options::new("/data") };
    change(&mut options);
    let (disk, clock) = (Arc::new(MemoryDisk::default()), Arc::new(HandClock::default()));
    clock.0.store(100 * HOUR, Ordering::Relaxed);
    let engine = Engine::open_with(options.clone(), disk.clone(), clock.clone(), false).expect("opens");
    Fixture { disk, clock, options, engine }
}

impl Fixture {
    fn append(&self, t: i64, series: &[&[(&str, &str)]]) -> AppendOutcome {
        let batch: Vec<_> = series
            .iter()
            .map(|pairs| {
                let mut samples = Samples::default();
                samples.push_float(t, 0, 1.0);
                (Labels::from_pairs(pairs.iter().copied()), samples)
            })
            .collect();
        self.engine.append(&batch).expect("memory does not fail")
    }
    /// Whether one sample of a new or known series is stored.
    fn takes(&self, t: i64, pairs: &[(&str, &str)]) -> bool {
        self.append(t, &[pairs]).rejected_count == 0
    }
    fn restart(self) -> Self {
        let Fixture { disk, clock, options, engine } = self;
        engine.close().expect("closes");
        drop(engine);
        let engine = Engine::open_with(options.clone(), disk.clone(), clock.clone(), false).expect("opens");
        Fixture { disk, clock, options, engine }
    }
}

fn refused(outcome: &AppendOutcome, reason: Rejection) -> u64 {
    outcome.by_reason[reason as usize]
}

#[test]
fn all_series() {
    let f = fixture(|o| o.series_max = 2);
    assert_eq!(f.append(HOUR, &[&[("__name__", "a")], &[("__name__", "b")]]).accepted, 2);
    let outcome = f.append(HOUR, &[&[("__name__", "c"), ("x", "y")]]);
    assert_eq!((outcome.accepted, refused(&outcome, Rejection::SeriesLimit)), (0, 1));
    assert_eq!(
        outcome.invalid_series,
        [r#"limit of 2 active series reached for series {__name__="c", x="y"}"#]
    );
    assert!(!outcome.passes_by_itself());
    assert!(f.takes(HOUR + 1, &[("__name__", "a")]), "known series go on");
}

#[test]
fn series_of_a_metric_counted_over_shards_restarts_and_evictions() {
    let mut f = fixture(|o| o.series_per_metric_max = 3);
    let names: Vec<String> = (0..5).map(|i| i.to_string()).collect();
    let of = |i: usize| [("__name__", "m"), ("i", names[i].as_str())];
    for round in 0..2 {
        let t = HOUR + round;
        assert_eq!(f.append(t, &[&of(0), &of(1), &of(2)]).accepted, 3);
        let outcome = f.append(t, &[&of(3), &of(0), &[("__name__", "other")]]);
        assert_eq!((outcome.accepted, refused(&outcome, Rejection::MetricSeriesLimit)), (2, 1));
        assert_eq!(
            outcome.invalid_series,
            [r#"limit of 3 active series of metric "m" reached for series {__name__="m", i="3"}"#]
        );
        f = f.restart();
    }
    // What is quiet and flushed makes room.
    assert!(f.takes(6 * HOUR, &of(0)));
    f.engine.flush().expect("flushes");
    assert!(f.takes(6 * HOUR, &of(3)) && f.takes(6 * HOUR, &of(4)));
    assert!(!f.takes(6 * HOUR, &of(1)), "it is a new series now");
}

#[test]
fn values_of_a_label() {
    let mut f = fixture(|o| o.values_per_label_max = 3);
    let of = |pod: &'static str, x: &'static str| [("__name__", "m"), ("pod", pod), ("x", x)];
    for round in 0..2 {
        let t = HOUR + round;
        assert_eq!(f.append(t, &[&of("a", "1"), &of("b", "1"), &of("c", "1")]).accepted, 3);
        let outcome = f.append(t, &[&of("d", "1"), &of("a", "1")]);
        assert_eq!((outcome.accepted, refused(&outcome, Rejection::LabelValuesLimit)), (1, 1));
        assert_eq!(
            outcome.invalid_series,
            [r#"limit of 3 values of label "pod" reached for series {__name__="m", pod="d", x="1"}"#]
        );
        f = f.restart();
    }
    assert!(f.takes(HOUR + 2, &of("a", "2")) && f.takes(HOUR + 2, &of("b", "3")), "values that are known");
    assert!(!f.takes(HOUR + 2, &of("b", "4")), "x is full as well");
    assert!(f.takes(HOUR + 2, &[("__name__", "m"), ("y", "1")]), "other labels");
    assert!(f.takes(6 * HOUR, &of("a", "2")));
    f.engine.flush().expect("flushes");
    assert!(f.takes(6 * HOUR, &of("new", "2")), "the values of evicted series are no more");
}

#[test]
fn many_values_are_counted_by_sampling() {
    let f = fixture(|o| o.values_per_label_max = 20_000);
    let mut accepted = 0;
    for chunk in 0..40u32 {
        let values: Vec<String> = (0..1000).map(|i| (chunk * 1000 + i).to_string()).collect();
        let series: Vec<_> = values.iter().map(|v| [("__name__", "m"), ("id", v.as_str())]).collect();
        let series: Vec<&[(&str, &str)]> = series.iter().map(<[_; 2]>::as_slice).collect();
        accepted += f.append(HOUR, &series).accepted;
    }
    assert!((18_000..22_000).contains(&accepted), "{accepted}");
}

#[test]
fn new_series_a_second() {
    let f = fixture(|o| o.new_series_per_second = 2);
    let names: Vec<String> = (0..30).map(|i| format!("m{i}")).collect();
    let all: Vec<_> = names.iter().map(|n| [("__name__", n.as_str())]).collect();
    let all: Vec<&[(&str, &str)]> = all.iter().map(<[_; 1]>::as_slice).collect();
    let outcome = f.append(HOUR, &all);
    assert_eq!((outcome.accepted, refused(&outcome, Rejection::NewSeriesRate)), (20, 10));
    assert!(outcome.passes_by_itself());
    let why = "limit of 2 new series a second reached for series {__name__=\"m";
    assert!(outcome.invalid_series[0].starts_with(why), "{:?}", outcome.invalid_series);
    f.clock.0.fetch_add(1500, Ordering::Relaxed);
    let outcome = f.append(HOUR, &all);
    assert_eq!((outcome.accepted, outcome.rejected_count), (23, 7), "a retry brings the next ones");
    f.clock.0.fetch_add(HOUR, Ordering::Relaxed);
    assert_eq!(f.append(HOUR, &all).rejected_count, 0);
}

#[test]
fn what_is_beyond_the_retention_is_not_shown_though_its_block_is_still_there() {
    let fixture = fixture(|options| {
        options.retention_ms = 2 * HOUR;
        options.out_of_order_window_ms = HOUR;
    });
    for quarter in 0..16 {
        assert!(fixture.takes(90 * HOUR + quarter * HOUR / 4, &[("__name__", "m")]));
        if quarter == 8 {
            fixture.engine.flush().expect("flushes");
        }
    }
    let matcher = Matcher::new(MatchOp::Equal, "__name__", "m").expect("a matcher");
    let found = fixture.engine.snapshot().select(&[matcher], TimeRange::ALL).expect("selects");
    let mut samples = Samples::default();
    found[0].read(TimeRange::ALL, &mut samples).expect("reads");
    let newest = 90 * HOUR + 15 * HOUR / 4;
    let kept: Vec<i64> = (0..9).map(|quarter| newest - 2 * HOUR + quarter * HOUR / 4).collect();
    assert_eq!(samples.timestamps, kept);
}
