//! `target_info`: when there is one, its labels and its spacing.

use crate::fixture::*;
use ingest::otlp::Config;
use serde_json::{Value, json};

#[test]
fn target_info() {
    let at =
        |ms: &[i64]| -> Value { ms.iter().map(|t| json!({"asInt": 1, "timeUnixNano": nanos(*t)})).collect() };
    type Pairs = &'static [(&'static str, &'static str)];
    let full: Pairs = &[
        ("service.name", "s"),
        ("service.instance.id", "i"),
        ("service.namespace", "n"),
        ("host.name", "h"),
    ];
    let keep = Config { keep_identifying_resource_attributes: true, ..Config::default() };
    let promote = Config { promote_resource_attributes: vec!["host.name".to_owned()], ..Config::default() };
    type Case = (&'static str, Config, Pairs, &'static [i64], Option<&'static str>);
    let cases: Vec<Case> = vec![
        ("usual", Config::default(), full, &[0], Some("{host_name=h,instance=i,job=n/s} 0=1")),
        (
            "identity kept",
            keep,
            full,
            &[0],
            Some(
                "{host_name=h,instance=i,job=n/s,service_instance_id=i,service_name=s,service_namespace=n} 0=1",
            ),
        ),
        ("nothing but identity", Config::default(), SERVICE, &[0], None),
        ("no identity", Config::default(), &[("host.name", "h")], &[0], None),
        (
            "instance only",
            Config::default(),
            &[("service.instance.id", "i"), ("a", "b")],
            &[0],
            Some("{a=b,instance=i} 0=1"),
        ),
        ("no points", Config::default(), full, &[], None),
        ("promotion does not matter", promote, full, &[0], Some("{host_name=h,instance=i,job=n/s} 0=1")),
        (
            "short span",
            Config::default(),
            full,
            &[0, 1000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 1000=1"),
        ),
        (
            "long span",
            Config::default(),
            full,
            &[0, 310_000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 150000=1 300000=1 310000=1"),
        ),
        (
            "span that ends on a step",
            Config::default(),
            full,
            &[0, 300_000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 150000=1 300000=1"),
        ),
        ("points in any order", Config::default(), full, &[5, 3], None),
    ];
    for (what, config, resource, times, want) in cases {
        let f = fixture(config);
        if what == "points in any order" {
            // Two series, so that the order is not one of samples.
            let metrics = json!([gauge("a", at(&[5])), gauge("b", at(&[3]))]);
            f.json(&request(resource, metrics)).unwrap();
            assert!(f.dump().contains(&"target_info{host_name=h,instance=i,job=n/s} 3=1 5=1".to_owned()));
            continue;
        }
        f.json(&request(resource, json!([gauge("g", at(times))]))).unwrap();
        let got: Vec<_> =
            f.dump().into_iter().filter_map(|l| l.strip_prefix("target_info").map(str::to_owned)).collect();
        assert_eq!(got, want.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn a_wrong_clock_does_not_ask_for_millions() {
    let f = fixture(Config::default());
    let points = json!([{"asInt": 1, "timeUnixNano": "1000000"}, {"asInt": 1, "timeUnixNano": nanos(0)}]);
    f.json(&request(&[("service.name", "s"), ("a", "b")], json!([gauge("g", points)]))).unwrap();
    assert!(f.dump().iter().map(String::len).sum::<usize>() < 100_000);
}
