//! PromQL's lexer: text in, tokens with positions out, up to the end or the first error.
//!
//! Where it sits: below the parser. Inside braces every word is an identifier; right after `[` only
//! durations, their operators and functions are known. Invariants: one pass, no look-back; the list ends
//! with `Eof` or `Error`; token texts are slices of the input.

use super::ast::{BinaryOp, Span};
use super::error::TOO_MANY_TOKENS;
use super::text;
use super::token::{Tok, Token, keyword};

/// All tokens of an input. The last one is `Eof`, or `Error` with `error` telling what is wrong.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) list: Vec<Token>,
    pub(crate) error: Option<(Span, String)>,
}

/// Splits an expression.
pub(crate) fn lex(input: &str, tokens_max: usize) -> Tokens {
    let mut lexer = Lexer::new(input, tokens_max);
    while lexer.step() {}
    lexer.finish()
}

/// Splits the metric at the beginning of a series description and tells where the values begin.
pub(crate) fn lex_metric(input: &str) -> (Tokens, usize) {
    let mut lexer = Lexer::new(input, usize::MAX);
    loop {
        let more = lexer.step();
        let done = match lexer.list.last().map(|t| t.kind) {
            None => false,
            Some(Tok::RightBrace) => true,
            Some(Tok::LeftBrace | Tok::Eof | Tok::Error) => false,
            Some(_) => !lexer.brace_open && !input[lexer.pos..].starts_with('{'),
        };
        if done || !more {
            break;
        }
    }
    let end = lexer.pos;
    if lexer.error.is_none() && lexer.list.last().is_none_or(|t| t.kind != Tok::Eof) {
        lexer.start = end;
        lexer.emit(Tok::Eof);
    }
    (lexer.finish(), end)
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    list: Vec<Token>,
    tokens_max: usize,
    error: Option<(Span, String)>,
    paren_depth: u32,
    brace_open: bool,
    bracket_open: bool,
    /// Right after `[`, before the first number.
    in_duration: bool,
    got_duration: bool,
    got_colon: bool,
}

impl<'a> Lexer<'a> {
    fn new(input: &'a str, tokens_max: usize) -> Self {
        Self {
            input,
            pos: 0,
            start: 0,
            list: Vec::new(),
            tokens_max,
            error: None,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            in_duration: false,
            got_duration: false,
            got_colon: false,
        }
    }

    fn finish(self) -> Tokens {
        Tokens { list: self.list, error: self.error }
    }

    /// Reads what is next; false at the end.
    fn step(&mut self) -> bool {
        if self.list.len() >= self.tokens_max {
            return self.fail(format!("{TOO_MANY_TOKENS} {} tokens", self.tokens_max));
        }
        self.start = self.pos;
        let go_on = if self.brace_open {
            self.inside_braces()
        } else if self.in_duration {
            self.duration_expression()
        } else {
            self.statement()
        };
        go_on && self.error.is_none()
    }

