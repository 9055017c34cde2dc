//! Checks passwords against bcrypt hashes, on few blocking threads, and remembers what it found.
//!
//! Invariants: bcrypt never runs on an async worker nor more than a few times at once; what is remembered is
//! a keyed digest of user, hash and password, each with its length, so that no two of them can be confused;
//! a flood of wrong passwords does not push out the right ones.

use super::Unknown;
use ring::hmac;
use ring::rand::SystemRandom;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Passwords checked at the same time.
const CHECKS_MAX: usize = 2;
/// Passwords that wait to be checked; more are told to come back.
const WAITING_MAX: usize = 64;
/// Digests remembered of right and of wrong passwords each, 32 bytes a piece; full, it starts again.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Passwords {
    key: hmac::Key,
    right: Mutex<HashSet<[u8; 32]>>,
    wrong: Mutex<HashSet<[u8; 32]>>,
    checks: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    /// # Errors
    /// When the system gives no random bytes.
    pub(super) fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            key: key.map_err(|_| "the system gives no random numbers".to_owned())?,
            right: Mutex::default(),
            wrong: Mutex::default(),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
        })
    }

    /// Whether `password` fits `hash`.
    ///
    /// # Errors
    /// `Busy` when too many are waiting.
    pub(super) async fn are_right(&self, user: &str, password: &[u8], hash: &str) -> Result<bool, Unknown> {
        let digest = self.digest(&[user.as_bytes(), hash.as_bytes(), password]);
        if has(&self.right, &digest) {
            return Ok(true);
        }
        if has(&self.wrong, &digest) {
            return Ok(false);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Unknown::Busy)?;
        let check = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| Unknown::Busy)?;
        let (password, hash) = (password.to_vec(), hash.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let _held = (place, check);
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let right = checked.await.unwrap_or(false);
        remember(if right { &self.right } else { &self.wrong }, digest);
        Ok(right)
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

fn has(digests: &Mutex<HashSet<[u8; 32]>>, digest: &[u8; 32]) -> bool {
    digests.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
}

fn remember(digests: &Mutex<HashSet<[u8; 32]>>, digest: [u8; 32]) {
    let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
    if digests.len() >= REMEMBERED_MAX {
        digests.clear();
    }
    digests.insert(digest);
}
