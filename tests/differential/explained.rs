//! Differences between 3.5, which is asked, and 3.14, which is followed.

use crate::answer::Answer;
use crate::queries::Question;
use std::collections::BTreeSet;

/// Whether only 3.14 has an annotation.
pub(crate) fn is_new(text: &str) -> bool {
    text.contains("sort is ineffective for range queries")
}

/// A text in the words of both.
pub(crate) fn reworded(text: &str) -> String {
    let told = "input to histogram_quantile needed to be fixed for monotonicity";
    if text.contains(told) {
        // 3.5 tells the metric, 3.14 what was fixed.
        return told.to_owned();
    }
    // A bucket without a bound: the metric's name is no longer told.
    let told = "bucket label \"le\" is missing or has a malformed value of";
    match text.split_once(" for metric name ") {
        Some((before, after)) if before.contains(told) => {
            let position = after.rfind(" (").map_or("", |at| &after[at..]);
            format!("{before}{position}")
        }
        _ => text.to_owned(),
    }
}

/// What makes a small difference large.
const MAGNIFYING: [&str; 9] = ["deriv", "%", "atan2", "stddev", "stdvar", "-", "sin", "cos", "tan"];

/// Why the answers to `question` differ by intent; `None` when they must not.
pub(crate) fn reason(question: &Question, peer: &Answer, own: &Answer) -> Option<&'static str> {
    let text = &question.text;
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let told = |piece: &str| peer.annotations.iter().any(|a| a.contains(piece));
    if has(&["custom", "__name__"]) && has(&["sum", "avg", "+"]) {
        return Some("3.5 drops histograms whose custom bounds differ, 3.14 reconciles them");
    }
    if has(&["rate(", "increase("]) && has(&["native", "custom", "changing", "both", "__name__"]) {
        return Some("3.14 does not extrapolate counts of histograms below zero");
    }
    if has(&["histogram_fraction"]) && has(&["latency_bucket", "__name__"]) {
        return Some("3.5 interpolates in the lowest classic bucket from -Inf");
    }
    if has(&["mad_over_time"]) && has(&["odd", "NaN", "__name__"]) {
        return Some("3.5 leaves NaN out of the median");
    }
    if has(&["sum_over_time", "avg_over_time", "sum", "avg"]) && has(&["native"]) && has(&["count_values"]) {
        return Some("3.14 adds histograms with compensation, whose last digits show in labels");
    }
    let many_to_one = own.error.as_deref().is_some_and(|e| e.starts_with("multiple matches for labels"));
    if many_to_one && peer.error.is_none() && has(&["<", ">", "==", " !="]) {
        return Some("3.14 refuses many-to-one matches also where a comparison filters them away");
    }
    if has(&["count_values"]) && has(&["^"]) {
        return Some("last bits of powers, which show in labels");
    }
    let told_last = peer.annotations.iter().all(|a| own.annotations.contains(a));
    if told("incompatible sample types") && told_last && peer.nearly_equals_but_for_annotations(own) {
        return Some("of several incompatible pairs at a step the peer tells the last one it came upon");
    }
    if peer.nearly_equals(own) && has(&MAGNIFYING) {
        return Some("last bits of elementary functions, made large by a difference or a period");
    }
    if peer.has_the_shape_of(own) && has(&["%"]) {
        return Some("last bits of elementary functions, from which a remainder makes anything");
    }
    if question.range.is_none() && own.kind == "matrix" && has(&["native", "custom"]) {
        return Some("3.5 answers with a neighbour's buckets where histograms are read as they are");
    }
    if has(&["native_gauge"]) && text.contains('[') && peer.has_the_shape_of(own) {
        return Some(
            "3.5 reads a neighbour's buckets in windows of gauge histograms: they do not add up to the count",
        );
    }
    if own.annotations.iter().any(|a| a.contains("conflicting counter resets")) {
        return Some("3.5 does not compare reset hints in all aggregations");
    }
    let empty_buckets_show = has(&["histogram_quantile", "* -Inf", "* Inf", "NaN", "/ 0"]);
    if empty_buckets_show && has(&["native"]) && peer.has_the_shape_of(own) {
        return Some(
            "3.5 stores empty buckets where neighbours have them: they make the zero bucket one-sided, and 0 * Inf NaN",
        );
    }
    let same_labelset = "vector cannot contain metrics with the same labelset";
    if has(&["-("]) && peer.error.as_deref() == Some(same_labelset) && own.error.is_none() {
        return Some("3.14 merges series that become equal and never meet");
    }
    let unplaced = |answer: &Answer| -> BTreeSet<String> {
        let unplaced = |a: &String| a.rsplit_once(" (").map_or(a.clone(), |(a, _)| a.to_owned());
        answer.annotations.iter().map(unplaced).collect()
    };
    if peer.nearly_equals_but_for_annotations(own) && unplaced(peer) == unplaced(own) {
        return Some("of an annotation that is due in two places one place is told");
    }
    if told("(1:1)") && text.contains(':') {
        return Some("3.5 loses the position of what a subquery evaluates");
    }
    if has(&["quantile"]) && told("quantile value should be between 0 and 1") {
        return Some("for aggregations 3.5 tells the first parameter, 3.14 the one farthest off");
    }
    if has(&["topk", "bottomk"]) {
        return Some("which of several equal samples is kept is chance");
    }
    None
}
