//! The PromQL parser against the inputs of Prometheus' own parser tests: accepted or rejected alike, with
//! the same errors.
//!
//! The cases come from the shared folder (`oracles/parse_cases.json`).

mod peer;

use query::parse::{Options, parse};
use serde_json::Value;
use tests_support::peers;

/// Cases whose query was cut where upstream's source joins several strings; what is left of them is no
/// query.
const CUT: [&str; 2] = ["{'foo\\'bar', ", "`"];

fn check(case: &Value) -> Result<(), String> {
    let query = case["query"].as_str().expect("a case has a query");
    let expected: Vec<&str> =
        case["error_contains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (parse(query, &Options::all_features()), case["fails"] == true) {
        (Ok(_), false) => Ok(()),
        (Ok(expr), true) => Err(format!("{query:?} is accepted as {expr}, expected {expected:?}")),
        (Err(errors), false) => Err(format!("{query:?} is rejected: {:?}", errors.errors)),
        (Err(errors), true) => {
            let got: Vec<&str> = errors.errors.iter().map(|e| e.message.as_str()).collect();
            let fits = got.len() == expected.len() && got.iter().zip(&expected).all(|(g, e)| g.contains(e));
            if fits { Ok(()) } else { Err(format!("{query:?}: expected {expected:?}, got {got:?}")) }
        }
    }
}

#[test]
fn parser_agrees_with_prometheus() {
    let Some(shared) = peers::shared() else {
        return peers::skip("parser_agrees_with_prometheus", "nothing is shared");
    };
    let file = shared.join("oracles/parse_cases.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return peers::skip("parser_agrees_with_prometheus", "the cases are not there");
    };
    let cases: Vec<Value> = serde_json::from_str(&text).expect("the cases are JSON");
    assert!(cases.len() > 200);
    let cut = |case: &&Value| !case["query"].as_str().is_some_and(|q| CUT.contains(&q));
    let wrong: Vec<String> = cases.iter().filter(cut).filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
