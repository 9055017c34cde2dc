//! The expression parser: precedence climbing over tokens, one function per construct of the grammar.
//!
//! Where it sits: between the lexer and the type check. The first syntax error ends parsing; semantic
//! errors are collected, as Prometheus' generated parser does. Which words a syntax error gets depends on
//! the innermost construct that has words of its own (`contexts`).
//! Invariants: recursion is counted (`enter`), and so is the depth of the tree, which a chain of operators
//! makes deep without recursion; both are limited.

use super::ast::{
    Binary, BinaryOp, Expr, NumberLiteral, Paren, Span, StringLiteral, Unary, UnaryOp, VectorMatching,
};
use super::error::{ParseError, ParseErrors, TOO_DEEP, TOO_LONG};
use super::lex;
use super::token::{Tok, Token};
use super::{Options, check, number};
use std::cell::Cell;

/// Parsing cannot go on; the errors say why. Holds the context that the syntax error was reported in.
#[derive(Debug)]
pub(super) struct Abort(pub(super) Option<usize>);

pub(super) type Step<T> = Result<T, Abort>;

/// An expression and how deep it is.
pub(super) struct Tree {
    pub(super) expr: Expr,
    pub(super) depth: usize,
}

/// Parses and type-checks a query.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(query: &str, options: &Options) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(query, options)?;
    let expr = parser.whole_expression();
    parser.settle();
    match expr {
        Some(mut expr) if parser.errors.is_empty() => {
            check::check(query, &mut expr, &mut parser.errors);
            parser.finish(expr)
        }
        other => parser.finish(other.unwrap_or_else(|| placeholder(Span::default()))),
    }
}

/// Stands where an expression is broken; an error has been recorded then.
pub(super) fn placeholder(span: Span) -> Expr {
    Expr::Number(NumberLiteral { value: 0.0, duration: false, span })
}

