//! What a decoder itself had to refuse: counted exactly, told for the first few.

/// Reasons told to the sender.
pub(crate) const MESSAGES_MAX: usize = 10;

/// Refused samples (or data points) and why.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) count: u64,
    pub(crate) messages: Vec<String>,
}

impl Refusals {
    /// Counts `samples` refused ones; `why` is asked only while there is room for it.
    pub(crate) fn add(&mut self, samples: usize, why: impl FnOnce() -> String) {
        self.count += samples as u64;
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(why());
        }
    }
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.messages.clear();
    }
}
