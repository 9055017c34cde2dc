//! PromQL: parse, plan, execute over snapshots of the engine.
//!
//! Where it sits: between the server and the engine. Never knows HTTP, JSON, files or writing.