pub(super) struct Parser<'a> {
    pub(super) query: &'a str,
    pub(super) options: &'a Options,
    tokens: Vec<Token>,
    lex_error: Option<(Span, String)>,
    at: usize,
    pub(super) errors: Vec<ParseError>,
    /// Ends of the constructs that close with what was read last.
    pub(super) last_closing: u32,
    /// Words for syntax errors, innermost construct last.
    pub(super) contexts: Vec<(&'static str, &'static str)>,
    /// Tokens to read before a further recoverable error is told.
    quiet: u32,
    nesting: usize,
    /// Operators in the duration being read.
    pub(super) duration_operators: usize,
    /// Matrix selectors over something that is no vector selector.
    pub(super) broken: Vec<Span>,
    /// How many errors there were when the parser came upon the lexer's.
    lex_error_met: Cell<Option<usize>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(query: &'a str, options: &'a Options) -> Result<Self, ParseErrors> {
        if query.len() > options.length_max {
            let message = format!("{TOO_LONG} {} bytes", options.length_max);
            let errors = vec![ParseError { span: Span::default(), message }];
            // The text is not kept: it is what was too long.
            return Err(ParseErrors { query: String::new(), errors });
        }
        Ok(Self::over(query, options, lex::lex(query, options.tokens_max)))
    }

    pub(super) fn over(query: &'a str, options: &'a Options, tokens: lex::Tokens) -> Self {
        Self {
            query,
            options,
            tokens: tokens.list,
            lex_error: tokens.error,
            at: 0,
            errors: Vec::new(),
            last_closing: 0,
            contexts: Vec::new(),
            quiet: 0,
            nesting: 0,
            duration_operators: 0,
            broken: Vec::new(),
            lex_error_met: Cell::new(None),
        }
    }

    /// Puts the lexer's error among the others, where the parser came upon it.
    fn settle(&mut self) {
        if let Some(at) = self.lex_error_met.get()
            && let Some((span, message)) = self.lex_error.take()
        {
            self.errors.insert(at, ParseError { span, message });
        }
    }

    pub(super) fn finish<T>(mut self, value: T) -> Result<T, ParseErrors> {
        self.settle();
        if self.errors.is_empty() {
            return Ok(value);
        }
        Err(ParseErrors { query: self.query.to_owned(), errors: self.errors })
    }

    pub(super) fn peek(&self) -> Token {
        let token = self.tokens[self.at];
        if token.kind == Tok::Error && self.lex_error_met.get().is_none() {
            self.lex_error_met.set(Some(self.errors.len()));
        }
        token
    }

    pub(super) fn kind(&self) -> Tok {
        self.peek().kind
    }

    fn kind_after(&self) -> Tok {
        self.tokens.get(self.at + 1).map_or(Tok::Eof, |t| t.kind)
    }

    pub(super) fn text(&self, token: Token) -> &'a str {
        match token.kind {
            Tok::Eof | Tok::Error => "",
            _ => &self.query[token.span.start as usize..token.span.end as usize],
        }
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.kind(), Tok::Eof | Tok::Error)
    }

    pub(super) fn skip(&mut self) {
        if !self.at_end() {
            self.at += 1;
        }
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek();
        self.quiet = self.quiet.saturating_sub(1);
        if matches!(
            token.kind,
            Tok::RightBrace | Tok::RightParen | Tok::RightBracket | Tok::Duration | Tok::Number
        ) {
            self.last_closing = token.span.end;
        }
        self.skip();
        token
    }

    pub(super) fn accept(&mut self, kind: Tok) -> Option<Token> {
        (self.kind() == kind).then(|| self.take())
    }

    pub(super) fn expect(&mut self, kind: Tok) -> Step<Token> {
        self.accept(kind).ok_or_else(|| self.syntax_error())
    }

    pub(super) fn fail(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    fn unexpected(&mut self, context: &str, expected: &str) {
        let token = self.peek();
        // The lexer's error has been reported already.
        if token.kind == Tok::Error {
            return;
        }
        let mut message = format!("unexpected {}", token.kind.describe(self.text(token)));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.fail(token.span, message);
    }

    /// A syntax error in the words of the innermost construct.
    pub(super) fn syntax_error(&mut self) -> Abort {
        let (context, expected) = self.contexts.last().copied().unwrap_or_default();
        self.unexpected(context, expected);
        self.drain();
        Abort(Some(self.contexts.len()))
    }

    /// A syntax error in these words.
    pub(super) fn syntax_error_in(&mut self, context: &str, expected: &str) -> Abort {
        self.unexpected(context, expected);
        self.drain();
        Abort(None)
    }

    /// The rest of the query is thrown away; a lexer's error in it is told nevertheless.
    fn drain(&mut self) {
        while !self.at_end() {
            self.skip();
        }
    }

    /// An error after which parsing goes on; silent shortly after another one.
    pub(super) fn recoverable(&mut self, context: &str, expected: &str) {
        if self.quiet == 0 {
            self.unexpected(context, expected);
        }
        self.quiet = 3;
    }

    pub(super) fn within<T>(
        &mut self,
        context: &'static str,
        expected: &'static str,
        body: impl FnOnce(&mut Self) -> Step<T>,
    ) -> Step<T> {
        self.contexts.push((context, expected));
        let result = body(self);
        self.contexts.pop();
        result
    }

    /// Counts a level of recursion around `body`.
    pub(super) fn enter<T>(&mut self, body: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        if self.nesting >= self.options.depth_max {
            return Err(self.too_deep(self.options.depth_max));
        }
        self.nesting += 1;
        let result = body(self);
        self.nesting -= 1;
        result
    }

    pub(super) fn too_deep(&mut self, limit: usize) -> Abort {
        self.fail(self.peek().span, format!("{TOO_DEEP} {limit} levels"));
        Abort(None)
    }

    pub(super) fn tree(&mut self, expr: Expr, below: usize) -> Step<Tree> {
        if below >= self.options.tree_depth_max {
            // Taken apart here, while the tree is still shallow enough for that.
            drop(expr);
            return Err(self.too_deep(self.options.tree_depth_max));
        }
        Ok(Tree { expr, depth: below + 1 })
    }

    fn whole_expression(&mut self) -> Option<Expr> {
        match self.kind() {
            Tok::Eof => {
                self.fail(Span::default(), "no expression found in input");
                return None;
            }
            Tok::Error => return None,
            _ => {}
        }
        let tree = self.expression(1).ok()?;
        if !self.at_end() {
            let _ = self.syntax_error();
        }
        Some(tree.expr)
    }

    /// `expr` with operators that bind at least as tightly as `least`.
    pub(super) fn expression(&mut self, least: u8) -> Step<Tree> {
        self.enter(|p| {
            let mut lhs = p.unary()?;
            while let Tok::Op(op) = p.kind() {
                let precedence = precedence(op);
                if precedence < least {
                    break;
                }
                p.take();
                let (return_bool, matching) = p.binary_modifiers()?;
                let rhs = p.expression(if op == BinaryOp::Pow { precedence } else { precedence + 1 })?;
                lhs = p.binary(op, lhs, rhs, return_bool, matching)?;
            }
            Ok(lhs)
        })
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        lhs: Tree,
        rhs: Tree,
        return_bool: bool,
        matching: VectorMatching,
    ) -> Step<Tree> {
        let span = lhs.expr.span().to(rhs.expr.span());
        if !self.options.binop_fill_modifiers && (matching.fill_lhs.is_some() || matching.fill_rhs.is_some())
        {
            self.fail(span, "binop fill modifiers are experimental and not enabled");
        }
        let below = lhs.depth.max(rhs.depth);
        let matching = Some(matching);
        let binary = Binary { op, lhs: lhs.expr, rhs: rhs.expr, return_bool, matching, span };
        self.tree(Expr::Binary(Box::new(binary)), below)
    }

    /// A sign binds looser than `^` only; before a number it becomes part of it.
    fn unary(&mut self) -> Step<Tree> {
        let op = match self.kind() {
            Tok::Op(BinaryOp::Add) => UnaryOp::Plus,
            Tok::Op(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return self.primary().and_then(|tree| self.postfix(tree)),
        };
        let sign = self.take();
        let operand = self.expression(precedence(BinaryOp::Mul) + 1)?;
        if let Expr::Number(mut literal) = operand.expr {
            if op == UnaryOp::Minus {
                literal.value = -literal.value;
            }
            literal.span.start = sign.span.start;
            return Ok(Tree { expr: Expr::Number(literal), depth: operand.depth });
        }
        let span = sign.span.to(operand.expr.span());
        self.tree(Expr::Unary(Box::new(Unary { op, expr: operand.expr, span })), operand.depth)
    }

    fn primary(&mut self) -> Step<Tree> {
        let kind = self.kind();
        match kind {
            Tok::LeftParen => {
                let open = self.take();
                let inner = self.expression(1)?;
                let close = self.expect(Tok::RightParen)?;
                let span = open.span.to(close.span);
                self.tree(Expr::Paren(Box::new(Paren { expr: inner.expr, span })), inner.depth)
            }
            Tok::String => {
                let token = self.take();
                let value = number::unquote(self.text(token));
                self.tree(Expr::String(StringLiteral { value, span: token.span }), 0)
            }
            Tok::Number | Tok::Duration => {
                let literal = self.number_or_duration();
                self.tree(Expr::Number(literal), 0)
            }
            Tok::Aggregate(op) if matches!(self.kind_after(), Tok::LeftParen | Tok::By | Tok::Without) => {
                self.aggregate(op)
            }
            _ if kind.is_function_name() && self.kind_after() == Tok::LeftParen => self.call(),
            _ => {
                let selector = self.vector_selector()?;
                self.tree(Expr::Vector(selector), 0)
            }
        }
    }

    /// A number or duration literal; what comes next is one.
    pub(super) fn number_or_duration(&mut self) -> NumberLiteral {
        let token = self.take();
        let literal = self.text(token);
        let duration = token.kind == Tok::Duration;
        let value = if duration {
            number::duration(literal).map(|nanoseconds| nanoseconds as f64 / 1e9)
        } else {
            number::number(literal)
        };
        let value = value.unwrap_or_else(|message| {
            self.fail(token.span, message);
            0.0
        });
        NumberLiteral { value, duration, span: token.span }
    }
}

fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Gt
        | BinaryOp::Lt
        | BinaryOp::Ge
        | BinaryOp::Le
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
    }
}
