//! OTLP over gRPC: `MetricsService/Export`, gzip and zstd.
//!
//! The message is handed to the decoder as it came, so nothing is built that is not stored. A message
//! over the limit answers RESOURCE_EXHAUSTED, which clients do not repeat; what may succeed later answers
//! UNAVAILABLE with a delay, and nothing else does.

use crate::access::{Role, Unknown};
use crate::api::otlp::{BODY_BYTES_MAX, code, store};
use crate::api::write::{Room, room_for_call};
use crate::error::ApiError;
use crate::net::{Surroundings, Transport};
use crate::state::App;
use bytes::{Buf, BufMut, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ingest::Encoding;
use ingest::otlp::{Format, response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::UnaryService;
use tonic::{Code, Status};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Exports under way on one connection.
const STREAMS_MAX: u32 = 32;
/// Length assumed for a message before it is here, in bytes.
const MESSAGE_BYTES: u64 = 2 << 20;

/// Its name in ALPN.
pub const HTTP2: &[u8] = b"h2";

/// Answers the exports of a connection until it ends.
pub async fn connection(stream: Transport, app: Arc<App>, around: Surroundings) {
    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&app), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(64 * 1024)
        // A peer that does not answer pings is gone, and its connection is given up.
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = around.stop.raised() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() != EXPORT {
        return Ok(Status::unimplemented("only metrics are received here").into_http());
    }
    match app.access.caller(request.headers()).await {
        Ok(caller) if caller.roles.contain(Role::Write) => {}
        Ok(_) => {
            app.access.count_forbidden();
            return Ok(Status::permission_denied("this needs the role write").into_http());
        }
        Err(Unknown::Unauthorized) => return Ok(Status::unauthenticated("Unauthorized").into_http()),
        Err(Unknown::Busy) => {
            return Ok(Status::unavailable("too many passwords are being checked").into_http());
        }
    }
    let at_most = app.limits.body;
    let answered = tokio::time::timeout(at_most, export(app, request)).await;
    Ok(answered.unwrap_or_else(|_| Status::unavailable("the message did not arrive in time").into_http()))
}

async fn export(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let room = match room_for_call(&app, MESSAGE_BYTES).await {
        Ok(room) => room,
        Err(error) => return status(&error).into_http(),
    };
    let export = Export { app, room: Some(room) };
    let mut grpc = tonic::server::Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(BODY_BYTES_MAX);
    let answer = grpc.unary(export, request).await;
    // For a message over the limit tonic says OUT_OF_RANGE, which OTLP clients take for "try again".
    let out_of_range = i32::from(Code::OutOfRange).to_string();
    if answer.headers().get(Status::GRPC_STATUS).is_some_and(|code| code == out_of_range.as_str()) {
        return Status::resource_exhausted(format!("message larger than {BODY_BYTES_MAX} bytes")).into_http();
    }
    answer
}

/// One call.
struct Export {
    app: Arc<App>,
    room: Option<Room>,
}

impl UnaryService<Bytes> for Export {
    type Response = Vec<u8>;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<Vec<u8>>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (app, room) = (Arc::clone(&self.app), self.room.take());
        Box::pin(async move {
            let room = room.ok_or_else(|| Status::internal("a unary call has one message"))?;
            let stored = store(&app, Format::Protobuf, Encoding::Identity, request.into_inner(), room).await;
            match stored {
                Ok(receipt) => Ok(tonic::Response::new(response::success(Format::Protobuf, &receipt))),
                Err(error) => Err(status(&error)),
            }
        })
    }
}

fn status(error: &ApiError) -> Status {
    let code = code(error);
    let grpc_code = Code::from_i32(code.cast_signed());
    if grpc_code != Code::Unavailable {
        return Status::new(grpc_code, error.message.clone());
    }
    // google.rpc.Status with a RetryInfo of one second.
    let mut details = response::status(Format::Protobuf, code, &error.message);
    let (kind, retry) = (b"type.googleapis.com/google.rpc.RetryInfo", [0x0a, 0x02, 0x08, 0x01]);
    let mut any = vec![0x0a, kind.len() as u8];
    any.extend(kind);
    any.extend([0x12, retry.len() as u8]);
    any.extend(retry);
    details.extend([0x1a, any.len() as u8]);
    details.extend(any);
    Status::with_details(grpc_code, error.message.clone(), details.into())
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
