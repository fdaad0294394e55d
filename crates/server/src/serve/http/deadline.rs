//! The deadline of a request: the limit of the server, or a shorter one of the client.

use std::future::Future;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

use super::error::ApiError;

/// Header with a time limit in milliseconds. It can shorten the limit of the server, never lengthen it.
pub const HEADER: &str = "x-request-timeout-ms";

/// A point in time, or none.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Option<(Instant, Duration)>,
}

impl Deadline {
    /// The deadline of a request that began at `started`. A `limit` of zero is no limit.
    pub fn of(headers: &HeaderMap, limit: Duration, started: Instant) -> Result<Self, ApiError> {
        let of_client = match headers.get(HEADER) {
            None => None,
            Some(value) => {
                let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
                let ms = ms.filter(|ms| *ms > 0).ok_or_else(|| {
                    ApiError::invalid(
                        HEADER,
                        format!("`{HEADER}` must be a whole number of milliseconds above 0"),
                    )
                })?;
                Some(Duration::from_millis(ms.into()))
            }
        };
        let limit = Some(limit).filter(|limit| !limit.is_zero());
        let shortest = [of_client, limit].into_iter().flatten().min();
        Ok(Self { at: shortest.map(|time| (started + time, time)) })
    }

    /// Runs `work` until the deadline.
    pub async fn limit<T>(&self, work: impl Future<Output = T>) -> Result<T, ApiError> {
        match self.at {
            None => Ok(work.await),
            Some((at, time)) => tokio::time::timeout_at(at.into(), work)
                .await
                .map_err(|_| ApiError::timeout(time.as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(header: Option<&str>, limit_s: u64) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(HEADER, text.parse().unwrap());
        }
        Deadline::of(&headers, Duration::from_secs(limit_s), Instant::now()).unwrap().at.map(|(_, time)| time)
    }

    #[test]
    fn the_header_shortens_the_limit_and_never_lengthens_it() {
        assert_eq!(deadline(None, 30), Some(Duration::from_secs(30)));
        assert_eq!(deadline(Some("250"), 30), Some(Duration::from_millis(250)));
        assert_eq!(deadline(Some("99000"), 30), Some(Duration::from_secs(30)));
        assert_eq!(deadline(None, 0), None);
        assert_eq!(deadline(Some("250"), 0), Some(Duration::from_millis(250)));
    }
}
