//! Foreign write formats (remote write, OTLP) decoded, validated and handed to the engine.
//!
//! Where it sits: between the server (which owns HTTP) and the engine. Never knows PromQL or files.
