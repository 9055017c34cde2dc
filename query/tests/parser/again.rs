//! What is printed parses to the same tree; prettified it is the same query. The fuzz target of the grammar
//! does the same.

use crate::generate::{Dialect, query};
use query::parse::{Expr, Options, parse, prettify};

/// The tree without positions.
pub(crate) fn shape(expr: &Expr) -> String {
    let debug = format!("{expr:?}");
    let mut shape = String::with_capacity(debug.len());
    let mut rest = debug.as_str();
    while let Some((before, after)) = rest.split_once("span: Span {") {
        shape.push_str(before);
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    shape + rest
}

/// The tree of a query that must parse.
pub(crate) fn parsed(text: &str) -> Expr {
    parse(text, &Options::all_features()).unwrap_or_else(|e| panic!("{text}: {:?}", e.errors))
}

/// The query that `bytes` choose, printed, parsed again, prettified and parsed again.
pub(crate) fn print_and_parse(bytes: &[u8]) {
    // Printing sorts matchers and shortens numbers; after that nothing may change any more.
    let printed = parsed(&query(bytes, Dialect::Full)).to_string();
    let again = parsed(&printed);
    assert_eq!(again.to_string(), printed);
    assert_eq!(shape(&parsed(&again.to_string())), shape(&again));
    let pretty = prettify(&again);
    assert_eq!(shape(&parsed(&pretty)), shape(&again));
    assert_eq!(prettify(&parsed(&pretty)), pretty);
}
