//! Concurrent clients, one thread each: closed loop (as fast as the server answers) or at a fixed rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use process::Runner;

use crate::http_client::{Client, RequestError, Response};

/// Embedding requests of several clients.
pub struct Traffic<'a> {
    pub address: SocketAddr,
    pub clients: usize,
    pub duration: Duration,
    /// Requests per second of all clients together; `None` sends the next request after the previous response.
    pub rate: Option<f64>,
    /// Request bodies; each client cycles through them.
    pub bodies: &'a [Vec<u8>],
    /// A signal ends the traffic.
    pub runner: &'a Runner,
}

/// Outcomes of all requests.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Seconds from the first byte sent to the last byte read, by status.
    pub seconds_by_status: BTreeMap<u16, Vec<f32>>,
    /// Responses with 429 or 503 that lack `Retry-After`.
    pub without_retry_after: usize,
    pub not_connected: usize,
    /// Requests that were sent and not answered, with the reason.
    pub lost: Vec<String>,
}

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(90);
const STACK_BYTES: usize = 256 << 10;

impl Traffic<'_> {
    /// Returns when the time is over or a signal has arrived.
    pub fn run(&self) -> Outcomes {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .filter_map(|number| {
                    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                    thread.spawn_scoped(scope, move || self.client(number, started)).ok()
                })
                .collect();
            let mut all = Outcomes::default();
            if clients.len() < self.clients {
                all.lost.push(format!(
                    "only {} of {} client threads could be started",
                    clients.len(),
                    self.clients
                ));
            }
            for client in clients {
                match client.join() {
                    Ok(outcomes) => all.merge(outcomes),
                    Err(_) => all.lost.push("a client thread panicked".into()),
                }
            }
            all
        })
    }

    fn client(&self, number: usize, started: Instant) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut client = Client::new(self.address, RESPONSE_TIMEOUT);
        let interval = self.rate.map(|rate| Duration::from_secs_f64(self.clients as f64 / rate));
        // The first requests are spread over one interval.
        let mut next = started + interval.unwrap_or_default().mul_f64(number as f64 / self.clients as f64);
        for body in self.bodies.iter().cycle().skip(number) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.runner.check().is_err() || started.elapsed() >= self.duration {
                break;
            }
            let sent = Instant::now();
            outcomes.record(client.post("/v1/embeddings", body), sent.elapsed());
            if let Some(interval) = interval {
                // A late client does not catch up: that would exceed the rate.
                next = (next + interval).max(Instant::now());
            }
        }
        outcomes
    }
}

impl Outcomes {
    /// Counts one request.
    pub fn record(&mut self, response: Result<Response, RequestError>, time: Duration) {
        match response {
            Ok(response) => {
                if matches!(response.status, 429 | 503) && !response.has_retry_after {
                    self.without_retry_after += 1;
                }
                self.seconds_by_status.entry(response.status).or_default().push(time.as_secs_f32());
            }
            Err(RequestError::NotConnected(_)) => {
                self.not_connected += 1;
                // A busy loop of failed connections would take processor time from the server.
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(RequestError::Lost(reason)) => self.lost.push(reason),
        }
    }

    /// Adds the outcomes of another client.
    pub fn merge(&mut self, other: Self) {
        for (status, times) in other.seconds_by_status {
            self.seconds_by_status.entry(status).or_default().extend(times);
        }
        self.without_retry_after += other.without_retry_after;
        self.not_connected += other.not_connected;
        self.lost.extend(other.lost);
    }

    /// Responses with this status.
    pub fn count(&self, status: u16) -> usize {
        self.seconds_by_status.get(&status).map_or(0, Vec::len)
    }

    /// Statuses besides the expected ones, with their counts.
    pub fn unexpected(&self, expected: &[u16]) -> Vec<(u16, usize)> {
        let unexpected = self.seconds_by_status.iter().filter(|(status, _)| !expected.contains(status));
        unexpected.map(|(status, times)| (*status, times.len())).collect()
    }

    /// Latency of accepted requests (200) in seconds, by the nearest-rank method.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let mut times = self.seconds_by_status.get(&200)?.clone();
        times.sort_by(f32::total_cmp);
        let rank = (percent / 100.0 * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).map(|seconds| f64::from(*seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_latency() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.percentile(99.0), None);
        outcomes.seconds_by_status.insert(200, (1..=200).rev().map(|n| n as f32).collect());
        assert_eq!(outcomes.percentile(50.0), Some(100.0));
        assert_eq!(outcomes.percentile(99.0), Some(198.0));
        assert_eq!(outcomes.percentile(100.0), Some(200.0));
    }

    #[test]
    fn counts_unexpected_statuses_and_missing_headers() {
        let mut outcomes = Outcomes::default();
        for status in [200, 429, 500, 500] {
            let response = Response { status, has_retry_after: false, body: Vec::new() };
            outcomes.record(Ok(response), Duration::ZERO);
        }
        outcomes.record(Err(RequestError::Lost("reset".into())), Duration::ZERO);
        assert_eq!(outcomes.unexpected(&[200, 429]), [(500, 2)]);
        assert_eq!((outcomes.without_retry_after, outcomes.lost.len()), (1, 1));
    }
}
