//! Label sets: attributes of points, resources and scopes, what overwrites what, and collisions.

use crate::fixture::*;
use ingest::otlp::{Config, TranslationStrategy};
use serde_json::json;

#[test]
fn label_sets() {
    let d = Config::default;
    let promote = |keys: &[&str]| Config {
        promote_resource_attributes: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..d()
    };
    let all = Config { promote_all_resource_attributes: true, ..d() };
    let all_but = Config {
        promote_all_resource_attributes: true,
        ignore_resource_attributes: vec!["host.name".to_owned()],
        ..d()
    };
    let scope = Config { promote_scope_metadata: true, ..d() };
    let utf8 = Config { translation_strategy: TranslationStrategy::NoTranslation, ..d() };
    let typed = Config { type_and_unit_labels: true, ..d() };
    let keep = Config { label_name_underscore_sanitization: false, ..d() };
    let collapse = Config { label_name_preserve_multiple_underscores: false, ..d() };
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: Vec<(&str, Config, Pairs, Pairs, &str)> = vec![
        ("dots", d(), SERVICE, &[("http.method", "GET")], "{http_method=GET,job=s}"),
        ("digit first", d(), SERVICE, &[("1st", "x")], "{job=s,key_1st=x}"),
        ("underscore first", d(), SERVICE, &[("_x", "y")], "{job=s,key_x=y}"),
        ("underscore first, kept", keep, SERVICE, &[("_x", "y")], "{_x=y,job=s}"),
        ("runs kept", d(), SERVICE, &[("a..b", "y")], "{a__b=y,job=s}"),
        ("runs collapsed", collapse, SERVICE, &[("a..b", "y")], "{a_b=y,job=s}"),
        (
            "collision, keys in order",
            d(),
            SERVICE,
            &[("a_b", "2"), ("a.b", "1"), ("a/b", "3")],
            "{a_b=1;3;2,job=s}",
        ),
        (
            "no collision in UTF-8",
            utf8.clone(),
            SERVICE,
            &[("a_b", "2"), ("a.b", "1")],
            "{a.b=1,a_b=2,job=s}",
        ),
        ("name is dropped", d(), SERVICE, &[("__name__", "evil")], "{job=s}"),
        ("empty value is dropped", d(), SERVICE, &[("a", "")], "{job=s}"),
        ("job with namespace", d(), &[("service.name", "s"), ("service.namespace", "n")], &[], "{job=n/s}"),
        ("namespace alone is no job", d(), &[("service.namespace", "n")], &[], "{}"),
        ("instance", d(), &[("service.name", "s"), ("service.instance.id", "i")], &[], "{instance=i,job=s}"),
        ("instance alone", d(), &[("service.instance.id", "i")], &[], "{instance=i}"),
        ("no resource", d(), &[], &[("a", "b")], "{a=b}"),
        (
            "job overwrites",
            d(),
            &[("service.name", "s"), ("service.instance.id", "i")],
            &[("job", "x"), ("instance", "y")],
            "{instance=i,job=s}",
        ),
        ("attribute job without service", d(), &[], &[("job", "x")], "{job=x}"),
        (
            "promoted",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h"), ("os", "l")],
            &[],
            "{host_name=h,job=s}",
        ),
        ("promoted, absent", promote(&["host.name"]), SERVICE, &[], "{job=s}"),
        (
            "promoted, point wins",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h")],
            &[("host.name", "p")],
            "{host_name=p,job=s}",
        ),
        (
            "promoted, empty point loses",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h")],
            &[("host.name", "")],
            "{host_name=h,job=s}",
        ),
        ("promoted identity", promote(&["service.name"]), SERVICE, &[], "{job=s,service_name=s}"),
        (
            "all promoted",
            all,
            &[("service.name", "s"), ("host.name", "h")],
            &[],
            "{host_name=h,job=s,service_name=s}",
        ),
        ("all but", all_but, &[("service.name", "s"), ("host.name", "h")], &[], "{job=s,service_name=s}"),
        (
            "scope",
            scope.clone(),
            SERVICE,
            &[],
            "{job=s,otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=https://x,otel_scope_version=1.2}",
        ),
        (
            "scope overwrites",
            scope,
            SERVICE,
            &[("otel_scope_name", "x")],
            "{job=s,otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=https://x,otel_scope_version=1.2}",
        ),
        (
            "UTF-8",
            utf8,
            SERVICE,
            &[("http.method", "GET"), ("größe", "1")],
            "{größe=1,http.method=GET,job=s}",
        ),
        ("type and unit", typed, SERVICE, &[("__type__", "x")], "{__type__=gauge,job=s}"),
    ];
    for (what, config, resource, pairs, want) in cases {
        let f = fixture(config);
        f.json(&request(resource, json!([gauge("g", json!([point(json!({"asInt": 1}), pairs)]))]))).unwrap();
        let got: Vec<_> = f.dump().into_iter().filter(|l| l.starts_with("g{")).collect();
        assert_eq!(got, [format!("g{want} 0=1")], "{what}");
    }
}

#[test]
fn nameless_scopes_add_nothing() {
    let f = fixture(Config { promote_scope_metadata: true, ..Config::default() });
    let metrics = json!([gauge("g", json!([point(json!({"asInt": 1}), &[])]))]);
    let scope = json!({"version": "1", "attributes": attrs(&[("a", "b")])});
    f.json(&json!({"resourceMetrics": [{"scopeMetrics": [{"scope": scope, "metrics": metrics}]}]})).unwrap();
    assert_eq!(f.dump(), ["g{} 0=1"]);
}
