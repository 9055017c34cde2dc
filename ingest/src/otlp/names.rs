//! Metric, unit and label names as Prometheus translates them from OTLP.
//!
//! Where it sits: pure functions below `resolve`. Source: the OpenTelemetry specification's Prometheus
//! compatibility chapter, in the reading of Prometheus' own translator.

use super::config::Config;
use std::borrow::Cow;

/// What a name's suffix depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    /// A monotonic sum.
    Counter,
    /// A gauge.
    Gauge,
    /// Everything else.
    Other,
}

/// The Prometheus name of a metric, or why there is none.
pub(super) fn metric_name(config: &Config, name: &str, unit: &str, kind: NameKind) -> Result<String, String> {
    let strategy = config.translation_strategy;
    if !strategy.escapes() {
        return if strategy.suffixes() { Ok(suffixed(name, unit, kind)) } else { Ok(name.to_owned()) };
    }
    let mut escaped =
        if strategy.suffixes() { escaped_with_suffixes(name, unit, kind) } else { escaped_plain(name) };
    if escaped.starts_with(|c: char| c.is_ascii_digit()) {
        escaped.insert(0, '_');
    }
    if escaped.is_empty() {
        return Err(format!("normalization for metric {name:?} resulted in empty name"));
    }
    if escaped != name && escaped.bytes().all(|b| b == b'_') {
        return Err(format!("normalization for metric {name:?} resulted in invalid name {escaped:?}"));
    }
    Ok(escaped)
}

fn escaped_plain(name: &str) -> String {
    tokens(name, |c| c.is_ascii_alphanumeric() || c == ':' || c == '_').collect::<Vec<_>>().join("_")
}

fn tokens(name: &str, valid: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    name.split(move |c| !valid(c)).filter(|t| !t.is_empty())
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn escaped_with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let mut words: Vec<Cow<'_, str>> = tokens(name, is_name_char).map(Cow::Borrowed).collect();
    let (main, per) = unit_words(unit);
    let (mut main, mut per) = (clean_unit(&main), clean_unit(&per));
    if words.iter().any(|w| *w == main) {
        main.clear();
    }
    let trimmed = per.strip_suffix('_').unwrap_or(&per).to_owned();
    per = if per == "per_" || words.iter().any(|w| *w == trimmed) { String::new() } else { trimmed };
    if !per.is_empty() && main.ends_with('_') {
        main.pop();
    }
    words.extend([main, per].into_iter().filter(|w| !w.is_empty()).map(Cow::Owned));
    if let Some(last) = type_suffix(unit, kind) {
        words.retain(|w| w != last);
        words.push(Cow::Borrowed(last));
    }
    words.join("_")
}

fn suffixed(name: &str, unit: &str, kind: NameKind) -> String {
    let last = type_suffix(unit, kind);
    let (main, per) = unit_words(unit);
    let mut name = last.map_or(name, |last| without_suffix(name, last));
    if !per.is_empty() {
        name = without_suffix(name, &per);
    }
    let mut out = name.to_owned();
    if !main.is_empty() && !out.ends_with(main.as_ref()) {
        out = out + "_" + &main;
    }
    for suffix in [per.as_ref(), last.unwrap_or_default()] {
        if !suffix.is_empty() {
            out = out + "_" + suffix;
        }
    }
    out
}

fn type_suffix(unit: &str, kind: NameKind) -> Option<&'static str> {
    match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    }
}

/// `name` without `suffix` and the character before it, if something is left then.
fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    match name.strip_suffix(suffix) {
        Some(rest) if rest.len() > 1 => {
            let mut chars = rest.chars();
            chars.next_back();
            chars.as_str()
        }
        _ => name,
    }
}

/// The unit as Prometheus spells it, for metadata and `__unit__`: `By/s` is `bytes_per_second`.
pub(super) fn unit_name(config: &Config, unit: &str) -> String {
    let (main, per) = unit_words(unit);
    let clean = |word: &str| {
        if config.translation_strategy.escapes() {
            clean_unit(word).trim_end_matches('_').to_owned()
        } else {
            word.to_owned()
        }
    };
    let (main, per) = (clean(&main), clean(&per));
    match (main.is_empty(), per.is_empty() || per == "per") {
        (_, true) => main,
        (true, false) => per,
        (false, false) => format!("{main}_{per}"),
    }
}

