//! OpenTelemetry's own Python SDK, over gRPC and HTTP, cumulative and delta, writes to Marigram while it is
//! killed and started again between exports; what is stored equals what was recorded.
//!
//! The SDK comes from PyPI into a virtual environment under the target folder. Without Python or a network
//! the test is skipped with a note, or fails where `CI` is set.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tests_support::peers;
use tests_support::process;
use tests_support::prom::Api;
use tests_support::servers::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 4;
const PACKAGES: [&str; 3] = [
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
];

/// A Python with the SDK, or why there is none.
fn python() -> Result<PathBuf, String> {
    let dir = peers::target_dir().join("otel-python");
    let python = dir.join("bin/python");
    let run = |command: &mut Command| {
        let output = command.output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(text) }
    };
    let probe = "import opentelemetry.exporter.otlp.proto.grpc, opentelemetry.exporter.otlp.proto.http";
    if run(Command::new(&python).args(["-c", probe])).is_err() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    Ok(python)
}

/// One instrumented application.
struct Application {
    name: String,
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Application {
    fn start(python: &Path, args: &[&str]) -> Self {
        let script = peers::repository().join("tests/otel/send.py");
        let mut command = Command::new(python);
        command.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Python can be started");
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut application = Self { name: args[0].to_owned(), child, answers };
        assert_eq!(application.answer(), "ready");
        application
    }
    fn record_and_export(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("its input is a pipe")).expect("it reads");
        assert_eq!(self.answer(), "ok", "{}", self.name);
    }
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one value of an expression, as text.
fn value(api: &mut Api, expression: &str) -> String {
    let encoded: String = expression.bytes().map(|b| format!("%{b:02X}")).collect();
    let data = api.data(&format!("/api/v1/query?query={encoded}")).expect("an answer");
    let rows = data["result"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(rows.len(), 1, "{expression}: {data}");
    match &rows[0]["value"][1] {
        Value::String(text) => text.clone(),
        _ => panic!("{expression}: {data}"),
    }
}

#[test]
fn the_python_sdk_loses_nothing_across_kills() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return peers::skip("otel", &format!("no OpenTelemetry SDK for Python: {why}")),
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [api, grpc, http] = std::array::from_fn(|_| process::free_address());
    let extra = [format!("--otlp.grpc-listen-address={grpc}"), format!("--otlp.http-listen-address={http}")];
    let mut server = Server::start(Kind::Marigram, &peers::marigram(), dir.path(), api, &extra);
    server.await_ready(LIMIT);
    let (grpc, http) = (format!("http://{grpc}"), format!("http://{http}/v1/metrics"));
    let own = format!("http://{api}/api/v1/otlp/v1/metrics");
    let mut applications: Vec<_> = [
        ["grpc", "grpc", "gzip", "cumulative", &grpc],
        ["grpc-delta", "grpc", "none", "delta", &grpc],
        ["http", "http", "gzip", "cumulative", &http],
        ["http-delta", "http", "deflate", "delta", &own],
    ]
    .map(|args| Application::start(&python, &args))
    .into();
    for round in 0..ROUNDS {
        applications.iter_mut().for_each(Application::record_and_export);
        if round + 1 < ROUNDS {
            server.kill();
            server.start_again();
            server.await_ready(LIMIT);
        }
    }
    let mut api = server.api();
    for application in &applications {
        let job = &application.name;
        let expected = [
            (format!("requests_total{{job=\"{job}\",instance=\"1\",http_route=\"/a\"}}"), ROUNDS * 10),
            (format!("latency_milliseconds_count{{job=\"{job}\"}}"), ROUNDS * 3),
            (format!("latency_milliseconds_sum{{job=\"{job}\"}}"), ROUNDS * 308),
            (format!("latency_milliseconds_bucket{{job=\"{job}\",le=\"10\"}}"), ROUNDS * 2),
            (format!("latency_milliseconds_bucket{{job=\"{job}\",le=\"+Inf\"}}"), ROUNDS * 3),
            (format!("histogram_count(size_bytes{{job=\"{job}\"}})"), ROUNDS * 3),
            (format!("histogram_sum(size_bytes{{job=\"{job}\"}})"), ROUNDS * 308),
            (format!("target_info{{job=\"{job}\",host_name=\"h\"}}"), 1),
        ];
        for (expression, want) in expected {
            assert_eq!(value(&mut api, &expression), want.to_string(), "{expression}");
        }
    }
    server.stop(LIMIT);
}
