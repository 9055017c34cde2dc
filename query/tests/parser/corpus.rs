//! The committed inputs of the fuzz targets.

use crate::again::print_and_parse;
use crate::feed::feed;
use std::path::Path;

/// The inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is there");
    let inputs: Vec<_> =
        entries.map(|e| std::fs::read(e.expect("an entry").path()).expect("a file")).collect();
    assert!(inputs.len() >= 10, "{} holds hardly anything", folder.display());
    inputs
}

#[test]
fn the_corpora_of_the_fuzz_targets_pass() {
    corpus("promql_text").iter().filter_map(|bytes| std::str::from_utf8(bytes).ok()).for_each(feed);
    corpus("promql_grammar").iter().for_each(|bytes| print_and_parse(bytes));
}
