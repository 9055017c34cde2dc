//! Metric families as text: the Prometheus format 0.0.4 and OpenMetrics 1.0.

use super::family::{Family, Kind};
use crate::wire::number;
use hyper::HeaderMap;
use hyper::header;

/// Which text a scraper gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// The format a scraper prefers, by the weights in its `Accept` header.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Self::Prometheus);
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        for range in values.flat_map(|v| v.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Self::Prometheus,
                _ => continue,
            };
            let weight = parts.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The families as text.
#[must_use]
pub fn render(families: &[Family], format: Format) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * 1024);
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        // In OpenMetrics `_total` belongs to the sample, not to the family.
        let name = match (format, family.kind) {
            (Format::OpenMetrics, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(family.name),
            _ => family.name,
        };
        out.extend_from_slice(format!("# HELP {name} ").as_bytes());
        push_escaped(&mut out, family.help, format == Format::OpenMetrics);
        out.extend_from_slice(format!("\n# TYPE {name} {kind}\n").as_bytes());
        for sample in &family.samples {
            out.extend_from_slice(family.name.as_bytes());
            out.extend_from_slice(sample.suffix.as_bytes());
            push_labels(&mut out, sample.labels.iter().map(|(n, v)| (*n, v.as_str())));
            out.push(b' ');
            number::push_exposition(&mut out, sample.value);
            out.push(b'\n');
        }
    }
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

/// Appends `{a="b",…}`, nothing for no labels; names that are no identifiers are quoted.
pub fn push_labels<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut any = false;
    for (name, value) in labels {
        out.push(if any { b',' } else { b'{' });
        any = true;
        if storage_format::model::labels::is_legacy_name(name) {
            out.extend_from_slice(name.as_bytes());
        } else {
            out.push(b'"');
            push_escaped(out, name, true);
            out.push(b'"');
        }
        out.extend_from_slice(b"=\"");
        push_escaped(out, value, true);
        out.push(b'"');
    }
    if any {
        out.push(b'}');
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::Families;
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let mut families = Families::default();
        families.counter("x_total", "All \"x\".", 3);
        let labels = vec![("path", "a\"b\\c\n".to_owned())];
        families.add("y", "Line\nbreak.", Kind::Gauge, vec![(labels, 0.5)]);
        assert_eq!(
            String::from_utf8(render(&families.0, Format::Prometheus)).unwrap(),
            "# HELP x_total All \"x\".\n# TYPE x_total counter\nx_total 3\n# HELP y Line\\nbreak.\n# TYPE y gauge\ny{path=\"a\\\"b\\\\c\\n\"} 0.5\n"
        );
        assert_eq!(
            String::from_utf8(render(&families.0, Format::OpenMetrics)).unwrap(),
            "# HELP x All \\\"x\\\".\n# TYPE x counter\nx_total 3\n# HELP y Line\\nbreak.\n# TYPE y gauge\ny{path=\"a\\\"b\\\\c\\n\"} 0.5\n# EOF\n"
        );
    }

    #[test]
    fn the_heaviest_accepted_format_wins() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus, Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            ("text/html", Format::Prometheus),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::negotiate(&headers), expected, "{accept}");
        }
    }
}
