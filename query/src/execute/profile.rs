//! Which operator of a plan worked how long, on how much: kept only for queries that ask for it.
//!
//! A thread charges its time to the operator that it works for. Entering an operator takes the clock over
//! until it is left again, so times are exclusive and add up to the time worked on all threads together.
//! A thread that waits for others charges nobody.

use crate::OperatorStats;
use crate::plan::Node;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Stands for no operator.
const NOBODY: u32 = u32::MAX;

thread_local! {
    /// The operator this thread works for, and since when.
    static CLOCK: Cell<(u32, Option<Instant>)> = const { Cell::new((NOBODY, None)) };
}

/// The account of a plan's operators.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Node of the plan, by its address, to its number. The plan is not moved while it is evaluated.
    numbers: HashMap<usize, u32>,
    operators: Vec<Operator>,
}

#[derive(Debug)]
struct Operator {
    depth: usize,
    text: String,
    nanoseconds: AtomicU64,
    series: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// Time is charged to an operator until this is dropped.
pub(crate) struct Entered<'p> {
    profile: &'p Profile,
    before: u32,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.profile.switch(self.before);
    }
}

impl Profile {
    /// Nothing charged yet.
    pub(crate) fn of(plan: &Node) -> Self {
        let mut profile = Self { numbers: HashMap::new(), operators: Vec::new() };
        profile.add(plan, 0);
        profile
    }
    fn add(&mut self, node: &Node, depth: usize) {
        self.numbers.insert(address(node), self.operators.len() as u32);
        self.operators.push(Operator {
            depth,
            text: node.line(),
            nanoseconds: AtomicU64::new(0),
            series: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
        });
        node.children().into_iter().for_each(|child| self.add(child, depth + 1));
    }
    /// The number of a node.
    pub(crate) fn number(&self, node: &Node) -> u32 {
        self.numbers.get(&address(node)).copied().unwrap_or(NOBODY)
    }
    fn operator(&self, number: u32) -> Option<&Operator> {
        self.operators.get(number as usize)
    }
    fn switch(&self, to: u32) -> u32 {
        let now = Instant::now();
        let (before, since) = CLOCK.replace((to, Some(now)));
        if let (Some(operator), Some(since)) = (self.operator(before), since) {
            let nanoseconds = u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX);
            operator.nanoseconds.fetch_add(nanoseconds, Relaxed);
        }
        before
    }
    /// Charges this thread's time to an operator from now on.
    pub(crate) fn enter(&self, number: u32) -> Entered<'_> {
        Entered { profile: self, before: self.switch(number) }
    }
    /// Charges this thread's time to nobody: it waits, or works for whom it does not know.
    pub(crate) fn pause(&self) -> Entered<'_> {
        self.enter(NOBODY)
    }
    /// The operator that this thread works for.
    pub(crate) fn current(&self) -> u32 {
        CLOCK.get().0
    }
    /// Counts series that an operator gives.
    pub(crate) fn count_series(&self, number: u32, series: usize) {
        if let Some(operator) = self.operator(number) {
            operator.series.fetch_add(series as u64, Relaxed);
        }
    }
    /// Counts samples that the current operator read from storage.
    pub(crate) fn count_samples(&self, samples: u64) {
        if let Some(operator) = self.operator(self.current()) {
            operator.samples.fetch_add(samples, Relaxed);
        }
    }
    /// Charges bytes to the current operator; give the number back to [`Profile::release`].
    pub(crate) fn hold(&self, bytes: u64) -> u32 {
        let number = self.current();
        if let Some(operator) = self.operator(number) {
            let now = operator.bytes.fetch_add(bytes, Relaxed) + bytes;
            operator.peak_bytes.fetch_max(now, Relaxed);
        }
        number
    }
    /// Takes bytes back.
    pub(crate) fn release(&self, number: u32, bytes: u64) {
        if let Some(operator) = self.operator(number) {
            operator.bytes.fetch_sub(bytes, Relaxed);
        }
    }
    /// What was charged, in the order in which the plan is printed.
    pub(crate) fn stats(&self) -> Vec<OperatorStats> {
        let stats = |o: &Operator| OperatorStats {
            depth: o.depth,
            operator: o.text.clone(),
            busy: Duration::from_nanos(o.nanoseconds.load(Relaxed)),
            series: o.series.load(Relaxed),
            samples_read: o.samples.load(Relaxed),
            peak_bytes: o.peak_bytes.load(Relaxed),
        };
        self.operators.iter().map(stats).collect()
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node) as usize
}
