//! What stands around every request: its id, its client, the count and the log line at its end, and the answer when its
//! handler panics.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::super::admission::Phase;
use super::super::app::App;
use super::super::client::Client;
use super::super::log::Level;
use super::auth;
use super::error::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id is taken over when it is no longer than this and plain.
const ID_BYTES_MAX: usize = 128;

#[derive(Clone)]
pub struct RequestContext {
    pub client: Client,
    pub started: Instant,
    notes: Arc<Mutex<Option<(usize, Duration)>>>,
}

impl RequestContext {
    /// For the log line.
    pub fn note(&self, tokens: usize, queued: Duration) {
        *self.notes.lock().unwrap_or_else(PoisonError::into_inner) = Some((tokens, queued));
    }
}

/// Says what became of the request, also when it is dropped because its client has gone.
struct Line<'a> {
    app: &'a App,
    context: RequestContext,
    id: &'a str,
    method: String,
    path: String,
    status: Option<u16>,
}

/// What a client that went away is counted as; no such answer is ever sent.
const STATUS_CLIENT_GONE: u16 = 499;

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(STATUS_CLIENT_GONE);
        let time = self.context.started.elapsed();
        self.app.metrics.request(route(&self.path), status, time);
        let mut fields = vec![
            ("id", self.id.to_owned()),
            ("client", self.context.client.to_string()),
            ("method", self.method.clone()),
            ("path", self.path.clone()),
            ("status", status.to_string()),
            ("ms", format!("{:.1}", time.as_secs_f64() * 1e3)),
        ];
        if let Some((tokens, queued)) = *self.context.notes.lock().unwrap_or_else(PoisonError::into_inner) {
            fields.push(("tokens", tokens.to_string()));
            fields.push(("queued_ms", format!("{:.1}", queued.as_secs_f64() * 1e3)));
        }
        let level = if status == 500 { Level::Error } else { Level::Info };
        self.app.log.request(level, &fields);
    }
}

pub async fn around(State(app): State<Arc<App>>, mut request: Request<Body>, next: Next) -> Response<Body> {
    let id = request_id(request.headers());
    let identified = auth::identify(&app, &mut request);
    let client =
        request.extensions().get::<Client>().cloned().unwrap_or_else(|| Client::from_name("unknown"));
    let context = RequestContext { client, started: Instant::now(), notes: Arc::default() };
    let mut line = Line {
        app: &app,
        context: context.clone(),
        id: &id,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        status: None,
    };
    request.extensions_mut().insert(context);

    let mut handler = pin!(async {
        match identified {
            Ok(()) => next.run(request).await,
            Err(refused) => refused.into_response(),
        }
    });
    let mut response = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))).unwrap_or_else(|_| {
            let error = ApiError::internal("the handler of this request panicked; the message is in the log");
            Poll::Ready(error.into_response())
        })
    })
    .await;

    line.status = Some(response.status().as_u16());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if app.admission.phase() == Phase::Draining {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let sent = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    match sent {
        Some(id) if (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => format!("{:x}-{:06x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// A label with few values, whatever paths clients make up.
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
