//! Nanoseconds of the receiving thread a sample, from compressed request to stored sample, engine and log included, for series that
//! are known: 2,000 series of 10 labels, one sample each and request.
//! `cargo run --release -p marigram-ingest --example append_speed`.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement prints, and stops when it cannot measure"
)]

use engine::{Engine, Options, WalSync};
use ingest::otlp::{self, Format};
use ingest::relabel::{Relabeling, Rule, RuleConfig};
use ingest::remote_write::{self, RequestInfo};
use ingest::{Encoding, Limits};
use std::sync::Arc;
use std::time::Instant;

const SERIES: usize = 2000;
const REQUESTS: usize = 400;
const FIRST: u64 = 1_700_000_000_000;

fn varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out);
    out
}

fn pairs(i: usize) -> Vec<(&'static str, String)> {
    vec![
        ("__name__", format!("node_cpu_frequency_metric_{}_total", i % 40)),
        ("cluster", "production-eu-west-1".to_owned()),
        ("cpu", format!("{}", i % 16)),
        ("datacenter", "dc1".to_owned()),
        ("env", "production".to_owned()),
        ("instance", format!("10.0.{}.{}:9100", i / 200, i % 200)),
        ("job", "node-exporter".to_owned()),
        ("mode", "softirq".to_owned()),
        ("region", "eu-west-1".to_owned()),
        ("team", "infrastructure".to_owned()),
    ]
}

fn value(i: usize, n: usize) -> f64 {
    1.0e6 + (i * 7 + n * 3) as f64
}

fn sample(i: usize, n: usize) -> Vec<u8> {
    message(|m| {
        m.push(0x09);
        m.extend(value(i, n).to_le_bytes());
        m.push(0x10);
        varint(m, FIRST + n as u64 * 15_000);
    })
}

fn version_1(sender: usize, n: usize) -> Vec<u8> {
    message(|request| {
        for i in sender * SERIES..(sender + 1) * SERIES {
            let series = message(|series| {
                for (name, value) in pairs(i) {
                    field(
                        series,
                        1,
                        &message(|label| {
                            field(label, 1, name.as_bytes());
                            field(label, 2, value.as_bytes());
                        }),
                    );
                }
                field(series, 2, &sample(i, n));
            });
            field(request, 1, &series);
        }
    })
}

fn version_2(sender: usize, n: usize) -> Vec<u8> {
    let mut symbols = std::collections::HashMap::from([(String::new(), 0)]);
    let mut table = vec![String::new()];
    let all = message(|all| {
        for i in sender * SERIES..(sender + 1) * SERIES {
            let mut refs = Vec::new();
            for text in pairs(i).into_iter().flat_map(|(n, v)| [n.to_owned(), v]) {
                let at = *symbols.entry(text.clone()).or_insert_with(|| {
                    table.push(text);
                    table.len() as u64 - 1
                });
                varint(&mut refs, at);
            }
            field(
                all,
                5,
                &message(|series| {
                    field(series, 1, &refs);
                    field(series, 2, &sample(i, n));
                }),
            );
        }
    });
    message(|request| {
        table.iter().for_each(|text| field(request, 4, text.as_bytes()));
        request.extend(all);
    })
}

fn otlp_sums(n: usize) -> Vec<u8> {
    let attribute = |into: &mut Vec<u8>, number, name: &str, value: &str| {
        field(
            into,
            number,
            &message(|pair| {
                field(pair, 1, name.as_bytes());
                field(pair, 2, &message(|any| field(any, 1, value.as_bytes())));
            }),
        );
    };
    let scope = message(|scope| {
        for metric in 0..40 {
            let data = message(|data| {
                for i in (metric..SERIES).step_by(40) {
                    field(
                        data,
                        1,
                        &message(|point| {
                            pairs(i)
                                .iter()
                                .skip(1)
                                .for_each(|(name, value)| attribute(point, 7, name, value));
                            point.push(0x19);
                            point.extend(((FIRST + n as u64 * 15_000) * 1_000_000).to_le_bytes());
                            point.push(0x21);
                            point.extend(value(i, n).to_le_bytes());
                        }),
                    );
                }
                data.extend([0x10, 2, 0x18, 1]);
            });
            field(
                scope,
                2,
                &message(|m| {
                    field(m, 1, pairs(metric)[0].1.as_bytes());
                    field(m, 7, &data);
                }),
            );
        }
    });
    message(|request| {
        field(
            request,
            1,
            &message(|resource_metrics| {
                field(resource_metrics, 1, &message(|r| attribute(r, 1, "service.name", "checkout")));
                field(resource_metrics, 2, &scope);
            }),
        );
    })
}

