//! The PromQL parser against the inputs of Prometheus' own parser tests: accepted or rejected alike, with
//! the same errors.
//!
//! The cases come from the shared folder (`oracles/parse_cases.json`).

mod peer;

use query::parse::{Options, parse};
use serde_json::Value;
use tests_support::peers;

/// Queries that were cut where upstream's source joins several strings, for a backquote cannot stand in a
/// backquoted one: what is left of them, which nobody accepts, and what is meant.
const CUT: [(&str, &str); 2] = [
    ("{'foo\\'bar', ", r"{'foo\'bar', `a\dos\path`='boo\\urns'}"),
    ("`", r#"`\a\b\f\n\r\t\v\\\"\' - \xFF\377\u1234\U00010111\U0001011111☺`"#),
];

fn check(case: &Value) -> Result<(), String> {
    let query = case["query"].as_str().expect("a case has a query");
    let query = CUT.iter().find(|(cut, _)| *cut == query).map_or(query, |(_, whole)| whole);
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
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
