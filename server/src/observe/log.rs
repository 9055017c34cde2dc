//! The process' own log: one line per event on standard error, logfmt or JSON.
//!
//! Global, because the accept loop, the panic hook and `main` all speak; before [`init`] it is logfmt at
//! level info. Values are escaped, so nothing a client sends can forge a line.

use crate::wire::{json, time_text};
use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use storage_format::model::Timestamp;

/// How important an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For finding defects.
    Debug = 0,
    /// Worth knowing.
    Info = 1,
    /// Wrong, but handled.
    Warn = 2,
    /// Somebody must act.
    Error = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses level and form.
pub fn init(level: Level, json: bool) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    JSON.store(json, Ordering::Relaxed);
}

/// Milliseconds since the epoch by the system's clock.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Timestamp)
}

/// Logs at level debug.
pub fn debug(message: &str, fields: &[(&str, &dyn Display)]) {
    event(Level::Debug, message, fields);
}
/// Logs at level info.
pub fn info(message: &str, fields: &[(&str, &dyn Display)]) {
    event(Level::Info, message, fields);
}
/// Logs at level warn.
pub fn warn(message: &str, fields: &[(&str, &dyn Display)]) {
    event(Level::Warn, message, fields);
}
/// Logs at level error.
pub fn error(message: &str, fields: &[(&str, &dyn Display)]) {
    event(Level::Error, message, fields);
}

fn event(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    if (level as u8) < LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let line = line(level, now(), message, fields, JSON.load(Ordering::Relaxed));
    // When standard error is closed there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(&line);
}

fn line(
    level: Level,
    time: Timestamp,
    message: &str,
    fields: &[(&str, &dyn Display)],
    json: bool,
) -> Vec<u8> {
    let name = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let time = time_text::format_rfc3339(time, true);
    let head: [(&str, &dyn Display); 3] = [("time", &time), ("level", &name), ("msg", &message)];
    let mut out = Vec::with_capacity(160);
    for (i, (key, value)) in head.iter().chain(fields).enumerate() {
        let value = value.to_string();
        if json {
            out.push(if i == 0 { b'{' } else { b',' });
            json::push_string(&mut out, key);
            out.push(b':');
            json::push_string(&mut out, &value);
        } else {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            push_logfmt(&mut out, &value);
        }
    }
    out.extend_from_slice(if json { b"}\n" } else { b"\n" });
    out
}

fn push_logfmt(out: &mut Vec<u8>, value: &str) {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        json::push_string(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: bool) -> String {
        let fields: [(&str, &dyn Display); 2] = [("path", &"/a b\n"), ("n", &7)];
        String::from_utf8(line(Level::Warn, 1500, "it broke", &fields, json)).unwrap()
    }

    #[test]
    fn one_event_is_one_line() {
        assert_eq!(
            text(false),
            "time=1970-01-01T00:00:01.500Z level=WARN msg=\"it broke\" path=\"/a b\\n\" n=7\n"
        );
        assert_eq!(
            text(true),
            "{\"time\":\"1970-01-01T00:00:01.500Z\",\"level\":\"WARN\",\"msg\":\"it broke\",\"path\":\"/a b\\n\",\"n\":\"7\"}\n"
        );
    }
}
