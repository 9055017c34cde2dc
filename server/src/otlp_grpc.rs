//! OTLP over gRPC: `MetricsService/Export`, gzip and zstd.
//!
//! The message is handed to the decoder as it came, so nothing is built that is not stored. A message
//! over the limit answers RESOURCE_EXHAUSTED, which clients do not repeat; what may succeed later answers
//! UNAVAILABLE with a delay, and nothing else does.

use crate::api::otlp::{BODY_BYTES_MAX, code, store};
use crate::api::write::room;
use crate::error::ApiError;
use crate::net::Stop;
use crate::observe::log;
use crate::state::App;
use bytes::{Buf, BufMut, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ingest::Encoding;
use ingest::otlp::{Format, response};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::UnaryService;
use tonic::{Code, Status};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Exports under way on one connection.
const STREAMS_MAX: u32 = 32;
/// Length assumed for a message before it is here, in bytes.
const MESSAGE_BYTES: u64 = 2 << 20;

/// A bound address that serves OTLP over gRPC.
#[derive(Debug)]
pub struct GrpcListener {
    listener: TcpListener,
    connections: Arc<Semaphore>,
}

impl GrpcListener {
    /// Binds `address`; `connections` is shared by all listeners of a process.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(address: &str, connections: Arc<Semaphore>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, connections })
    }
    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
    /// Serves until the stop is raised and the exports under way are answered (or the drain time is over).
    pub async fn serve(self, app: Arc<App>) {
        let mut tasks = JoinSet::new();
        loop {
            let connections = Arc::clone(&self.connections);
            let accepted = tokio::select! {
                () = app.stop.raised() => break,
                accepted = async {
                    let place = connections.acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let connection = connection(stream, Arc::clone(&app), app.stop.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                (Err(_), _) => break,
                (_, Err(error)) => {
                    log::warn("cannot accept a connection", &[("err", &error)]);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
        drop(self.listener);
        let drained = async { while tasks.join_next().await.is_some() {} };
        // What is still under way then was not acknowledged.
        let _ = tokio::time::timeout(app.limits.drain, drained).await;
    }
}

async fn connection(stream: TcpStream, app: Arc<App>, stop: Stop) {
    let _ = stream.set_nodelay(true);
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
        () = stop.raised() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() != EXPORT {
        return Ok(Status::unimplemented("only metrics are received here").into_http());
    }
    let at_most = app.limits.body;
    let answered = tokio::time::timeout(at_most, export(app, request)).await;
    Ok(answered.unwrap_or_else(|_| Status::unavailable("the message did not arrive in time").into_http()))
}

async fn export(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let room = match room(&app, Some(MESSAGE_BYTES)).await {
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
    room: Option<tokio::sync::OwnedSemaphorePermit>,
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
