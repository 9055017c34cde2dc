//! A connection's byte stream under time limits, so that a slow or silent client gives its place back.
//!
//! Three limits: a request's head must be complete some seconds after its first byte (and after connecting),
//! a connection without a request is closed after a while, and a client that reads nothing of its answer is
//! given up. While a request is being answered nothing limits reading here: its body is read under
//! [`super::read_body`]'s limits, and waiting for end of file is how a vanished client is noticed.
//!
//! It also escapes the quotes and angle brackets of a request line: `curl 'host/api/v1/query?query=up{a="b"}'`
//! is not a valid URL, but Prometheus answers it and its documentation shows it, while hyper refuses it.

use super::tls::Transport;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Whether a request is being answered on this connection; told by the service, read by the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Serving(Arc<Turns>);

#[derive(Debug, Default)]
struct Turns {
    /// Beginnings and ends of answers: odd while a request is being answered.
    count: AtomicU64,
    /// Whether bytes wait to be taken by the client.
    writing: AtomicBool,
    /// The connection, when it waits for bytes meanwhile.
    reader: Mutex<Option<Waker>>,
}

impl Serving {
    /// A request's head was read.
    pub(super) fn begin(&self) {
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }
    /// Its answer was sent or given up. The connection is woken, because hyper does not ask for bytes again
    /// when it has asked already, and the limits would not begin to count.
    pub(super) fn end(&self) {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        let reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
    /// Whether no request is being answered and every answer was handed to the network.
    pub(super) fn is_idle(&self) -> bool {
        self.turn().is_multiple_of(2) && !self.0.writing.load(Ordering::Acquire)
    }
    fn turn(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }
    fn wake_at_end(&self, cx: &Context<'_>) {
        *self.0.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing is awaited, or without limit.
    No,
    /// For the first byte of a request.
    Request,
    /// For the rest of its head.
    Head,
}

/// A stream that fails with `TimedOut` when a limit passes.
pub(super) struct TimedStream {
    stream: Transport,
    serving: Serving,
    waiting: Waiting,
    /// The turn in which `waiting` was set.
    turn: u64,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Whether the end of the request line was read.
    line_ended: bool,
    /// Bytes read that had no room in the caller's buffer after escaping.
    escaped: VecDeque<u8>,
    head: Duration,
    idle: Duration,
    write: Duration,
}

impl TimedStream {
    pub(super) fn new(stream: Transport, serving: Serving, limits: &super::Limits) -> Self {
        Self {
            stream,
            serving,
            waiting: Waiting::No,
            turn: 0,
            read_timer: Box::pin(sleep_until(Instant::now() + limits.head)),
            write_timer: None,
            line_ended: false,
            escaped: VecDeque::new(),
            head: limits.head,
            idle: limits.idle,
            write: limits.write,
        }
    }
    fn wait_for(&mut self, what: Waiting, at_most: Duration) {
        self.waiting = what;
        self.read_timer.as_mut().reset(Instant::now() + at_most);
    }
    /// Escapes what was read into `buf` behind `from`, as far as it belongs to the request line.
    fn escape_line(&mut self, buf: &mut ReadBuf<'_>, from: usize) {
        if self.line_ended {
            return;
        }
        let read = &buf.filled()[from..];
        let end = read.iter().position(|b| *b == b'\n');
        self.line_ended = end.is_some();
        let line = &read[..end.unwrap_or(read.len())];
        if !line.iter().any(|b| escape(*b).is_some()) {
            return;
        }
        for byte in line {
            match escape(*byte) {
                Some(escaped) => self.escaped.extend(escaped),
                None => self.escaped.push_back(*byte),
            }
        }
        self.escaped.extend(&read[line.len()..]);
        buf.set_filled(from);
        self.give_escaped(buf);
    }
    fn give_escaped(&mut self, buf: &mut ReadBuf<'_>) {
        let room = buf.remaining().min(self.escaped.len());
        let bytes: Vec<u8> = self.escaped.drain(..room).collect();
        buf.put_slice(&bytes);
    }
    /// Fails once a blocked write has made no progress for too long.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.serving.0.writing.store(result.is_pending(), Ordering::Release);
        if result.is_ready() {
            self.write_timer = None;
            return result;
        }
        let at_most = self.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + at_most)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn escape(byte: u8) -> Option<&'static [u8; 3]> {
    match byte {
        b'"' => Some(b"%22"),
        b'<' => Some(b"%3C"),
        b'>' => Some(b"%3E"),
        _ => None,
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.escaped.is_empty() {
            this.give_escaped(buf);
            return Poll::Ready(Ok(()));
        }
        let turn = this.serving.turn();
        if turn % 2 == 1 {
            let read = Pin::new(&mut this.stream).poll_read(cx, buf);
            if read.is_pending() {
                this.serving.wake_at_end(cx);
            }
            return read;
        }
        if this.waiting == Waiting::No || this.turn != turn {
            this.turn = turn;
            this.line_ended = false;
            let at_most = if turn == 0 { this.head } else { this.idle };
            this.wait_for(Waiting::Request, at_most);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                this.escape_line(buf, before);
                if this.waiting == Waiting::Request {
                    this.wait_for(Waiting::Head, this.head);
                }
                Poll::Ready(done)
            }
            Poll::Pending => match this.read_timer.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch_write(cx, result)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch_write(cx, result)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch_write(cx, result)
    }
}
