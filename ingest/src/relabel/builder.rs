//! A label set while rules change it.
//!
//! Invariants: a label is set at most once; walks see first what stood there before any rule, in name order,
//! then what rules set, in the order of setting, which decides when two labels are mapped to one name.

use std::borrow::Cow;
use storage_format::model::Labels;

type Text<'a> = Cow<'a, str>;

/// Labels being changed.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    labels: &'a Labels,
    kept: Vec<(&'a str, &'a str)>,
    set: Vec<(Text<'a>, Text<'a>)>,
    changed: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(labels: &'a Labels) -> Self {
        Self { labels, kept: labels.iter().collect(), set: Vec::new(), changed: false }
    }
    /// The value of a label; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        let set = self.set.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_ref());
        set.or_else(|| self.kept.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)).unwrap_or_default()
    }
    /// Sets a label; an empty value removes it.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return self.remove(name);
        }
        self.changed = true;
        if let Some((_, slot)) = self.set.iter_mut().find(|(n, _)| n == name) {
            *slot = Cow::Owned(value.to_owned());
            return;
        }
        self.kept.retain(|(n, _)| *n != name);
        self.set.push((Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned())));
    }
    pub(super) fn remove(&mut self, name: &str) {
        self.retain(|n| n != name);
    }
    /// Removes the labels whose name does not fit.
    pub(super) fn retain(&mut self, mut fits: impl FnMut(&str) -> bool) {
        let before = self.kept.len() + self.set.len();
        self.kept.retain(|(n, _)| fits(n));
        self.set.retain(|(n, _)| fits(n));
        self.changed |= self.kept.len() + self.set.len() < before;
    }
    /// The labels as they stand now; later changes do not show.
    pub(super) fn pairs(&self) -> Vec<(Text<'a>, Text<'a>)> {
        let kept = self.kept.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(*v)));
        kept.chain(self.set.iter().cloned()).collect()
    }
    pub(super) fn build(self) -> Labels {
        if !self.changed {
            return self.labels.clone();
        }
        let mut pairs = self.pairs();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Labels::from_sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())))
    }
}
