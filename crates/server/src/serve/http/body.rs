//! Bodies. Requests are read under limits on size and time; responses hold their permit until they are sent.

use std::pin::Pin;
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

/// The announced length of the body; without one, the limit.
pub fn announced_bytes(headers: &HeaderMap, bytes_max: u64) -> Result<u64, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match announced {
        Some(bytes) if bytes > bytes_max => Err(ApiError::body_too_large(bytes_max)),
        Some(bytes) => Ok(bytes),
        None => Ok(bytes_max),
    }
}

/// Requires the content type of JSON.
pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::media_type()) }
}

/// Reads the body within both limits.
pub async fn read(body: &mut Body, bytes_max: u64, time_max: Duration) -> Result<Vec<u8>, ApiError> {
    let announced = body.size_hint().exact().unwrap_or(0);
    let capacity = usize::try_from(announced.min(bytes_max)).unwrap_or(0);
    let whole = async {
        // Doubling a vector would take three times its size for a moment.
        let mut bytes = Vec::with_capacity(capacity);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::json(format!("the body cannot be read: {error}")))?;
            let Some(data) = frame.data_ref() else { continue };
            if (bytes.len() + data.len()) as u64 > bytes_max {
                return Err(ApiError::body_too_large(bytes_max));
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(time_max, whole).await;
    read.unwrap_or_else(|_| Err(ApiError::body_too_slow(time_max.as_secs_f64())))
}

/// Reads and drops the rest of a rejected body. True when it reached the end: the connection then stays open, and a
/// client that got status 429 can retry on it. Closing a connection with unread bytes resets it, and the reset can
/// overtake the response.
pub async fn discard(headers: &HeaderMap, body: &mut Body) -> bool {
    // Such a client waits for `100 Continue` before it sends the body, and reading the body would send that.
    if headers.contains_key(header::EXPECT) {
        return false;
    }
    let whole = async {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.ok()?.data_ref().map_or(0, Bytes::len);
            (bytes <= DISCARD_BYTES_MAX).then_some(())?;
        }
        Some(())
    };
    tokio::time::timeout(DISCARD_TIME_MAX, whole).await.is_ok_and(|whole| whole.is_some())
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
