//! Exemplars over their whole life: log, head, checkpoint, block, merge, retention, damage.

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{AppendOutcome, Engine, Error, Exemplar, ExemplarPolicy, LeftOut, MatchOp, Matcher, Options};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage_format::model::{Labels, Samples, TimeRange};

const HOUR: i64 = 3_600_000;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 40
    }
}

fn options() -> Options {
    Options {
        out_of_order_window_ms: i64::MAX / 4,
        retention_ms: i64::MAX,
        shards: 3,
        ..Options::new("/data")
    }
}

fn open_with(disk: &MemoryDisk, options: Options) -> Engine {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options, fs, Arc::new(FixedClock), false).expect("opens")
}

fn open(disk: &MemoryDisk) -> Engine {
    open_with(disk, options())
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &format!("{series:03}"))])
}

fn exemplar(timestamp: i64, value: f64, id: &str) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", id)]), value, timestamp }
}

/// Appends a sample, so that the series is there, and exemplars.
fn append(engine: &Engine, series: usize, exemplars: &[Exemplar]) -> AppendOutcome {
    let mut samples = Samples::default();
    samples.push_float(exemplars.iter().map(|e| e.timestamp).max().unwrap_or(0), 0, 1.0);
    engine.append(&[(labels(series), samples)]).expect("memory does not fail");
    engine.append_exemplars(&[(labels(series), exemplars.to_vec())]).expect("memory does not fail")
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Vec<Matcher> {
    vec![Matcher::new(op, name, value).expect("matcher")]
}

/// Series number, timestamp, bits of the value, trace.
type Row = (usize, i64, u64, String);

fn row(series: usize, e: &Exemplar) -> Row {
    (series, e.timestamp, e.value.to_bits(), e.labels.get("trace_id").unwrap_or("").to_owned())
}

fn read(engine: &Engine, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<Row> {
    let found = engine.exemplars(sets, range).expect("reads");
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "series are sorted and stand once");
    let number = |labels: &Labels| labels.get("n").expect("label").parse().expect("number");
    found
        .iter()
        .flat_map(|(labels, all)| all.iter().map(|e| row(number(labels), e)).collect::<Vec<_>>())
        .collect()
}

fn read_all(engine: &Engine) -> Vec<Row> {
    read(engine, &[matcher(MatchOp::Equal, "__name__", "m")], TimeRange::ALL)
}

/// A small generator of random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

#[test]
fn whatever_happens_the_answers_are_those_of_a_set() {
    for seed in 1..=40u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let disk = MemoryDisk::default();
        let mut engine = open(&disk);
        let mut expected: BTreeSet<Row> = BTreeSet::new();
        for _ in 0..30 {
            match random.below(10) {
                0 => engine.flush().expect("flushes"),
                1 => engine.compact().expect("compacts"),
                2 => {
                    engine.close().expect("closes");
                    drop(engine);
                    engine = open(&disk);
                }
                3 => {
                    drop(engine);
                    engine = open(&disk);
                }
                _ => {
                    let series = random.below(200);
                    let many: Vec<_> = (0..1 + random.below(20))
                        .map(|_| {
                            let t = random.below(40) as i64 * HOUR / 2 + random.below(3) as i64;
                            exemplar(t, random.below(3) as f64, &"ab".repeat(random.below(4)))
                        })
                        .collect();
                    assert_eq!(append(&engine, series, &many).exemplars_stored, many.len() as u64);
                    expected.extend(many.iter().map(|e| row(series, e)));
                }
            }
            assert_eq!(read_all(&engine), expected.iter().cloned().collect::<Vec<_>>(), "seed {seed}");
            let range = TimeRange::new(3 * HOUR, 9 * HOUR);
            let sets = [matcher(MatchOp::Regex, "n", "0[0-4].*"), matcher(MatchOp::Equal, "n", "150")];
            let wanted = |r: &&Row| range.contains(r.1) && (r.0 < 50 || r.0 == 150);
            let inside: Vec<_> = expected.iter().filter(wanted).cloned().collect();
            assert_eq!(read(&engine, &sets, range), inside, "seed {seed}");
            assert_eq!(engine.stats().reports, Vec::<String>::new());
        }
    }
}

