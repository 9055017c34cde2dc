//! Rubbish and monsters: nothing panics, nothing hangs, limits hold.

use crate::feed::feed;
use crate::generate::{Dialect, query};
use proptest::prelude::*;
use query::parse::{Options, parse, prettify};
use std::time::{Duration, Instant};

const TOKENS: [&str; 60] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    "<",
    "</",
    ">/",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    "and",
    "or",
    "unless",
    "atan2",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "anchored",
    "smoothed",
    "fill",
    "fill_left(1)",
    "start()",
    "end",
    "step()",
    "range()",
    "max_of(",
    "min_of",
    "inf",
    "NaN",
    "1",
    "5m",
    "0x1F",
    "1h30",
    "\"s\"",
    "'",
    "`r`",
    "rate",
    "foo",
    "_",
];

proptest! {
    #![proptest_config(crate::cases(6000))]

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,200}|[ -~\\n]{0,200}") {
        feed(&text);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(tokens in prop::collection::vec(0..TOKENS.len(), 0..60), glue in 0..2) {
        let words: Vec<&str> = tokens.iter().map(|i| TOKENS[*i]).collect();
        feed(&words.join(if glue == 0 { " " } else { "" }));
    }

    #[test]
    fn broken_queries_are_parsed_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        at in any::<prop::sample::Index>(),
        token in 0..TOKENS.len(),
    ) {
        let text = query(&bytes, Dialect::Full);
        let mut cut = at.index(text.len());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        feed(&text[..cut]);
        feed(&format!("{}{}{}", &text[..cut], TOKENS[token], &text[cut..]));
    }
}

/// Options under which only nesting and tree depth are limited.
fn long() -> Options {
    Options { length_max: usize::MAX, tokens_max: usize::MAX, ..Options::all_features() }
}

#[test]
fn deep_nesting_is_refused() {
    const DEEP: usize = 100_000;
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("abs(", ")"),
        ("sum(", ")"),
        ("1 ^ ", "1"),
        ("foo or (", ")"),
        ("max_of(1, ", "2)"),
    ] {
        let text = format!("{}foo{}", open.repeat(DEEP), close.repeat(DEEP));
        let error = parse(&text, &long()).expect_err("too deep").to_string();
        assert!(error.contains("nested deeper than 128 levels"), "{open}: {error}");
    }
    let text = format!("foo[{}5m{}]", "(".repeat(DEEP), ")".repeat(DEEP));
    assert!(parse(&text, &long()).expect_err("too deep").to_string().contains("nested deeper"));
}

#[test]
fn long_chains_are_refused() {
    for op in ["+ ", "or ", "- "] {
        let text = format!("foo {op}").repeat(100_000) + "foo";
        let error = parse(&text, &long()).expect_err("too deep").to_string();
        assert!(error.contains("nested deeper than 512 levels"), "{error}");
    }
    let text = format!("foo[{}5m]", "5m + ".repeat(10_000));
    assert!(parse(&text, &long()).expect_err("too deep").to_string().contains("nested deeper"));
    let text = format!("foo{}", "[5m:]".repeat(10_000));
    assert!(parse(&text, &long()).expect_err("not a vector").to_string().contains("parse error"));
}

#[test]
fn chains_within_the_limit_are_walked_on_a_small_stack() {
    let text = format!("{}foo", "foo + ".repeat(500));
    let walk = move || {
        let expr = parse(&text, &long()).expect("within the limit");
        assert_eq!(prettify(&expr).matches("foo").count(), 501);
        assert_eq!(expr.clone(), expr);
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(walk).expect("a thread starts");
    thread.join().expect("the walk ends well");
}

#[test]
fn long_queries_are_refused_by_default_and_one_long_string_is_one_token() {
    let text = format!("foo{{a=~\"{}\"}}", "x|".repeat(20_000));
    let refused = parse(&text, &Options::default()).expect_err("longer than 16 KiB").to_string();
    assert_eq!(refused, "unknown position: parse error: query is longer than 16384 bytes");
    assert!(parse(&text, &Options { length_max: 1 << 20, ..Options::default() }).is_ok());
    let many = "1,".repeat(5000);
    let refused = parse(&many, &Options { length_max: 1 << 20, ..Options::default() });
    assert!(refused.is_err());
}

#[test]
fn parsing_takes_linear_time() {
    // 4096 tokens of the costliest kinds; a quadratic parser needs far longer than the generous second.
    let started = Instant::now();
    for text in [
        format!("sum({}foo)", "foo + ".repeat(400)),
        format!("foo{{{}}}", "a=\"b\",".repeat(1000)),
        format!("sum by ({}) (foo)", "a, ".repeat(1500)),
        format!("label_join(foo, \"a\", \"b\"{})", ", \"c\"".repeat(1500)),
    ] {
        parse(&text, &Options { length_max: 1 << 20, ..Options::default() }).expect("a valid query");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
