//! The running scene: node_exporter, a Prometheus that scrapes it and itself and remote-writes to the
//! target, and a vmagent that scrapes the same under other labels and remote-writes to both.
//!
//! Prometheus is the reference: it holds its own copy and, by its receiver, vmagent's. It does not pass
//! vmagent's copy on, so that what the target has of it came from vmagent.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests_support::prom::Api;
use tests_support::servers::{Kind, Server};
use tests_support::wait;
use tests_support::{process, process::Process};

const START: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(90);

/// All processes beside the target. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Scene {
    dir: PathBuf,
    reference: Server,
    target: SocketAddr,
    agent: Process,
    agent_addr: SocketAddr,
    _exporter: Process,
}

impl Scene {
    /// Starts everything; samples flow when it returns.
    pub(crate) fn start(bin: &Path, dir: &Path, target: SocketAddr) -> Self {
        let node = process::free_address();
        let exporter = Process::start(
            "node_exporter",
            &bin.join("prometheus-node-exporter"),
            &[format!("--web.listen-address={node}")],
            dir,
        );
        Api::new(node).await_ok("/metrics", START).expect("node_exporter starts");

        let addr = process::free_address();
        let home = dir.join("reference");
        fs::create_dir_all(&home).expect("the test's folder can be written");
        write_reference_config(&home, target, Some((node, addr)));
        let mut reference = Server::start(Kind::Prometheus, &bin.join("prometheus"), &home, addr, &[]);
        reference.await_ready(START);

        let agent_addr = process::free_address();
        write_agent_config(dir, Some((node, addr)));
        let agent = Process::start(
            "vmagent",
            &bin.join("vmagent"),
            &[
                format!("-httpListenAddr={agent_addr}"),
                format!("-promscrape.config={}", dir.join("vmagent.yml").display()),
                format!("-remoteWrite.tmpDataPath={}", dir.join("vmagent-queue").display()),
                // One queue each: the reference takes samples of a series in their order only.
                "-remoteWrite.queues=1".to_owned(),
                "-remoteWrite.retryMaxInterval=2s".to_owned(),
                format!("-remoteWrite.url=http://{target}/api/v1/write"),
                format!("-remoteWrite.url=http://{addr}/api/v1/write"),
            ],
            dir,
        );
        Api::new(agent_addr).await_ok("/health", START).expect("vmagent starts");
        Self { dir: dir.to_owned(), reference, target, agent, agent_addr, _exporter: exporter }
    }

    /// The reference's API.
    pub(crate) fn reference(&self) -> Api {
        self.reference.api()
    }

    /// Waits until the reference has scraped node_exporter that many times and more.
    pub(crate) fn await_scrapes(&self, count: usize) {
        let mut api = self.reference();
        let query = format!("count_over_time(up{{job=\"node\"}}[1h]) >= {count}");
        wait::until("Prometheus has scraped for a while", Duration::from_secs(300), || {
            let now = super::now();
            api.ask(&tests_support::prom::Query::instant(&query, now)).is_ok_and(|a| !a.series.is_empty())
        });
    }

    /// Waits until both senders have noticed that the target is gone.
    pub(crate) fn await_outage_felt(&self) {
        let mut api = self.reference();
        wait::until("Prometheus has to send again", SETTLE, || {
            api.metric("prometheus_remote_storage_samples_retried_total", &[]) > Some(0.0)
        });
        let mut agent = Api::new(self.agent_addr);
        wait::until("vmagent has to send again", SETTLE, || {
            agent.metric("vmagent_remotewrite_retries_count_total", &["1:secret-url"]) > Some(0.0)
        });
    }

    /// Stops the scrapes and waits until everything scraped has been handed over on both sides.
    pub(crate) fn settle(&mut self) {
        write_agent_config(&self.dir, None);
        let mut agent = Api::new(self.agent_addr);
        let reloaded = agent.get("/-/reload").expect("vmagent can be reached");
        assert!(reloaded.is_success(), "vmagent does not reload: {}", reloaded.text());
        wait::until("vmagent has let go of its targets", SETTLE, || {
            agent.metric("vm_promscrape_targets", &["status=\"up\""]).unwrap_or(0.0) == 0.0
        });
        // It hands over what it holds before it ends.
        self.agent.stop(SETTLE);

        write_reference_config(self.reference.dir(), self.target, None);
        let mut api = self.reference();
        let reloaded = api.post("/-/reload").expect("Prometheus can be reached");
        assert!(reloaded.is_success(), "Prometheus does not reload: {}", reloaded.text());
        wait::until("Prometheus has sent all it has", SETTLE, || {
            let mut value = |name: &str| {
                api.metric(&format!("prometheus_remote_storage_samples_{name}"), &[]).unwrap_or(0.0)
            };
            let taken = value("in_total");
            // Every attempt counts as sent, every repeated one as retried as well.
            let sent = value("total") - value("retried_total") + value("dropped_total");
            value("pending") == 0.0 && sent >= taken
        });
        for what in ["samples_failed_total", "metadata_failed_total"] {
            let failed = api.metric(&format!("prometheus_remote_storage_{what}"), &[]).unwrap_or(0.0);
            assert_eq!(failed, 0.0, "{what}: the target refused what Prometheus sent");
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the test's folder can be written");
}

fn scrapes(prefix: &str, targets: Option<(SocketAddr, SocketAddr)>) -> String {
    let Some((node, prometheus)) = targets else { return "scrape_configs: []\n".to_owned() };
    format!(
        "scrape_configs:\n\
         - job_name: {prefix}node\n  static_configs: [{{targets: ['{node}']}}]\n\
         - job_name: {prefix}prometheus\n  static_configs: [{{targets: ['{prometheus}']}}]\n"
    )
}

fn write_reference_config(dir: &Path, target: SocketAddr, targets: Option<(SocketAddr, SocketAddr)>) {
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
         remote_write:\n\
         - url: http://{target}/api/v1/write\n  \
           queue_config: {{batch_send_deadline: 1s, max_backoff: 1s}}\n  \
           write_relabel_configs: [{{source_labels: [job], regex: 'vm_.*', action: drop}}]\n{}",
        scrapes("", targets)
    );
    write(&dir.join("prometheus.yml"), &text);
}

fn write_agent_config(dir: &Path, targets: Option<(SocketAddr, SocketAddr)>) {
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  external_labels: {{collector: vmagent}}\n{}",
        scrapes("vm_", targets)
    );
    write(&dir.join("vmagent.yml"), &text);
}
