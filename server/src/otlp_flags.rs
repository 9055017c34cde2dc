//! The flags of OTLP, named after the keys of Prometheus' `otlp:` section.

use clap::Args;
use ingest::otlp::{Config, DeltaMode, TranslationStrategy};

/// Feature that stores deltas as they are.
const NATIVE_DELTA: &str = "otlp-native-delta-ingestion";
/// Feature that adds deltas up, which is the default here.
const DELTA_TO_CUMULATIVE: &str = "otlp-deltatocumulative";

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

    /// Make all resource attributes labels of every series.
    #[arg(long = "otlp.promote-all-resource-attributes", value_name = "BOOL")]
    #[arg(env = "MARIGRAM_OTLP_PROMOTE_ALL_RESOURCE_ATTRIBUTES")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub promote_all_resource_attributes: bool,

    /// Resource attributes that are left out when all are promoted, comma-separated.
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

    /// Keep least and greatest value of histograms, as series with the suffixes _min and _max.
    #[arg(long = "otlp.keep-histogram-min-max", env = "MARIGRAM_OTLP_KEEP_HISTOGRAM_MIN_MAX")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set, value_name = "BOOL")]
    pub keep_histogram_min_max: bool,

    /// Add scope name, version, schema and attributes as labels otel_scope_*.
    #[arg(long = "otlp.promote-scope-metadata", env = "MARIGRAM_OTLP_PROMOTE_SCOPE_METADATA")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set, value_name = "BOOL")]
    pub promote_scope_metadata: bool,

    /// Put 'key' before label names that begin with one underscore.
    #[arg(long = "otlp.label-name-underscore-sanitization", value_name = "BOOL")]
    #[arg(env = "MARIGRAM_OTLP_LABEL_NAME_UNDERSCORE_SANITIZATION")]
    #[arg(default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub label_name_underscore_sanitization: bool,

    /// Keep runs of underscores in label names.
    #[arg(long = "otlp.label-name-preserve-multiple-underscores", value_name = "BOOL")]
    #[arg(env = "MARIGRAM_OTLP_LABEL_NAME_PRESERVE_MULTIPLE_UNDERSCORES")]
    #[arg(default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub label_name_preserve_multiple_underscores: bool,

    /// What happens to delta temporality: 'cumulative' adds it up, 'native' stores it as it is (as does the
    /// feature otlp-native-delta-ingestion), 'reject' refuses it.
    #[arg(long = "otlp.delta", env = "MARIGRAM_OTLP_DELTA", value_name = "MODE")]
    #[arg(default_value = "cumulative", value_parser = delta)]
    pub delta: DeltaMode,
}

impl OtlpFlags {
    /// Default address for gRPC.
    pub const GRPC: &str = "127.0.0.1:4317";
    /// Default address for HTTP.
    pub const HTTP: &str = "127.0.0.1:4318";

    /// Checks what the flags say together, and with the features that are switched on.
    ///
    /// # Errors
    /// A sentence for whoever wrote them.
    pub fn check(&self, has_feature: impl Fn(&str) -> bool) -> Result<(), String> {
        let listed = self.promote_resource_attributes.iter().any(|name| name != "*");
        if self.promotes_all() && listed {
            return Err(
                "--otlp.promote-all-resource-attributes and --otlp.promote-resource-attributes cannot be \
                        used together"
                    .to_owned(),
            );
        }
        if !self.promotes_all() && !self.ignore_resource_attributes.is_empty() {
            return Err(
                "--otlp.ignore-resource-attributes needs --otlp.promote-all-resource-attributes".to_owned()
            );
        }
        let native = has_feature(NATIVE_DELTA);
        if native && has_feature(DELTA_TO_CUMULATIVE) {
            return Err(format!(
                "the features {NATIVE_DELTA} and {DELTA_TO_CUMULATIVE} cannot be used together"
            ));
        }
        if native && self.delta == DeltaMode::Reject {
            return Err(format!("the feature {NATIVE_DELTA} cannot be used with --otlp.delta=reject"));
        }
        Ok(())
    }

