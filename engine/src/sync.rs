//! Locks and threads of what is handed from thread to thread: the log, its tickets, the head's gate and
//! shards. They are std's; under `--cfg shuttle` they are shuttle's, which runs `interleavings.rs` in many
//! orders of all their steps.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock},
    thread, thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, RwLock},
    thread, thread_local,
};
