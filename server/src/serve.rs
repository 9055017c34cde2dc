//! Starts the server, and stops it: listeners first, so that health answers while the storage engine is
//! still recovering; on the way out requests are drained before the engine is closed.

use crate::flags::{FEATURES, Flags, LogFormat};
use crate::net::{HTTP1, Listener, Stop, http1};
use crate::observe::{log, self_scrape};
use crate::otlp_flags::OtlpFlags;
use crate::otlp_grpc;
use crate::router::{otlp_router, router};
use crate::state::App;
use axum::Router;
use engine::Engine;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the storage engine is asked for reports.
const REPORTS_EVERY: Duration = Duration::from_secs(5);

/// Runs until Ctrl-C, SIGTERM or `/-/quit`.
///
/// # Errors
/// A sentence for the user: an address or the data directory is in use, or the log could not be written
/// while stopping.
pub fn run(flags: Flags) -> Result<(), String> {
    log::init(flags.log_level.into(), flags.log_format == LogFormat::Json);
    log_panics();
    for unknown in flags.enable_feature.iter().filter(|f| !f.is_empty() && !FEATURES.contains(&f.as_str())) {
        log::warn("unknown feature is ignored", &[("feature", unknown)]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start threads: {e}"))?;
    let outcome = runtime.block_on(serve(flags));
    // A storage engine that is still opening cannot be interrupted, and has nothing to lose.
    runtime.shutdown_background();
    outcome
}

async fn serve(flags: Flags) -> Result<(), String> {
    let app = Arc::new(App::new(flags)?);
    stop_on_signals(app.stop.clone()).map_err(|e| format!("cannot listen to signals: {e}"))?;
    reload_on_signal(Arc::clone(&app)).map_err(|e| format!("cannot listen to signals: {e}"))?;
    let mut servers = JoinSet::new();
    let mut addresses = Vec::new();
    let connections = Arc::new(Semaphore::new(app.limits.connections));
    for address in &app.flags.listen_address {
        let listener = listen(&app, address, &connections).await.map_err(|e| cannot_listen(address, &e))?;
        addresses.push(listener.local_addr().map_err(|e| cannot_listen(address, &e))?.to_string());
        servers.spawn(serve_http(listener, router(Arc::clone(&app))));
    }
    let without = listen_for_otlp(&app, &connections, &mut servers).await?;
    servers.spawn(follow_web_config(Arc::clone(&app)));
    let opened = open(&app).await;
    if let Ok(true) = opened {
        // Told late: a start that fails says why it fails and nothing else.
        for (address, error) in &without {
            log::warn("OTLP is not received on an address", &[("address", address), ("err", error)]);
        }
        warn_when_open(&app, &addresses);
        banner(&app, &addresses);
        let interval = app.flags.self_scrape_interval;
        servers.spawn(tell_reports(Arc::clone(&app)));
        if let Some(instance) = addresses.first().filter(|_| !interval.is_zero()) {
            servers.spawn(self_scrape::run(Arc::clone(&app), instance.clone(), interval));
        }
        app.stop.raised().await;
        log::info("stopping", &[]);
    }
    app.stop.raise();
    while servers.join_next().await.is_some() {}
    opened?;
    close(&app).await
}

async fn listen(app: &App, address: &str, connections: &Arc<Semaphore>) -> io::Result<Listener> {
    let (tls, limits) = (Arc::clone(&app.access.tls), app.limits.clone());
    Listener::bind(address, Arc::clone(connections), tls, limits, app.stop.clone()).await
}

/// Serves a router over HTTP/1.1.
pub async fn serve_http(listener: Listener, router: Router) {
    listener.serve(HTTP1, move |stream, around| http1(stream, router.clone(), around)).await;
}

/// Serves OTLP over gRPC.
pub async fn serve_grpc(listener: Listener, app: Arc<App>) {
    let connection = move |stream, around| otlp_grpc::connection(stream, Arc::clone(&app), around);
    listener.serve(otlp_grpc::HTTP2, connection).await;
}

/// How often the files of the web configuration are looked at.
const WEB_CONFIG_EVERY: Duration = Duration::from_secs(1);

async fn follow_web_config(app: Arc<App>) {
    let mut ticks = tokio::time::interval(WEB_CONFIG_EVERY);
    loop {
        tokio::select! {
            () = app.stop.raised() => return,
            _ = ticks.tick() => {}
        }
        let looked_at = Arc::clone(&app);
        if tokio::task::spawn_blocking(move || looked_at.access.reload_if_changed()).await.is_err() {
            return;
        }
    }
}

/// OTLP has addresses of its own. A default one that is taken, by a collector perhaps, is no reason not to
/// start, and is returned with its error; one that was asked for is.
async fn listen_for_otlp(
    app: &Arc<App>,
    connections: &Arc<Semaphore>,
    servers: &mut JoinSet<()>,
) -> Result<Vec<(String, io::Error)>, String> {
    let mut without = Vec::new();
    let flags = &app.flags.otlp;
    let address = flags.grpc_listen_address.as_str();
    if !address.is_empty() {
        match listen(app, address, connections).await {
            Ok(listener) => drop(servers.spawn(serve_grpc(listener, Arc::clone(app)))),
            Err(error) => without.push(otlp_is_off(address, OtlpFlags::GRPC, error)?),
        }
    }
    let address = flags.http_listen_address.as_str();
    if !address.is_empty() {
        match listen(app, address, connections).await {
            Ok(listener) => drop(servers.spawn(serve_http(listener, otlp_router(Arc::clone(app))))),
            Err(error) => without.push(otlp_is_off(address, OtlpFlags::HTTP, error)?),
        }
    }
    Ok(without)
}

fn otlp_is_off(address: &str, default: &str, error: io::Error) -> Result<(String, io::Error), String> {
    if address != default {
        return Err(format!("cannot listen on {address} for OTLP: {error}"));
    }
    Ok((address.to_owned(), error))
}

/// Opens the storage engine; false when the server was stopped before that was done.
async fn open(app: &Arc<App>) -> Result<bool, String> {
    let options = app.flags.engine_options();
    let opening = tokio::task::spawn_blocking(move || Engine::open(options));
    tokio::select! {
        opened = opening => {
            let engine = opened.map_err(|e| format!("storage could not be opened: {e}"))?;
            app.set_engine(Arc::new(engine.map_err(|e| e.to_string())?));
            Ok(true)
        }
        () = app.stop.raised() => Ok(false),
    }
}

async fn close(app: &Arc<App>) -> Result<(), String> {
    let Some(engine) = app.take_engine() else { return Ok(()) };
    let closing = tokio::task::spawn_blocking(move || engine.close());
    let closed = closing.await.map_err(|e| format!("storage could not be closed: {e}"))?;
    closed.map_err(|e| e.to_string())?;
    log::info("stopped", &[]);
    Ok(())
}

/// Logs what the storage engine reports: damage it found, failures of its background work.
async fn tell_reports(app: Arc<App>) {
    let mut ticks = tokio::time::interval(REPORTS_EVERY);
    let mut told: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            () = app.stop.raised() => return,
            _ = ticks.tick() => {}
        }
        let Ok(engine) = app.engine() else { return };
        let Ok(stats) = tokio::task::spawn_blocking(move || engine.stats()).await else { return };
        for report in stats.reports.iter().filter(|report| !told.contains(report)) {
            log::warn("storage", &[("report", report)]);
        }
        told = stats.reports;
    }
}

