//! What stands in a configuration file. A new section is a new field of [`File`].

use super::OtlpSection;
use ingest::relabel::{Rule, RuleConfig, Rules};
use serde::Deserialize;
use serde::de::Deserializer;
use std::fs;
use std::io::Read as _;
use std::path::Path;

/// Longest file in bytes; one that is longer is none that was meant.
const BYTES_MAX: u64 = 4 << 20;

/// A configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Rules for the labels of all series that are written, by whatever protocol, as in Prometheus.
    #[serde(deserialize_with = "list")]
    write_relabel_configs: Vec<Option<RuleConfig>>,
    /// How OTLP is translated, as in Prometheus.
    pub(super) otlp: OtlpSection,
    #[serde(skip)]
    rules: Rules,
}

/// A list; nothing is an empty one.
fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl File {
    /// Reads and checks the file at `path`; its text comes with it.
    ///
    /// # Errors
    /// A sentence that names file, line and what is wrong there.
    pub fn read(path: &Path) -> Result<(Self, String), String> {
        let named = |why: String| format!("configuration file {}: {why}", path.display());
        let mut text = String::new();
        let file = fs::File::open(path).map_err(|e| named(e.to_string()))?;
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| named(e.to_string()))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(named(format!("longer than {BYTES_MAX} bytes")));
        }
        Ok((Self::parse(&text).map_err(named)?, text))
    }
    /// Checks the text of a file.
    ///
    /// # Errors
    /// A sentence that names the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Option<Self> = yaml_serde::from_str(text).map_err(|e| with_line(&e.to_string(), text))?;
        let mut file = file.unwrap_or_default();
        let rules = file.write_relabel_configs.iter().enumerate().map(|(i, config)| {
            let rule = config.as_ref().ok_or_else(|| "empty or null relabeling rule".to_owned());
            let named = |why| format!("write_relabel_configs: rule {}: {why}", i + 1);
            rule.and_then(Rule::new).map_err(named)
        });
        file.rules = rules.collect::<Result<_, String>>()?;
        file.otlp.check()?;
        Ok(file)
    }
    /// The relabeling rules.
    #[must_use]
    pub fn into_rules(self) -> Rules {
        self.rules
    }
}

/// An error with its line. The parser leaves it out for what is wrong at the outermost level.
fn with_line(error: &str, text: &str) -> String {
    if error.contains(" at line ") {
        return error.to_owned();
    }
    let field = error.split('`').nth(1).unwrap_or_default();
    let is_there = |line: &str| line.trim_start_matches(['"', '\'']).starts_with(field);
    let line = text.lines().position(is_there).unwrap_or(0);
    format!("{error} at line {}", line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_anything_is_the_defaults() {
        for text in
            ["", "# nothing\n", "{}", "---\n", "write_relabel_configs:\n", "write_relabel_configs: []\n"]
        {
            assert_eq!(File::parse(text).expect(text).write_relabel_configs.len(), 0, "{text:?}");
        }
    }

    #[test]
    fn scalars_are_texts_as_they_stand() {
        let text = "write_relabel_configs:\n\
                    - {source_labels: [port], regex: 8080, target_label: is_web, replacement: true}\n\
                    - target_label: x\n  replacement: '1'\n";
        assert_eq!(File::parse(text).expect("a good file").write_relabel_configs.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("rules: []\n", "unknown field `rules`", "line 1"),
            ("write_relabel_configs: []\n\nrules: []\n", "unknown field `rules`", "line 3"),
            ("write_relabel_configs:\n- action: drop\n  regexp: x\n", "unknown field `regexp`", "line 3"),
            (
                "write_relabel_configs:\n- action: drop\n  regex: x\n- action: hashmod\n  target_label: x\n",
                "relabel configuration for hashmod requires non-zero modulus",
                "rule 2",
            ),
            (
                "write_relabel_configs:\n- action: drop\n  regex: '('\n",
                "error parsing regexp: missing closing ): `(`",
                "rule 1",
            ),
            ("otlp:\n  translation_strategy: Whatever\n", "unsupported translation_strategy", "Whatever"),
            ("otlp:\n  promote: []\n", "unknown field `promote`", "line 2"),
            (
                "otlp: {promote_resource_attributes: [a, b, a]}\n",
                "otlp: promote_resource_attributes: \"a\" stands there twice",
                "",
            ),
            ("write_relabel_configs:\n- null\n", "empty or null relabeling rule", "rule 1"),
            ("write_relabel_configs: 3\n", "invalid type: integer `3`, expected a sequence", "line 1"),
            ("write_relabel_configs: []\nwrite_relabel_configs: []\n", "duplicate field", "line 1"),
            ("write_relabel_configs: [\n", "did not find expected node content", "line 2"),
            ("write_relabel_configs:\n- modulus: -1\n", "integer `-1`", "line 2"),
        ];
        for (text, what, line) in cases {
            let error = File::parse(text).expect_err(text);
            assert!(error.contains(what) && error.contains(line), "{text:?}: {error}");
        }
    }
}