/// The words for the unit and for what it is divided by (`per_second`), each possibly empty. Annotations
/// in braces are no units.
fn unit_words(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (main.trim(), per.trim());
    let is_unit = |u: &str| !u.is_empty() && !u.contains(['{', '}']);
    let main = if is_unit(main) { main_word(main) } else { "" };
    let per = match if is_unit(per) { per_word(per) } else { "" } {
        "" => Cow::Borrowed(""),
        word => Cow::Owned(format!("per_{word}")),
    };
    (Cow::Borrowed(main), per)
}

fn main_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// Invalid characters become underscores, runs of them one, and none stays in front.
fn clean_unit(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        match is_name_char(c) {
            true => out.push(c),
            false if out.is_empty() || out.ends_with('_') => {}
            false => out.push('_'),
        }
    }
    out
}

/// The Prometheus name of a label, or why there is none.
pub(super) fn label_name<'a>(config: &Config, name: &'a str) -> Result<Cow<'a, str>, String> {
    if name.is_empty() {
        return Err("label name is empty".to_owned());
    }
    if !config.translation_strategy.escapes() {
        if only_underscores(name) {
            return Err(format!("label name {name:?} contains only underscores"));
        }
        return Ok(Cow::Borrowed(name));
    }
    let escaped = if config.label_name_preserve_multiple_underscores {
        replace_invalid(name)
    } else {
        Cow::Owned(collapse_invalid(name))
    };
    let escaped = if escaped.starts_with(|c: char| c.is_ascii_digit()) {
        Cow::Owned(format!("key_{escaped}"))
    } else if config.label_name_underscore_sanitization
        && escaped.starts_with('_')
        && !escaped.starts_with("__")
    {
        Cow::Owned(format!("key{escaped}"))
    } else {
        escaped
    };
    if only_underscores(&escaped) {
        return Err(format!("normalization for label name {name:?} resulted in invalid name {escaped:?}"));
    }
    Ok(escaped)
}

fn only_underscores(name: &str) -> bool {
    name.bytes().all(|b| b == b'_')
}

fn replace_invalid(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect())
}

/// As `replace_invalid`, with runs of underscores collapsed; names of the form `__x__` keep their frame.
fn collapse_invalid(name: &str) -> String {
    let framed = name.strip_prefix("__").and_then(|n| n.strip_suffix("__")).filter(|n| !n.is_empty());
    let mut out = String::with_capacity(name.len());
    for c in framed.unwrap_or(name).chars() {
        match c.is_ascii_alphanumeric() {
            true => out.push(c),
            false if out.ends_with('_') => {}
            false => out.push('_'),
        }
    }
    if framed.is_some() { format!("__{out}__") } else { out }
}

#[cfg(test)]
mod tests {
    use super::super::config::TranslationStrategy::{
        self, NoTranslation, NoUtf8EscapingWithSuffixes as Utf8Suffixes,
        UnderscoreEscapingWithSuffixes as Suffixes, UnderscoreEscapingWithoutSuffixes as Plain,
    };
    use super::NameKind::{Counter, Gauge, Other};
    use super::*;

    fn config(strategy: TranslationStrategy) -> Config {
        Config { translation_strategy: strategy, ..Config::default() }
    }

