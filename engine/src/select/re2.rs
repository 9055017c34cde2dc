//! RE2's dialect, as Go's `regexp` speaks it, rewritten for the `regex` crate.
//!
//! Where it sits: in front of the compiler of matchers. What Go refuses is refused with Go's words; what
//! the two dialects read differently is rewritten: `\d`, `\w`, `\s`, `\b` are ASCII, `&&`, `--` and `~~` in
//! a class are literals, so are a `[` in a class, an unfit `{` and `\<`; `\Q…\E` quotes, `\101` is octal.
//! Invariants: one pass, no recursion; nesting is left to the compiler's own limit.

use super::MatcherError;

/// Most repetitions, also of nested repetitions together.
const REPEAT_MAX: u32 = 1000;

/// Rewrites `pattern`.
///
/// # Errors
/// Go's text when it is no valid RE2 expression.
pub(super) fn translate(pattern: &str) -> Result<String, MatcherError> {
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 8),
        groups: Vec::new(),
        atom: None,
        repeated_at: None,
    };
    translator.run().map_err(|e| MatcherError(format!("error parsing regexp: {}: `{}`", e.0, e.1)))?;
    Ok(translator.out)
}

/// Go's words, and the piece of the expression they are about.
type Wrong<'a> = (&'static str, &'a str);

const MISSING_BRACKET: &str = "missing closing ]";
const MISSING_PAREN: &str = "missing closing )";
const UNEXPECTED_PAREN: &str = "unexpected )";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const NESTED_REPEAT: &str = "invalid nested repetition operator";
const REPEAT_SIZE: &str = "invalid repeat count";
const ESCAPE: &str = "invalid escape sequence";
const CHAR_RANGE: &str = "invalid character class range";
const NAMED_CAPTURE: &str = "invalid named capture";
const PERL_SYNTAX: &str = "invalid or unsupported Perl syntax";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// What a repetition may follow: how often it repeats already.
#[derive(Clone, Copy)]
struct Atom {
    repeats: u32,
}

struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    /// For each open group: the most repetitions inside so far.
    groups: Vec<u32>,
    /// What stands right before, if a repetition may follow.
    atom: Option<Atom>,
    /// Where a repetition that ends here began.
    repeated_at: Option<usize>,
}

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn run(&mut self) -> Result<(), Wrong<'a>> {
        while let Some(c) = self.rest().chars().next() {
            let repeated_at = self.repeated_at.take();
            match c {
                '(' => self.open()?,
                ')' => {
                    let Some(repeats) = self.groups.pop() else {
                        return Err((UNEXPECTED_PAREN, self.pattern));
                    };
                    self.push_raw(c);
                    self.atom(repeats);
                }
                '|' => {
                    self.push_raw(c);
                    self.atom = None;
                }
                '*' | '+' | '?' => self.repeat(self.at + 1, None, repeated_at)?,
                '{' => match repeat_bounds(self.rest()) {
                    Some((length, bounds)) => self.repeat(self.at + length, Some(bounds), repeated_at)?,
                    None => self.literal(c),
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.push_raw(c);
                    self.atom(1);
                }
                _ => self.literal(c),
            }
        }
        if self.groups.is_empty() { Ok(()) } else { Err((MISSING_PAREN, self.pattern)) }
    }

    /// Copies a character that means the same in both dialects.
    fn push_raw(&mut self, c: char) {
        self.out.push(c);
        self.at += c.len_utf8();
    }

    /// Something that a repetition may follow is complete.
    fn atom(&mut self, repeats: u32) {
        self.atom = Some(Atom { repeats });
        if let Some(inside) = self.groups.last_mut() {
            *inside = (*inside).max(repeats);
        }
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.at += c.len_utf8();
        self.atom(1);
    }

    /// `*`, `+`, `?` or `{n,m}` up to `end`, and a `?` after it.
    fn repeat(
        &mut self,
        end: usize,
        bounds: Option<(u32, Option<u32>)>,
        repeated_at: Option<usize>,
    ) -> Result<(), Wrong<'a>> {
        let (start, pattern) = (self.at, self.pattern);
        let operator = &pattern[start..end];
        let lazy = pattern[end..].starts_with('?');
        let end = end + usize::from(lazy);
        let mut count = 1;
        if let Some((least, most)) = bounds {
            if least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX || most < least) {
                return Err((REPEAT_SIZE, operator));
            }
            count = most.unwrap_or(least).max(1);
        }
        if let Some(before) = repeated_at {
            return Err((NESTED_REPEAT, &pattern[before..end]));
        }
        let Some(atom) = self.atom else { return Err((MISSING_ARGUMENT, &pattern[start..end])) };
        let repeats = atom.repeats.saturating_mul(count);
        if repeats > REPEAT_MAX {
            return Err((REPEAT_SIZE, operator));
        }
        self.out.push_str(&pattern[start..end]);
        self.at = end;
        self.atom(repeats);
        self.repeated_at = Some(start);
        Ok(())
    }

    /// `(`, `(?:`, `(?flags)`, `(?flags:`, `(?P<name>`, `(?<name>`
    fn open(&mut self) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        self.atom = None;
        let Some(special) = rest.strip_prefix("(?") else {
            self.push_raw('(');
            self.groups.push(1);
            return Ok(());
        };
        let name = special.strip_prefix("P<").or_else(|| special.strip_prefix('<'));
        if let Some(name) = name {
            let Some((name, after)) = name.split_once('>') else { return Err((NAMED_CAPTURE, rest)) };
            let whole = &rest[..rest.len() - after.len()];
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err((NAMED_CAPTURE, whole));
            }
            // Here a name may begin with a digit; such a group is captured without its name.
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                self.out.push('(');
            } else {
                self.out.push_str("(?P<");
                self.out.push_str(name);
                self.out.push('>');
            }
            self.at += whole.len();
            self.groups.push(1);
            return Ok(());
        }
        self.flags(rest, special)
    }

    fn flags(&mut self, rest: &'a str, special: &str) -> Result<(), Wrong<'a>> {
        let (mut negated, mut any) = (false, false);
        for (i, c) in special.char_indices() {
            let length = 2 + i + c.len_utf8();
            let wrong = Err((PERL_SYNTAX, &rest[..length]));
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if negated => return wrong,
                '-' => (negated, any) = (true, false),
                ':' | ')' => {
                    // A minus must be followed by a flag.
                    if negated && !any {
                        return wrong;
                    }
                    // Without any flag the crate does not know `(?)`, which changes nothing.
                    if c == ')' && !any {
                        self.at += length;
                        return Ok(());
                    }
                    self.out.push_str(&rest[..length]);
                    self.at += length;
                    if c == ':' {
                        self.groups.push(1);
                    }
                    return Ok(());
                }
                _ => return wrong,
            }
        }
        Err((MISSING_PAREN, self.pattern))
    }

    fn escape(&mut self) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        let Some(c) = rest[1..].chars().next() else { return Err((TRAILING_BACKSLASH, "")) };
        let simple = match c {
            'A' => r"\A",
            'z' => r"\z",
            'b' => r"(?-u:\b)",
            'B' => r"(?-u:\B)",
            'Q' => {
                let quoted = &rest[2..];
                let (text, length) =
                    quoted.find(r"\E").map_or((quoted, rest.len()), |end| (&quoted[..end], end + 4));
                for c in text.chars() {
                    push_literal(&mut self.out, c);
                    self.atom(1);
                }
                self.at += length;
                return Ok(());
            }
            'p' | 'P' => return self.unicode_class(),
            _ => match perl_class(c) {
                Some((negated, inner)) => {
                    self.out.push_str(if negated { "[^" } else { "[" });
                    self.out.push_str(inner);
                    self.out.push(']');
                    self.at += 2;
                    self.atom(1);
                    return Ok(());
                }
                None => {
                    let (c, length) = escaped_char(rest)?;
                    push_literal(&mut self.out, c);
                    self.at += length;
                    self.atom(1);
                    return Ok(());
                }
            },
        };
        self.out.push_str(simple);
        self.at += 2;
        self.atom(1);
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, outside and inside of `[…]`
    fn unicode_class(&mut self) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        let mut negated = rest.as_bytes()[1] == b'P';
        let after = &rest[2..];
        let (name, length) = if let Some(braced) = after.strip_prefix('{') {
            let Some(end) = braced.find('}') else { return Err((CHAR_RANGE, rest)) };
            (&braced[..end], 4 + end)
        } else {
            let Some(c) = after.chars().next() else { return Err((CHAR_RANGE, rest)) };
            (&after[..c.len_utf8()], 2 + c.len_utf8())
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negated = !negated;
                name
            }
            None => name,
        };
        let class = format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' });
        // Only names of scripts and general categories, as Go spells them.
        let spelled = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        if !spelled || regex_syntax::parse(&class).is_err() {
            return Err((CHAR_RANGE, &rest[..length]));
        }
        self.out.push_str(&class);
        self.at += length;
        self.atom(1);
        Ok(())
    }

    /// `[…]`
    fn class(&mut self) -> Result<(), Wrong<'a>> {
        let whole = self.rest();
        self.at += 1;
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.push_raw('^');
        }
        let mut first = true;
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { return Err((MISSING_BRACKET, whole)) };
            if c == ']' && !first {
                self.push_raw(']');
                break;
            }
            first = false;
            if rest.starts_with("[:")
                && let Some(end) = rest.find(":]")
            {
                let name = &rest[..end + 2];
                if !POSIX.contains(&rest[2..end].trim_start_matches('^')) {
                    return Err((CHAR_RANGE, name));
                }
                self.out.push_str(name);
                self.at += name.len();
                continue;
            }
            if rest.starts_with(r"\p") || rest.starts_with(r"\P") {
                self.unicode_class()?;
                continue;
            }
            let perl = rest.strip_prefix('\\').and_then(|r| r.chars().next()).and_then(perl_class);
            if let Some((negated, inner)) = perl {
                let class = if negated { format!("[^{inner}]") } else { inner.to_owned() };
                self.out.push_str(&class);
                self.at += 2;
                continue;
            }
            self.class_range(whole)?;
        }
        self.atom(1);
        Ok(())
    }

    /// One character of a class, or a range of them.
    fn class_range(&mut self, whole: &'a str) -> Result<(), Wrong<'a>> {
        let range = self.rest();
        let low = self.class_char(whole)?;
        push_literal(&mut self.out, low);
        let rest = self.rest();
        // A minus at the end is a literal.
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.at += 1;
            let high = self.class_char(whole)?;
            if high < low {
                let length = range.len() - self.rest().len();
                return Err((CHAR_RANGE, &range[..length]));
            }
            self.out.push('-');
            push_literal(&mut self.out, high);
        }
        Ok(())
    }

    fn class_char(&mut self, whole: &'a str) -> Result<char, Wrong<'a>> {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return Err((MISSING_BRACKET, whole)) };
        let (c, length) = if c == '\\' { escaped_char(rest)? } else { (c, c.len_utf8()) };
        self.at += length;
        Ok(c)
    }
}

