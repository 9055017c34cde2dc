//! Whether warnings, infos and errors are those a script expects.

use crate::script::{Expectation, Expected};

/// Checks what came with a result.
pub(crate) fn check(expected: &Expected, warnings: &[String], infos: &[String]) -> Result<(), String> {
    kind("warning", &expected.warnings, expected.no_warnings, warnings)?;
    kind("info", &expected.infos, expected.no_infos, infos)
}

/// Every expectation needs a message, and if there are any, every message an expectation.
fn kind(name: &str, expected: &[Expectation], none: bool, actual: &[String]) -> Result<(), String> {
    if none && !actual.is_empty() {
        return Err(format!("unexpected {name}s {actual:?}"));
    }
    for expectation in expected {
        if !actual.iter().any(|message| expectation.fits(message)) {
            return Err(format!("expected a {name} {}, got {actual:?}", describe(expectation)));
        }
    }
    let unexpected = actual.iter().find(|message| !expected.iter().any(|e| e.fits(message)));
    match unexpected {
        Some(message) if !expected.is_empty() => Err(format!("unexpected {name} {message:?}")),
        _ => Ok(()),
    }
}

pub(crate) fn describe(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Any => "of any text".to_owned(),
        Expectation::Text(text) => format!("{text:?}"),
        Expectation::Pattern(pattern) => format!("like {pattern:?}"),
    }
}
