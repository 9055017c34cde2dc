//! One relabeling rule: read from a configuration, checked as Prometheus checks it, applied to labels.

use super::builder::Builder;
use super::template::expand;
use regex::Regex;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

/// A rule as the configuration spells it: the fields of Prometheus' `relabel_config`, absent ones at their
/// defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// Labels whose values are joined to what the rule looks at. Default: none.
    pub source_labels: Option<Vec<String>>,
    /// Stands between them. Default: `;`.
    #[serde(deserialize_with = "text")]
    pub separator: Option<String>,
    /// What the joined values, or the label names, must match as a whole. Default: `(.*)`.
    #[serde(deserialize_with = "text")]
    pub regex: Option<String>,
    /// Divisor of `hashmod`.
    pub modulus: Option<u64>,
    /// The label that is set or compared.
    pub target_label: Option<String>,
    /// Its new value, or the new name for `labelmap`. Default: `$1`.
    #[serde(deserialize_with = "text")]
    pub replacement: Option<String>,
    /// What the rule does. Default: `replace`.
    pub action: Option<String>,
}

/// A text, also where YAML sees a number or a truth value in it: `regex: 8080`, `replacement: true`.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    struct Scalar;
    impl Visitor<'_> for Scalar {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text (put quotes around it)")
        }
        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            Ok(Some(v.to_owned()))
        }
        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_bool<E: Error>(self, v: bool) -> Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    from.deserialize_any(Scalar)
}

/// A rule that can run.
#[derive(Debug, Clone)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Replace { regex: Regex, target: String, replacement: String },
    Keep(Regex),
    Drop(Regex),
    KeepEqual(String),
    DropEqual(String),
    HashMod { target: String, modulus: u64 },
    Lowercase(String),
    Uppercase(String),
    LabelMap { regex: Regex, replacement: String },
    LabelDrop(Regex),
    LabelKeep(Regex),
}

impl Rule {
    /// A rule from its configuration.
    ///
    /// # Errors
    /// Prometheus' sentence about what is wrong with it.
    pub fn new(config: &RuleConfig) -> Result<Self, String> {
        let name = config.action.as_deref().unwrap_or("replace").to_lowercase();
        let pattern = config.regex.as_deref().unwrap_or(REGEX);
        let regex = engine::select::matcher::anchored(pattern).map_err(|e| e.to_string())?;
        let action = action(&name, regex, config)?;
        let source_labels = config.source_labels.clone().unwrap_or_default();
        if let Some(bad) = source_labels.iter().find(|name| name.is_empty()) {
            return Err(format!("{bad:?} is not a valid label name"));
        }
        let separator = config.separator.clone().unwrap_or_else(|| SEPARATOR.to_owned());
        Ok(Self { source_labels, separator, action })
    }

    /// Runs the rule; false when the series is to be dropped.
    pub(super) fn apply(&self, labels: &mut Builder<'_>) -> bool {
        let joined = || {
            let values: Vec<_> = self.source_labels.iter().map(|name| labels.get(name)).collect();
            values.join(&self.separator)
        };
        match &self.action {
            Action::Keep(regex) => return regex.is_match(&joined()),
            Action::Drop(regex) => return !regex.is_match(&joined()),
            Action::KeepEqual(target) => return labels.get(target) == joined(),
            Action::DropEqual(target) => return labels.get(target) != joined(),
            Action::Replace { regex, target, replacement } => {
                let value = joined();
                let Some(captures) = regex.captures(&value) else { return true };
                let target = expand(target, &captures);
                if !target.is_empty() {
                    labels.set(&target, &expand(replacement, &captures));
                }
            }
            Action::HashMod { target, modulus } => {
                labels.set(target, &(hash(&joined()) % (*modulus).max(1)).to_string());
            }
            Action::Lowercase(target) => {
                let value: String = joined().chars().map(lower).collect();
                labels.set(target, &value);
            }
            Action::Uppercase(target) => {
                let value: String = joined().chars().map(upper).collect();
                labels.set(target, &value);
            }
            Action::LabelMap { regex, replacement } => {
                for (name, value) in labels.pairs() {
                    if let Some(captures) = regex.captures(&name) {
                        labels.set(&expand(replacement, &captures), &value);
                    }
                }
            }
            Action::LabelDrop(regex) => labels.retain(|name| !regex.is_match(name)),
            Action::LabelKeep(regex) => labels.retain(|name| regex.is_match(name)),
        }
        true
    }
}

fn action(name: &str, regex: Regex, config: &RuleConfig) -> Result<Action, String> {
    let replacement = config.replacement.clone().unwrap_or_else(|| REPLACEMENT.to_owned());
    // Any text is a label's name, but not none at all.
    let target = || match config.target_label.clone().unwrap_or_default() {
        empty if empty.is_empty() => {
            Err(format!("relabel configuration for {name} action requires 'target_label' value"))
        }
        target => Ok(target),
    };
    Ok(match name {
        "replace" => Action::Replace { regex, target: target()?, replacement },
        "keep" => Action::Keep(regex),
        "drop" => Action::Drop(regex),
        "keepequal" | "dropequal" => {
            let target = target()?;
            if config.regex.is_some() || config.modulus() != 0 || config.has_texts() {
                return Err(format!(
                    "{name} action requires only 'source_labels' and `target_label`, and no other fields"
                ));
            }
            if name == "keepequal" { Action::KeepEqual(target) } else { Action::DropEqual(target) }
        }
        "hashmod" => match config.modulus() {
            0 => return Err("relabel configuration for hashmod requires non-zero modulus".to_owned()),
            modulus => Action::HashMod { target: target()?, modulus },
        },
        "lowercase" => Action::Lowercase(target()?),
        "uppercase" => Action::Uppercase(target()?),
        "labelmap" if replacement.is_empty() => {
            return Err(format!("{replacement:?} is invalid 'replacement' for {name} action"));
        }
        "labelmap" => Action::LabelMap { regex, replacement },
        "labeldrop" | "labelkeep" => {
            let target = config.target_label.as_deref().unwrap_or_default();
            if config.source_labels.is_some()
                || !target.is_empty()
                || config.modulus() != 0
                || config.has_texts()
            {
                return Err(format!("{name} action requires only 'regex', and no other fields"));
            }
            if name == "labeldrop" { Action::LabelDrop(regex) } else { Action::LabelKeep(regex) }
        }
        _ => {
            let told = config.action.as_deref().unwrap_or_default();
            return Err(format!("unknown relabel action {told:?}"));
        }
    })
}

impl RuleConfig {
    fn modulus(&self) -> u64 {
        self.modulus.unwrap_or(0)
    }
    /// Whether separator or replacement differ from their defaults.
    fn has_texts(&self) -> bool {
        self.separator.as_deref().is_some_and(|s| s != SEPARATOR)
            || self.replacement.as_deref().is_some_and(|r| r != REPLACEMENT)
    }
}

/// The last eight bytes of the MD5 digest, big-endian: the number Prometheus spreads targets by.
fn hash(value: &str) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = md5::compute(value).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// One character's lower case, as Go's `unicode.ToLower` has it: a character stays one character.
fn lower(c: char) -> char {
    match c {
        'İ' => 'i',
        c => single(c.to_lowercase()).unwrap_or(c),
    }
}

/// One character's upper case, as Go's `unicode.ToUpper` has it.
fn upper(c: char) -> char {
    match c {
        // Greek with iota subscript, whose full upper case is two characters.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(c as u32 + 8).unwrap_or(c)
        }
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(c as u32 + 9).unwrap_or(c),
        c => single(c.to_uppercase()).unwrap_or(c),
    }
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}