/// Appends a character so that it stands for itself, in a class and outside.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && c != '<' && c != '>' && c != '_' {
        out.push('\\');
    }
    out.push(c);
}

/// Length, least and most of a repetition such as `{2,5}` at the beginning of `text`; `None` where the
/// brace is a literal.
fn repeat_bounds(text: &str) -> Option<(usize, (u32, Option<u32>))> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // Go takes no leading zeros.
        let plain = plain && (digits.len() == 1 || !digits.starts_with('0'));
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let bounds = match inner.split_once(',') {
        None => {
            let exactly = number(inner)?;
            (exactly, Some(exactly))
        }
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((inner.len() + 2, bounds))
}

/// The class of a Perl escape: whether it is negated, and what stands between brackets.
fn perl_class(c: char) -> Option<(bool, &'static str)> {
    let inner = match c.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\x0C\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    };
    Some((c.is_ascii_uppercase(), inner))
}

/// The character that the escape at the beginning of `text` stands for, and the length of the escape.
fn escaped_char(text: &str) -> Result<(char, usize), Wrong<'_>> {
    let Some(c) = text[1..].chars().next() else { return Err((TRAILING_BACKSLASH, "")) };
    let after = &text[1 + c.len_utf8()..];
    let wrong = |length: usize| Err((ESCAPE, text.get(..length).unwrap_or(text)));
    let octal = |b: &u8| (b'0'..=b'7').contains(b);
    Ok(match c {
        'a' => ('\x07', 2),
        'f' => ('\x0c', 2),
        't' => ('\t', 2),
        'n' => ('\n', 2),
        'r' => ('\r', 2),
        'v' => ('\x0b', 2),
        // A single digit but zero would be a back-reference, which there is none of.
        '1'..='7' if !after.as_bytes().first().is_some_and(octal) => return wrong(2),
        '0'..='7' => {
            let digits = 1 + after.bytes().take(2).take_while(|b| octal(b)).count();
            let code = u32::from_str_radix(&text[1..=digits], 8).unwrap_or(0);
            (char::from_u32(code).unwrap_or('\0'), 1 + digits)
        }
        'x' => {
            let (digits, length) = match after.strip_prefix('{') {
                Some(braced) => {
                    let Some(end) = braced.find('}') else { return wrong(text.len()) };
                    (&braced[..end], 4 + end)
                }
                None => (after.get(..2).unwrap_or(after), 4),
            };
            let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = if hex { u32::from_str_radix(digits, 16).ok() } else { None };
            match code.and_then(char::from_u32).filter(|_| text.len() >= length) {
                Some(c) => (c, length),
                None => return wrong(length),
            }
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => (c, 2),
        c => return wrong(1 + c.len_utf8()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::matcher::anchored;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_accepted_compiles(pattern in r"[a-c(){}\[\]|*+?\\^$.:<>,P0-9QE&~dswbpL-]{0,24}") {
            // Whatever is left for the compiler to refuse must not be told as a syntax error of its own.
            if let Err(error) = anchored(&pattern) {
                let error = error.to_string();
                prop_assert!(error.starts_with("error parsing regexp: "), "{}: {}", pattern, error);
            }
        }
    }

    fn fits(pattern: &str, text: &str) -> bool {
        anchored(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}")).is_match(text)
    }

    #[test]
    fn dialects_agree_where_they_are_read_differently() {
        for (pattern, yes, no) in [
            (r"\Qa.b*\E+", "a.b**", "axb*"),
            (r"\Q(", "(", ""),
            ("[[]", "[", "]"),
            ("[]a]+", "]a", "b"),
            ("[a&&b]+", "a&b", "-"),
            ("[!--b]+", ",b", "a"),
            ("[%--]", "*", "."),
            ("[a~~b]+", "a~", "-"),
            (r"\d+", "123", "١٢"),
            (r"\w+", "a_1", "é"),
            (r"[\w-]+", "a-b", "é"),
            (r"[^\d]", "a", "1"),
            (r"[\D]", "٣", "3"),
            (r"\s", " ", "\u{a0}"),
            (r"a{,2}", "a{,2}", "aa"),
            (r"a{b}", "a{b}", "ab"),
            (r"{", "{", ""),
            (r"\<b\>", "<b>", "b"),
            (r"\101\x42\x{43}", "ABC", "abc"),
            (r"(?P<n>a)(?<m>b)(?P<1x>c)", "abc", "ab"),
            (r"(?i)abc", "ABC", "abd"),
            (r"(?i:a)b", "Ab", "AB"),
            (r"a.b", "a\nb", "ab"),
            (r"\p{Greek}+\pL", "αβγ", "a"),
            (r"\p{^Greek}", "a", "α"),
            (r"[[:alpha:]_]+", "a_", "1"),
            (r"foo\b.*", "foo-bar", "foobar"),
            (r"a\Bb", "ab", "a b"),
            (r"a|", "", "b"),
            (r"x#y z", "x#y z", "x"),
            (r"(a{2}){3}", "aaaaaa", "aaa"),
            (r"a??b", "b", "aab"),
        ] {
            assert!(fits(pattern, yes), "{pattern} on {yes:?}");
            assert!(!fits(pattern, no), "{pattern} on {no:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (pattern, what) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            ("(?:*)", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a+{2}", "invalid nested repetition operator: `+{2}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("(a{100}){100}", "invalid repeat count: `{100}`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"[\b]", r"invalid escape sequence: `\b`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("(?P<n!>a)", "invalid named capture: `(?P<n!>`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            (r"a\", "trailing backslash at end of expression: ``"),
        ] {
            let error = anchored(pattern).expect_err(pattern).to_string();
            assert_eq!(error, format!("error parsing regexp: {what}"));
        }
    }

    #[test]
    fn large_expressions_are_refused_not_compiled() {
        assert!(anchored(&"(".repeat(100_000)).is_err());
        assert!(anchored(&format!("{}a{}", "(".repeat(5000), ")".repeat(5000))).is_err());
        assert!(anchored(r"(\pL{1000}){1}(\pL{1000}){1}\pL{1000}").is_err());
    }
}
