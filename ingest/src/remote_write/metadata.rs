//! What is known about metrics already, so that repeating it costs a hash.

use engine::{Engine, Metadata};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Digests kept; when there are more the set starts again, and everything is told to the engine once more.
const DIGESTS_MAX: usize = 1 << 18;

/// Digests of the metadata the engine has been told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    digests: RwLock<HashSet<u128>>,
}

impl Seen {
    pub(super) fn contains(&self, digest: u128) -> bool {
        self.digests.read().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }
}

/// The metadata of one request that the engine may not know yet.
#[derive(Debug, Default)]
pub(super) struct News {
    digests: Vec<u128>,
    entries: Vec<(String, Metadata)>,
}

impl News {
    pub(super) fn push(&mut self, digest: u128, name: String, metadata: Metadata) {
        if !name.is_empty() {
            self.digests.push(digest);
            self.entries.push((name, metadata));
        }
    }
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
    /// Tells the engine, and then remembers that it knows.
    pub(super) fn tell(&self, engine: &Engine, seen: &Seen) -> Result<(), engine::Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        engine.set_metadata(&self.entries)?;
        let mut digests = seen.digests.write().unwrap_or_else(PoisonError::into_inner);
        if digests.len() + self.digests.len() > DIGESTS_MAX {
            digests.clear();
        }
        digests.extend(self.digests.iter().take(DIGESTS_MAX));
        Ok(())
    }
}