    #[test]
    fn metric_names() {
        let cases = [
            // What every unit of the table becomes.
            (Suffixes, "up", "d", Gauge, "up_days"),
            (Suffixes, "up", "h", Gauge, "up_hours"),
            (Suffixes, "up", "min", Gauge, "up_minutes"),
            (Suffixes, "up", "s", Gauge, "up_seconds"),
            (Suffixes, "up", "ms", Gauge, "up_milliseconds"),
            (Suffixes, "up", "us", Gauge, "up_microseconds"),
            (Suffixes, "up", "ns", Gauge, "up_nanoseconds"),
            (Suffixes, "disk", "By", Gauge, "disk_bytes"),
            (Suffixes, "disk", "KiBy", Gauge, "disk_kibibytes"),
            (Suffixes, "disk", "MiBy", Gauge, "disk_mebibytes"),
            (Suffixes, "disk", "GiBy", Gauge, "disk_gibibytes"),
            (Suffixes, "disk", "TiBy", Gauge, "disk_tibibytes"),
            (Suffixes, "disk", "KBy", Gauge, "disk_kilobytes"),
            (Suffixes, "disk", "MBy", Gauge, "disk_megabytes"),
            (Suffixes, "disk", "GBy", Gauge, "disk_gigabytes"),
            (Suffixes, "disk", "TBy", Gauge, "disk_terabytes"),
            (Suffixes, "x", "m", Gauge, "x_meters"),
            (Suffixes, "x", "V", Gauge, "x_volts"),
            (Suffixes, "x", "A", Gauge, "x_amperes"),
            (Suffixes, "x", "J", Gauge, "x_joules"),
            (Suffixes, "x", "W", Gauge, "x_watts"),
            (Suffixes, "x", "g", Gauge, "x_grams"),
            (Suffixes, "x", "Cel", Gauge, "x_celsius"),
            (Suffixes, "x", "Hz", Gauge, "x_hertz"),
            (Suffixes, "x", "%", Gauge, "x_percent"),
            (Suffixes, "x", "1/s", Gauge, "x_per_second"),
            (Suffixes, "x", "By/m", Gauge, "x_bytes_per_minute"),
            (Suffixes, "x", "By/h", Gauge, "x_bytes_per_hour"),
            (Suffixes, "x", "By/d", Gauge, "x_bytes_per_day"),
            (Suffixes, "x", "By/w", Gauge, "x_bytes_per_week"),
            (Suffixes, "x", "By/mo", Gauge, "x_bytes_per_month"),
            (Suffixes, "x", "By/y", Gauge, "x_bytes_per_year"),
            (Suffixes, "x", "By/parsec", Gauge, "x_bytes_per_parsec"),
            // Units that are not there, not units, or there already.
            (Suffixes, "x", "", Gauge, "x"),
            (Suffixes, "x", " ", Gauge, "x"),
            (Suffixes, "x", "{requests}", Gauge, "x"),
            (Suffixes, "x", "By/{request}", Gauge, "x_bytes"),
            (Suffixes, "x", "{request}/s", Gauge, "x_per_second"),
            (Suffixes, "x", " By / s ", Gauge, "x_bytes_per_second"),
            (Suffixes, "x", "/s", Gauge, "x_per_second"),
            (Suffixes, "x", "By/", Gauge, "x_bytes"),
            (Suffixes, "x", "apples", Gauge, "x_apples"),
            (Suffixes, "x", "m/s/s", Gauge, "x_meters_per_s_s"),
            (Suffixes, "x", "a__b", Gauge, "x_a_b"),
            (Suffixes, "x", "_a", Gauge, "x_a"),
            (Suffixes, "x", "°", Gauge, "x"),
            (Suffixes, "x", "a@/s", Gauge, "x_a_per_second"),
            (Suffixes, "x", "By/@", Gauge, "x_bytes"),
            (Suffixes, "wait_seconds", "s", Gauge, "wait_seconds"),
            (Suffixes, "seconds_of_wait", "s", Gauge, "seconds_of_wait"),
            (Suffixes, "waitseconds", "s", Gauge, "waitseconds_seconds"),
            // Types.
            (Suffixes, "requests", "", Counter, "requests_total"),
            (Suffixes, "requests_total", "", Counter, "requests_total"),
            (Suffixes, "total_requests", "", Counter, "requests_total"),
            (Suffixes, "cpu.time", "s", Counter, "cpu_time_seconds_total"),
            (Suffixes, "cpu_seconds_total", "s", Counter, "cpu_seconds_total"),
            (Suffixes, "items", "1", Counter, "items_total"),
            (Suffixes, "requests", "1/s", Counter, "requests_per_second_total"),
            (Suffixes, "requests", "", Other, "requests"),
            (Suffixes, "usage", "1", Gauge, "usage_ratio"),
            (Suffixes, "usage_ratio", "1", Gauge, "usage_ratio"),
            (Suffixes, "ratio_of_usage", "1", Gauge, "of_usage_ratio"),
            (Suffixes, "usage", "1", Other, "usage"),
            (Suffixes, "duration", "s", Other, "duration_seconds"),
            // Characters.
            (Suffixes, "http.server.duration", "ms", Other, "http_server_duration_milliseconds"),
            (Suffixes, "a::b:c", "", Gauge, "a::b:c"),
            (Suffixes, "a__b___c", "", Gauge, "a_b_c"),
            (Suffixes, "_a_", "", Gauge, "a"),
            (Suffixes, "3xx", "", Counter, "_3xx_total"),
            (Suffixes, "größe", "By", Gauge, "gr_e_bytes"),
            (Suffixes, "a b@c", "", Gauge, "a_b_c"),
            (Plain, "a b@c", "By", Gauge, "a_b_c"),
            (Plain, "a@@b", "", Gauge, "a_b"),
            (Plain, "a__b", "s", Counter, "a__b"),
            (Plain, "_a_", "", Gauge, "_a_"),
            (Plain, "3xx", "", Counter, "_3xx"),
            (Plain, "ö.a", "", Gauge, "a"),
            (Plain, "__", "", Gauge, "__"),
            // UTF-8 kept.
            (Utf8Suffixes, "http.requests", "", Counter, "http.requests_total"),
            (Utf8Suffixes, "http.requests_total", "", Counter, "http.requests_total"),
            (Utf8Suffixes, "http.requests.total", "", Counter, "http.requests_total"),
            (Utf8Suffixes, "größe", "By", Gauge, "größe_bytes"),
            (Utf8Suffixes, "größe.bytes", "By", Gauge, "größe.bytes"),
            (Utf8Suffixes, "usage", "1", Gauge, "usage_ratio"),
            (Utf8Suffixes, "x", "By/s", Counter, "x_bytes_per_second_total"),
            (Utf8Suffixes, "x_bytes_per_second", "By/s", Gauge, "x_bytes_per_second"),
            (Utf8Suffixes, "total", "", Counter, "total_total"),
            (Utf8Suffixes, "@#$%", "", Counter, "@#$%_total"),
            (Utf8Suffixes, "x", "{a}", Gauge, "x"),
            (NoTranslation, "größe.total", "By", Counter, "größe.total"),
            (NoTranslation, "", "By", Gauge, ""),
        ];
        for (strategy, name, unit, kind, want) in cases {
            let got = metric_name(&config(strategy), name, unit, kind);
            assert_eq!(got.as_deref(), Ok(want), "{strategy:?} {name} {unit} {kind:?}");
        }
    }

