//! A client of Prometheus's HTTP API, for whichever server speaks it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::answer::Answer;
use crate::http::{Client, Response};
use crate::wait;

/// The API of one server.
#[derive(Debug)]
pub struct Api {
    client: Client,
    prefix: String,
}

/// A query and when to ask it. Times are Unix milliseconds, the step is in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The PromQL text.
    pub text: String,
    /// The instant, or the range's inclusive start.
    pub start: i64,
    /// `Some((end, step))` for a range query, both ends inclusive.
    pub range: Option<(i64, i64)>,
}

impl Query {
    /// A query at one instant.
    pub fn instant(text: &str, at: i64) -> Self {
        Self { text: text.to_owned(), start: at, range: None }
    }

    /// A query over `[start, end]` every `step` milliseconds.
    pub fn range(text: &str, start: i64, end: i64, step: i64) -> Self {
        Self { text: text.to_owned(), start, range: Some((end, step)) }
    }

    /// The form to post and the endpoint to post it to.
    pub fn request(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let mut form = vec![("query", self.text.clone())];
        match self.range {
            None => {
                form.push(("time", seconds(self.start)));
                ("/api/v1/query", form)
            }
            Some((end, step)) => {
                form.push(("start", seconds(self.start)));
                form.push(("end", seconds(end)));
                form.push(("step", seconds(step)));
                ("/api/v1/query_range", form)
            }
        }
    }
}

/// Milliseconds as decimal seconds, exact.
pub fn seconds(ms: i64) -> String {
    format!("{}{}.{:03}", if ms < 0 { "-" } else { "" }, ms.abs() / 1000, ms.abs() % 1000)
}

impl Api {
    /// The API at an address, with answers awaited for at most two minutes.
    pub fn new(addr: SocketAddr) -> Self {
        Self { client: Client::new(addr, Duration::from_secs(120)), prefix: String::new() }
    }

    /// One request outside the query API.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn get(&mut self, path: &str) -> std::io::Result<Response> {
        self.client.get(&format!("{}{path}", self.prefix))
    }

    /// An empty POST, for the admin endpoints.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn post(&mut self, path: &str) -> std::io::Result<Response> {
        self.client.request("POST", &format!("{}{path}", self.prefix), &[], b"")
    }

    /// The raw answer of a query.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn ask_raw(&mut self, query: &Query, extra: &[(&str, &str)]) -> std::io::Result<Response> {
        let (path, form) = query.request();
        let mut fields: Vec<(&str, &str)> = form.iter().map(|(k, v)| (*k, v.as_str())).collect();
        fields.extend_from_slice(extra);
        self.client.post_form(path, &fields)
    }

    /// The answer of a query.
    ///
    /// # Errors
    /// With the server's own words when it answers anything but success.
    pub fn ask(&mut self, query: &Query) -> Result<Answer, String> {
        let response = self.ask_raw(query, &[]).map_err(|e| e.to_string())?;
        Answer::parse(&data(&response)?)
    }

    /// The `data` of a GET endpoint such as `labels` or `series`.
    ///
    /// # Errors
    /// With the server's own words when it answers anything but success.
    pub fn data(&mut self, path: &str) -> Result<Value, String> {
        let response = self.get(path).map_err(|e| e.to_string())?;
        data(&response)
    }

    /// Waits until the path answers 200.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn await_ok(&mut self, path: &str, limit: Duration) -> Result<(), String> {
        wait::poll(limit, || self.get(path).ok().filter(|r| r.status == 200).map(|_| ()))
            .ok_or_else(|| format!("{path} did not answer 200 within {limit:?}"))
    }

    /// The sum of a metric's samples in `/metrics` whose line contains every one of `parts`; `None` when
    /// there is none.
    pub fn metric(&mut self, name: &str, parts: &[&str]) -> Option<f64> {
        let text = self.get("/metrics").ok()?.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) || !parts.iter().all(|p| rest.contains(p)) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        values.fold(None, |sum, v| Some(sum.unwrap_or(0.0) + v))
    }
}

fn data(response: &Response) -> Result<Value, String> {
    let mut json: Value = serde_json::from_slice(&response.body)
        .map_err(|e| format!("status {} with no JSON ({e}): {}", response.status, short(&response.text())))?;
    if response.status != 200 || json["status"] != "success" {
        return Err(format!("status {}: {}", response.status, short(&response.text())));
    }
    Ok(json["data"].take())
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
