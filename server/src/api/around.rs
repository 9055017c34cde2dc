//! What happens around every request: counting, panics, CORS, safety headers, compression.

use crate::error::ApiError;
use crate::observe::http::Request as Counted;
use crate::observe::log;
use crate::state::App;
use crate::wire::body;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// The outermost layer.
pub async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut counted = app.metrics.http.begin(&handler_name(&app, request.extensions().get()));
    let origin = request.headers().get(header::ORIGIN).cloned();
    let gzip = body::accepts_gzip(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if changes_something(&method) && is_cross_site(&app, request.headers()) {
        (StatusCode::FORBIDDEN, "cross-site request refused\n").into_response()
    } else {
        catch_panics(&app, for_known_callers(&app, request, next)).await
    };
    if response.status() == StatusCode::FORBIDDEN {
        app.access.count_forbidden();
    }
    let vary = "Accept-Encoding, Origin";
    response.headers_mut().append(header::VARY, HeaderValue::from_static(vary));
    for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    app.access.set_headers(response.headers_mut());
    if let Some(origin) = origin {
        allow_origin(&app, &origin, response.headers_mut());
    }
    if gzip {
        body::compress(&mut response);
    }
    counted.answered(response.status().as_u16());
    let took = counted.begun().elapsed().as_secs_f64();
    log::debug(
        "request",
        &[("method", &method), ("path", &path), ("code", &response.status().as_u16()), ("seconds", &took)],
    );
    response.map(|inner| Body::new(CountedBody { inner, counted }))
}

/// Finds out who sends the request, for the routes to decide.
async fn for_known_callers(app: &App, mut request: Request, next: Next) -> Response {
    match app.access.caller(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(unknown) => unknown.into_response(),
    }
}

/// The route, as Prometheus labels it: `/api/v1/label/:name/values`.
fn handler_name(app: &App, matched: Option<&MatchedPath>) -> String {
    let Some(matched) = matched else { return "/*".to_owned() };
    let prefix = app.flags.prefix();
    let route = matched.as_str().strip_prefix(&prefix).unwrap_or(matched.as_str());
    route.replace('{', ":").replace('}', "")
}

async fn catch_panics(app: &App, answer: impl Future<Output = Response>) -> Response {
    let mut answer = std::pin::pin!(answer);
    let caught =
        std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Err(_) => Poll::Ready(None),
        });
    caught.await.unwrap_or_else(|| {
        app.metrics.panics.fetch_add(1, Ordering::Relaxed);
        ApiError::internal("the request met a defect of the server; its log says more").into_response()
    })
}

/// The endpoints that change something take no GET, and of the others none changes anything.
fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a page of a foreign site sent this request through somebody's browser, without being allowed to.
fn is_cross_site(app: &App, headers: &HeaderMap) -> bool {
    let cross = headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site");
    cross && !headers.get(header::ORIGIN).is_some_and(|origin| is_allowed(app, origin))
}

fn is_allowed(app: &App, origin: &HeaderValue) -> bool {
    let allowed = app.cors_origin.as_ref();
    allowed.is_some_and(|regex| origin.to_str().is_ok_and(|origin| regex.is_match(origin)))
}

fn allow_origin(app: &App, origin: &HeaderValue, headers: &mut HeaderMap) {
    if !is_allowed(app, origin) {
        return;
    }
    // A pattern that admits everything is answered with the wildcard, which forbids credentials.
    let any = app.flags.cors_origin == ".*" || app.flags.cors_origin == "*";
    let origin = if any { HeaderValue::from_static("*") } else { origin.clone() };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Lets nothing through before the storage engine is open.
pub async fn only_when_ready(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.engine() {
        Ok(_) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

struct CountedBody {
    inner: Body,
    counted: Counted,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.counted.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
