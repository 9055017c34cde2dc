//! Answers to OTLP clients, in the format of their request.
//!
//! Source: `ExportMetricsServiceResponse` and `google.rpc.Status`. On full success `partial_success` is
//! left unset, which some clients insist on.

use super::{Format, Receipt};
use crate::wire::push_varint;

/// Longest message in an answer.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The body of a success: `ExportMetricsServiceResponse`.
#[must_use]
pub fn success(format: Format, receipt: &Receipt) -> Vec<u8> {
    let message = cut(&receipt.message);
    let partial = receipt.rejected > 0 || !message.is_empty();
    match format {
        Format::Json if !partial => b"{}".to_vec(),
        Format::Json => {
            let partial = serde_json::json!({
                "rejectedDataPoints": receipt.rejected.to_string(),
                "errorMessage": message,
            });
            serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
        Format::Protobuf if !partial => Vec::new(),
        Format::Protobuf => {
            let mut inner = Vec::new();
            if receipt.rejected > 0 {
                inner.push(0x08);
                push_varint(&mut inner, receipt.rejected);
            }
            push_text(&mut inner, 0x12, message);
            let mut out = vec![0x0a];
            push_varint(&mut out, inner.len() as u64);
            out.append(&mut inner);
            out
        }
    }
}

/// The body of a failure: `google.rpc.Status` with a gRPC code.
#[must_use]
pub fn status(format: Format, code: u32, message: &str) -> Vec<u8> {
    let message = cut(message);
    match format {
        Format::Json => serde_json::json!({ "code": code, "message": message }).to_string().into_bytes(),
        Format::Protobuf => {
            let mut out = Vec::new();
            if code != 0 {
                out.push(0x08);
                push_varint(&mut out, u64::from(code));
            }
            push_text(&mut out, 0x12, message);
            out
        }
    }
}

fn push_text(into: &mut Vec<u8>, tag: u8, text: &str) {
    if !text.is_empty() {
        into.push(tag);
        push_varint(into, text.len() as u64);
        into.extend(text.as_bytes());
    }
}

fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]
}