    fn promotes_all(&self) -> bool {
        self.promote_all_resource_attributes
            || self.promote_resource_attributes.iter().any(|name| name == "*")
    }

    /// Settings of the receiver.
    #[must_use]
    pub fn config(&self, lookback_delta_ms: i64, has_feature: impl Fn(&str) -> bool) -> Config {
        Config {
            translation_strategy: self.translation_strategy,
            promote_resource_attributes: self.promote_resource_attributes.clone(),
            promote_all_resource_attributes: self.promotes_all(),
            ignore_resource_attributes: self.ignore_resource_attributes.clone(),
            keep_identifying_resource_attributes: self.keep_identifying_resource_attributes,
            convert_histograms_to_nhcb: self.convert_histograms_to_nhcb,
            keep_histogram_min_max: self.keep_histogram_min_max,
            promote_scope_metadata: self.promote_scope_metadata,
            label_name_underscore_sanitization: self.label_name_underscore_sanitization,
            label_name_preserve_multiple_underscores: self.label_name_preserve_multiple_underscores,
            type_and_unit_labels: has_feature("type-and-unit-labels"),
            delta: if has_feature(NATIVE_DELTA) { DeltaMode::Native } else { self.delta },
            target_info_interval_ms: lookback_delta_ms / 2,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Flags;

    fn read(args: &[&str]) -> Result<Config, String> {
        let flags = Flags::read(std::iter::once("marigram").chain(args.iter().copied()));
        let flags = flags.map_err(|e| e.to_string())?;
        Ok(flags.otlp.config(300_000, |name| flags.has_feature(name)))
    }

    #[test]
    fn defaults_are_those_of_the_receiver() {
        assert_eq!(format!("{:?}", read(&[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn each_flag_reaches_the_receiver() {
        type Reached = fn(&Config) -> bool;
        let cases: [(&[&str], Reached); 13] = [
            (&["--otlp.translation-strategy=NoTranslation"], |c| {
                c.translation_strategy == TranslationStrategy::NoTranslation
            }),
            (&["--otlp.promote-resource-attributes=a,b"], |c| c.promote_resource_attributes == ["a", "b"]),
            (&["--otlp.promote-all-resource-attributes"], |c| c.promote_all_resource_attributes),
            (&["--otlp.promote-resource-attributes=*", "--otlp.ignore-resource-attributes=x"], |c| {
                c.promote_all_resource_attributes && c.ignore_resource_attributes == ["x"]
            }),
            (&["--otlp.keep-identifying-resource-attributes"], |c| c.keep_identifying_resource_attributes),
            (&["--otlp.convert-histograms-to-nhcb"], |c| c.convert_histograms_to_nhcb),
            (&["--otlp.keep-histogram-min-max"], |c| c.keep_histogram_min_max),
            (&["--otlp.promote-scope-metadata=true"], |c| c.promote_scope_metadata),
            (&["--otlp.label-name-underscore-sanitization=false"], |c| !c.label_name_underscore_sanitization),
            (&["--otlp.label-name-preserve-multiple-underscores=false"], |c| {
                !c.label_name_preserve_multiple_underscores
            }),
            (&["--enable-feature=type-and-unit-labels"], |c| c.type_and_unit_labels),
            (&["--enable-feature=otlp-native-delta-ingestion"], |c| c.delta == DeltaMode::Native),
            (&["--enable-feature=otlp-deltatocumulative"], |c| c.delta == DeltaMode::ToCumulative),
        ];
        for (args, reached) in cases {
            assert!(reached(&read(args).unwrap()), "{args:?}");
            assert!(args.iter().any(|a| a.contains("deltato")) || !reached(&Config::default()), "{args:?}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let (all, native) =
            ("--otlp.promote-all-resource-attributes", "--enable-feature=otlp-native-delta-ingestion");
        for args in [
            &[all, "--otlp.promote-resource-attributes=a"][..],
            &["--otlp.ignore-resource-attributes=a"],
            &[native, "--enable-feature=otlp-deltatocumulative"],
            &[native, "--otlp.delta=reject"],
        ] {
            assert!(read(args).is_err(), "{args:?}");
        }
    }
}
