//! Marigram, Prometheus and VictoriaMetrics under one handle: how each is started on a folder, which of its
//! paths is which, and how it is killed, stopped and started again.
//!
//! Flags that differ from a server's defaults are few and each has its reason beside it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::prom::Api;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// This project's binary.
    Marigram,
    /// Prometheus with its remote-write receiver on.
    Prometheus,
    /// VictoriaMetrics, single node.
    VictoriaMetrics,
}

impl Kind {
    /// The name in file names and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Marigram => "marigram",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoriametrics",
        }
    }

    /// The program's file name in the folder of peers.
    pub fn program(self) -> &'static str {
        match self {
            Self::Marigram => "marigram",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// The path that answers 200 once the server takes requests.
    pub fn ready_path(self) -> &'static str {
        match self {
            Self::Marigram | Self::Prometheus => "/-/ready",
            Self::VictoriaMetrics => "/health",
        }
    }

    fn args(self, dir: &Path, addr: SocketAddr) -> Vec<String> {
        let data = dir.join("data");
        let data = data.display();
        match self {
            Self::Marigram => vec![
                format!("--web.listen-address={addr}"),
                format!("--storage.tsdb.path={data}"),
                "--web.enable-admin-api".to_owned(),
                // Its own metrics would be series that the other side does not have.
                "--self-scrape.interval=0".to_owned(),
                // Fixed ports would be shared with whatever else runs on the machine.
                "--otlp.grpc-listen-address=".to_owned(),
                "--otlp.http-listen-address=".to_owned(),
            ],
            Self::Prometheus => vec![
                format!("--web.listen-address={addr}"),
                format!("--storage.tsdb.path={data}"),
                format!("--config.file={}", dir.join("prometheus.yml").display()),
                "--web.enable-admin-api".to_owned(),
                "--web.enable-lifecycle".to_owned(),
                "--web.enable-remote-write-receiver".to_owned(),
            ],
            Self::VictoriaMetrics => vec![
                format!("-httpListenAddr={addr}"),
                format!("-storageDataPath={data}"),
                // By default the last 30 s are hidden from queries.
                "-search.latencyOffset=0s".to_owned(),
                // By default a query over more series than fit its guess at memory is refused.
                "-search.maxUniqueTimeseries=3000000".to_owned(),
            ],
        }
    }
}

/// A server on a folder of its own: `<dir>/data` is its storage, `<dir>/<name>.log` its output.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    program: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    addr: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts a server; it need not be ready yet. `extra` replaces the usual flags of the same name.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(kind: Kind, program: &Path, dir: &Path, addr: SocketAddr, extra: &[String]) -> Self {
        fs::create_dir_all(dir).expect("the server's folder can be made");
        let config = dir.join("prometheus.yml");
        if kind == Kind::Prometheus && !config.exists() {
            fs::write(config, "global: {}\n").expect("the server's folder can be written");
        }
        let mut args = kind.args(dir, addr);
        // A flag may stand once.
        let name = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
        args.retain(|arg| !extra.iter().any(|e| name(e) == name(arg)));
        args.extend_from_slice(extra);
        let process = Process::start(kind.name(), program, &args, dir);
        Self { kind, program: program.to_owned(), args, dir: dir.to_owned(), addr, process }
    }

    /// Which server this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The folder given at the start.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process itself.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A client of its query API.
    pub fn api(&self) -> Api {
        Api::new(self.addr)
    }

    /// Waits until it says that it is ready; the time since the call.
    ///
    /// # Panics
    /// When it ends or is not ready within `limit`; the message holds the end of its log.
    pub fn await_ready(&mut self, limit: Duration) -> Duration {
        let start = Instant::now();
        let mut api = self.api();
        while !api.get(self.kind.ready_path()).is_ok_and(|r| r.status == 200) {
            let ended = self.process.has_ended();
            assert!(
                !ended && start.elapsed() < limit,
                "{} {} after {:?}; its log:\n{}",
                self.kind.name(),
                if ended { "ended" } else { "is not ready" },
                start.elapsed(),
                self.process.log_tail()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        start.elapsed()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM and its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.process.stop(limit)
    }

    /// Starts it again on the same folder and address, after [`Server::kill`] or [`Server::stop`].
    pub fn start_again(&mut self) {
        self.process = Process::start(self.kind.name(), &self.program, &self.args, &self.dir);
    }
}
