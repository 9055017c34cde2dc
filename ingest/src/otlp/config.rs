//! How OTLP metrics become Prometheus series; the names are those of Prometheus' configuration.

/// How names are escaped and whether units and types become suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TranslationStrategy {
    /// Letters, digits, `_` and `:` only; units and types become suffixes.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Names as sent; units and types become suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Letters, digits, `_` and `:` only; no suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as sent.
    NoTranslation,
}

impl TranslationStrategy {
    /// From its name in Prometheus' configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "UnderscoreEscapingWithSuffixes" => Self::UnderscoreEscapingWithSuffixes,
            "NoUTF8EscapingWithSuffixes" => Self::NoUtf8EscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Self::UnderscoreEscapingWithoutSuffixes,
            "NoTranslation" => Self::NoTranslation,
            _ => return None,
        })
    }
    pub(super) fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }
    pub(super) fn suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// What happens to data points of delta temporality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeltaMode {
    /// They are added up; the series hold running totals. The state is what the engine has stored.
    #[default]
    ToCumulative,
    /// They are refused, as Prometheus does.
    Reject,
    /// They are stored as they are.
    Native,
}

/// Settings of the OTLP receiver.
#[derive(Debug, Clone)]
pub struct Config {
    /// Default: `UnderscoreEscapingWithSuffixes`.
    pub translation_strategy: TranslationStrategy,
    /// Resource attributes that become labels of every series. Default: none.
    pub promote_resource_attributes: Vec<String>,
    /// Whether all resource attributes become labels, apart from the ignored ones. Default: no.
    pub promote_all_resource_attributes: bool,
    /// Resource attributes that are not promoted with all others.
    pub ignore_resource_attributes: Vec<String>,
    /// Whether `target_info` also has the attributes that job and instance are made of. Default: no.
    pub keep_identifying_resource_attributes: bool,
    /// Whether explicit histograms become native ones with custom buckets. Default: no.
    pub convert_histograms_to_nhcb: bool,
    /// Whether least and greatest value of histograms are kept, as series with the suffixes `_min` and
    /// `_max`. Default: no, as in Prometheus.
    pub keep_histogram_min_max: bool,
    /// Whether scope name, version, schema and attributes become labels. Default: no.
    pub promote_scope_metadata: bool,
    /// Whether a label name that starts with one underscore gets the prefix `key`. Default: yes.
    pub label_name_underscore_sanitization: bool,
    /// Whether runs of underscores in label names are kept. Default: yes.
    pub label_name_preserve_multiple_underscores: bool,
    /// Whether `__type__` and `__unit__` labels are added. Default: no.
    pub type_and_unit_labels: bool,
    /// Default: `ToCumulative`.
    pub delta: DeltaMode,
    /// Spacing of `target_info` samples, half of the lookback delta, milliseconds. Default: 150 s.
    pub target_info_interval_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            translation_strategy: TranslationStrategy::default(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            keep_histogram_min_max: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            type_and_unit_labels: false,
            delta: DeltaMode::default(),
            target_info_interval_ms: 150_000,
        }
    }
}
