//! What the parser accepts: the feature gates of Prometheus 3.14 and the limits.

/// Feature gates and limits of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Experimental functions and aggregations (`promql-experimental-functions`). Default: off.
    pub experimental_functions: bool,
    /// Arithmetic in ranges, offsets and steps. Default: on, as in 3.14.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`). Default: off.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right` (`promql-binop-fill-modifiers`). Default: off.
    pub binop_fill_modifiers: bool,
    /// Longest query, bytes. Default: 16 KiB.
    pub length_max: usize,
    /// Deepest nesting of parentheses, arguments, signs and right operands. Default: 128.
    pub depth_max: usize,
    /// Deepest syntax tree: unlike nesting it counts chains such as `a + b + c + …` too. Default: 512.
    pub tree_depth_max: usize,
    /// Most tokens. Default: 4096.
    pub tokens_max: usize,
}

impl Options {
    /// Everything that exists is allowed; limits as by default.
    #[must_use]
    pub fn all_features() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: true,
            extended_range_selectors: false,
            binop_fill_modifiers: false,
            length_max: 16 << 10,
            depth_max: 128,
            tree_depth_max: 512,
            tokens_max: 4096,
        }
    }
}
