//! OpenTelemetry's own SDKs for Python (gRPC and HTTP) and JavaScript (JSON), cumulative and delta, write to
//! Marigram while it is killed and started again between exports; what is stored equals what was recorded.
//!
//! The SDKs come from PyPI and npm into folders under the target folder. Without Python, Node.js or a network
//! a test is skipped with a note, or fails where `CI` is set.

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
/// The last ones that run on Node.js 18 and 20.
const JAVASCRIPT_PACKAGES: [&str; 3] = [
    "@opentelemetry/sdk-metrics@2.0.1",
    "@opentelemetry/exporter-metrics-otlp-http@0.203.0",
    "@opentelemetry/resources@2.0.1",
];
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

/// The folder with the SDK for JavaScript and the application, or why there is none.
fn javascript() -> Result<PathBuf, String> {
    let dir = peers::target_dir().join("otel-javascript");
    let probe = dir.join("node_modules/@opentelemetry/exporter-metrics-otlp-http/package.json");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    if !probe.is_file() {
        std::fs::write(dir.join("package.json"), r#"{"private": true}"#).map_err(|e| e.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund"])
            .args(JAVASCRIPT_PACKAGES)
            .current_dir(&dir);
        let output = npm.output().map_err(|e| format!("npm: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    // Imports are looked for beside the file.
    std::fs::copy(peers::repository().join("tests/otel/send.mjs"), dir.join("send.mjs"))
        .map_err(|e| e.to_string())?;
    Ok(dir.join("send.mjs"))
}

/// One instrumented application.
struct Application {
    name: String,
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Application {
    fn start(program: &Path, script: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the application can be started");
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

/// Marigram with its addresses for OTLP.
struct Receiver {
    server: Server,
    grpc: String,
    http: String,
    own: String,
}

impl Receiver {
    fn start(dir: &Path) -> Self {
        let [api, grpc, http] = std::array::from_fn(|_| process::free_address());
        let extra =
            [format!("--otlp.grpc-listen-address={grpc}"), format!("--otlp.http-listen-address={http}")];
        let mut server = Server::start(Kind::Marigram, &peers::marigram(), dir, api, &extra);
        server.await_ready(LIMIT);
        let (grpc, http) = (format!("http://{grpc}"), format!("http://{http}/v1/metrics"));
        Self { server, grpc, http, own: format!("http://{api}/api/v1/otlp/v1/metrics") }
    }

    /// Lets every application record and export, with a kill between exports, and compares what is stored with
    /// what they recorded.
    fn survive(mut self, applications: &mut [Application]) {
        for round in 0..ROUNDS {
            applications.iter_mut().for_each(Application::record_and_export);
            if round + 1 < ROUNDS {
                self.server.kill();
                self.server.start_again();
                self.server.await_ready(LIMIT);
            }
        }
        let mut api = self.server.api();
        for application in applications {
            let job = &application.name;
            let expected = [
                (format!("requests_total{{job=\"{job}\",instance=\"1\",http_route=\"/a\"}}"), ROUNDS * 10),
                (format!("latency_milliseconds_count{{job=\"{job}\"}}"), ROUNDS * 3),
                (format!("latency_milliseconds_sum{{job=\"{job}\"}}"), ROUNDS * 308),
                (format!("latency_milliseconds_bucket{{job=\"{job}\",le=\"10\"}}"), ROUNDS * 2),
                (format!("latency_milliseconds_bucket{{job=\"{job}\",le=\"+Inf\"}}"), ROUNDS * 3),
                (format!("histogram_count(size_bytes{{job=\"{job}\"}})"), ROUNDS * 3),
                (format!("histogram_sum(size_bytes{{job=\"{job}\"}})"), ROUNDS * 308),
                (format!("count_over_time(requests_total{{job=\"{job}\"}}[1h])"), ROUNDS),
                (format!("target_info{{job=\"{job}\",host_name=\"h\"}}"), 1),
            ];
            for (expression, want) in expected {
                assert_eq!(value(&mut api, &expression), want.to_string(), "{expression}");
            }
        }
        self.server.stop(LIMIT);
    }
}

#[test]
fn the_python_sdk_loses_nothing_across_kills() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return peers::skip("otel", &format!("no OpenTelemetry SDK for Python: {why}")),
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(dir.path());
    let script = peers::repository().join("tests/otel/send.py");
    let mut applications = [
        ["grpc", "grpc", "gzip", "cumulative", &receiver.grpc],
        ["grpc-delta", "grpc", "none", "delta", &receiver.grpc],
        ["http", "http", "gzip", "cumulative", &receiver.http],
        ["http-delta", "http", "deflate", "delta", &receiver.own],
    ]
    .map(|args| Application::start(&python, &script, &args));
    receiver.survive(&mut applications);
}

#[test]
fn the_javascript_sdk_loses_nothing_across_kills() {
    let script = match javascript() {
        Ok(script) => script,
        Err(why) => return peers::skip("otel", &format!("no OpenTelemetry SDK for JavaScript: {why}")),
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(dir.path());
    let mut applications =
        [["js", "none", "cumulative", &receiver.http], ["js-delta", "gzip", "delta", &receiver.own]]
            .map(|args| Application::start(Path::new("node"), &script, &args));
    receiver.survive(&mut applications);
}
