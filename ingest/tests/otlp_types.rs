//! OTLP requests encoded by OpenTelemetry's own message types: the decoder reads what they write.
//!
//! The other tests write protobuf by hand, so a field number that was misread twice would go unseen there.

use engine::{Engine, MatchOp, Matcher, Options};
use ingest::otlp::{Config, Format, Receiver};
use ingest::{Encoding, Limits};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exponential_histogram_data_point::Buckets, metric::Data, number_data_point::Value,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::sync::Arc;
use storage_format::model::{Samples, TimeRange};

const TIME: u64 = 1_700_000_000_000_000_000;
const START: u64 = TIME - 5_000_000_000;
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn number(value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![text("path", "/a")],
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.into(), unit: unit.into(), data: Some(data), ..Metric::default() }
}

fn metrics() -> Vec<Metric> {
    let histogram = HistogramDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        count: 6,
        sum: Some(7.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 1.0],
        ..HistogramDataPoint::default()
    };
    let buckets = |offset, counts: &[u64]| Some(Buckets { offset, bucket_counts: counts.to_vec() });
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: TIME,
        count: 10,
        sum: Some(3.0),
        scale: 2,
        zero_count: 1,
        positive: buckets(3, &[4, 3]),
        negative: buckets(-2, &[2]),
        zero_threshold: 0.25,
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        time_unix_nano: TIME,
        count: 3,
        sum: 9.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 2.5 }],
        ..SummaryDataPoint::default()
    };
    vec![
        metric("temp", "Cel", Data::Gauge(Gauge { data_points: vec![number(Value::AsDouble(-2.5))] })),
        metric(
            "hits",
            "",
            Data::Sum(Sum {
                data_points: vec![number(Value::AsInt(42))],
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
        ),
        metric(
            "latency",
            "s",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: CUMULATIVE }),
        ),
        metric(
            "size",
            "By",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: CUMULATIVE,
            }),
        ),
        metric("rpc", "", Data::Summary(Summary { data_points: vec![summary] })),
    ]
}

#[test]
fn what_the_official_types_write_is_read() {
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![text("service.name", "shop"), text("service.instance.id", "i1")],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() }),
                metrics: metrics(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let receiver = Receiver::new(Arc::clone(&engine), Config::default(), Limits::OTLP);
    receiver.receive(Format::Protobuf, Encoding::Identity, &request.encode_to_vec()).unwrap();

    let all = Matcher::new(MatchOp::Equal, "job", "shop").unwrap();
    let mut seen = Vec::new();
    for series in engine.snapshot().select(&[all], TimeRange::ALL).unwrap() {
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples).unwrap();
        assert_eq!(series.labels().get("instance"), Some("i1"));
        let labels: Vec<_> = series
            .labels()
            .iter()
            .filter(|(name, _)| !["__name__", "job", "instance"].contains(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let name = series.labels().metric_name().unwrap().to_owned();
        for (t, value) in samples.timestamps.iter().zip(&samples.values) {
            assert_eq!(*t, (TIME / 1_000_000) as i64);
            seen.push(format!("{name}{{{}}} {value}", labels.join(",")));
        }
        for (_, _, h) in &samples.histograms {
            let (positive, negative) = (&h.positive_counts, &h.negative_counts);
            let spans = (h.positive_spans[0].offset, h.negative_spans[0].offset);
            let zero = (h.zero_count, h.zero_threshold);
            seen.push(format!(
                "{name} {} {} {} {zero:?} {spans:?} {positive:?} {negative:?}",
                h.count, h.sum, h.schema
            ));
        }
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "hits_total{path=/a} 42",
            "latency_seconds_bucket{le=+Inf} 6",
            "latency_seconds_bucket{le=0.5} 1",
            "latency_seconds_bucket{le=1} 3",
            "latency_seconds_count{} 6",
            "latency_seconds_sum{} 7.5",
            "rpc_count{} 3",
            "rpc_sum{} 9",
            "rpc{quantile=0.5} 2.5",
            "size_bytes 10 3 2 (1.0, 0.25) (4, -1) [4.0, 3.0] [2.0]",
            "temp_celsius{path=/a} -2.5",
        ]
    );
}
