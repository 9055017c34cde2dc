//! What is printed parses to the same tree; prettified it is the same query.

use crate::again::{parsed, print_and_parse};
use crate::generate::{Dialect, query};
use proptest::prelude::*;

proptest! {
    #![proptest_config(crate::cases(4000))]

    #[test]
    fn printing_and_parsing_again_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        print_and_parse(&bytes);
    }

    #[test]
    fn positions_lie_inside_the_query(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let text = query(&bytes, Dialect::Full);
        let expr = parsed(&text);
        let mut todo = vec![(&expr, 0, text.len() as u32)];
        while let Some((expr, from, to)) = todo.pop() {
            let span = expr.span();
            prop_assert!(from <= span.start && span.start < span.end && span.end <= to, "{} in {}", expr, text);
            todo.extend(expr.children().into_iter().map(|child| (child, span.start, span.end)));
        }
    }
}

#[test]
fn the_whole_grammar_is_generated() {
    let mut seen = String::new();
    let mut state = 7_u64;
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..80)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        seen.push_str(&query(&bytes, Dialect::Full));
    }
    for word in [
        "anchored",
        "offset -",
        "@ end()",
        "group_left",
        "fill_left",
        "min_of",
        "</",
        "[2w:",
        "bool",
        "without",
    ] {
        assert!(seen.to_ascii_lowercase().contains(word), "{word} is never generated");
    }
}
