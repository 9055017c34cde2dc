//! The HTTP API over the engine: routes, parameters, JSON, status codes, self-observation.
//!
//! Where it sits: on top of all rooms; the only one that is asynchronous and the only one that knows HTTP.
//! `router` shows the whole API, `api` holds one file per endpoint family, `params` reads requests, `error`
//! turns errors into answers, `wire` writes results, `net` accepts connections, `access` knows their callers, `otlp_grpc` those of OTLP senders, `observe` counts and logs,
//! `state` is what they share, and `serve` starts and stops it all.

pub mod access;
pub mod api;
pub mod command;
pub mod config;
pub mod error;
pub mod flags;
pub mod limit_flags;
pub mod net;
pub mod observe;
pub mod otlp_flags;
pub mod otlp_grpc;
pub mod params;
pub mod query_flags;
pub mod router;
pub mod serve;
pub mod state;
pub mod verify;
pub mod wire;
