//! The command line, in Prometheus' style; every flag is also an environment variable.
//!
//! Order of precedence: flag, environment (`MARIGRAM_` and the flag's name in capitals, dots and dashes as
//! underscores), default. The parsed flags are the server's configuration, handed around as they are.

use crate::limit_flags::LimitFlags;
use crate::observe::log::Level;
use crate::otlp_flags::OtlpFlags;
use crate::query_flags::QueryFlags;
use crate::wire::time_text;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use engine::{ExemplarPolicy, WalSync};
use ingest::remote_write::Version;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Prometheus-compatible time-series database: remote write and OTLP in, PromQL out.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "marigram",
    version,
    next_line_help = true,
    max_term_width = 100,
    after_help = "Durations are written 1h30m, 15d, 250ms (units y w d h m s ms)."
)]
pub struct Flags {
    /// YAML file with what may change while the server runs (write_relabel_configs); read again on SIGHUP
    /// and /-/reload.
    #[arg(long = "config.file", env = "MARIGRAM_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Address to listen on for the API and remote write; repeat it for several.
    #[arg(long = "web.listen-address", env = "MARIGRAM_WEB_LISTEN_ADDRESS", value_name = "HOST:PORT")]
    #[arg(default_value = "127.0.0.1:9090", value_delimiter = ',')]
    pub listen_address: Vec<String>,

    /// URL under which clients reach the server, when a proxy stands before it. Its path is the default of
    /// --web.route-prefix.
    #[arg(long = "web.external-url", env = "MARIGRAM_WEB_EXTERNAL_URL", value_name = "URL")]
    #[arg(default_value = "")]
    pub external_url: String,

    /// Path before all routes.
    #[arg(long = "web.route-prefix", env = "MARIGRAM_WEB_ROUTE_PREFIX", value_name = "PATH")]
    pub route_prefix: Option<String>,

    /// Open connections at the same time; more of them wait.
    #[arg(long = "web.max-connections", env = "MARIGRAM_WEB_MAX_CONNECTIONS", value_name = "COUNT")]
    #[arg(default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Longest time to read a request; idle connections are closed after a minute at the latest.
    #[arg(long = "web.read-timeout", env = "MARIGRAM_WEB_READ_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "5m", value_parser = duration)]
    pub read_timeout: Duration,

    /// Origins whose pages may read answers (CORS), an anchored regular expression; '.*' admits all, as
    /// Prometheus does. Empty: none.
    #[arg(long = "web.cors.origin", env = "MARIGRAM_WEB_CORS_ORIGIN", value_name = "REGEX")]
    #[arg(default_value = "")]
    pub cors_origin: String,

    /// YAML file with TLS, users, tokens and headers, as Prometheus has it; looked at every second, so that
    /// certificates can be replaced.
    #[arg(long = "web.config.file", env = "MARIGRAM_WEB_CONFIG_FILE", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,

    /// Serve /api/v1/admin/*: flush, snapshot, delete.
    #[arg(long = "web.enable-admin-api", env = "MARIGRAM_WEB_ENABLE_ADMIN_API", value_name = "BOOL")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub enable_admin_api: bool,

    /// Serve /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle", env = "MARIGRAM_WEB_ENABLE_LIFECYCLE", value_name = "BOOL")]
    #[arg(default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub enable_lifecycle: bool,

    /// Memory for write requests under way, in MiB: a quarter for their bodies, as far as these have come, a
    /// quarter for gRPC calls, half for decoding. Above it senders are told to retry.
    #[arg(long = "web.max-inflight-write-mib", env = "MARIGRAM_WEB_MAX_INFLIGHT_WRITE_MIB")]
    #[arg(default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..1 << 20))]
    pub max_inflight_write_mib: u32,

    /// How long a write may wait for room and for its turn before its sender is told to retry.
    #[arg(long = "web.write-queue-timeout", env = "MARIGRAM_WEB_WRITE_QUEUE_TIMEOUT")]
    #[arg(default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub write_queue_timeout: Duration,

    /// Messages that remote write may send, comma-separated; others are answered 415.
    #[arg(long = "web.remote-write-receiver.accepted-protobuf-messages", value_name = "NAMES")]
    #[arg(env = "MARIGRAM_WEB_REMOTE_WRITE_RECEIVER_ACCEPTED_PROTOBUF_MESSAGES", value_delimiter = ',')]
    #[arg(default_value = "prometheus.WriteRequest,io.prometheus.write.v2.Request")]
    #[arg(value_parser = Version::from_name)]
    pub accepted_messages: Vec<Version>,

