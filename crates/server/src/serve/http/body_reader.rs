//! Reads the body of a request into memory, under limits on size, time and rate. Memory is counted before it is
//! allocated.

use std::time::Duration;

use axum::body::HttpBody;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::super::admission::Permit;
use super::super::options::RequestLimits;
use super::error::ApiError;

/// The rate of a body is measured over windows of this length. A client that pauses for less is not cut off.
const WINDOW: Duration = Duration::from_secs(5);
/// The first allocation for a body.
const CAPACITY_MIN: usize = 4096;
/// When more of a body with a length has arrived, its whole memory is allocated: growing it by copies holds two buffers.
const WHOLE_FROM_BYTES: usize = 64 << 10;

/// Reads the body. `announced` is its length, if the client has sent one.
pub async fn read<B>(
    body: &mut B,
    announced: Option<u64>,
    limits: &RequestLimits,
    permit: &mut Permit,
) -> Result<Vec<u8>, ApiError>
where
    B: HttpBody<Data = axum::body::Bytes, Error: std::fmt::Display> + Unpin,
{
    let bytes_max = limits.body_bytes_max;
    let mut buffer = Buffer::new(announced, bytes_max, permit);
    let end = Instant::now() + limits.body_timeout;
    let mut window = Window::begin();
    loop {
        let frame = match tokio::time::timeout_at(end.min(window.end), body.frame()).await {
            Ok(None) => return Ok(buffer.bytes),
            Ok(Some(frame)) => frame,
            Err(_) if Instant::now() >= end => {
                return Err(ApiError::body_too_slow(limits.body_timeout.as_secs_f64()));
            }
            Err(_) => {
                window.check(limits.body_rate_min)?;
                continue;
            }
        };
        let frame = frame.map_err(|error| ApiError::json(format!("the body cannot be read: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if (buffer.bytes.len() + data.len()) as u64 > bytes_max {
            return Err(ApiError::body_too_large(bytes_max));
        }
        buffer.append(data)?;
        window.bytes += data.len() as u64;
        if Instant::now() >= window.end {
            window.check(limits.body_rate_min)?;
        }
    }
}

/// The bytes that have arrived since the begin of the window.
struct Window {
    end: Instant,
    bytes: u64,
}

impl Window {
    fn begin() -> Self {
        Self { end: Instant::now() + WINDOW, bytes: 0 }
    }

    /// Ends the window and begins the next one. Fails below the minimum rate.
    fn check(&mut self, rate_min: u64) -> Result<(), ApiError> {
        if self.bytes < rate_min.saturating_mul(WINDOW.as_secs()) {
            return Err(ApiError::body_below_rate(rate_min, WINDOW.as_secs()));
        }
        *self = Self::begin();
        Ok(())
    }
}

/// Bytes whose memory is counted.
struct Buffer<'a> {
    bytes: Vec<u8>,
    announced: Option<usize>,
    bytes_max: usize,
    counted: usize,
    permit: &'a mut Permit,
}

impl<'a> Buffer<'a> {
    fn new(announced: Option<u64>, bytes_max: u64, permit: &'a mut Permit) -> Self {
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let announced = announced.map(size);
        Self { bytes: Vec::new(), announced, bytes_max: size(bytes_max), counted: 0, permit }
    }

    fn append(&mut self, data: &[u8]) -> Result<(), ApiError> {
        let len = self.bytes.len() + data.len();
        match self.announced {
            // The kernel backs only pages that are written, so bytes count as they arrive.
            Some(announced) if len > WHOLE_FROM_BYTES => {
                self.count(len.next_multiple_of(WHOLE_FROM_BYTES).min(announced.max(len)))?;
                self.reserve(announced.max(len))?;
            }
            _ if len > self.bytes.capacity() => {
                let capacity = self.bytes.capacity();
                let bytes_max = self.announced.unwrap_or(self.bytes_max).max(len);
                // Doubles, so that bytes are copied once on average, but never beyond what can arrive.
                let grown = len.max(capacity.saturating_mul(2)).max(CAPACITY_MIN).min(bytes_max);
                // Both buffers exist while the bytes are copied.
                self.count(capacity + grown)?;
                self.reserve(grown)?;
                self.permit.release(capacity as u64);
                self.counted = grown;
            }
            _ => {}
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Counts that many bytes in total.
    fn count(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes > self.counted {
            self.permit.charge((bytes - self.counted) as u64)?;
            self.counted = bytes;
        }
        Ok(())
    }

    fn reserve(&mut self, capacity: usize) -> Result<(), ApiError> {
        let additional = capacity.saturating_sub(self.bytes.len());
        self.bytes.try_reserve_exact(additional).map_err(|_| ApiError::out_of_memory())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use axum::body::Bytes;
    use hyper::body::Frame;

    use super::super::super::admission::{Admission, AdmissionLimits};
    use super::super::super::client::Client;
    use super::*;

    const LIMITS: RequestLimits = RequestLimits {
        token_ids: true,
        body_bytes_max: 1 << 20,
        body_timeout: Duration::from_secs(20),
        body_rate_min: 1000,
        timeout: Duration::ZERO,
        inputs_max: 1,
    };

    /// Sends `frames` frames of `bytes` bytes with a pause before each, in simulated time. With `stops` the body never
    /// ends. Returns the outcome, the simulated seconds and the counted bytes.
    fn receive(
        frames: usize,
        bytes: usize,
        pause_ms: u64,
        stops: bool,
        announced: Option<u64>,
        admission: &Arc<Admission>,
    ) -> (Result<usize, ApiError>, u64, u64) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let (sender, mut body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
            let mut sender = Some(sender);
            let send = async {
                for _ in 0..frames {
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                    let Some(sender) = &mut sender else { return };
                    if sender.send(Frame::data(Bytes::from(vec![b'x'; bytes]))).await.is_err() {
                        return;
                    }
                }
                if !stops {
                    sender = None;
                }
                std::future::pending::<()>().await;
            };
            let mut permit = admission.admit(&Client::from_name("a")).unwrap();
            let result = tokio::select! {
                result = read(&mut body, announced, &LIMITS, &mut permit) => result.map(|bytes| bytes.len()),
                () = send => unreachable!(),
            };
            (result, started.elapsed().as_secs(), admission.inflight().1)
        })
    }

    fn admission() -> Arc<Admission> {
        Admission::new(AdmissionLimits { requests_max: 8, bytes_max: 1 << 20 })
    }

    #[test]
    fn counts_the_memory_and_no_more_than_the_announced_length() {
        let (result, _, counted) = receive(10, 1000, 0, false, Some(10_000), &admission());
        assert_eq!((result.unwrap(), counted), (10_000, 10_000));
        let (result, _, counted) = receive(10, 1000, 0, false, None, &admission());
        assert_eq!((result.unwrap(), counted), (10_000, 16_384));
        let (result, _, counted) = receive(1, 30, 0, true, Some(1 << 20), &admission());
        assert_eq!((result.unwrap_err().code(), counted), ("body_timeout", 4096));
        // The whole length is allocated, and what has arrived counts.
        let (result, _, counted) = receive(100, 1000, 0, true, Some(1 << 20), &admission());
        assert_eq!((result.unwrap_err().code(), counted), ("body_timeout", 2 * WHOLE_FROM_BYTES as u64));
        let (result, _, counted) = receive(100, 1000, 0, false, Some(100_000), &admission());
        assert_eq!((result.unwrap(), counted), (100_000, 100_000));
    }

    #[test]
    fn rejects_bytes_above_the_share_while_they_arrive() {
        let admission = admission();
        let mut other = admission.admit(&Client::from_name("b")).unwrap();
        other.charge(700_000).unwrap();
        let (result, _, _) = receive(300, 1000, 0, false, None, &admission);
        assert_eq!(result.unwrap_err().code(), "queue_full");
    }

    #[test]
    fn ends_a_body_without_progress_after_one_window() {
        let (result, seconds, _) = receive(2, 100_000, 0, true, Some(1 << 20), &admission());
        assert_eq!((result.unwrap_err().code(), seconds), ("body_timeout", 2 * WINDOW.as_secs()));
    }

    #[test]
    fn ends_a_body_below_the_minimum_rate_and_keeps_one_above_it() {
        let (result, seconds, _) = receive(60, 900, 1000, false, None, &admission());
        assert_eq!((result.unwrap_err().code(), seconds), ("body_timeout", WINDOW.as_secs()));
        let (result, seconds, _) = receive(15, 1300, 1000, false, None, &admission());
        assert_eq!((result.unwrap(), seconds), (15 * 1300, 15));
    }

    #[test]
    fn ends_a_body_at_the_time_limit_at_any_rate() {
        let (result, seconds, _) = receive(60, 5000, 1000, false, None, &admission());
        assert_eq!((result.unwrap_err().code(), seconds), ("body_timeout", 20));
    }
}
