//! The layer around every request: request id, client, host, authentication, metrics, log line, the response to a panic
//! of the handler, and the rest of a body that the handler has not read.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::super::admission::Phase;
use super::super::client::Client;
use super::super::state::AppState;
use super::body::{self, SharedBody};
use super::connection::Connection;
use super::context::RequestContext;
use super::error::ApiError;
use super::{auth, forwarded};
use crate::log::{self, REQUEST};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client is replaced.
const ID_BYTES_MAX: usize = 128;
/// Status in log and metrics of a request whose client has disconnected. It is never sent.
const STATUS_CLIENT_CLOSED: u16 = 499;
/// Logged as a warning, with what the request waited for.
const STATUS_TIMEOUT: u16 = 504;

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
        let phase = (status == STATUS_TIMEOUT).then(|| self.context.phase());
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
                    phase = phase.map(tracing::field::display),
                    queued_ms = usage.map(|usage| millis(usage.queued)),
                    "request"
                )
            };
        }
        match status {
            500 => event!(error),
            STATUS_TIMEOUT => event!(warn),
            _ => event!(info),
        }
    }
}

/// Rounded to 0.1 ms.
fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// The layer.
pub async fn log_request(
    State(state): State<Arc<AppState>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let (body, rest) = body::share(body);
    let id = request_id(&head.headers);
    let connection = head.extensions.get::<Connection>().cloned();
    let identified = identify(&state, &head, connection.as_ref());
    // Such a client waits for `100 Continue` before it sends the body, and reading the body would send that.
    let expects_continue = head.headers.contains_key(header::EXPECT);
    let context = RequestContext::new(identified.client);
    let mut log = LogOnDrop {
        state: &state,
        context: context.clone(),
        id: &id,
        method: log::excerpt(head.method.as_str()).to_owned(),
        path: log::excerpt(head.uri.path()).to_owned(),
        status: None,
    };
    head.extensions.insert(context);
    let request = Request::from_parts(head, body);

    let mut handler = pin!(async {
        match identified.access {
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
    // The time of the request ends here: how long the client takes to send the rest is not the server's.
    drop(log);
    let is_complete = rest.is_end_stream() || {
        let waits = !expects_continue && !is_too_slow(response.status());
        discard(rest, waits, connection.as_ref()).await
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if !is_complete || state.admission.phase() == Phase::Draining {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the response says that the body has not arrived in time. Such a client gets it at once.
fn is_too_slow(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT)
}

/// Reads the rest of a body that no handler has read, if `waits`; true when there is none left. Meanwhile the connection
/// may close to make room for another one.
async fn discard(rest: SharedBody, waits: bool, connection: Option<&Connection>) -> bool {
    if let Some(connection) = connection {
        connection.rejected();
    }
    let is_complete = waits && rest.discard().await;
    if let Some(connection) = connection
        && !is_complete
    {
        connection.linger();
    }
    is_complete
}

/// Who sends a request, and whether it is accepted.
struct Identified {
    client: Client,
    access: Result<(), ApiError>,
}

fn identify(state: &AppState, head: &Parts, connection: Option<&Connection>) -> Identified {
    let of_connection = connection.map(|connection| {
        let forwarded = forwarded::client_address(&head.headers, connection.peer, &state.trusted_proxies);
        forwarded.map_or_else(|| connection.peer.client(), Client::from_address)
    });
    let client = of_connection.unwrap_or_else(|| Client::from_name("unknown"));
    let hosts = connection
        .map_or(Ok(()), |connection| connection.hosts.check(&head.uri, &head.headers, connection.local));
    match hosts.and_then(|()| auth::authenticate(state, &head.headers, head.uri.path())) {
        Ok(of_key) => Identified { client: of_key.unwrap_or(client), access: Ok(()) },
        Err(error) => Identified { client, access: Err(error) },
    }
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
