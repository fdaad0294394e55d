//! Bodies: the rest of a request body that no handler has read, and responses that hold their permit until they are
//! sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::super::admission::Permit;
use super::error::ApiError;

/// Limits on reading the body of a rejected request. Beyond them the connection is closed.
const DISCARD_BYTES_MAX: usize = 32 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// The announced length of the body, if there is one. Fails when it exceeds the limit.
pub fn announced_bytes(headers: &HeaderMap, bytes_max: u64) -> Result<Option<u64>, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match announced {
        Some(bytes) if bytes > bytes_max => Err(ApiError::body_too_large(bytes_max)),
        announced => Ok(announced),
    }
}

/// Requires the content type of JSON.
pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::media_type()) }
}

/// Shares the body of a request, so that the layer around the handler can read what the handler has left.
pub fn share(body: Body) -> (Body, SharedBody) {
    let shared = SharedBody(Arc::new(Mutex::new(body)));
    (Body::new(shared.clone()), shared)
}

/// A handle of a shared body.
#[derive(Clone)]
pub struct SharedBody(Arc<Mutex<Body>>);

impl SharedBody {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and drops the rest of a body that the handler has not read. True when it reached the end: the connection
    /// then stays open, and a client that got status 429 can retry on it. Closing a connection with unread bytes resets
    /// it, and the reset can overtake the response.
    pub async fn discard(mut self) -> bool {
        let whole = async {
            let mut bytes = 0;
            while let Some(frame) = self.frame().await {
                bytes += frame.ok()?.data_ref().map_or(0, Bytes::len);
                (bytes <= DISCARD_BYTES_MAX).then_some(())?;
            }
            Some(())
        };
        tokio::time::timeout(DISCARD_TIME_MAX, whole).await.is_ok_and(|whole| whole.is_some())
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

/// A response whose bytes count until they are sent.
pub struct CountedBody {
    data: Option<Bytes>,
    _permit: Permit,
}

impl CountedBody {
    /// Turns the permit of the request into that of the response.
    pub fn new(data: Vec<u8>, permit: Permit) -> Self {
        let permit = permit.into_response(data.len() as u64);
        Self { data: Some(data.into()), _permit: permit }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    /// Always false: hyper polls again after it has sent the data, and drops the body at the end.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
