//! The configuration file, `--config.file`: read at the start, and again on SIGHUP and `/-/reload`.
//!
//! Where it sits: beside the flags, which say what cannot change while the server runs. `file` is what stands
//! in the file; this says which one is in force. Invariants: unknown fields are errors that name their line; a
//! file that is wrong changes nothing, whatever is right in it.

mod file;
mod otlp;

pub use file::File;
pub use otlp::OtlpSection;

use crate::observe::family::Families;
use crate::observe::log;
use ingest::relabel::Relabeling;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use storage_format::model::Timestamp;

/// The file, what of it is in force, and how the last attempt to read it went. Share it as `Arc`.
#[derive(Debug)]
pub struct Configuration {
    path: Option<PathBuf>,
    /// The text in force. Locked while a file is read and applied, so that two reloads cannot mix.
    text: Mutex<String>,
    relabeling: Arc<Relabeling>,
    /// As it stood at the start: series keep their names while the server runs.
    otlp: OtlpSection,
    last_was_good: AtomicBool,
    /// Milliseconds since the epoch.
    last_success: AtomicI64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            path: None,
            text: Mutex::new(String::new()),
            relabeling: Arc::default(),
            otlp: OtlpSection::default(),
            last_was_good: AtomicBool::new(true),
            last_success: AtomicI64::new(log::now()),
        }
    }
}

impl Configuration {
    /// Reads the file at `path`; without one everything has its default.
    ///
    /// # Errors
    /// A sentence that names file, line and what is wrong there.
    pub fn open(path: Option<&Path>) -> Result<Self, String> {
        let mut config = Self { path: path.map(Path::to_owned), ..Self::default() };
        config.otlp = config.load()?;
        Ok(config)
    }
    /// Reads the file again and puts it in force; the old one stays when it is wrong. Reads a file: not for
    /// an async worker.
    ///
    /// # Errors
    /// As [`Configuration::open`].
    pub fn reload(&self) -> Result<(), String> {
        let loaded = self.load().map(|otlp| {
            if otlp != self.otlp {
                log::warn("the section otlp has changed, which counts from the next start", &[]);
            }
        });
        self.last_was_good.store(loaded.is_ok(), Ordering::Relaxed);
        match &loaded {
            Ok(()) => log::info("configuration loaded", &[("file", &self.shown_path())]),
            Err(why) => log::error("configuration is wrong, the old one stays", &[("err", why)]),
        }
        loaded
    }
    /// The relabeling rules in force.
    #[must_use]
    pub fn relabeling(&self) -> Arc<Relabeling> {
        Arc::clone(&self.relabeling)
    }
    /// What the file said about OTLP when the server started.
    #[must_use]
    pub fn otlp(&self) -> &OtlpSection {
        &self.otlp
    }
    /// The text of the file in force; empty without a file.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Whether the last attempt to read the file succeeded, and when one did, in milliseconds since the epoch.
    #[must_use]
    pub fn last_reload(&self) -> (bool, Timestamp) {
        (self.last_was_good.load(Ordering::Relaxed), self.last_success.load(Ordering::Relaxed))
    }
    /// Adds its metrics.
    pub fn collect(&self, families: &mut Families) {
        let (good, when) = self.last_reload();
        families.gauge(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
            f64::from(u8::from(good)),
        );
        families.gauge(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
            when as f64 / 1000.0,
        );
        families.counter(
            "marigram_relabel_dropped_samples_total",
            "Received samples and histograms that write_relabel_configs dropped.",
            self.relabeling.dropped_samples(),
        );
    }

    /// Puts the file in force, but for the section on OTLP, which it returns.
    fn load(&self) -> Result<OtlpSection, String> {
        let Some(path) = &self.path else { return Ok(OtlpSection::default()) };
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, new) = File::read(path)?;
        let otlp = file.otlp.clone();
        // Known series would have to be relabeled once more, for nothing.
        if *text != new {
            self.relabeling.set(file.into_rules());
            *text = new;
        }
        self.last_success.store(log::now(), Ordering::Relaxed);
        Ok(otlp)
    }
    fn shown_path(&self) -> String {
        self.path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    }
}
