//! PromQL text in, syntax tree with positions out, and back.
//!
//! Where it sits: at the entrance of the query crate; knows the language and nothing about data.
//! Invariants: parsing takes linear time; input longer or deeper than [`Options`] allows is refused
//! before it can cost anything, so that everything that walks a tree may recurse.

pub mod ast;
mod call;
mod check;
mod duration;
mod duration_expr;
mod error;
pub mod functions;
mod lex;
mod literal;
mod modifier;
mod number;
mod operator;
mod options;
mod parser;
mod pretty;
mod print;
mod selector;
mod series;
pub mod text;
mod token;
mod tree;

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Card, DurationContext, DurationExpr, DurationKind,
    DurationOp, Expr, MatrixSelector, NumberLiteral, Paren, Span, StringLiteral, Subquery, Unary, UnaryOp,
    ValueType, VectorMatching, VectorSelector,
};
pub use error::{ParseError, ParseErrors};
pub use functions::{Function, FunctionId};
pub use options::Options;
pub use parser::parse;
pub use pretty::prettify;
pub use selector::{parse_metric, parse_metric_selector, parse_metric_selectors};
pub use series::{SequenceValue, SeriesDescription, parse_duration, parse_series_description};
pub use tree::{Node, tree};
