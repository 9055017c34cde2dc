//! Replacement texts with `$1`, `$name` and `${name}`, as Go's `regexp` expands them.
//!
//! A name is the longest run of letters, digits and underscores; `$$` is a dollar sign, and so is a dollar
//! sign before anything that is no name. Groups that are not there, or took no part, expand to nothing.

use regex::Captures;

/// Largest number of a group, above which digits are a name.
const NUMBER_MAX: usize = 100_000_000;

/// `template` with the groups of a match put in.
pub(super) fn expand(template: &str, captures: &Captures<'_>) -> String {
    let (mut out, mut rest) = (String::with_capacity(template.len()), template);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            out.push_str(group(captures, name));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

/// The name after a dollar sign, and what comes behind it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = text.strip_prefix('{').map_or((false, text), |inner| (true, inner));
    let end = text.find(|c: char| !(c.is_alphabetic() || c.is_numeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match (name.is_empty(), braced) {
        (true, _) => None,
        (false, false) => Some((name, rest)),
        (false, true) => Some((name, rest.strip_prefix('}')?)),
    }
}

fn group<'t>(captures: &Captures<'t>, name: &str) -> &'t str {
    let found = match number(name) {
        Some(number) => captures.get(number),
        None => captures.name(name),
    };
    found.map_or("", |m| m.as_str())
}

fn number(name: &str) -> Option<usize> {
    let leading_zero = name.len() > 1 && name.starts_with('0');
    let digits = !leading_zero && name.bytes().all(|b| b.is_ascii_digit());
    name.parse().ok().filter(|n| digits && *n < NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn references() {
        let regex = Regex::new("^(?P<first>a+)(b)?(c+)$").unwrap();
        let captures = regex.captures("aacc").unwrap();
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("$0", "aacc"),
            ("$1-$3", "aa-cc"),
            ("$2", ""),
            ("$9", ""),
            ("$1x", ""),
            ("${1}x", "aax"),
            ("$first/${first}", "aa/aa"),
            ("${nobody}!", "!"),
            ("$01", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${", "${"),
            ("${}", "${}"),
            ("${1", "${1"),
            ("${1-}", "${1-}"),
            ("$1ü", ""),
            ("$1.$3", "aa.cc"),
        ];
        for (template, want) in cases {
            assert_eq!(expand(template, &captures), want, "{template:?}");
        }
    }
}
