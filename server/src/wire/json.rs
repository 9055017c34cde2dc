//! JSON written straight into a byte buffer: strings, label sets, and small documents.
//!
//! No tree and no serde: results are gigabytes of numbers, and everything else is small enough to write by
//! hand. Text coming in is UTF-8 by its type, so every output is valid JSON.

use super::number;
use storage_format::model::Labels;

/// Appends `text` as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..i]);
        done = i + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let hex = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends a label set as an object.
pub fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push_string(out, value);
    }
    out.push(b'}');
}

/// Appends strings as an array.
pub fn push_strings<S: AsRef<str>>(out: &mut Vec<u8>, texts: &[S]) {
    out.push(b'[');
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_string(out, text.as_ref());
    }
    out.push(b']');
}

/// A small document under construction: writes the commas, nothing else.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    /// Whether a value was just completed, so that the next one needs a comma.
    after_value: bool,
}

impl Json {
    /// The bytes written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    fn value(&mut self) -> &mut Vec<u8> {
        if self.after_value {
            self.out.push(b',');
        }
        self.after_value = true;
        &mut self.out
    }
    /// Writes an object whose members `fill` writes.
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(b'{', b'}', fill)
    }
    /// Writes an array whose elements `fill` writes.
    pub fn array(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(b'[', b']', fill)
    }
    fn nested(&mut self, open: u8, close: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.value().push(open);
        self.after_value = false;
        fill(self);
        self.out.push(close);
        self.after_value = true;
        self
    }
    /// Writes a member's name; its value must follow.
    pub fn key(&mut self, name: &str) -> &mut Self {
        push_string(self.value(), name);
        self.out.push(b':');
        self.after_value = false;
        self
    }
    /// Writes a string.
    pub fn string(&mut self, text: &str) -> &mut Self {
        push_string(self.value(), text);
        self
    }
    /// Writes a whole number.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        number::push_integer(self.value(), value);
        self
    }
    /// Writes a number; NaN and infinities, which JSON has not, as 0.
    pub fn float(&mut self, value: f64) -> &mut Self {
        number::push_plain(self.value(), if value.is_finite() { value } else { 0.0 });
        self
    }
    /// Writes `true` or `false`.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.value().extend_from_slice(if value { b"true" } else { b"false" });
        self
    }
    /// Writes an array of strings.
    pub fn strings<S: AsRef<str>>(&mut self, texts: &[S]) -> &mut Self {
        push_strings(self.value(), texts);
        self
    }
    /// Writes bytes that are already JSON.
    pub fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.value().extend_from_slice(json);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"b\\c\n\t\u{1}é\u{1f600}</script>");
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"b\\c\n\t\u0001é😀</script>""#);
    }

    #[test]
    fn commas_stand_between_values_only() {
        let mut json = Json::default();
        json.object(|o| {
            o.key("a").integer(1).key("b").array(|a| {
                a.boolean(true).object(|_| ()).array(|_| ()).string("x");
            });
            o.key("c").float(1.5);
        });
        assert_eq!(json.into_bytes(), br#"{"a":1,"b":[true,{},[],"x"],"c":1.5}"#);
    }

    #[test]
    fn label_sets_are_objects() {
        let mut out = Vec::new();
        push_labels(&mut out, &Labels::from_pairs([("job", "x"), ("__name__", "up")]));
        push_labels(&mut out, &Labels::empty());
        assert_eq!(out, br#"{"__name__":"up","job":"x"}{}"#);
    }
}
