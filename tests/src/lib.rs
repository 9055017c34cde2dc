//! Support for the behaviour tests and the benches: real servers as child processes, a small HTTP
//! client, a remote-write encoder that shares no code with the server's decoder, and the comparison of
//! two servers' answers.
//!
//! Stands outside the import chain. Nothing here links Marigram: what is proven is the binary.

pub mod answer;
pub mod http;
pub mod peers;
pub mod process;
pub mod prom;
pub mod remote_write;
pub mod rng;
pub mod servers;
pub mod wait;