fn cannot_listen(address: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "cannot listen on {address}: the address is in use (choose another with --web.listen-address)"
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}

/// The first signal drains and closes; a second one ends the process at once.
fn stop_on_signals(stop: Stop) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_raised() {
                std::process::exit(130);
            }
            stop.raise();
        }
    });
    Ok(())
}

/// SIGHUP reads the configuration file again.
fn reload_on_signal(app: Arc<App>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let config = Arc::clone(&app.config);
            // What is wrong is in the log, where whoever sent the signal looks.
            let _ = tokio::task::spawn_blocking(move || config.reload()).await;
        }
    });
    Ok(())
}

/// Panics are defects: one line in the log each, instead of a trace between the lines.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        log::error("defect: panic", &[("message", &message), ("at", &place)]);
    }));
}

/// Somebody who opens the server to a network may not know that he opens it to everybody on it.
fn warn_when_open(app: &App, addresses: &[String]) {
    let is_local = |address: &&String| address.parse().is_ok_and(|a: SocketAddr| a.ip().is_loopback());
    let otlp = [&app.flags.otlp.grpc_listen_address, &app.flags.otlp.http_listen_address];
    let reachable = addresses.iter().chain(otlp).filter(|a| !a.is_empty()).find(|a| !is_local(a));
    if let Some(address) = reachable.filter(|_| app.access.is_open()) {
        log::warn(
            "everybody who reaches this address may read and write; --web.config.file says who may",
            &[("address", address)],
        );
    }
}

/// Tells a newcomer what to do next.
fn banner(app: &App, addresses: &[String]) {
    let prefix = app.flags.prefix();
    let scheme = if app.access.tls.is_on() { "https" } else { "http" };
    let base = match addresses.first() {
        // Nobody can connect to "any address", but to this machine.
        Some(address) => {
            format!(
                "{scheme}://{}{prefix}",
                address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
            )
        }
        None => return,
    };
    let text = format!(
        "Marigram {version}: {base}, data in {data}\n\
         \n\
         \x20 ask          curl '{base}/api/v1/query?query=up'\n\
         \x20 write to it  remote_write: [{{url: '{base}/api/v1/write'}}]   (in prometheus.yml)\n\
         \x20 see it       Grafana, data source Prometheus, URL {base}\n\
         \x20 stop it      Ctrl-C;  all flags: marigram --help\n",
        version = env!("CARGO_PKG_VERSION"),
        data = app.flags.path.display(),
    );
    // A closed standard output is no reason not to run.
    let _ = io::stdout().write_all(text.as_bytes());
}
