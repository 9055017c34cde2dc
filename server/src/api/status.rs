//! `status/*`, `features` and `/version`: what this server is and how it was started.

use super::{json_body, success};
use crate::flags::FEATURES;
use crate::observe::log;
use crate::state::App;
use crate::wire::json::Json;
use crate::wire::time_text::{format_duration, format_rfc3339};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// The Prometheus whose API this is, for clients that choose by version; Marigram's own version follows as
/// build metadata, which version comparisons leave aside.
pub const VERSION: &str = concat!("3.5.0+marigram.", env!("CARGO_PKG_VERSION"));

fn build_info(json: &mut Json) {
    json.object(|o| {
        o.key("version").string(VERSION);
        o.key("revision").string(option_env!("MARIGRAM_REVISION").unwrap_or("unknown"));
        o.key("branch").string("main");
        o.key("buildUser").string("");
        o.key("buildDate").string("");
        // No "features" here: Grafana takes a server that sends it for Mimir.
        o.key("goVersion").string("");
    });
}

/// `GET /api/v1/status/buildinfo`
pub async fn buildinfo() -> Response {
    success(build_info)
}

/// `GET /version`
pub async fn version() -> Response {
    let mut json = Json::default();
    build_info(&mut json);
    json_body(Body::from(json.into_bytes()))
}

/// `GET /api/v1/status/runtimeinfo`
pub async fn runtimeinfo(State(app): State<Arc<App>>) -> Response {
    let text = |result: std::io::Result<String>| result.unwrap_or_default();
    let directory = text(std::env::current_dir().map(|d| d.display().to_string()));
    let host = text(std::fs::read_to_string("/proc/sys/kernel/hostname")).trim().to_owned();
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let damaged = app.engine().map_or(0, |engine| engine.corruption_count());
    let (config_is_good, config_time) = app.config.last_reload();
    let retention = match app.flags.retention_time {
        time if time.is_zero() => "unlimited".to_owned(),
        time => format_duration(time),
    };
    success(|json| {
        json.object(|o| {
            o.key("startTime").string(&format_rfc3339(app.started, true));
            o.key("CWD").string(&directory);
            o.key("hostname").string(&host);
            o.key("serverTime").string(&format_rfc3339(log::now(), true));
            o.key("reloadConfigSuccess").boolean(config_is_good);
            o.key("lastConfigTime").string(&format_rfc3339(config_time, false));
            o.key("corruptionCount").integer(i64::try_from(damaged).unwrap_or(i64::MAX));
            o.key("goroutineCount").integer(i64::try_from(threads).unwrap_or(0));
            o.key("GOMAXPROCS").integer(i64::try_from(cores).unwrap_or(1));
            o.key("GOMEMLIMIT").integer(i64::MAX);
            o.key("GOGC").string("").key("GODEBUG").string("");
            o.key("storageRetention").string(&retention);
        });
    })
}

/// `GET /api/v1/status/flags`
pub async fn flags(State(app): State<Arc<App>>) -> Response {
    success(|json| {
        json.object(|o| {
            for (name, value) in &app.flags.shown {
                o.key(name).string(value);
            }
        });
    })
}

/// `GET /api/v1/status/config`: the configuration file in force.
pub async fn config(State(app): State<Arc<App>>) -> Response {
    let text = app.config.text();
    success(|json| {
        json.object(|o| {
            o.key("yaml").string(if text.is_empty() { "{}\n" } else { &text });
        });
    })
}

/// `GET /api/v1/status/walreplay`, answered while the storage engine is opening too.
pub async fn walreplay() -> Response {
    success(|json| {
        json.object(|o| {
            o.key("min").integer(0).key("max").integer(0).key("current").integer(0);
        });
    })
}

/// `GET /api/v1/features`
pub async fn features(State(app): State<Arc<App>>) -> Response {
    let on = |name: &str| app.flags.has_feature(name);
    success(|json| {
        json.object(|o| {
            o.key("api").object(|o| {
                o.key("admin").boolean(app.flags.enable_admin_api);
                o.key("exclude_alerts").boolean(false);
                o.key("label_values_match").boolean(true);
                o.key("lifecycle").boolean(app.flags.enable_lifecycle);
                o.key("query_stats").boolean(true);
                o.key("query_warnings").boolean(true);
                o.key("remote_write_receiver").boolean(true);
            });
            o.key("promql").object(|o| {
                o.key("at_modifier").boolean(true);
                o.key("negative_offset").boolean(true);
                o.key("subqueries").boolean(true);
                for feature in FEATURES {
                    let name = feature.strip_prefix("promql-").unwrap_or(feature).replace('-', "_");
                    o.key(&name).boolean(on(feature));
                }
            });
            o.key("tsdb").object(|o| {
                o.key("native_histograms").boolean(true);
                o.key("out_of_order").boolean(!app.flags.out_of_order_window.is_zero());
            });
        });
    })
}