    /// Data directory; created when missing.
    #[arg(long = "storage.tsdb.path", env = "MARIGRAM_STORAGE_TSDB_PATH", value_name = "DIR")]
    #[arg(default_value = "./data")]
    pub path: PathBuf,

    /// Age from which data is dropped; 0 keeps everything.
    #[arg(long = "storage.tsdb.retention.time", env = "MARIGRAM_STORAGE_TSDB_RETENTION_TIME")]
    #[arg(default_value = "15d", value_parser = duration, value_name = "DURATION")]
    pub retention_time: Duration,

    /// How far behind the newest sample a sample may be; 0 refuses everything out of order.
    #[arg(long = "storage.tsdb.out-of-order-time-window", value_name = "DURATION")]
    #[arg(env = "MARIGRAM_STORAGE_TSDB_OUT_OF_ORDER_TIME_WINDOW")]
    #[arg(default_value = "30m", value_parser = duration)]
    pub out_of_order_window: Duration,

    /// Exemplars kept in the head, over all series; 0 keeps none. When it is half full they are written to
    /// a block early; from there on they are kept as long as samples.
    #[arg(long = "storage.exemplars.max-exemplars", env = "MARIGRAM_STORAGE_EXEMPLARS_MAX_EXEMPLARS")]
    #[arg(default_value_t = 100_000, value_name = "COUNT")]
    pub max_exemplars: usize,

    /// Exemplars kept of one series within two hours.
    #[arg(long = "storage.exemplars.max-per-series", env = "MARIGRAM_STORAGE_EXEMPLARS_MAX_PER_SERIES")]
    #[arg(default_value_t = 128, value_name = "COUNT")]
    pub max_exemplars_per_series: u32,

    /// Which exemplars are kept: 'always' all, 'probability:P' a share of 0 to 1, 'outlier' those further
    /// from their series' mean than three times the mean distance from it.
    #[arg(
        long = "storage.exemplars.policy",
        env = "MARIGRAM_STORAGE_EXEMPLARS_POLICY",
        value_name = "POLICY"
    )]
    #[arg(default_value = "always", value_parser = exemplar_policy)]
    pub exemplar_policy: ExemplarPolicy,

    /// When a write is acknowledged: 'ack' after it is on the disk, 'interval=DURATION' after it is with the
    /// operating system, which is told to write to the disk that often, 'none' likewise but whenever it
    /// likes.
    #[arg(long = "storage.wal.sync", env = "MARIGRAM_STORAGE_WAL_SYNC", value_name = "MODE")]
    #[arg(default_value = "ack", value_parser = wal_sync)]
    pub wal_sync: WalSync,

    /// Samples one remote read may answer with.
    #[arg(long = "storage.remote.read-sample-limit", value_name = "COUNT", default_value_t = 50_000_000)]
    #[arg(env = "MARIGRAM_STORAGE_REMOTE_READ_SAMPLE_LIMIT")]
    pub remote_read_sample_limit: u64,

    /// Remote reads answered at the same time; more of them wait.
    #[arg(long = "storage.remote.read-concurrent-limit", value_name = "COUNT", default_value_t = 2)]
    #[arg(env = "MARIGRAM_STORAGE_REMOTE_READ_CONCURRENT_LIMIT")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..100_000))]
    pub remote_read_concurrent_limit: u32,

    /// How far back an instant selector looks for a sample.
    #[arg(long = "query.lookback-delta", env = "MARIGRAM_QUERY_LOOKBACK_DELTA", value_name = "DURATION")]
    #[arg(default_value = "5m", value_parser = duration)]
    pub lookback_delta: Duration,

    /// Longest time a query may take, waiting included; a client may ask for less.
    #[arg(long = "query.timeout", env = "MARIGRAM_QUERY_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "2m", value_parser = duration)]
    pub query_timeout: Duration,

    /// Queries evaluated at the same time; more of them wait.
    #[arg(long = "query.max-concurrency", env = "MARIGRAM_QUERY_MAX_CONCURRENCY", value_name = "COUNT")]
    #[arg(default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..100_000))]
    pub max_concurrency: u32,

    /// Samples one query may hold in memory.
    #[arg(long = "query.max-samples", env = "MARIGRAM_QUERY_MAX_SAMPLES", value_name = "COUNT")]
    #[arg(default_value_t = 50_000_000)]
    pub max_samples: u64,

    /// How often the server's own metrics are stored; 0 turns it off.
    #[arg(long = "self-scrape.interval", env = "MARIGRAM_SELF_SCRAPE_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "15s", value_parser = duration)]
    pub self_scrape_interval: Duration,

    /// Features to switch on, comma-separated: promql-experimental-functions,
    /// promql-extended-range-selectors, promql-binop-fill-modifiers, promql-delayed-name-removal,
    /// promql-per-step-stats, type-and-unit-labels, use-start-timestamps, otlp-native-delta-ingestion,
    /// otlp-deltatocumulative (the default).
    #[arg(long = "enable-feature", env = "MARIGRAM_ENABLE_FEATURE", value_name = "FEATURE")]
    #[arg(value_delimiter = ',')]
    pub enable_feature: Vec<String>,

    /// Least important events to log.
    #[arg(long = "log.level", env = "MARIGRAM_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// Form of the log on standard error.
    #[arg(long = "log.format", env = "MARIGRAM_LOG_FORMAT", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,

    /// How large queries may be.
    #[command(flatten)]
    pub query: QueryFlags,

    /// OTLP.
    #[command(flatten)]
    pub otlp: OtlpFlags,

    /// Limits of series and requests.
    #[command(flatten)]
    pub limits: LimitFlags,

    /// All flags as text, for the status page.
    #[arg(skip)]
    pub shown: BTreeMap<String, String>,
}

