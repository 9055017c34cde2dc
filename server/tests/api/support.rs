//! A server to ask, and a client that writes requests byte by byte and reads answers whole.

use axum::Router;
use server::flags::Flags;
use server::net::{Limits, Listener};
use server::router::router;
use server::serve::serve_http;
use server::state::App;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use storage_format::model::{Labels, Samples};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// A running server; it stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.app.stop.raise();
    }
}

/// A server whose engine is open.
pub(crate) fn server(args: &[&str]) -> Server {
    let server = opening_server(args, Limits::default());
    let engine = engine::Engine::open(server.app.flags.engine_options()).expect("the engine opens");
    server.app.set_engine(Arc::new(engine));
    server
}

/// A server whose engine is not open yet.
pub(crate) fn opening_server(args: &[&str], limits: Limits) -> Server {
    server_of(args, limits, router)
}

/// A server of another router, without an engine.
pub(crate) fn server_of(args: &[&str], limits: Limits, router: fn(Arc<App>) -> Router) -> Server {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = format!("--storage.tsdb.path={}", folder.path().join("data").display());
    let flags =
        Flags::read(["marigram", &path, "--storage.wal.sync=none"].into_iter().chain(args.iter().copied()))
            .expect("flags");
    let app = Arc::new(App::new(flags).expect("a configuration"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let places = Arc::new(Semaphore::new(limits.connections));
    let listener = runtime.block_on(listen(&app, places, limits));
    let address = listener.local_addr().expect("an address");
    runtime.spawn(serve_http(listener, router(Arc::clone(&app))));
    Server { address, app, _runtime: runtime, _folder: folder }
}

/// A free port.
pub(crate) async fn listen(app: &App, places: Arc<Semaphore>, limits: Limits) -> Listener {
    let bound = Listener::bind("127.0.0.1:0", places, Arc::clone(&app.access.tls), limits, app.stop.clone());
    bound.await.expect("a free port")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a textual body")
    }
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
    /// The value at a JSON pointer of the body.
    pub(crate) fn json(&self, pointer: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_slice(&self.body).expect("a JSON body");
        all.pointer(pointer).cloned().unwrap_or_else(|| panic!("no {pointer} in {all}"))
    }
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }
    pub(crate) fn post_form(&self, path: &str, form: &str) -> Reply {
        let header = "Content-Type: application/x-www-form-urlencoded";
        self.ask("POST", path, &[header], form.as_bytes())
    }
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        self.raw(&request(method, path, headers, body))
    }
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
        stream
    }
    /// Sends bytes and reads until the server closes.
    pub(crate) fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        read_reply(stream)
    }
    /// Stores float samples (timestamp in milliseconds, value) of one series.
    pub(crate) fn store(&self, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
        let mut columns = Samples::default();
        for (timestamp, value) in samples {
            columns.push_float(*timestamp, 0, *value);
        }
        let labels = Labels::from_pairs(labels.iter().copied());
        let outcome = self.app.engine().expect("an open engine").append(&[(labels, columns)]);
        assert_eq!(outcome.expect("an append").rejected_count, 0);
    }
}

/// The bytes of a request after whose answer the server closes.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

pub(crate) fn read_reply(mut stream: impl Read) -> Reply {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer with a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a textual head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let body = bytes[end + 4..].to_vec();
    let reply = Reply { status, head, body };
    if reply.header("transfer-encoding") == Some("chunked") {
        return Reply { body: unchunk(&reply.body), ..reply };
    }
    reply
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&bytes[..line]).expect("a chunk's length");
        let length = usize::from_str_radix(length, 16).expect("a chunk's length");
        bytes = &bytes[line + 2..];
        if length == 0 {
            return out;
        }
        out.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length + 2..];
    }
}
