//! `GET /api/v1/openapi.yaml`: the API, described for tools.
//!
//! The text is written by hand beside this file; a test holds it against the router.

use hyper::header::{self, HeaderName};

/// The description.
pub const TEXT: &str = include_str!("openapi.yaml");

/// `GET /api/v1/openapi.yaml`
pub async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/yaml")], TEXT)
}