/// Values of `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Starts, stops, configuration.
    Info,
    /// What went wrong and was handled.
    Warn,
    /// What needs somebody.
    Error,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

/// Values of `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The features that exist; others are reported and ignored.
pub const FEATURES: [&str; 9] = [
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-per-step-stats",
    "type-and-unit-labels",
    "use-start-timestamps",
    "otlp-native-delta-ingestion",
    "otlp-deltatocumulative",
];

impl Flags {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// When it is not one, or asks for `--help` or `--version`.
    pub fn read<I, T>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        Self::of(&Self::command().try_get_matches_from(args)?)
    }
    /// The flags of a command line that was taken apart.
    ///
    /// # Errors
    /// When a value is none, or flags contradict each other.
    pub fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::from_arg_matches(matches)?;
        let conflict = |why| Self::command().error(clap::error::ErrorKind::ArgumentConflict, why);
        flags.otlp.check(|name| flags.has_feature(name)).map_err(conflict)?;
        flags.shown = shown(matches);
        Ok(flags)
    }
    /// Whether a feature is switched on.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.enable_feature.iter().any(|f| f == name)
    }
    /// The path before all routes: empty, or beginning with a slash and not ending in one.
    #[must_use]
    pub fn prefix(&self) -> String {
        let path = self.route_prefix.as_deref().unwrap_or_else(|| {
            let after_host = self.external_url.split_once("://").map_or("", |(_, rest)| rest);
            after_host.find('/').map_or("", |at| &after_host[at..])
        });
        match path.trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        }
    }
    /// Settings of the storage engine.
    #[must_use]
    pub fn engine_options(&self) -> engine::Options {
        let mut options = engine::Options::new(&self.path);
        options.wal_sync = self.wal_sync;
        options.out_of_order_window_ms = millis(self.out_of_order_window);
        self.limits.set_engine_options(&mut options);
        options.exemplars_max = self.max_exemplars;
        options.exemplars_per_series_max = self.max_exemplars_per_series;
        options.exemplar_policy = self.exemplar_policy;
        options.retention_ms =
            if self.retention_time.is_zero() { i64::MAX } else { millis(self.retention_time) };
        options
    }
    /// What the PromQL parser accepts.
    #[must_use]
    pub fn parse_options(&self) -> query::parse::Options {
        self.query.limit(query::parse::Options {
            experimental_functions: self.has_feature("promql-experimental-functions"),
            extended_range_selectors: self.has_feature("promql-extended-range-selectors"),
            binop_fill_modifiers: self.has_feature("promql-binop-fill-modifiers"),
            ..query::parse::Options::default()
        })
    }
    /// Settings of the query engine.
    #[must_use]
    pub fn query_options(&self) -> query::EngineOptions {
        let (query_memory_bytes, total_memory_bytes) = self.query.memory();
        query::EngineOptions {
            parse: self.parse_options(),
            query_memory_bytes,
            total_memory_bytes,
            lookback_delta_ms: millis(self.lookback_delta),
            max_samples: self.max_samples,
            timeout: self.query_timeout,
            max_concurrency: self.max_concurrency as usize,
            features: query::Features {
                experimental_functions: self.has_feature("promql-experimental-functions"),
                extended_range_selectors: self.has_feature("promql-extended-range-selectors"),
                fill_modifiers: self.has_feature("promql-binop-fill-modifiers"),
                delayed_name_removal: self.has_feature("promql-delayed-name-removal"),
                type_and_unit_labels: self.has_feature("type-and-unit-labels"),
                use_start_timestamps: self.has_feature("use-start-timestamps"),
            },
            ..query::EngineOptions::default()
        }
    }
}

