//! Prometheus as a sender, remote write 1.0 and 2.0 side by side, with native histograms (its own) and metadata
//! (of a small target); exemplars are sent as well and not compared. Marigram is killed under it; afterwards
//! every series of the sender is there, sample for sample and histogram for histogram.

mod target;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests_support::prom::{Api, Query};
use tests_support::servers::{Kind, Server};
use tests_support::{peers, process, wait};

const START: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(90);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292278994")
}

/// A Prometheus that scrapes itself and the target under job names of its own, and sends with one protocol.
struct Sender {
    protocol: &'static str,
    server: Server,
    url: String,
}

impl Sender {
    fn start(bin: &Path, dir: &Path, protocol: &'static str, to: SocketAddr, target: SocketAddr) -> Self {
        let addr = process::free_address();
        let home = dir.join(protocol);
        fs::create_dir_all(&home).expect("the test's folder can be written");
        // Version 2.0 carries the metadata that the log holds.
        let features =
            ["--enable-feature=native-histograms,exemplar-storage,metadata-wal-records".to_owned()];
        let url = format!("http://{to}/api/v1/write");
        configure(&home, &url, protocol, Some((addr, target)));
        let mut server = Server::start(Kind::Prometheus, &bin.join("prometheus"), &home, addr, &features);
        server.await_ready(START);
        Self { protocol, server, url }
    }

    fn await_scrapes(&self, count: usize) {
        let mut api = self.server.api();
        let query = format!("count_over_time(up{{job=\"{}_target\"}}[1h]) >= {count}", self.protocol);
        wait::until("Prometheus has scraped for a while", SETTLE, || {
            api.ask(&Query::instant(&query, now())).is_ok_and(|a| !a.series.is_empty())
        });
    }

    fn await_outage_felt(&self) {
        let mut api = self.server.api();
        wait::until("Prometheus has to send again", SETTLE, || {
            api.metric("prometheus_remote_storage_samples_retried_total", &[]) > Some(0.0)
        });
    }

    /// Stops the scrapes and waits until everything scraped has been handed over.
    fn settle(&self) {
        configure(self.server.dir(), &self.url, self.protocol, None);
        let mut api = self.server.api();
        let reloaded = api.post("/-/reload").expect("Prometheus can be reached");
        assert!(reloaded.is_success(), "Prometheus does not reload: {}", reloaded.text());
        for what in ["samples", "histograms"] {
            wait::until("Prometheus has sent all it has", SETTLE, || {
                let mut value =
                    |name: &str| api.metric(&format!("prometheus_remote_storage_{name}"), &[]).unwrap_or(0.0);
                // Every attempt counts as sent, every repeated one as retried as well.
                let sent = value(&format!("{what}_total")) - value(&format!("{what}_retried_total"))
                    + value(&format!("{what}_dropped_total"));
                value(&format!("{what}_pending")) == 0.0 && sent >= value(&format!("{what}_in_total"))
            });
        }
        for what in ["samples_failed_total", "histograms_failed_total", "metadata_failed_total"] {
            let failed = api.metric(&format!("prometheus_remote_storage_{what}"), &[]).unwrap_or(0.0);
            assert_eq!(failed, 0.0, "{} {what}: refused", self.protocol);
        }
    }

    /// Compares what it holds with what was received.
    fn compare(&self, received: &mut Api) {
        let mut own = self.server.api();
        for job in ["prometheus", "target"] {
            let query = Query::instant(&format!("{{job=\"{}_{job}\"}}[1h]", self.protocol), now());
            let want = own.ask(&query).expect("Prometheus answers");
            let got = received.ask(&query).expect("Marigram answers");
            let differences = got.differences(&want, 0.0, 5);
            assert!(differences.is_empty(), "{} {job}: {differences:#?}", self.protocol);
            assert!(
                want.points() > 100 || job == "target" && want.points() > 20,
                "{job}: too little to prove anything"
            );
            if job == "prometheus" {
                assert!(!want.verbatim.is_empty(), "Prometheus has no native histograms of its own");
            }
        }
        self.compare_metadata(received);
    }

    fn compare_metadata(&self, received: &mut Api) {
        let told = wait::poll(SETTLE, || {
            let all = received.data("/api/v1/metadata?metric=shop_orders_total").ok()?;
            all["shop_orders_total"].as_array().filter(|entries| !entries.is_empty()).cloned()
        });
        let told = told.unwrap_or_else(|| panic!("{}: no metadata", self.protocol));
        assert!(told.iter().any(|m| m["type"] == "counter" && m["help"] == "Orders taken."), "{told:?}");
    }
}

fn configure(dir: &Path, url: &str, protocol: &str, targets: Option<(SocketAddr, SocketAddr)>) {
    let scrapes = targets.map_or("scrape_configs: []\n".to_owned(), |(prometheus, target)| {
        format!(
            "scrape_configs:\n\
             - job_name: {protocol}_prometheus\n  static_configs: [{{targets: ['{prometheus}']}}]\n\
             - job_name: {protocol}_target\n  static_configs: [{{targets: ['{target}']}}]\n"
        )
    });
    let message = if protocol == "v2" { "io.prometheus.write.v2.Request" } else { "prometheus.WriteRequest" };
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
         remote_write:\n\
         - url: {url}\n  \
           protobuf_message: {message}\n  \
           send_exemplars: true\n  \
           send_native_histograms: true\n  \
           metadata_config: {{send: true, send_interval: 1s}}\n  \
           queue_config: {{batch_send_deadline: 1s, max_backoff: 1s}}\n{scrapes}"
    );
    fs::write(dir.join("prometheus.yml"), text).expect("the test's folder can be written");
}

#[test]
fn prometheus_loses_nothing_with_either_protocol() {
    let Some(bin) = peers::peers() else {
        return peers::skip(
            "senders",
            "no peers (set MARIGRAM_PEERS, or put the shared folder beside the repository)",
        );
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let target = target::start();
    let mut server = Server::start(
        Kind::Marigram,
        &peers::marigram(),
        &dir.path().join("marigram"),
        process::free_address(),
        &[],
    );
    server.await_ready(START);
    let senders =
        ["v1", "v2"].map(|protocol| Sender::start(&bin, dir.path(), protocol, server.addr(), target));
    senders.iter().for_each(|sender| sender.await_scrapes(4));
    server.kill();
    senders.iter().for_each(Sender::await_outage_felt);
    server.start_again();
    server.await_ready(START);
    senders.iter().for_each(|sender| sender.await_scrapes(14));
    senders.iter().for_each(Sender::settle);
    let mut received = server.api();
    senders.iter().for_each(|sender| sender.compare(&mut received));
    server.stop(START);
}
