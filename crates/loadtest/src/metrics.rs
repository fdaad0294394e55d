use std::net::SocketAddr;
use std::time::Duration;

use diag::Diagnostic;

use crate::http_client::Client;
use crate::{NOT_MEASURED, peak};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Values of one moment, from `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Resident memory, in bytes.
    pub resident_bytes: f64,
    /// Threads of the process.
    pub threads: f64,
    /// Requests that hold a permit.
    pub requests_held: f64,
    /// Open connections, with the one that reads the values.
    pub connections: f64,
    /// Threads that OpenBLAS uses for one product.
    pub blas_threads: f64,
}

impl Sample {
    /// Reads `/metrics` of a running server.
    pub fn read(address: SocketAddr) -> anyhow::Result<Self> {
        let response = Client::new(address, TIMEOUT).get("/metrics").map_err(|error| {
            Diagnostic::new(&NOT_MEASURED, "the server does not answer /metrics").found(error.to_string())
        })?;
        let sample = Self::parse(&String::from_utf8_lossy(&response.body))?;
        peak::record(sample.resident_bytes as u64);
        Ok(sample)
    }

    fn parse(page: &str) -> Result<Self, Diagnostic> {
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .ok_or_else(|| Diagnostic::new(&NOT_MEASURED, format!("/metrics does not have `{name}`")))
        };
        Ok(Self {
            resident_bytes: value("process_resident_memory_bytes")?,
            threads: value("process_threads")?,
            requests_held: value("inferd_inflight_requests")?,
            connections: value("inferd_connections")?,
            blas_threads: value("inferd_blas_threads")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE process_threads gauge\nprocess_threads 9\nprocess_threads_max 99\n\
                        process_resident_memory_bytes 1e8\ninferd_inflight_requests 0\ninferd_connections 1\n\
                        inferd_blas_threads 2\n";

    #[test]
    fn reads_the_values_by_their_whole_name() {
        let sample = Sample {
            resident_bytes: 1e8,
            threads: 9.0,
            requests_held: 0.0,
            connections: 1.0,
            blas_threads: 2.0,
        };
        assert_eq!(Sample::parse(PAGE).unwrap(), sample);
    }

    #[test]
    fn a_missing_value_is_not_measured() {
        let error = Sample::parse(&PAGE.replace("process_threads 9", "")).unwrap_err();
        assert_eq!(error.code(), &NOT_MEASURED);
        insta::assert_snapshot!(error, @"/metrics does not have `process_threads`");
    }
}