#[test]
fn limits_leave_out_and_count() {
    let limited = |policy| Options {
        exemplars_per_series_max: 3,
        exemplars_max: 8,
        exemplar_policy: policy,
        out_of_order_window_ms: HOUR,
        ..options()
    };
    let engine = open_with(&MemoryDisk::default(), limited(ExemplarPolicy::Always));
    let left_out = |outcome: &AppendOutcome, why: LeftOut| outcome.exemplars_left_out[why as usize];
    let five: Vec<_> = (0..5).map(|i| exemplar(10 * HOUR + i, 1.0, "x")).collect();
    let outcome = append(&engine, 1, &five);
    assert_eq!((outcome.exemplars_stored, left_out(&outcome, LeftOut::SeriesLimit)), (3, 2));
    // A flush does not make room in the same window; another window has room of its own.
    engine.flush().expect("flushes");
    let outcome = append(&engine, 1, &[exemplar(10 * HOUR + 9, 1.0, "x")]);
    assert_eq!((outcome.exemplars_stored, left_out(&outcome, LeftOut::SeriesLimit)), (0, 1));
    let outcome = append(&engine, 1, &[exemplar(12 * HOUR, 1.0, "x")]);
    assert_eq!((outcome.exemplars_stored, left_out(&outcome, LeftOut::SeriesLimit)), (1, 0));
    let outcome = append(&engine, 1, &[exemplar(12 * HOUR, 1.0, "x"), exemplar(11 * HOUR - 1, 1.0, "x")]);
    assert_eq!(
        (outcome.exemplars_stored, left_out(&outcome, LeftOut::TooOld)),
        (1, 1),
        "a repetition is stored"
    );
    let outcome = append(&engine, 2, &[exemplar(12 * HOUR, 1.0, &"x".repeat(5000))]);
    assert_eq!(left_out(&outcome, LeftOut::TooLong), 1);
    let future = engine.append_exemplars(&[(labels(2), vec![exemplar(1 << 41, 1.0, "x")])]).expect("appends");
    assert_eq!(left_out(&future, LeftOut::OutOfBounds), 1);
    let nobody =
        engine.append_exemplars(&[(labels(77), vec![exemplar(12 * HOUR, 1.0, "x")])]).expect("appends");
    assert_eq!(left_out(&nobody, LeftOut::NoSeries), 1);
    assert_eq!(engine.stats().head_series, 2, "exemplars make no series");
    for series in 3..6 {
        append(
            &engine,
            series,
            &five.iter().map(|e| exemplar(e.timestamp + 2 * HOUR, 1.0, "y")).collect::<Vec<_>>(),
        );
    }
    let stats = engine.stats();
    assert_eq!((stats.exemplars, stats.exemplar_series), (8, 4), "1 of the first series, then 3 + 3 + 1");
    assert_eq!(stats.exemplars_left_out[LeftOut::HeadLimit as usize], 4);
    assert_eq!(stats.exemplars_appended, 3 + 1 + 1 + 7);
    assert_eq!(stats.exemplars_left_out.iter().sum::<u64>(), 2 + 1 + 1 + 1 + 1 + 1 + 2 + 2 + 2 + 2);

    let engine = open_with(&MemoryDisk::default(), limited(ExemplarPolicy::Probability(0.0)));
    let outcome = append(&engine, 1, &five);
    assert_eq!((outcome.exemplars_stored, left_out(&outcome, LeftOut::Policy)), (0, 5));
    let engine = open_with(&MemoryDisk::default(), Options { exemplars_max: 0, ..options() });
    assert_eq!(append(&engine, 1, &five).exemplars_stored, 0);
    assert_eq!(read_all(&engine), []);
}

