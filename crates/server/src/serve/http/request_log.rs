//! The layer around every request: request id, authentication, metrics, log line, and the response to a panic of the
//! handler.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::super::admission::Phase;
use super::super::client::Client;
use super::super::state::AppState;
use super::auth;
use super::context::RequestContext;
use super::error::ApiError;
use crate::log::{self, REQUEST};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client is replaced.
const ID_BYTES_MAX: usize = 128;
/// Status in log and metrics of a request whose client has disconnected. It is never sent.
const STATUS_CLIENT_CLOSED: u16 = 499;

/// Logs and counts the request when it is dropped, also when its client disconnects.
struct LogOnDrop<'a> {
    state: &'a AppState,
    context: RequestContext,
    id: &'a str,
    method: String,
    path: String,
    status: Option<u16>,
}

impl Drop for LogOnDrop<'_> {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(STATUS_CLIENT_CLOSED);
        let time = self.context.started.elapsed();
        self.state.metrics.request(route(&self.path), status, time);
        let usage = self.context.usage();
        // The level of an event is a constant, so there are two of them.
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: REQUEST,
                    id = %self.id,
                    client = %self.context.client,
                    method = %self.method,
                    path = %self.path,
                    status,
                    ms = millis(time),
                    tokens = usage.map(|usage| usage.tokens as u64),
                    queued_ms = usage.map(|usage| millis(usage.queued)),
                    "request"
                )
            };
        }
        if status == 500 { event!(error) } else { event!(info) }
    }
}

/// Rounded to 0.1 ms.
fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// The layer.
pub async fn log_request(
    State(state): State<Arc<AppState>>,
    mut request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let id = request_id(request.headers());
    let authenticated = auth::authenticate(&state, &mut request);
    let client = request.extensions().get::<Client>().cloned();
    let context = RequestContext::new(client.unwrap_or_else(|| Client::from_name("unknown")));
    let mut log = LogOnDrop {
        state: &state,
        context: context.clone(),
        id: &id,
        method: log::excerpt(request.method().as_str()).to_owned(),
        path: log::excerpt(request.uri().path()).to_owned(),
        status: None,
    };
    request.extensions_mut().insert(context);

    let mut handler = pin!(async {
        match authenticated {
            Ok(()) => next.run(request).await,
            Err(rejection) => rejection.into_response(),
        }
    });
    let mut response = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))).unwrap_or_else(|_| {
            let error = ApiError::internal("the handler of this request panicked; the message is on stderr");
            Poll::Ready(error.into_response())
        })
    })
    .await;

    log.status = Some(response.status().as_u16());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if state.admission.phase() == Phase::Draining {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The id of the client, if it is short visible ASCII; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let of_client = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    match of_client {
        Some(id) if (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => format!("{:x}-{:06x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The value of the label `route`: few values, for any path of a client.
fn route(path: &str) -> &'static str {
    const ROUTES: &[&str] = &[
        "/v1/embeddings",
        "/v1/infer",
        "/v1/rerank",
        "/tokenize",
        "/v1/models",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/",
    ];
    ROUTES.iter().find(|route| **route == path).copied().unwrap_or("other")
}
