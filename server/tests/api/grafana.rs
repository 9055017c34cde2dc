//! The dashboard that ships asks for what exists.

use crate::support::server;
use query::parse::{Options, parse};
use std::collections::BTreeSet;

fn texts<'a>(value: &'a serde_json::Value, key: &str, out: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                out.extend(value.as_str().filter(|_| name == key));
                texts(value, key, out);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, key, out)),
        _ => {}
    }
}

#[test]
fn every_expression_of_the_dashboard_is_answered() {
    let dashboard = include_str!("../../../grafana/dashboards/marigram.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 15, "{expressions:?}");
    let server = server(&[]);
    server.store(&[("__name__", "up")], &[(1_000, 1.0)]);
    // The first request is the one that the second one counts.
    server.get("/api/v1/query?query=up");
    let metrics = server.get("/metrics");
    let exist: BTreeSet<&str> =
        metrics.text().lines().filter_map(|line| line.split([' ', '{']).next()).collect();
    let typed = regex::Regex::new("(?m)^# TYPE (\\S+)").expect("an expression");
    let families: BTreeSet<&str> = typed
        .captures_iter(metrics.text())
        .filter_map(|found| found.get(1))
        .map(|name| name.as_str())
        .collect();
    let name = regex::Regex::new("((?:marigram|prometheus|process)_[a-z_]+)").expect("an expression");
    for expression in expressions {
        let text = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        parse(&text, &Options::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
        for metric in name.find_iter(&text).map(|found| found.as_str()) {
            // A family without samples so far has its type only.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
            let known = exist.contains(metric) || families.contains(metric);
            assert!(known || base.is_some_and(|base| families.contains(base)), "{metric} does not exist");
        }
    }
}
