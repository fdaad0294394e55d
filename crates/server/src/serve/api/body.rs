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

pub async fn read(body: Body, bytes_max: u64, time_max: Duration) -> Result<Vec<u8>, ApiError> {
    let whole = async {
        let (mut body, mut bytes) = (body, Vec::new());
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