/// Whole milliseconds of a duration.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn shown(matches: &ArgMatches) -> BTreeMap<String, String> {
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(|arg| Some((arg.get_id(), arg.get_long()?)));
    flags
        .filter(|(_, long)| !matches!(*long, "help" | "version"))
        .map(|(id, long)| {
            let values = matches.get_raw(id.as_str()).into_iter().flatten();
            let text: Vec<_> = values.map(|v| v.to_string_lossy().into_owned()).collect();
            (long.to_owned(), text.join(","))
        })
        .collect()
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = time_text::parse_prometheus_duration(text);
    let ms = ms.ok_or_else(|| format!("not a duration: {text:?} (examples: 15s, 1h30m, 15d)"))?;
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

fn wal_sync(text: &str) -> Result<WalSync, String> {
    match (text, text.strip_prefix("interval=")) {
        ("ack", _) => Ok(WalSync::Ack),
        ("none", _) => Ok(WalSync::None),
        (_, Some(every)) => match duration(every)? {
            Duration::ZERO => Err("the interval must be longer than 0".to_owned()),
            every => Ok(WalSync::Interval(every)),
        },
        _ => Err("must be ack, none or interval=DURATION".to_owned()),
    }
}

fn exemplar_policy(text: &str) -> Result<ExemplarPolicy, String> {
    match (text, text.strip_prefix("probability:")) {
        ("always", _) => Ok(ExemplarPolicy::Always),
        ("outlier", _) => Ok(ExemplarPolicy::Outlier),
        (_, Some(share)) => match share.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(ExemplarPolicy::Probability(share)),
            _ => Err("the probability must be a number from 0 to 1".to_owned()),
        },
        _ => Err("must be always, outlier or probability:P".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Flags, clap::Error> {
        Flags::read(std::iter::once("marigram").chain(args.iter().copied()))
    }

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn defaults_are_safe() {
        let flags = read(&[]).unwrap();
        assert_eq!(flags.listen_address, ["127.0.0.1:9090"]);
        assert_eq!(flags.wal_sync, WalSync::Ack);
        assert!(!flags.enable_admin_api && !flags.enable_lifecycle);
        assert_eq!(flags.engine_options().retention_ms, 15 * 86_400_000);
        assert_eq!(flags.engine_options().out_of_order_window_ms, 1_800_000);
        assert_eq!(flags.shown["storage.tsdb.retention.time"], "15d");
        assert_eq!(flags.shown["web.enable-admin-api"], "false");
    }

    #[test]
    fn values_are_read_and_checked() {
        let flags = read(&[
            "--storage.wal.sync=interval=100ms",
            "--web.enable-admin-api",
            "--web.enable-lifecycle=true",
            "--web.listen-address=127.0.0.1:1",
            "--web.listen-address=127.0.0.1:2",
            "--enable-feature=promql-experimental-functions,type-and-unit-labels",
            "--storage.tsdb.retention.time=0",
            "--storage.exemplars.policy=probability:0.25",
        ]);
        let flags = flags.unwrap();
        assert_eq!(flags.wal_sync, WalSync::Interval(Duration::from_millis(100)));
        assert!(flags.enable_admin_api && flags.enable_lifecycle);
        assert_eq!(flags.listen_address, ["127.0.0.1:1", "127.0.0.1:2"]);
        assert!(flags.query_options().features.type_and_unit_labels);
        assert_eq!(flags.engine_options().retention_ms, i64::MAX);
        let options = flags.engine_options();
        assert_eq!(options.exemplar_policy, ExemplarPolicy::Probability(0.25));
        assert_eq!((options.exemplars_per_series_max, options.exemplars_max), (128, 100_000));
        for bad in [
            "--storage.exemplars.policy=probability:2",
            "--storage.exemplars.policy=some",
            "--storage.wal.sync=maybe",
            "--storage.wal.sync=interval=0",
            "--query.timeout=5",
            "--query.max-concurrency=0",
            "--log.level=loud",
            "--no-such-flag",
        ] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_route_prefix_comes_from_the_external_url() {
        for (args, expected) in [
            (&[][..], ""),
            (&["--web.external-url=http://x:9090"][..], ""),
            (&["--web.external-url=http://x:9090/prom/"][..], "/prom"),
            (&["--web.external-url=http://x/prom", "--web.route-prefix=/"][..], ""),
            (&["--web.route-prefix=a/b"][..], "/a/b"),
        ] {
            assert_eq!(read(args).unwrap().prefix(), expected);
        }
    }
}
