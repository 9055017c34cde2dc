//! The `marigram` binary: flags, wiring, signals.
fn main() {}
