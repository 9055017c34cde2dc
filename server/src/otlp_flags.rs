//! The flags of OTLP, named after the keys of Prometheus' `otlp:` section.

use clap::Args;
use ingest::otlp::{Config, DeltaMode, TranslationStrategy};

/// Where OTLP is received, and what becomes of it.
#[derive(Debug, Clone, Args)]
pub struct OtlpFlags {
    /// Address for OTLP over gRPC; empty turns it off. When the default one is in use the server starts
    /// without it.
    #[arg(long = "otlp.grpc-listen-address", env = "MARIGRAM_OTLP_GRPC_LISTEN_ADDRESS")]
    #[arg(value_name = "HOST:PORT", default_value = Self::GRPC)]
    pub grpc_listen_address: String,

    /// Address for OTLP over HTTP, path /v1/metrics, besides /api/v1/otlp/v1/metrics on the API's
    /// address; empty turns it off. When the default one is in use the server starts without it.
    #[arg(long = "otlp.http-listen-address", env = "MARIGRAM_OTLP_HTTP_LISTEN_ADDRESS")]
    #[arg(value_name = "HOST:PORT", default_value = Self::HTTP)]
    pub http_listen_address: String,

    /// How names are translated: UnderscoreEscapingWithSuffixes, NoUTF8EscapingWithSuffixes,
    /// UnderscoreEscapingWithoutSuffixes or NoTranslation.
    #[arg(long = "otlp.translation-strategy", env = "MARIGRAM_OTLP_TRANSLATION_STRATEGY")]
    #[arg(value_name = "NAME", default_value = "UnderscoreEscapingWithSuffixes", value_parser = strategy)]
    pub translation_strategy: TranslationStrategy,

    /// Resource attributes that become labels of every series, comma-separated; '*' for all.
    #[arg(long = "otlp.promote-resource-attributes", env = "MARIGRAM_OTLP_PROMOTE_RESOURCE_ATTRIBUTES")]
    #[arg(value_name = "NAMES", value_delimiter = ',')]
    pub promote_resource_attributes: Vec<String>,

    /// Resource attributes that '*' leaves out, comma-separated.
    #[arg(long = "otlp.ignore-resource-attributes", env = "MARIGRAM_OTLP_IGNORE_RESOURCE_ATTRIBUTES")]
    #[arg(value_name = "NAMES", value_delimiter = ',')]
    pub ignore_resource_attributes: Vec<String>,

    /// Keep service.name, service.namespace and service.instance.id in target_info.
    #[arg(long = "otlp.keep-identifying-resource-attributes", value_name = "BOOL")]
    #[arg(env = "MARIGRAM_OTLP_KEEP_IDENTIFYING_RESOURCE_ATTRIBUTES")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub keep_identifying_resource_attributes: bool,

    /// Store explicit histograms as native histograms with custom buckets.
    #[arg(long = "otlp.convert-histograms-to-nhcb", env = "MARIGRAM_OTLP_CONVERT_HISTOGRAMS_TO_NHCB")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set, value_name = "BOOL")]
    pub convert_histograms_to_nhcb: bool,

    /// Add scope name, version, schema and attributes as labels otel_scope_*.
    #[arg(long = "otlp.promote-scope-metadata", env = "MARIGRAM_OTLP_PROMOTE_SCOPE_METADATA")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set, value_name = "BOOL")]
    pub promote_scope_metadata: bool,

    /// What happens to delta temporality: 'cumulative' adds it up, 'native' stores it as it is, 'reject'
    /// refuses it.
    #[arg(long = "otlp.delta", env = "MARIGRAM_OTLP_DELTA", value_name = "MODE")]
    #[arg(default_value = "cumulative", value_parser = delta)]
    pub delta: DeltaMode,
}

impl OtlpFlags {
    /// Default address for gRPC.
    pub const GRPC: &str = "127.0.0.1:4317";
    /// Default address for HTTP.
    pub const HTTP: &str = "127.0.0.1:4318";

    /// Settings of the receiver.
    #[must_use]
    pub fn config(&self, lookback_delta_ms: i64, type_and_unit_labels: bool) -> Config {
        let all = self.promote_resource_attributes.iter().any(|name| name == "*");
        Config {
            translation_strategy: self.translation_strategy,
            promote_resource_attributes: self.promote_resource_attributes.clone(),
            promote_all_resource_attributes: all,
            ignore_resource_attributes: self.ignore_resource_attributes.clone(),
            keep_identifying_resource_attributes: self.keep_identifying_resource_attributes,
            convert_histograms_to_nhcb: self.convert_histograms_to_nhcb,
            promote_scope_metadata: self.promote_scope_metadata,
            type_and_unit_labels,
            delta: self.delta,
            target_info_interval_ms: lookback_delta_ms / 2,
            ..Config::default()
        }
    }
}

fn strategy(name: &str) -> Result<TranslationStrategy, String> {
    TranslationStrategy::from_name(name).ok_or_else(|| "no such translation strategy".to_owned())
}

fn delta(name: &str) -> Result<DeltaMode, String> {
    match name {
        "cumulative" => Ok(DeltaMode::ToCumulative),
        "native" => Ok(DeltaMode::Native),
        "reject" => Ok(DeltaMode::Reject),
        _ => Err("must be cumulative, native or reject".to_owned()),
    }
}
