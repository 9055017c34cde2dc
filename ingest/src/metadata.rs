//! What is known about metrics already, so that repeating it costs a look into a set.

use crate::keys::AsHash;
use engine::{Engine, Metadata};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Digests kept; when there are more the set starts again, and everything is told to the engine once more.
const DIGESTS_MAX: usize = 1 << 18;

/// A set of digests, which are hashes under a secret key already.
type Digests = HashSet<u128, AsHash>;

/// Digests of the metadata the engine has been told.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    digests: RwLock<Digests>,
}

impl Seen {
    fn contains(&self, digest: u128) -> bool {
        self.digests.read().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }
}

/// The metadata of one request that the engine may not know yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    digests: Digests,
    entries: Vec<(String, Metadata)>,
}

impl News {
    /// Whether metadata with this digest is neither known nor among the news.
    pub(crate) fn is_new(&self, digest: u128, seen: &Seen) -> bool {
        !self.digests.contains(&digest) && !seen.contains(digest)
    }
    pub(crate) fn push(&mut self, digest: u128, name: String, metadata: Metadata) {
        if !name.is_empty() && self.digests.insert(digest) {
            self.entries.push((name, metadata));
        }
    }
    pub(crate) fn clear(&mut self) {
        if !self.digests.is_empty() {
            *self = Self::default();
        }
    }
    /// Tells the engine, and then remembers that it knows.
    pub(crate) fn tell(&self, engine: &Engine, seen: &Seen) -> Result<(), engine::Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        engine.set_metadata(&self.entries)?;
        self.remember(seen);
        Ok(())
    }
    pub(crate) fn remember(&self, seen: &Seen) {
        if self.digests.is_empty() {
            return;
        }
        let mut digests = seen.digests.write().unwrap_or_else(PoisonError::into_inner);
        if digests.len() + self.digests.len() > DIGESTS_MAX {
            digests.clear();
        }
        digests.extend(self.digests.iter().take(DIGESTS_MAX));
    }
}
