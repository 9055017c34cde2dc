//! Any text into every entry of the parser; the fuzz target of texts does the same.

use query::parse::{Options, parse, parse_metric, parse_metric_selector, parse_series_description, prettify};

/// Parses with every entry; errors must be told with positions inside the input.
pub(crate) fn feed(text: &str) {
    let options = Options::all_features();
    match parse(text, &options) {
        Ok(expr) => {
            // Whatever is accepted can be printed and walked.
            let _ = prettify(&expr);
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(
                errors.errors.iter().all(|e| e.span.start as usize <= text.len()),
                "{text:?}: {errors:?}"
            );
            assert!(errors.to_string().contains("parse error: "));
        }
    }
    let _ = parse_metric_selector(text, &options);
    let _ = parse_metric(text, &options);
    let _ = parse_series_description(text);
}
