//! Relabeling of incoming series: Prometheus' `write_relabel_configs`.
//!
//! Where it sits: between a sender's labels and the engine, for remote write and OTLP alike. Rules run once
//! a series: `known` remembers the outcome under the sender's key, so that later samples cost one look into
//! a table. Source of the semantics: Prometheus' `model/relabel` and its documentation of `relabel_config`.

mod builder;
mod known;
mod rule;
mod template;

pub use known::Relabeling;
pub(crate) use known::{Generation, Relabeled};
pub use rule::{Rule, RuleConfig};

use builder::Builder;
use storage_format::model::Labels;

/// Rules in the order in which they run.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The labels as the rules leave them; `None` when the series is to be dropped, also because it has no
    /// label left.
    #[must_use]
    pub fn apply(&self, labels: &Labels) -> Option<Labels> {
        let mut builder = Builder::new(labels);
        if !self.0.iter().all(|rule| rule.apply(&mut builder)) {
            return None;
        }
        Some(builder.build()).filter(|labels| !labels.is_empty())
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}
