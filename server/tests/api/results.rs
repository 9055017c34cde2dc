//! Query results as JSON: every shape, exact to the byte, whole or in pieces.

use query::{MatrixSeries, Point, QueryResult, QueryStats, Value, VectorSample};
use server::wire::body::Encode;
use server::wire::result::{ResultEncoder, StatsLevel};
use std::sync::Arc;
use storage_format::model::{Histogram, Labels, Span};

fn result(value: Value) -> QueryResult {
    QueryResult {
        value,
        warnings: Vec::new(),
        infos: Vec::new(),
        stats: QueryStats::default(),
        charged: query::Charged::default(),
    }
}

/// The JSON of a result; the same whatever the size of the pieces.
fn json(result: &QueryResult, stats: StatsLevel) -> String {
    let in_pieces_of = |target: usize| {
        let mut encoder = ResultEncoder::new(result.clone(), stats);
        let mut all = Vec::new();
        loop {
            let mut piece = Vec::new();
            let more = encoder.encode(&mut piece, target);
            all.extend_from_slice(&piece);
            if !more {
                return String::from_utf8(all).expect("UTF-8");
            }
        }
    };
    let whole = in_pieces_of(usize::MAX);
    for target in [1, 7, 64, 100] {
        assert_eq!(in_pieces_of(target), whole, "in pieces of {target} bytes");
    }
    whole
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn histogram() -> Arc<Histogram> {
    Arc::new(Histogram {
        count: 3.0,
        sum: 1.5,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_counts: vec![3.0],
        ..Histogram::default()
    })
}

#[test]
fn scalars_and_strings_are_pairs() {
    let scalar = result(Value::Scalar { timestamp: 4000, value: 2.0 });
    assert_eq!(
        json(&scalar, StatsLevel::None),
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
    );
    let scalar = result(Value::Scalar { timestamp: 1100, value: 1e-7 });
    assert_eq!(
        json(&scalar, StatsLevel::None),
        r#"{"status":"success","data":{"resultType":"scalar","result":[1.1,"0.0000001"]}}"#
    );
    let string = result(Value::String { timestamp: 4001, value: "a\"b\n".to_owned() });
    assert_eq!(
        json(&string, StatsLevel::None),
        r#"{"status":"success","data":{"resultType":"string","result":[4.001,"a\"b\n"]}}"#
    );
}

#[test]
fn vectors_hold_floats_and_histograms() {
    let at = |labels, point| VectorSample { labels, timestamp: 1500, point };
    let vector = result(Value::Vector(vec![
        at(labels(&[("__name__", "up"), ("path", "C:\\ü")]), Point::Float(f64::NEG_INFINITY)),
        at(Labels::empty(), Point::Float(1e-7)),
        at(labels(&[("a", "b")]), Point::Histogram(histogram())),
    ]));
    assert_eq!(
        json(&vector, StatsLevel::None),
        concat!(
            r#"{"status":"success","data":{"resultType":"vector","result":["#,
            r#"{"metric":{"__name__":"up","path":"C:\\ü"},"value":[1.500,"-Inf"]},"#,
            r#"{"metric":{},"value":[1.500,"1e-07"]},"#,
            r#"{"metric":{"a":"b"},"histogram":[1.500,{"count":"3","sum":"1.5","buckets":[[0,"0.5","1","3"]]}]}"#,
            r#"]}}"#
        )
    );
    assert_eq!(
        json(&result(Value::Vector(Vec::new())), StatsLevel::None),
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
    );
}

#[test]
fn matrices_leave_out_what_a_series_has_not() {
    let matrix = result(Value::Matrix(vec![
        MatrixSeries {
            labels: labels(&[("a", "1")]),
            timestamps: vec![0, 1000, 2500],
            values: vec![1.0, f64::NAN, 0.1],
            histograms: Vec::new(),
        },
        MatrixSeries {
            labels: labels(&[("a", "2")]),
            timestamps: vec![0],
            values: vec![-0.0],
            histograms: vec![(1000, histogram())],
        },
        MatrixSeries {
            labels: labels(&[("a", "3")]),
            timestamps: Vec::new(),
            values: Vec::new(),
            histograms: vec![(0, Arc::default()), (1000, Arc::default())],
        },
    ]));
    assert_eq!(
        json(&matrix, StatsLevel::None),
        concat!(
            r#"{"status":"success","data":{"resultType":"matrix","result":["#,
            r#"{"metric":{"a":"1"},"values":[[0,"1"],[1,"NaN"],[2.500,"0.1"]]},"#,
            r#"{"metric":{"a":"2"},"values":[[0,"-0"]],"#,
            r#""histograms":[[1,{"count":"3","sum":"1.5","buckets":[[0,"0.5","1","3"]]}]]},"#,
            r#"{"metric":{"a":"3"},"histograms":[[0,{"count":"0","sum":"0"}],[1,{"count":"0","sum":"0"}]]}"#,
            r#"]}}"#
        )
    );
}

#[test]
fn notes_and_statistics_stand_beside_the_result() {
    let mut scalar = result(Value::Scalar { timestamp: 0, value: 1.0 });
    scalar.warnings = vec!["w".to_owned()];
    scalar.infos = vec!["i 1".to_owned(), "i 2".to_owned()];
    scalar.stats.total_queryable_samples = 5;
    scalar.stats.samples_per_step = vec![(1500, 5)];
    assert_eq!(
        json(&scalar, StatsLevel::None),
        concat!(
            r#"{"status":"success","data":{"resultType":"scalar","result":[0,"1"]},"#,
            r#""warnings":["w"],"infos":["i 1","i 2"]}"#
        )
    );
    let totals: serde_json::Value = serde_json::from_str(&json(&scalar, StatsLevel::Totals)).unwrap();
    assert_eq!(totals["data"]["stats"]["samples"]["totalQueryableSamples"], 5);
    assert_eq!(totals["data"]["stats"]["timings"]["execTotalTime"], 0);
    assert!(totals["data"]["stats"]["samples"]["totalQueryableSamplesPerStep"].is_null());
    let per_step: serde_json::Value = serde_json::from_str(&json(&scalar, StatsLevel::PerStep)).unwrap();
    assert_eq!(
        per_step["data"]["stats"]["samples"]["totalQueryableSamplesPerStep"],
        serde_json::json!([[1.5, 5]])
    );
}
