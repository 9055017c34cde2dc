//! The delta streams a receiver knows: what each has sent so far, claimed by the one request that adds to it.
//!
//! Where it sits: below `delta`, which does the adding. Invariants: a stream is named by the canonical key of
//! its series, whatever way its sender spells it; at any time at most one request has claimed a stream, from
//! before it reads the total until the engine has the new one; claims are taken shard by shard in ascending
//! order, so that two requests never wait for each other. What is kept is a copy of the newest samples of the
//! engine: any of it may be dropped at any time.

use crate::keys::AsHash;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use storage_format::model::{Histogram, Timestamp};

/// Streams kept, about 120 bytes each. When there are more, those that were silent longest are read from the
/// engine again when they come again.
const STREAMS_MAX: usize = 1_000_000;
/// Locks the streams are spread over.
const SHARDS: usize = 64;
/// Timestamps of a stream by which repetitions are known without asking the engine.
pub(super) const RECENT: usize = 4;

/// What a stream has sent so far.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) start: Timestamp,
    /// Ascending, the newest point last; `Timestamp::MIN` where there is none.
    recent: [Timestamp; RECENT],
    pub(super) total: Total,
}

/// The sum of a stream's deltas.
#[derive(Debug, Clone)]
pub(super) enum Total {
    Float(f64),
    Native(Box<Histogram>),
}

impl Stream {
    /// A stream before its first point.
    pub(super) fn new(start: Timestamp, total: Total) -> Self {
        Self { start, recent: [Timestamp::MIN; RECENT], total }
    }
    pub(super) fn newest(&self) -> Timestamp {
        self.recent[RECENT - 1]
    }
    pub(super) fn has_recent(&self, time: Timestamp) -> bool {
        self.recent.contains(&time)
    }
    pub(super) fn advance(&mut self, time: Timestamp) {
        self.recent.rotate_left(1);
        self.recent[RECENT - 1] = time;
    }
}

/// A shard's streams; `None` is one that is claimed.
type Slots = HashMap<u128, Option<Stream>, AsHash>;

#[derive(Debug, Default)]
struct Shard {
    slots: Mutex<Slots>,
    freed: Condvar,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All streams of a receiver.
#[derive(Debug)]
pub(super) struct Streams {
    shards: Vec<Shard>,
    /// Streams kept by one shard.
    room: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self::with_room(STREAMS_MAX / SHARDS)
    }
}

fn shard_of(key: u128) -> usize {
    (key >> 64) as usize % SHARDS
}

impl Streams {
    fn with_room(room: usize) -> Self {
        Self { shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(), room }
    }

    /// Streams kept now.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Claims the streams with these keys, which may repeat; waits for other requests that hold one of them.
    pub(super) fn claim(&self, keys: impl IntoIterator<Item = u128>) -> Claims<'_> {
        let mut wanted: Vec<u128> = keys.into_iter().collect();
        wanted.sort_unstable_by_key(|key| (shard_of(*key), *key));
        wanted.dedup();
        let held = HashMap::with_capacity_and_hasher(wanted.len(), AsHash::default());
        let mut claims = Claims { streams: self, held };
        for group in wanted.chunk_by(|a, b| shard_of(*a) == shard_of(*b)) {
            let shard = &self.shards[shard_of(group[0])];
            let mut slots = shard.lock();
            while group.iter().any(|key| matches!(slots.get(key), Some(None))) {
                slots = shard.freed.wait(slots).unwrap_or_else(PoisonError::into_inner);
            }
            for key in group {
                let claim = match slots.insert(*key, None).flatten() {
                    Some(stream) => Claim::Known(stream),
                    None => Claim::Unread,
                };
                claims.held.insert(*key, claim);
            }
        }
        claims
    }
}

/// A claimed stream.
#[derive(Debug)]
pub(super) enum Claim {
    /// Not known here; the engine may know it.
    Unread,
    /// Neither here nor in the engine.
    New,
    /// What it sent so far.
    Known(Stream),
}

/// Streams claimed by one request. Dropping it gives them back: those that are known then are kept.
#[derive(Debug)]
pub(super) struct Claims<'s> {
    streams: &'s Streams,
    held: HashMap<u128, Claim, AsHash>,
}

impl Claims<'_> {
    /// The claimed stream with this key, if it was claimed.
    pub(super) fn get(&mut self, key: u128) -> Option<&mut Claim> {
        self.held.get_mut(&key)
    }
    /// Forgets what the stream sent: it is read from the engine when it comes again.
    pub(super) fn forget(&mut self, key: u128) {
        if let Some(claim) = self.held.get_mut(&key) {
            *claim = Claim::Unread;
        }
    }
    /// Forgets all claimed streams.
    pub(super) fn forget_all(&mut self) {
        self.held.values_mut().for_each(|claim| *claim = Claim::Unread);
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody knows how far it came.
            self.forget_all();
        }
        let mut held: Vec<_> = self.held.drain().collect();
        held.sort_unstable_by_key(|(key, _)| shard_of(*key));
        let mut held = held.into_iter().peekable();
        while let Some((first, _)) = held.peek() {
            let number = shard_of(*first);
            let shard = &self.streams.shards[number];
            let mut slots = shard.lock();
            while let Some((key, claim)) = held.next_if(|(key, _)| shard_of(*key) == number) {
                match claim {
                    Claim::Known(stream) => drop(slots.insert(key, Some(stream))),
                    Claim::Unread | Claim::New => drop(slots.remove(&key)),
                }
            }
            make_room(&mut slots, self.streams.room);
            drop(slots);
            shard.freed.notify_all();
        }
    }
}