    #[test]
    fn metric_names_that_cannot_be() {
        for (strategy, name, kind) in
            [(Suffixes, "@#$%", Gauge), (Plain, "@#$%", Gauge), (Plain, "ö_ö", Gauge), (Suffixes, "", Gauge)]
        {
            assert!(metric_name(&config(strategy), name, "", kind).is_err(), "{strategy:?} {name}");
        }
    }

    #[test]
    fn unit_names() {
        let cases = [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("1/s", "per_second"),
            ("1", ""),
            ("{x}", ""),
            ("a@b#c/d", "a_b_c_per_day"),
            ("x__y", "x_y"),
            ("", ""),
            ("By/{x}", "bytes"),
        ];
        for (unit, want) in cases {
            assert_eq!(unit_name(&Config::default(), unit), want, "{unit}");
        }
    }

    #[test]
    fn label_names() {
        let keep = Config { label_name_underscore_sanitization: false, ..Config::default() };
        let collapse = Config { label_name_preserve_multiple_underscores: false, ..Config::default() };
        let utf8 = config(NoTranslation);
        let cases = [
            ("service.name", &keep, Ok("service_name")),
            ("a:b", &keep, Ok("a_b")),
            ("CamelCase", &keep, Ok("CamelCase")),
            ("a!b&c)", &keep, Ok("a_b_c_")),
            ("ends_with_字符", &keep, Ok("ends_with___")),
            ("1st", &keep, Ok("key_1st")),
            ("1st", &Config::default(), Ok("key_1st")),
            ("_x", &keep, Ok("_x")),
            ("_x", &Config::default(), Ok("key_x")),
            (".x", &Config::default(), Ok("key_x")),
            ("__x", &Config::default(), Ok("__x")),
            ("a__b", &Config::default(), Ok("a__b")),
            ("a__b", &collapse, Ok("a_b")),
            ("a..b", &collapse, Ok("a_b")),
            ("__a..b__", &collapse, Ok("__a_b__")),
            ("__x", &collapse, Ok("key_x")),
            ("ようこそ", &keep, Err(())),
            ("__", &keep, Err(())),
            ("", &keep, Err(())),
            ("", &utf8, Err(())),
            ("__", &utf8, Err(())),
            ("ようこそ", &utf8, Ok("ようこそ")),
            ("a.b", &utf8, Ok("a.b")),
            ("_x", &utf8, Ok("_x")),
        ];
        for (name, config, want) in cases {
            assert_eq!(label_name(config, name).as_deref().map_err(|_| ()), want, "{name}");
        }
    }
}
