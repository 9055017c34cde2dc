//! The HTTP API over real connections: a server on a free port with an engine in a temporary folder.

mod access;
mod answers;
mod configuration;
mod damage;
mod grafana;
mod network;
mod operations;
mod otlp;
mod parameters;
mod queries;
mod reads;
mod results;
mod support;
mod tls;
mod verify;
mod work;
mod writes;
