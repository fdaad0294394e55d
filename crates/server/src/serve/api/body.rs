//! Bodies: requests are read whole, under limits of size and of time; answers hold their permit until they are sent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::super::admission::Permit;
use super::error::ApiError;

/// Of a body that is refused. Beyond these its connection is closed.
const DISCARD_BYTES_MAX: usize = 32 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// What the body says of its own length; without a length, the most that would be read.
pub fn announced_bytes(headers: &HeaderMap, bytes_max: u64) -> Result<u64, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match announced {
        Some(bytes) if bytes > bytes_max => Err(ApiError::body_too_large(bytes_max)),
        Some(bytes) => Ok(bytes),
        None => Ok(bytes_max),
    }
}

pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::media_type()) }
}

pub async fn read(body: &mut Body, bytes_max: u64, time_max: Duration) -> Result<Vec<u8>, ApiError> {
    let whole = async {
        let mut bytes = Vec::new();
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

/// Reads on what a refused request still sends, and keeps none of it. Whether it came to its end: then its connection can
/// be kept, and a client that is told 429 need not open a new one to ask again. Closing with unread bytes is a reset, which
/// can take the answer with it before the client has read it.
pub async fn discard(headers: &HeaderMap, body: &mut Body) -> bool {
    // Such a client sends nothing before it is told to, and reading would tell it to.
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

/// An answer whose bytes count until the connection has taken them.
pub struct HeldBody {
    data: Option<Bytes>,
    _permit: Permit,
}

impl HeldBody {
    pub fn new(data: Vec<u8>, permit: Permit) -> Self {
        let permit = permit.into_answer(data.len() as u64);
        Self { data: Some(data.into()), _permit: permit }
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    /// Never at its end before it was asked once more: hyper asks when it has passed the data on, and then drops it.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