    fn peek(&self) -> Option<char> {
        self.input[self.pos..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let fits = self.input.as_bytes().get(self.pos).is_some_and(|b| set.contains(b));
        self.pos += usize::from(fits);
        fits
    }

    fn is(&self, fits: impl Fn(u8) -> bool) -> bool {
        self.input.as_bytes().get(self.pos).is_some_and(|b| fits(*b))
    }

    fn emit(&mut self, kind: Tok) -> bool {
        self.list.push(Token { kind, span: Span::new(self.start as u32, self.pos as u32) });
        true
    }

    /// Ends with an error whose place begins at the token being read.
    fn fail(&mut self, message: String) -> bool {
        let span = Span::new(self.start as u32, self.input.len() as u32);
        self.list.push(Token { kind: Tok::Error, span });
        self.error = Some((span, message));
        false
    }

    /// Like `fail`, for an error that is found once its token is complete.
    fn fail_after(&mut self, message: String) -> bool {
        self.start = self.pos;
        self.fail(message)
    }

    fn skip_spaces(&mut self) -> bool {
        while self.is(is_space) {
            self.pos += 1;
        }
        true
    }

    fn comment(&mut self) -> bool {
        while self.is(|b| b != b'\r' && b != b'\n') {
            self.pos += 1;
        }
        true
    }

    fn statement(&mut self) -> bool {
        let Some(c) = self.next() else {
            if self.paren_depth != 0 {
                return self.fail("unclosed left parenthesis".to_owned());
            }
            if self.bracket_open {
                return self.fail("unclosed left bracket".to_owned());
            }
            self.emit(Tok::Eof);
            return false;
        };
        match c {
            '#' => self.comment(),
            ' ' | '\t' | '\n' | '\r' => self.skip_spaces(),
            ',' => self.emit(Tok::Comma),
            '=' if self.accept(b"=") => self.emit(Tok::Op(BinaryOp::Eq)),
            '=' if self.peek() == Some('~') => {
                self.fail(format!("unexpected character after '=': {}", text::quote_char(self.peek())))
            }
            '=' => self.emit(Tok::Assign),
            '!' if self.accept(b"=") => self.emit(Tok::Op(BinaryOp::Ne)),
            '!' => self.fail(format!("unexpected character after '!': {}", text::quote_char(self.peek()))),
            '<' if self.accept(b"=") => self.emit(Tok::Op(BinaryOp::Le)),
            '<' if self.accept(b"/") => self.emit(Tok::Op(BinaryOp::TrimUpper)),
            '<' => self.emit(Tok::Op(BinaryOp::Lt)),
            '>' if self.accept(b"=") => self.emit(Tok::Op(BinaryOp::Ge)),
            '>' if self.accept(b"/") => self.emit(Tok::Op(BinaryOp::TrimLower)),
            '>' => self.emit(Tok::Op(BinaryOp::Gt)),
            '"' | '\'' | '`' => self.string(c),
            '{' => {
                self.brace_open = true;
                self.emit(Tok::LeftBrace)
            }
            '[' => self.left_bracket(),
            ']' if !self.bracket_open => {
                self.fail(format!("unexpected right bracket {}", text::quote_char(Some(c))))
            }
            ']' => {
                self.bracket_open = false;
                self.emit(Tok::RightBracket)
            }
            '@' => self.emit(Tok::At),
            '0'..='9' => self.number_or_duration(),
            '.' if self.is(|b| b.is_ascii_digit()) => self.number_or_duration(),
            'a'..='z' | 'A'..='Z' | '_' | ':' => self.word(c),
            _ => self
                .operator_or_paren(c)
                .unwrap_or_else(|| self.fail(format!("unexpected character: {}", text::quote_char(Some(c))))),
        }
    }

    fn operator_or_paren(&mut self, c: char) -> Option<bool> {
        let op = match c {
            '+' => BinaryOp::Add,
            '-' => BinaryOp::Sub,
            '*' => BinaryOp::Mul,
            '/' => BinaryOp::Div,
            '%' => BinaryOp::Mod,
            '^' => BinaryOp::Pow,
            '(' => {
                self.paren_depth += 1;
                return Some(self.emit(Tok::LeftParen));
            }
            ')' if self.paren_depth == 0 => {
                return Some(
                    self.fail_after(format!("unexpected right parenthesis {}", text::quote_char(Some(c)))),
                );
            }
            ')' => {
                self.paren_depth -= 1;
                return Some(self.emit(Tok::RightParen));
            }
            _ => return None,
        };
        Some(self.emit(Tok::Op(op)))
    }

    fn left_bracket(&mut self) -> bool {
        if self.bracket_open {
            return self.fail(format!("unexpected left bracket {}", text::quote_char(Some('['))));
        }
        self.bracket_open = true;
        self.in_duration = true;
        self.got_colon = false;
        self.got_duration = false;
        self.emit(Tok::LeftBracket)
    }

    fn word(&mut self, first: char) -> bool {
        if self.bracket_open {
            return self.word_in_brackets(first);
        }
        while self.is(|b| is_alphanumeric(b) || b == b':') {
            self.pos += 1;
        }
        let word = &self.input[self.start..self.pos];
        let kind = match keyword(word) {
            Some(Tok::Fill | Tok::FillLeft | Tok::FillRight) if !self.followed_by_paren() => Tok::Identifier,
            Some(kind) => kind,
            None if word.contains(':') => Tok::MetricIdentifier,
            None => Tok::Identifier,
        };
        self.emit(kind)
    }

    fn followed_by_paren(&self) -> bool {
        let rest = &self.input.as_bytes()[self.pos..];
        rest.iter().find(|b| !is_space(**b)) == Some(&b'(')
    }

    fn word_in_brackets(&mut self, first: char) -> bool {
        if first == ':' {
            if self.got_colon {
                return self.fail(format!("unexpected colon {}", text::quote_char(Some(':'))));
            }
            self.got_colon = true;
            return self.emit(Tok::Colon);
        }
        if self.duration_keyword() {
            return true;
        }
        self.fail(format!("unexpected character: {}, expected ':'", text::quote_char(Some(first))))
    }

    /// Reads the rest of a word inside brackets and emits it if it is one of the duration functions.
    fn duration_keyword(&mut self) -> bool {
        while self.is(|b| b.is_ascii_alphabetic() || b == b'_') {
            self.pos += 1;
        }
        match keyword(&self.input[self.start..self.pos]) {
            Some(kind @ (Tok::Step | Tok::Range | Tok::MaxOf | Tok::MinOf)) => {
                self.got_duration = true;
                self.emit(kind)
            }
            _ => false,
        }
    }

    fn duration_expression(&mut self) -> bool {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input in duration expression".to_owned());
        };
        let unexpected =
            || format!("unexpected character in duration expression: {}", text::quote_char(Some(c)));
        match c {
            ' ' | '\t' | '\n' | '\r' => self.skip_spaces(),
            ']' => {
                self.bracket_open = false;
                self.in_duration = false;
                self.got_colon = false;
                self.emit(Tok::RightBracket)
            }
            ':' if !self.got_duration => {
                self.fail_after("unexpected colon before duration in duration expression".to_owned())
            }
            ':' if self.got_colon => {
                self.fail_after("unexpected repeated colon in duration expression".to_owned())
            }
            ':' => {
                self.got_colon = true;
                self.emit(Tok::Colon)
            }
            ',' => self.emit(Tok::Comma),
            's' | 'S' | 'r' | 'R' | 'm' | 'M' => self.duration_keyword() || self.fail(unexpected()),
            '0'..='9' => self.number_in_duration(),
            '.' if self.is(|b| b.is_ascii_digit()) => self.number_in_duration(),
            _ => self.operator_or_paren(c).unwrap_or_else(|| self.fail(unexpected())),
        }
    }

