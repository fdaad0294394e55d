//! Counters and histograms of the server.
//!
//! Names follow the conventions of Prometheus: base units, `_total` for counters, `_duration_seconds` for times. Values
//! that other modules own (in-flight requests, memory) are read at the scrape and are not copied here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const SEQUENCES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
const TOKENS: [f64; 11] = [16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0];

/// Reasons to close a connection.
const EVICTED: &str = "evicted";
const REFUSED: &str = "refused";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    reason: &'static str,
}

/// All metrics that are counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// The same by status alone, for the status page: a family cannot be iterated.
    requests_by_status: Mutex<BTreeMap<u16, u64>>,
    request_duration: Histogram,
    queue_duration: Histogram,
    batch_duration: Histogram,
    batch_sequences: Histogram,
    batch_tokens: Histogram,
    tokens: Counter,
    connections: Gauge,
    connections_closed: Family<ConnectionLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    collections: Counter,
    /// Requests whose work has begun. Not a metric of its own: the histogram of the waiting time counts the same.
    steps: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            requests_by_status: Mutex::default(),
            request_duration: Histogram::new(SECONDS),
            queue_duration: Histogram::new(SECONDS),
            batch_duration: Histogram::new(SECONDS),
            batch_sequences: Histogram::new(SEQUENCES),
            batch_tokens: Histogram::new(TOKENS),
            tokens: Counter::default(),
            connections: Gauge::default(),
            connections_closed: Family::default(),
            reloads: Family::default(),
            collections: Counter::default(),
            steps: AtomicU64::new(0),
        };
        for outcome in ["ok", "failed"] {
            drop(metrics.reloads.get_or_create(&ReloadLabels { outcome }));
        }
        for reason in [EVICTED, REFUSED] {
            drop(metrics.connections_closed.get_or_create(&ConnectionLabels { reason }));
        }
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("inferd_requests", "Requests by route and status", self.requests.clone());
        let histograms = [
            ("inferd_request_duration_seconds", "Time from headers to response", &self.request_duration),
            ("inferd_queue_duration_seconds", "Time from admission to the first step", &self.queue_duration),
            ("inferd_batch_duration_seconds", "Time of one batch in the model", &self.batch_duration),
            ("inferd_batch_sequences", "Sequences of one batch", &self.batch_sequences),
            ("inferd_batch_tokens", "Tokens of one batch", &self.batch_tokens),
        ];
        for (name, help, histogram) in histograms {
            registry.register(name, help, histogram.clone());
        }
        registry.register("inferd_tokens", "Computed tokens", self.tokens.clone());
        registry.register("inferd_connections", "Open connections", self.connections.clone());
        registry.register(
            "inferd_connections_closed",
            "Connections that were closed for the limit on connections",
            self.connections_closed.clone(),
        );
        registry.register("inferd_reloads", "Reloads by outcome", self.reloads.clone());
        let help = "Times that the server has returned free memory of all threads to the kernel";
        registry.register("inferd_memory_collections", help, self.collections.clone());
        self
    }

    /// Counts a finished request.
    pub fn request(&self, route: &'static str, status: u16, time: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        *self.requests_by_status.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_insert(0) +=
            1;
        self.request_duration.observe(time.as_secs_f64());
    }

    /// Finished requests of all routes.
    pub fn requests_by_status(&self) -> BTreeMap<u16, u64> {
        self.requests_by_status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the time that a request has waited.
    pub fn queued(&self, time: Duration) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.queue_duration.observe(time.as_secs_f64());
    }

    /// Requests whose work has begun.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Counts a return of free memory.
    pub fn collection(&self) {
        self.collections.inc();
    }

    /// Records a batch.
    pub fn batch(&self, sequences: usize, tokens: usize, time: Duration) {
        self.batch_sequences.observe(sequences as f64);
        self.batch_tokens.observe(tokens as f64);
        self.batch_duration.observe(time.as_secs_f64());
        self.tokens.inc_by(tokens as u64);
    }

    /// Counts a new connection.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts the end of a connection.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Counts an idle connection that was closed for another one.
    pub fn connection_evicted(&self) {
        self.connections_closed.get_or_create(&ConnectionLabels { reason: EVICTED }).inc();
    }

    /// Counts a connection that was closed at once, because all others were busy.
    pub fn connection_refused(&self) {
        self.connections_closed.get_or_create(&ConnectionLabels { reason: REFUSED }).inc();
    }

    /// Open connections.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Counts a reload.
    pub fn reload(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// Writes all metrics as OpenMetrics text, without the end marker.
    pub fn encode(&self, page: &mut String) -> fmt::Result {
        encode_registry(page, &self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_last_one_counts_all() {
        let metrics = Metrics::default();
        for sequences in [1, 3, 1000] {
            metrics.batch(sequences, 10, Duration::from_millis(3));
        }
        let mut page = String::new();
        metrics.encode(&mut page).unwrap();
        for line in [
            "inferd_batch_sequences_bucket{le=\"1.0\"} 1",
            "inferd_batch_sequences_bucket{le=\"4.0\"} 2",
            "inferd_batch_sequences_bucket{le=\"512.0\"} 2",
            "inferd_batch_sequences_bucket{le=\"+Inf\"} 3",
            "inferd_batch_sequences_sum 1004.0",
            "inferd_tokens_total 30",
            "inferd_reloads_total{outcome=\"failed\"} 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing in:\n{page}");
        }
    }
}