#[test]
fn outliers_are_kept_of_each_series_by_its_own_measure() {
    let options = Options { exemplar_policy: ExemplarPolicy::Outlier, ..options() };
    let engine = open_with(&MemoryDisk::default(), options);
    for i in 0..100 {
        let slow = if i == 90 { 40.0 } else { 1.0 };
        for (series, usual) in [(1, 0.1), (2, 4.0)] {
            let value = usual * slow * (1.0 + 0.1 * f64::from(i % 7));
            append(&engine, series, &[exemplar(i64::from(i) * 1000, value, "x")]);
        }
    }
    let late: Vec<_> = read_all(&engine).into_iter().filter(|r| r.1 >= 8000).map(|r| (r.0, r.1)).collect();
    assert_eq!(late, [(1, 90_000), (2, 90_000)]);
    assert_eq!(engine.stats().exemplars_left_out[LeftOut::Policy as usize], 2 * 91);
}

/// The files in the folder of blocks.
fn blocks(disk: &MemoryDisk) -> Vec<std::path::PathBuf> {
    disk.list(Path::new("/data/blocks")).expect("lists")
}

#[test]
fn blocks_without_exemplars_have_no_byte_of_them_and_damage_is_named() {
    let size = |with: bool| {
        let disk = MemoryDisk::default();
        let engine = open(&disk);
        let mut samples = Samples::default();
        samples.push_float(5, 0, 1.0);
        engine.append(&[(labels(1), samples)]).expect("appends");
        if with {
            let rows = vec![(labels(1), vec![exemplar(5, 0.5, "abc")])];
            engine.append_exemplars(&rows).expect("appends");
        }
        engine.flush().expect("flushes");
        (disk.clone(), disk.map(&blocks(&disk)[0]).expect("reads").to_vec())
    };
    let ((_, without), (disk, with)) = (size(false), size(true));
    assert!(with.len() - without.len() < 60, "{} and {} bytes", with.len(), without.len());
    let name = blocks(&disk)[0].clone();
    let mut seen = 0;
    for bit in 0..with.len() * 8 {
        let mut bad = with.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        disk.remove(&name).expect("removes");
        let mut file = disk.create(&name).expect("creates");
        file.append(&bad).expect("writes");
        drop(file);
        let engine = open(&disk);
        match engine.exemplars(&[matcher(MatchOp::Equal, "n", "001")], TimeRange::ALL) {
            Ok(found) => assert_eq!(found[0].1, [exemplar(5, 0.5, "abc")], "bit {bit}"),
            Err(Error::Corrupt { path, .. }) => {
                assert_eq!(path, name);
                seen += 1;
            }
            Err(e) => panic!("bit {bit}: {e}"),
        }
    }
    assert!(seen > (with.len() - without.len()) * 8, "{seen} bits seen");
}

#[test]
fn a_full_head_is_emptied_early_and_retention_drops_what_is_old() {
    let options = Options {
        exemplars_max: 100,
        retention_ms: 20 * HOUR,
        out_of_order_window_ms: HOUR / 2,
        ..options()
    };
    let disk = MemoryDisk::default();
    let engine = open_with(&disk, options.clone());
    let mut expected = Vec::new();
    for i in 0..1000i64 {
        let e = exemplar(i * 10_000, 1.0, "x");
        let series = (i % 50) as usize;
        assert_eq!(append(&engine, series, std::slice::from_ref(&e)).exemplars_stored, 1, "number {i}");
        expected.push(row(series, &e));
        engine.maintain().expect("maintains");
        assert!(engine.stats().exemplars <= 51);
    }
    expected.sort();
    assert_eq!(read_all(&engine), expected);
    drop(engine);
    let engine = open_with(&disk, options);
    assert!(engine.stats().exemplars <= 500, "{} are back in the head", engine.stats().exemplars);
    assert_eq!(read_all(&engine), expected);
    engine.maintain().expect("maintains");
    append(&engine, 1, &[exemplar(40 * HOUR, 1.0, "late")]);
    engine.maintain().expect("maintains");
    engine.maintain().expect("maintains");
    assert_eq!(read_all(&engine), [row(1, &exemplar(40 * HOUR, 1.0, "late"))]);
}