/// Drops the half of the streams that was silent longest when there are too many. Claimed ones stay.
fn make_room(slots: &mut Slots, room: usize) {
    if slots.len() <= room {
        return;
    }
    let mut newest: Vec<Timestamp> = slots.values().flatten().map(Stream::newest).collect();
    let middle = newest.len() / 2;
    if middle == 0 {
        return;
    }
    let (_, limit, _) = newest.select_nth_unstable(middle);
    let limit = *limit;
    slots.retain(|_, slot| slot.as_ref().is_none_or(|stream| stream.newest() > limit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn add(streams: &Streams, key: u128, v: f64, time: Timestamp) {
        let mut claims = streams.claim([key]);
        let claim = claims.get(key).unwrap();
        if let Claim::Unread = claim {
            *claim = Claim::Known(Stream::new(0, Total::Float(0.0)));
        }
        if let Claim::Known(stream) = claim {
            stream.advance(time);
            if let Total::Float(total) = &mut stream.total {
                *total += v;
            }
        }
    }

    fn total(streams: &Streams, key: u128) -> Option<f64> {
        match streams.claim([key]).get(key) {
            Some(Claim::Known(Stream { total: Total::Float(v), .. })) => Some(*v),
            _ => None,
        }
    }

    #[test]
    fn a_stream_knows_its_latest_times() {
        let mut stream = Stream::new(0, Total::Float(0.0));
        assert_eq!(stream.newest(), Timestamp::MIN);
        (0..40).for_each(|t| stream.advance(t));
        assert_eq!(stream.newest(), 39);
        assert!(stream.has_recent(36) && !stream.has_recent(35));
    }

    #[test]
    fn adding_from_many_threads_loses_nothing() {
        let streams = Streams::default();
        std::thread::scope(|scope| {
            for thread in 0..4u128 {
                let streams = &streams;
                scope.spawn(move || {
                    for i in 0..2000u128 {
                        // Different orders of the same keys: a claim that waited in the order it was asked
                        // for would stop here for ever.
                        let keys = [(i % 7) << 64, ((thread + i) % 5) << 66, (7 - i % 7) << 64];
                        let mut claims = streams.claim(keys);
                        for key in keys {
                            let claim = claims.get(key).unwrap();
                            match claim {
                                Claim::Known(Stream { total: Total::Float(v), .. }) => *v += 1.0,
                                _ => *claim = Claim::Known(Stream::new(0, Total::Float(1.0))),
                            }
                        }
                    }
                });
            }
        });
        let keys: Vec<u128> =
            streams.shards.iter().flat_map(|s| s.lock().keys().copied().collect::<Vec<_>>()).collect();
        let sum: f64 = keys.iter().map(|key| total(&streams, *key).unwrap()).sum();
        assert_eq!(sum, 4.0 * 2000.0 * 3.0);
    }

    #[test]
    fn a_claimed_stream_is_waited_for_and_others_are_not() {
        let streams = Streams::default();
        let (mine, other) = (1, 1 | 1 << 70);
        let claims = streams.claim([mine]);
        let got = AtomicBool::new(false);
        std::thread::scope(|scope| {
            add(&streams, other, 1.0, 1);
            assert_eq!(total(&streams, other), Some(1.0));
            let waiting = scope.spawn(|| {
                drop(streams.claim([other, mine]));
                got.store(true, Ordering::SeqCst);
            });
            assert!(!got.load(Ordering::SeqCst));
            drop(claims);
            waiting.join().unwrap();
        });
        assert!(got.load(Ordering::SeqCst));
    }

    #[test]
    fn what_was_forgotten_or_left_by_a_panic_is_read_again() {
        let streams = Streams::default();
        add(&streams, 5, 1.0, 1);
        streams.claim([5]).forget(5);
        assert_eq!((total(&streams, 5), streams.len()), (None, 0));
        add(&streams, 5, 1.0, 1);
        let panicked = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _claims = streams.claim([5]);
                    panic!("while it holds a claim");
                })
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!((total(&streams, 5), streams.len()), (None, 0));
    }

    #[test]
    fn the_number_of_streams_is_bounded_and_the_latest_stay() {
        let streams = Streams::with_room(10);
        let same_shard = |i: u128| (i * SHARDS as u128) << 64;
        for i in 0..1000 {
            add(&streams, same_shard(i), 1.0, i as Timestamp);
            assert!(streams.len() <= 10);
        }
        assert_eq!(total(&streams, same_shard(999)), Some(1.0));
        assert_eq!(total(&streams, same_shard(900)), None);
    }
}