fn measure(what: &str, bodies: &[Vec<u8>], mut receive: impl FnMut(&[u8])) {
    receive(&bodies[0]);
    let begin = cpu_nanos();
    bodies[1..].iter().for_each(|body| receive(body));
    let samples = (bodies.len() - 1) * SERIES;
    println!("{what:<28} {:>6.1} ns/sample", (cpu_nanos() - begin) / samples as f64);
}

/// Rules as they are common: one that drops a few, one that rewrites every series, one that takes a label.
fn rules() -> Arc<Relabeling> {
    let config = |action: &str, source: Option<&str>, regex: &str, target: Option<&str>| RuleConfig {
        action: Some(action.to_owned()),
        source_labels: source.map(|label| vec![label.to_owned()]),
        regex: Some(regex.to_owned()),
        target_label: target.map(str::to_owned),
        ..RuleConfig::default()
    };
    let rules = [
        config("drop", Some("__name__"), "go_.*", None),
        config("replace", Some("instance"), "(.*):[0-9]+", Some("host")),
        config("labeldrop", None, "datacenter", None),
    ];
    let relabeling = Relabeling::default();
    relabeling.set(rules.iter().map(|config| Rule::new(config).expect("a rule")).collect());
    Arc::new(relabeling)
}

/// One and two senders at the same time, each with series of its own: how much longer a sample takes on
/// its processor, and how much more is stored a second.
fn senders(
    what: &str,
    receiver: &Arc<remote_write::Receiver>,
    info: RequestInfo<'static>,
    body: impl Fn(usize, usize) -> Vec<u8>,
) {
    let mut rates = Vec::new();
    for count in [1, 2] {
        let bodies: Vec<Vec<_>> =
            (0..count).map(|s| (0..REQUESTS).map(|n| body(s + count, n)).collect()).collect();
        let start = Instant::now();
        let threads: Vec<_> = bodies
            .into_iter()
            .map(|bodies| {
                let receiver = Arc::clone(receiver);
                std::thread::spawn(move || {
                    let begin = cpu_nanos();
                    for body in &bodies {
                        receiver.receive(info, body).expect("stored");
                    }
                    cpu_nanos() - begin
                })
            })
            .collect();
        let cpu: f64 = threads.into_iter().map(|t| t.join().expect("no panic")).sum();
        let samples = (count * REQUESTS * SERIES) as f64;
        rates.push((cpu / samples, samples / start.elapsed().as_secs_f64()));
    }
    println!(
        "{:<28} {:>6.1} ns/sample, {:.2} times the samples a second of one",
        format!("{what}, two senders"),
        rates[1].0,
        rates[1].1 / rates[0].1
    );
}

/// Time this thread was on a processor, so that a busy machine measures the same.
fn cpu_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

fn main() {
    let snappy = |body: Vec<u8>| snap::raw::Encoder::new().compress_vec(&body).expect("fits");
    let open = || {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Options { wal_sync: WalSync::None, ..Options::new(dir.path()) };
        (Arc::new(Engine::open(options).expect("an engine")), dir)
    };
    type Encode = fn(usize, usize) -> Vec<u8>;
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (what, content_type, encode) in [
        ("remote write 1.0", "application/x-protobuf", version_1 as Encode),
        ("remote write 2.0", v2, version_2),
    ] {
        let (engine, _dir) = open();
        let bodies: Vec<_> = (0..REQUESTS).map(|n| snappy(encode(0, n))).collect();
        let receiver = remote_write::Receiver::new(engine, Limits::REMOTE_WRITE);
        let info = RequestInfo { content_type: Some(content_type), content_encoding: None };
        measure(what, &bodies, |body| {
            assert_eq!(receiver.receive(info, body).expect("stored").samples_written, SERIES as u64);
        });
        let (engine, _dir) = open();
        let receiver = remote_write::Receiver::new(engine, Limits::REMOTE_WRITE);
        let receiver = receiver.with_relabeling(rules());
        measure(&format!("{what}, relabeled"), &bodies, |body| {
            assert_eq!(receiver.receive(info, body).expect("stored").samples_written, SERIES as u64);
        });
        let (engine, _dir) = open();
        senders(what, &Arc::new(remote_write::Receiver::new(engine, Limits::REMOTE_WRITE)), info, |s, n| {
            snappy(encode(s, n))
        });
    }
    let (engine, _dir) = open();
    let bodies: Vec<_> =
        (0..REQUESTS).map(|n| zstd::encode_all(&otlp_sums(n)[..], 1).expect("fits")).collect();
    let receiver = otlp::Receiver::new(engine, otlp::Config::default(), Limits::OTLP);
    measure("OTLP, zstd", &bodies, |body| {
        assert_eq!(receiver.receive(Format::Protobuf, Encoding::Zstd, body).expect("stored").rejected, 0);
    });
}
