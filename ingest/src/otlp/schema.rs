//! The messages of an OTLP metrics request as tables, for the JSON decoder.
//!
//! Source: `opentelemetry/proto/metrics/v1/metrics.proto` and the messages it uses, version 1.

use Kind::{
    Base64, Bool, Double, Enum, Fixed64, Hex, Message, SignedFixed64, Text, Uint32, Varint, Zigzag32,
};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Bytes, in hex.
    Hex,
    Base64,
    Bool,
    Double,
    Fixed64,
    SignedFixed64,
    /// `int64` or `uint64`.
    Varint,
    Uint32,
    Zigzag32,
    Enum,
    Message(&'static &'static [Spec]),
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Kind {
    /// Whether repeated fields of the kind are packed.
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Text | Hex | Base64 | Message(&_))
    }
    pub(super) fn name(self) -> &'static str {
        match self {
            Text => "text",
            Hex => "hexadecimal text",
            Base64 => "base64 text",
            Bool => "true or false",
            Double => "a number",
            Enum => "a number of the enumeration",
            Message(&_) => "an object",
            Fixed64 | SignedFixed64 | Varint | Uint32 | Zigzag32 => "a whole number",
        }
    }
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Spec {
    /// Its name in lowerCamelCase.
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

impl Spec {
    /// Whether a key means this field: in lowerCamelCase, or as the `.proto` file spells it.
    pub(super) fn is(&self, key: &str) -> bool {
        key == self.name || key.contains('_') && self.is_snake(key)
    }
    fn is_snake(&self, key: &str) -> bool {
        let mut key = key.chars();
        let fits = self.name.chars().all(|c| {
            if c.is_ascii_uppercase() {
                key.next() == Some('_') && key.next() == Some(c.to_ascii_lowercase())
            } else {
                key.next() == Some(c)
            }
        });
        fits && key.next().is_none()
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Spec {
    Spec { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Spec {
    Spec { name, number, kind, repeated: true }
}

/// `ExportMetricsServiceRequest`.
pub(super) static EXPORT_REQUEST: &[Spec] = &[many("resourceMetrics", 1, Message(&RESOURCE_METRICS))];

static RESOURCE_METRICS: &[Spec] = &[
    one("resource", 1, Message(&RESOURCE)),
    many("scopeMetrics", 2, Message(&SCOPE_METRICS)),
    one("schemaUrl", 3, Text),
];
static RESOURCE: &[Spec] =
    &[many("attributes", 1, Message(&KEY_VALUE)), one("droppedAttributesCount", 2, Uint32)];
static SCOPE_METRICS: &[Spec] =
    &[one("scope", 1, Message(&SCOPE)), many("metrics", 2, Message(&METRIC)), one("schemaUrl", 3, Text)];
static SCOPE: &[Spec] = &[
    one("name", 1, Text),
    one("version", 2, Text),
    many("attributes", 3, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 4, Uint32),
];
static KEY_VALUE: &[Spec] = &[one("key", 1, Text), one("value", 2, Message(&ANY_VALUE))];
static ANY_VALUE: &[Spec] = &[
    one("stringValue", 1, Text),
    one("boolValue", 2, Bool),
    one("intValue", 3, Varint),
    one("doubleValue", 4, Double),
    one("arrayValue", 5, Message(&ARRAY_VALUE)),
    one("kvlistValue", 6, Message(&KEY_VALUE_LIST)),
    one("bytesValue", 7, Base64),
];
static ARRAY_VALUE: &[Spec] = &[many("values", 1, Message(&ANY_VALUE))];
static KEY_VALUE_LIST: &[Spec] = &[many("values", 1, Message(&KEY_VALUE))];
static METRIC: &[Spec] = &[
    one("name", 1, Text),
    one("description", 2, Text),
    one("unit", 3, Text),
    one("gauge", 5, Message(&GAUGE)),
    one("sum", 7, Message(&SUM)),
    one("histogram", 9, Message(&HISTOGRAM)),
    one("exponentialHistogram", 10, Message(&EXPONENTIAL_HISTOGRAM)),
    one("summary", 11, Message(&SUMMARY)),
    many("metadata", 12, Message(&KEY_VALUE)),
];
static GAUGE: &[Spec] = &[many("dataPoints", 1, Message(&NUMBER_POINT))];
static SUM: &[Spec] = &[
    many("dataPoints", 1, Message(&NUMBER_POINT)),
    one("aggregationTemporality", 2, Enum),
    one("isMonotonic", 3, Bool),
];
static HISTOGRAM: &[Spec] =
    &[many("dataPoints", 1, Message(&HISTOGRAM_POINT)), one("aggregationTemporality", 2, Enum)];
static EXPONENTIAL_HISTOGRAM: &[Spec] =
    &[many("dataPoints", 1, Message(&EXPONENTIAL_POINT)), one("aggregationTemporality", 2, Enum)];
static SUMMARY: &[Spec] = &[many("dataPoints", 1, Message(&SUMMARY_POINT))];
static NUMBER_POINT: &[Spec] = &[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("asDouble", 4, Double),
    many("exemplars", 5, Message(&EXEMPLAR)),
    one("asInt", 6, SignedFixed64),
    many("attributes", 7, Message(&KEY_VALUE)),
    one("flags", 8, Uint32),
];
static HISTOGRAM_POINT: &[Spec] = &[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("bucketCounts", 6, Fixed64),
    many("explicitBounds", 7, Double),
    many("exemplars", 8, Message(&EXEMPLAR)),
    many("attributes", 9, Message(&KEY_VALUE)),
    one("flags", 10, Uint32),
    one("min", 11, Double),
    one("max", 12, Double),
];
static EXPONENTIAL_POINT: &[Spec] = &[
    many("attributes", 1, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    one("scale", 6, Zigzag32),
    one("zeroCount", 7, Fixed64),
    one("positive", 8, Message(&BUCKETS)),
    one("negative", 9, Message(&BUCKETS)),
    one("flags", 10, Uint32),
    many("exemplars", 11, Message(&EXEMPLAR)),
    one("min", 12, Double),
    one("max", 13, Double),
    one("zeroThreshold", 14, Double),
];
static BUCKETS: &[Spec] = &[one("offset", 1, Zigzag32), many("bucketCounts", 2, Varint)];
static SUMMARY_POINT: &[Spec] = &[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("quantileValues", 6, Message(&QUANTILE)),
    many("attributes", 7, Message(&KEY_VALUE)),
    one("flags", 8, Uint32),
];
static QUANTILE: &[Spec] = &[one("quantile", 1, Double), one("value", 2, Double)];
static EXEMPLAR: &[Spec] = &[
    one("timeUnixNano", 2, Fixed64),
    one("asDouble", 3, Double),
    one("spanId", 4, Hex),
    one("traceId", 5, Hex),
    one("asInt", 6, SignedFixed64),
    many("filteredAttributes", 7, Message(&KEY_VALUE)),
];
