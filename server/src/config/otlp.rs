//! The `otlp:` section of the configuration file, with Prometheus' keys.
//!
//! Invariant: a key that is absent leaves what the flags say. In force is what stood there when the server
//! started: series keep their names while it runs.

use ingest::otlp::{Config, TranslationStrategy};
use serde::Deserialize;

/// The section; every key may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSection {
    translation_strategy: Option<String>,
    promote_resource_attributes: Option<Vec<String>>,
    promote_all_resource_attributes: Option<bool>,
    ignore_resource_attributes: Option<Vec<String>>,
    keep_identifying_resource_attributes: Option<bool>,
    convert_histograms_to_nhcb: Option<bool>,
    promote_scope_metadata: Option<bool>,
    label_name_underscore_sanitization: Option<bool>,
    label_name_preserve_multiple_underscores: Option<bool>,
    keep_histogram_min_max: Option<bool>,
}

impl OtlpSection {
    /// Checks what the keys say together.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = &self.translation_strategy
            && TranslationStrategy::from_name(name).is_none()
        {
            return Err(format!("otlp: unsupported translation_strategy {name:?}"));
        }
        let all = self.promote_all_resource_attributes == Some(true);
        let lists = [
            ("promote_resource_attributes", &self.promote_resource_attributes),
            ("ignore_resource_attributes", &self.ignore_resource_attributes),
        ];
        for (key, list) in lists {
            let list = list.as_deref().unwrap_or_default();
            if let Some(i) = list.iter().position(|name| name.trim().is_empty()) {
                return Err(format!("otlp: {key}: attribute number {} is empty", i + 1));
            }
            if let Some((_, twice)) = list.iter().enumerate().find(|(i, name)| list[..*i].contains(name)) {
                return Err(format!("otlp: {key}: {twice:?} stands there twice"));
            }
            if !list.is_empty() && all == (key == "promote_resource_attributes") {
                let word = if all { "cannot be used with" } else { "needs" };
                return Err(format!("otlp: {key} {word} promote_all_resource_attributes"));
            }
        }
        Ok(())
    }

    /// Puts what stands here in the place of what the flags say.
    pub fn apply(&self, config: &mut Config) {
        fn set<T: Clone>(from: &Option<T>, to: &mut T) {
            if let Some(value) = from {
                to.clone_from(value);
            }
        }
        let strategy = self.translation_strategy.as_deref().and_then(TranslationStrategy::from_name);
        set(&strategy, &mut config.translation_strategy);
        set(&self.promote_resource_attributes, &mut config.promote_resource_attributes);
        set(&self.promote_all_resource_attributes, &mut config.promote_all_resource_attributes);
        set(&self.ignore_resource_attributes, &mut config.ignore_resource_attributes);
        set(&self.keep_identifying_resource_attributes, &mut config.keep_identifying_resource_attributes);
        set(&self.convert_histograms_to_nhcb, &mut config.convert_histograms_to_nhcb);
        set(&self.promote_scope_metadata, &mut config.promote_scope_metadata);
        set(&self.label_name_underscore_sanitization, &mut config.label_name_underscore_sanitization);
        set(
            &self.label_name_preserve_multiple_underscores,
            &mut config.label_name_preserve_multiple_underscores,
        );
        set(&self.keep_histogram_min_max, &mut config.keep_histogram_min_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;

    fn section(text: &str) -> Result<OtlpSection, String> {
        File::parse(&format!("otlp:\n{text}")).map(|file| file.otlp.clone())
    }

    #[test]
    fn every_key_reaches_the_receiver() {
        type Reached = fn(&Config) -> bool;
        let cases: [(&str, Reached); 10] = [
            ("translation_strategy: NoTranslation", |c| {
                c.translation_strategy == TranslationStrategy::NoTranslation
            }),
            ("promote_resource_attributes: [a, b.c]", |c| c.promote_resource_attributes == ["a", "b.c"]),
            ("promote_all_resource_attributes: true", |c| c.promote_all_resource_attributes),
            ("promote_all_resource_attributes: true\n  ignore_resource_attributes: [x]", |c| {
                c.ignore_resource_attributes == ["x"]
            }),
            ("keep_identifying_resource_attributes: true", |c| c.keep_identifying_resource_attributes),
            ("convert_histograms_to_nhcb: true", |c| c.convert_histograms_to_nhcb),
            ("promote_scope_metadata: true", |c| c.promote_scope_metadata),
            ("label_name_underscore_sanitization: false", |c| !c.label_name_underscore_sanitization),
            ("label_name_preserve_multiple_underscores: false", |c| {
                !c.label_name_preserve_multiple_underscores
            }),
            ("keep_histogram_min_max: true", |c| c.keep_histogram_min_max),
        ];
        for (text, reached) in cases {
            let mut config = Config::default();
            section(&format!("  {text}\n")).expect(text).apply(&mut config);
            assert!(reached(&config) && !reached(&Config::default()), "{text}");
        }
        let mut config = Config { promote_scope_metadata: true, ..Config::default() };
        section("").expect("an empty section").apply(&mut config);
        assert!(config.promote_scope_metadata, "an absent key leaves what the flags say");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, what) in [
            ("  translation_strategy: Nothing\n", "unsupported translation_strategy \"Nothing\""),
            ("  promote_resource_attributes: [a, a]\n", "\"a\" stands there twice"),
            ("  promote_resource_attributes: ['']\n", "attribute number 1 is empty"),
            ("  ignore_resource_attributes: [a]\n", "needs promote_all_resource_attributes"),
            (
                "  promote_all_resource_attributes: true\n  promote_resource_attributes: [a]\n",
                "cannot be used with promote_all_resource_attributes",
            ),
            ("  promote: true\n", "unknown field `promote`"),
        ] {
            let error = section(text).expect_err(text);
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
