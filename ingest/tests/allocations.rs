//! Storing samples of known series allocates nothing for each of them, in any protocol: a request of 2,000 data
//! points costs as few allocations as one of 20.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use engine::{Engine, Options, WalSync};
use ingest::otlp::{self, Format};
use ingest::remote_write::{self, RequestInfo};
use ingest::{Encoding, Limits};
use std::sync::Arc;
use support::{Message, message, snappy};

const FIRST: i64 = 1_700_000_000_000;
/// Allocations of one request, however many points it has: buffers that grow, the log's record, the ticket.
const REQUEST_MAX: u64 = 60;

fn engine() -> (Arc<Engine>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { wal_sync: WalSync::None, ..Options::new(dir.path()) };
    (Arc::new(Engine::open(options).unwrap()), dir)
}

/// Sends requests of `points` data points, 15 s apart, and returns the fewest allocations of one of the later
/// ones: now and then a chunk is full, or a table grows.
fn allocations(points: usize, body: impl Fn(usize, i64) -> Vec<u8>, mut receive: impl FnMut(&[u8])) -> u64 {
    let bodies: Vec<_> = (0..12).map(|n| body(points, FIRST + n * 15_000)).collect();
    let counted = bodies.iter().map(|body| allocation_counter::measure(|| receive(body)).count_total);
    counted.collect::<Vec<_>>().into_iter().skip(4).min().unwrap()
}

fn check(what: &str, few: u64, many: u64) {
    assert!(few <= REQUEST_MAX && many <= REQUEST_MAX, "{what}: {few} for 20 points, {many} for 2000");
}

fn version_1(points: usize, time: i64) -> Vec<u8> {
    let label = |name: &str, value: &str| message().bytes(1, name).bytes(2, value);
    let series = |i: usize| {
        let sample = message().double(1, (i as i64 + time / 1000 % 1000) as f64).int(2, time);
        message()
            .sub(1, label("__name__", "requests_total"))
            .sub(1, label("instance", &i.to_string()))
            .sub(1, label("job", "test"))
            .sub(2, sample)
    };
    snappy(&(0..points).fold(message(), |m, i| m.sub(1, series(i))).0)
}

fn version_2(points: usize, time: i64) -> Vec<u8> {
    let fixed = ["", "__name__", "requests_total", "instance", "job", "test"];
    let symbols = fixed.iter().map(|s| (*s).to_owned()).chain((0..points).map(|i| i.to_string()));
    let request = symbols.fold(message(), |m, symbol| m.bytes(4, symbol));
    let series = |i: usize| {
        let sample = message().double(1, (i as i64 + time / 1000 % 1000) as f64).int(2, time);
        message().packed(1, &[1, 2, 3, 6 + i as u64, 4, 5]).sub(2, sample)
    };
    snappy(&(0..points).fold(request, |m, i| m.sub(5, series(i))).0)
}

fn attribute(key: &str, value: &str) -> Message {
    message().bytes(1, key).sub(2, message().bytes(1, value))
}

fn otlp_request(metric: Message) -> Vec<u8> {
    let resource = message().sub(1, attribute("service.name", "test")).sub(1, attribute("host.name", "h"));
    message().sub(1, message().sub(1, resource).sub(2, message().sub(2, metric))).0
}

fn sums(points: usize, time: i64, temporality: i64) -> Vec<u8> {
    let point = |i: usize| {
        message()
            .fixed(2, ((time - 15_000) * 1_000_000) as u64)
            .fixed(3, (time * 1_000_000) as u64)
            .double(4, 1.0)
            .sub(7, attribute("instance", &i.to_string()))
    };
    let data = (0..points).fold(message(), |m, i| m.sub(1, point(i))).int(2, temporality).int(3, 1);
    otlp_request(message().bytes(1, "requests").sub(7, data))
}

fn histograms(points: usize, time: i64) -> Vec<u8> {
    let point = |i: usize| {
        message()
            .fixed(3, (time * 1_000_000) as u64)
            .fixed(4, 6)
            .double(5, 1.5)
            .packed_fixed(6, &[1, 2, 3])
            .packed_doubles(7, &[0.5, 1.0])
            .sub(9, attribute("instance", &i.to_string()))
    };
    let data = (0..points).fold(message(), |m, i| m.sub(1, point(i))).int(2, 2);
    otlp_request(message().bytes(1, "latency").sub(9, data))
}

#[test]
fn remote_write_allocates_nothing_for_a_sample() {
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    type Body = fn(usize, i64) -> Vec<u8>;
    for (content_type, body) in [("application/x-protobuf", version_1 as Body), (v2, version_2)] {
        let counted = [20, 2000].map(|points| {
            let (engine, _dir) = engine();
            let receiver = remote_write::Receiver::new(engine, Limits::REMOTE_WRITE);
            let info = RequestInfo { content_type: Some(content_type), content_encoding: None };
            allocations(points, body, |body| {
                assert_eq!(receiver.receive(info, body).unwrap().samples_written, points as u64);
            })
        });
        check(content_type, counted[0], counted[1]);
    }
}

#[test]
fn otlp_allocates_nothing_for_a_data_point() {
    type Body = fn(usize, i64) -> Vec<u8>;
    let cumulative: Body = |points, time| sums(points, time, 2);
    let delta: Body = |points, time| sums(points, time, 1);
    for (what, body) in [("sums", cumulative), ("deltas", delta), ("histograms", histograms as Body)] {
        let counted = [20, 2000].map(|points| {
            let (engine, _dir) = engine();
            let receiver = otlp::Receiver::new(engine, otlp::Config::default(), Limits::OTLP);
            allocations(points, body, |body| {
                let receipt = receiver.receive(Format::Protobuf, Encoding::Identity, body).unwrap();
                assert_eq!((receipt.points, receipt.rejected), (points as u64, 0));
            })
        });
        check(what, counted[0], counted[1]);
    }
}