    fn number_in_duration(&mut self) -> bool {
        self.got_duration = true;
        self.in_duration = false;
        self.number_or_duration()
    }

    fn inside_braces(&mut self) -> bool {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input inside braces".to_owned());
        };
        match c {
            '#' => self.comment(),
            ' ' | '\t' | '\n' | '\r' => self.skip_spaces(),
            'a'..='z' | 'A'..='Z' | '_' => {
                while self.is(is_alphanumeric) {
                    self.pos += 1;
                }
                self.emit(Tok::Identifier)
            }
            ',' => self.emit(Tok::Comma),
            '"' | '\'' | '`' => self.string(c),
            '=' if self.accept(b"~") => self.emit(Tok::MatchRegex),
            '=' => self.emit(Tok::Assign),
            '!' if self.accept(b"~") => self.emit(Tok::MatchNotRegex),
            '!' if self.accept(b"=") => self.emit(Tok::Op(BinaryOp::Ne)),
            '!' => self.fail(format!(
                "unexpected character after '!' inside braces: {}",
                text::quote_char(self.peek())
            )),
            '{' => self.fail(format!("unexpected left brace {}", text::quote_char(Some('{')))),
            '}' => {
                self.brace_open = false;
                self.emit(Tok::RightBrace)
            }
            _ => self.fail(format!("unexpected character inside braces: {}", text::quote_char(Some(c)))),
        }
    }

    fn string(&mut self, quote: char) -> bool {
        let raw = quote == '`';
        loop {
            match self.next() {
                Some(c) if c == quote => return self.emit(Tok::String),
                // Go cannot tell this character from an encoding error.
                Some('\u{fffd}') => return self.fail("invalid UTF-8 rune".to_owned()),
                Some('\\') if !raw => {
                    if let Err(message) = self.escape(quote) {
                        return self.fail(message);
                    }
                }
                Some('\n') if !raw => return self.fail("unterminated quoted string".to_owned()),
                None if raw => return self.fail("unterminated raw string".to_owned()),
                None => return self.fail("unterminated quoted string".to_owned()),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        const UNTERMINATED: &str = "escape sequence not terminated";
        let c = self.next().ok_or(UNTERMINATED)?;
        let (digits, base, max) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.pos -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            c => return Err(format!("unknown escape sequence {}", text::code_point(c))),
        };
        let mut code = 0_u32;
        for _ in 0..digits {
            let c = self.next().ok_or(UNTERMINATED)?;
            let digit = c
                .to_digit(base)
                .ok_or_else(|| format!("illegal character {} in escape sequence", text::code_point(c)))?;
            code = code.wrapping_mul(base).wrapping_add(digit);
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> bool {
        self.pos = self.start;
        if self.scan_number() {
            return self.emit(Tok::Number);
        }
        if self.scan_duration_rest() {
            return self.emit(Tok::Duration);
        }
        let text = text::quote(&self.input[self.start..self.pos]);
        self.fail(format!("bad number or duration syntax: {text}"))
    }

    /// Reads what may be a number; whether it is one, the parser finds out. On failure the position stands
    /// where a duration would go on, and where the error text ends.
    fn scan_number(&mut self) -> bool {
        let hex = self.accept(b"0") && self.accept(b"xX");
        if hex {
            self.accept(b"_");
        }
        let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let (mut dot, mut exponent) = (false, false);
        // A dot in front does not count as the number's dot; the parser finds a second one.
        self.accept(b".");
        loop {
            if self.is(|b| b == b'.') {
                self.pos += 1;
                if dot || self.accept(b"_.") || hex {
                    return false;
                }
                dot = true;
            } else if !hex && self.is(|b| b == b'e' || b == b'E') {
                self.pos += 1;
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.pos == self.input.len() {
                    return false;
                }
            } else if self.is(|b| b == b'_') {
                self.pos += 1;
                if self.accept(b"._eE") || self.pos == self.input.len() {
                    return false;
                }
            } else if self.is(is_digit) {
                self.pos += 1;
            } else {
                break;
            }
        }
        self.pos > self.start && !self.is(is_alphanumeric)
    }

    fn scan_duration_rest(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        // A wrong unit such as `hs` is found when the duration is parsed.
        self.accept(b"s");
        while self.is(|b| b.is_ascii_digit()) {
            while self.is(|b| b.is_ascii_digit()) {
                self.pos += 1;
            }
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        if self.is(is_alphanumeric) {
            self.pos += 1;
            return false;
        }
        true
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::super::ast::AggregateOp;
    use super::*;

    fn kinds(input: &str) -> Vec<Tok> {
        lex(input, 4096).list.iter().map(|t| t.kind).collect()
    }

    fn error(input: &str) -> Option<String> {
        lex(input, 4096).error.map(|e| e.1)
    }

    #[test]
    fn words_are_keywords_outside_braces_only() {
        assert_eq!(
            kinds("Sum{by=''}")[..3],
            [Tok::Aggregate(AggregateOp::Sum), Tok::LeftBrace, Tok::Identifier]
        );
        assert_eq!(kinds("a:b fill fill(")[..3], [Tok::MetricIdentifier, Tok::Identifier, Tok::Fill]);
    }

    #[test]
    fn numbers_and_durations() {
        assert_eq!(
            kinds("1 .5 0x1F 1_000 1e-3 5m 1h30m Inf nan")[..9],
            [
                Tok::Number,
                Tok::Number,
                Tok::Number,
                Tok::Number,
                Tok::Number,
                Tok::Duration,
                Tok::Duration,
                Tok::Number,
                Tok::Number
            ]
        );
        for (input, cut) in
            [("2.5.", "2.5."), ("100..4", "100.."), ("0deadbeef", "0de"), ("5m1", "5m1"), ("1mm", "1mm")]
        {
            let expected = format!("bad number or duration syntax: \"{cut}\"");
            assert_eq!(error(input).as_deref(), Some(expected.as_str()));
        }
    }

    #[test]
    fn operators_and_brackets() {
        assert_eq!(
            kinds("</ >/ <= >=")[..4],
            [
                Tok::Op(BinaryOp::TrimUpper),
                Tok::Op(BinaryOp::TrimLower),
                Tok::Op(BinaryOp::Le),
                Tok::Op(BinaryOp::Ge)
            ]
        );
        assert_eq!(
            kinds("a[5m:step()]")[1..7],
            [Tok::LeftBracket, Tok::Duration, Tok::Colon, Tok::Step, Tok::LeftParen, Tok::RightParen]
        );
        assert_eq!(error("(1))").as_deref(), Some("unexpected right parenthesis ')'"));
        assert_eq!(
            error("a[:5m]").as_deref(),
            Some("unexpected colon before duration in duration expression")
        );
    }

    #[test]
    fn strings() {
        assert_eq!(kinds(r#""\"\x41\101é\U0001F600" 'it\'s' `\`"#)[..3], [Tok::String; 3]);
        assert_eq!(error(r#""\xg0""#).as_deref(), Some("illegal character U+0067 'g' in escape sequence"));
        assert_eq!(error(r#""\q""#).as_deref(), Some("unknown escape sequence U+0071 'q'"));
        assert_eq!(error("\"\\").as_deref(), Some("escape sequence not terminated"));
        assert_eq!(error("\"a\n\"").as_deref(), Some("unterminated quoted string"));
        assert_eq!(error("`a").as_deref(), Some("unterminated raw string"));
    }

    #[test]
    fn too_many_tokens_are_refused() {
        assert!(lex(&"(".repeat(100), 50).error.is_some_and(|e| e.1 == "query has more than 50 tokens"));
    }
}
