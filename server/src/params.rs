//! Request parameters: URL and form merged, and the times, durations and limits in them.
//!
//! As in Go's `FormValue`: a parameter in the body stands before the same one in the URL, and Grafana
//! relies on both being read from one request. Prometheus' closed time ranges become half-open ones here.

use crate::error::{ApiError, ErrorType};
use crate::net::{BodyError, read_body};
use crate::state::App;
use crate::wire::time_text::{self, BadDuration, MAX_TIMESTAMP, MIN_TIMESTAMP};
use axum::extract::{FromRequest, Request};
use engine::{Engine, Matcher, Snapshot};
use hyper::{Method, header};
use query::parse::{Options, parse_metric_selector};
use std::num::IntErrorKind;
use std::sync::Arc;
use std::time::Duration;
use storage_format::model::{TimeRange, Timestamp};

/// Longest form body in bytes.
const FORM_BYTES_MAX: usize = 10 << 20;

/// Merged parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl FromRequest<Arc<App>> for Params {
    type Rejection = ApiError;
    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let mut pairs = Vec::new();
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        let form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if form && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            let body = read_body(body, FORM_BYTES_MAX, &app.limits).await?;
            pairs.extend(form_urlencoded::parse(&body).into_owned());
        }
        if let Some(query) = head.uri.query() {
            pairs.extend(form_urlencoded::parse(query.as_bytes()).into_owned());
        }
        Ok(Self(pairs))
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let error_type = match error {
            BodyError::TooLarge { .. } => ErrorType::TooLarge,
            BodyError::Slow | BodyError::Broken => ErrorType::BadData,
        };
        Self::new(error_type, error.to_string())
    }
}

impl Params {
    /// The first value of a parameter; empty when it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// A time that must be there.
    ///
    /// # Errors
    /// When it is absent or no time.
    pub fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        time_text::parse_time(text).ok_or_else(|| {
            ApiError::invalid_parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
        })
    }
    /// A time, or `default` when it is absent.
    ///
    /// # Errors
    /// When it is no time.
    pub fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(default);
        }
        time_text::parse_time(text).ok_or_else(|| {
            let why = format!("invalid time value for '{name}': cannot parse {text:?} to a valid timestamp");
            ApiError::invalid_parameter(name, why)
        })
    }
    /// A duration in milliseconds, if it is there.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn duration_ms(&self, name: &str) -> Result<Option<f64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => {
                let ms = duration_ms(text).map_err(|why| ApiError::invalid_parameter(name, why))?;
                Ok(Some(ms))
            }
        }
    }
    /// The parameter `lookback_delta` in milliseconds, if it is there and positive.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn lookback_delta_ms(&self) -> Result<Option<i64>, ApiError> {
        match self.get("lookback_delta") {
            "" => Ok(None),
            text => {
                let ms = duration_ms(text).map_err(|why| {
                    ApiError::bad_data(format!("error parsing lookback delta duration: {why}"))
                })?;
                Ok(Some(ms as i64).filter(|ms| *ms > 0))
            }
        }
    }
    /// A step: a duration that must be there, in whole milliseconds, at least one.
    ///
    /// # Errors
    /// When it is absent, no duration, or not positive.
    pub fn step_ms(&self, name: &str) -> Result<i64, ApiError> {
        let step = duration_ms(self.get(name)).map_err(|why| ApiError::invalid_parameter(name, why))?;
        if step < 1.0 {
            let why =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(ApiError::invalid_parameter(name, why));
        }
        Ok(step as i64)
    }
    /// The parameter `timeout`: how long the client wants to wait at most.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        let ms = self.duration_ms("timeout")?;
        Ok(ms.map(|ms| Duration::from_millis(ms.max(0.0) as u64)))
    }
    /// The parameter `limit`; 0 (also when absent) means all.
    ///
    /// # Errors
    /// When it is not a whole number, or negative.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.get("limit") {
            "" => Ok(0),
            text => match text.parse::<i64>() {
                Ok(limit) => usize::try_from(limit)
                    .map_err(|_| ApiError::invalid_parameter("limit", "limit must be non-negative")),
                Err(e) => {
                    let why = match e.kind() {
                        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                        _ => "invalid syntax",
                    };
                    let why = format!("strconv.Atoi: parsing {text:?}: {why}");
                    Err(ApiError::invalid_parameter("limit", why))
                }
            },
        }
    }
    /// What the request reads: the engine's view of now; with `partial_response=true` one that leaves out what
    /// is damaged and warns, where otherwise the request would fail.
    ///
    /// # Errors
    /// When the parameter is neither true nor false.
    pub fn view(&self, engine: &Arc<Engine>) -> Result<impl FnOnce() -> Snapshot + Send + use<>, ApiError> {
        let name = "partial_response";
        let partial = match self.get(name) {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            other => {
                return Err(ApiError::invalid_parameter(
                    name,
                    format_args!("{other:?} is neither true nor false"),
                ));
            }
        };
        let engine = Arc::clone(engine);
        Ok(move || if partial { engine.snapshot().partial() } else { engine.snapshot() })
    }
    /// The closed range from `start` to `end`, everything when absent.
    ///
    /// # Errors
    /// When one of them is no time.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        let start = self.time_or("start", MIN_TIMESTAMP)?;
        let end = self.time_or("end", MAX_TIMESTAMP)?;
        Ok(TimeRange::closed(start, end))
    }
    /// The series selectors in `match[]`.
    ///
    /// # Errors
    /// In words, when one of them does not parse, or selects everything.
    pub fn matchers(&self) -> Result<Vec<Vec<Matcher>>, String> {
        self.all("match[]").map(matchers).collect()
    }
}

fn duration_ms(text: &str) -> Result<f64, String> {
    time_text::parse_duration_ms(text).map_err(|why| {
        let overflow = match why {
            BadDuration::Malformed => "",
            BadDuration::Overflow => ". It overflows int64",
        };
        format!("cannot parse {text:?} to a valid duration{overflow}")
    })
}

fn matchers(selector: &str) -> Result<Vec<Matcher>, String> {
    let matchers = parse_metric_selector(selector, &Options::default()).map_err(|e| e.to_string())?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err("match[] must contain at least one non-empty matcher".to_owned());
    }
    Ok(matchers)
}
