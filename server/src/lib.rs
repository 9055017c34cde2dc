//! The HTTP API over the engine: routes, parameters, JSON, status codes, self-observation.
