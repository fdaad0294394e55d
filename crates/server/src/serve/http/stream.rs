//! Responses that are encoded while they are sent.
//!
//! A vector takes 4 bytes per value, its JSON about 12. A response is therefore held as vectors, and encoded part by part
//! when the socket takes more: a client that does not read costs the vectors and [`BUFFER_BYTES`], all of which the permit
//! has counted since before they were computed. Each vector is freed, and its bytes are released, when it is encoded.
//!
//! The parts are encoded twice: first to add up their lengths for `content-length`, which clients and proxies rely on and
//! which tells a complete response from a cut one. That costs some microseconds per vector, which took milliseconds to
//! compute. Both passes give the thread back after each [`CHUNK_BYTES`], so a long response does not delay others.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};

use super::super::admission::Permit;
use super::body::CountedBody;
use super::json;

/// Bytes that are encoded without a pause, and passed to the connection at a time. A response of at most this size is
/// encoded as a whole.
const CHUNK_BYTES: usize = 32 << 10;
/// Frames that one poll of a connection gets.
const FRAMES_PER_POLL: usize = 4;
/// Encoded bytes that one response holds at most: hyper buffers 64 KiB and a frame, and one is being encoded.
pub const BUFFER_BYTES: usize = 4 * CHUNK_BYTES;

/// A document that is encoded in parts of bounded size.
pub trait Parts: Send + Unpin + 'static {
    /// Number of parts.
    fn count(&self) -> usize;

    /// Appends one part. Parts are written in order, each any number of times.
    fn write(&self, part: usize, out: &mut Vec<u8>);

    /// Frees what only this part needs; it is not written again. Returns the number of bytes.
    fn free(&mut self, _part: usize) -> u64 {
        0
    }

    /// Bytes that are held for all parts.
    fn held_bytes(&self) -> u64;
}

/// A response that holds the permit until it has been sent.
pub async fn respond(mut parts: impl Parts, permit: Permit) -> Response<Body> {
    let (count, mut next, mut first) = (parts.count(), 0, Vec::new());
    while next < count && first.len() < CHUNK_BYTES {
        parts.write(next, &mut first);
        next += 1;
    }
    if next == count {
        drop(parts);
        return json::response(Body::new(CountedBody::new(first, permit)));
    }
    let rest = length(&parts, next).await;
    let length = first.len() as u64 + rest;
    for part in 0..next {
        parts.free(part);
    }
    let permit = permit.into_response(parts.held_bytes() + BUFFER_BYTES as u64);
    json::response(Body::new(StreamedBody { parts, next, chunk: first, length, permit, frames: 0 }))
}

/// Bytes of the parts from `next` on.
async fn length(parts: &impl Parts, next: usize) -> u64 {
    let (mut length, mut scratch) = (0, Vec::new());
    for part in next..parts.count() {
        parts.write(part, &mut scratch);
        if scratch.len() >= CHUNK_BYTES {
            length += scratch.len() as u64;
            scratch.clear();
            tokio::task::yield_now().await;
        }
    }
    length + scratch.len() as u64
}

struct StreamedBody<P> {
    parts: P,
    next: usize,
    /// Encoded and not sent.
    chunk: Vec<u8>,
    /// Bytes that are not sent, encoded or not.
    length: u64,
    permit: Permit,
    frames: usize,
}

impl<P: Parts> HttpBody for StreamedBody<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = &mut *self;
        if body.frames == FRAMES_PER_POLL {
            body.frames = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        body.frames += 1;
        let mut chunk = std::mem::take(&mut body.chunk);
        while body.next < body.parts.count() && chunk.len() < CHUNK_BYTES {
            body.parts.write(body.next, &mut chunk);
            let freed = body.parts.free(body.next);
            body.permit.release(freed);
            body.next += 1;
        }
        body.length = body.length.saturating_sub(chunk.len() as u64);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk.into()))))
    }

    /// Always false: hyper polls again after it has sent the data, and drops the body at the end.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::header;
    use http_body_util::BodyExt;

    use super::super::super::admission::{Admission, AdmissionLimits};
    use super::super::super::client::Client;
    use super::*;

    /// Parts of 1000 bytes.
    struct Thousands(Vec<Vec<u8>>);

    impl Parts for Thousands {
        fn count(&self) -> usize {
            self.0.len()
        }
        fn write(&self, part: usize, out: &mut Vec<u8>) {
            assert!(!self.0[part].is_empty(), "a freed part is written");
            out.extend(&self.0[part]);
        }
        fn free(&mut self, part: usize) -> u64 {
            std::mem::take(&mut self.0[part]).len() as u64
        }
        fn held_bytes(&self) -> u64 {
            self.0.iter().map(|part| part.len() as u64).sum()
        }
    }

    fn response(parts: usize) -> (Arc<Admission>, Response<Body>) {
        let admission = Admission::new(AdmissionLimits { requests_max: 9, bytes_max: 1 << 30 });
        let mut permit = admission.admit(&Client::from_name("a")).ok().unwrap();
        permit.charge(1 << 20).ok().unwrap();
        let parts = Thousands((0..parts).map(|part| vec![part as u8; 1000]).collect());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (admission, runtime.block_on(respond(parts, permit)))
    }

    #[test]
    fn a_long_response_has_its_exact_length_and_releases_each_part_when_it_is_encoded() {
        let (admission, response) = response(1000);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(1_000_000));
        let (_, before) = admission.inflight();
        assert!(before > 960_000 && before < 1_000_000 + BUFFER_BYTES as u64, "{before}");
        let (mut bytes, mut last) = (Vec::new(), before + 1);
        while let Some(frame) = runtime.block_on(body.frame()) {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() < CHUNK_BYTES + 1000);
            bytes.extend_from_slice(&data);
            let (_, now) = admission.inflight();
            assert!(now <= last, "{now} {last}");
            last = now;
        }
        assert!((0..1000).all(|part| bytes[part * 1000..][..1000] == vec![part as u8; 1000]));
        assert_eq!((bytes.len(), last), (1_000_000, BUFFER_BYTES as u64));
        drop(body);
        assert_eq!(admission.inflight(), (0, 0));
    }

    #[test]
    fn a_short_response_is_encoded_as_a_whole_and_counts_its_own_bytes() {
        let (admission, response) = response(3);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.body().size_hint().exact(), Some(3000));
        assert_eq!(admission.inflight(), (0, 3000));
    }
}
