//! Counters of the server and their text form, as Prometheus reads it.
//!
//! A writer of our own: the format is a dozen lines, and the crates for it bring registries, a recorder for the whole
//! process and TLS. Values that others own (queue, permits, memory) are read when asked for, not copied here.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const TOKENS: &[f64] = &[16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0];

pub struct Metrics {
    /// By route and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    batch_seconds: Histogram,
    batch_sequences: Histogram,
    batch_tokens: Histogram,
    tokens: AtomicU64,
    connections: AtomicU64,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            request_seconds: Histogram::new(SECONDS),
            queue_seconds: Histogram::new(SECONDS),
            batch_seconds: Histogram::new(SECONDS),
            batch_sequences: Histogram::new(SIZES),
            batch_tokens: Histogram::new(TOKENS),
            tokens: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            reloads_ok: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub fn request(&self, route: &'static str, status: u16, time: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_insert(0) += 1;
        drop(requests);
        self.request_seconds.observe(time.as_secs_f64());
    }

    /// Answered requests of all routes.
    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        let mut counts = BTreeMap::new();
        for ((_, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *counts.entry(*status).or_insert(0) += count;
        }
        counts
    }

    pub fn queued(&self, time: Duration) {
        self.queue_seconds.observe(time.as_secs_f64());
    }

    pub fn batch(&self, sequences: usize, tokens: usize, time: Duration) {
        self.batch_sequences.observe(sequences as f64);
        self.batch_tokens.observe(tokens as f64);
        self.batch_seconds.observe(time.as_secs_f64());
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    pub fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn reload(&self, ok: bool) {
        let counter = if ok { &self.reloads_ok } else { &self.reloads_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything that is counted here.
    pub fn write(&self, page: &mut Page) {
        page.head("inferd_requests_total", "counter", "Answered requests by route and status.");
        for ((route, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("{{route=\"{route}\",status=\"{status}\"}}");
            page.sample("inferd_requests_total", &labels, count);
        }
        let histograms = [
            ("inferd_request_seconds", "Time from headers to answer.", &self.request_seconds),
            ("inferd_queue_seconds", "Time from admission to the first step.", &self.queue_seconds),
            ("inferd_batch_seconds", "Time of one batch in the model.", &self.batch_seconds),
            ("inferd_batch_sequences", "Sequences of one batch.", &self.batch_sequences),
            ("inferd_batch_tokens", "Tokens of one batch.", &self.batch_tokens),
        ];
        for (name, help, histogram) in histograms {
            page.head(name, "histogram", help);
            histogram.write(page, name);
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.single("inferd_tokens_total", "counter", "Tokens computed.", count(&self.tokens));
        page.single("inferd_connections", "gauge", "Open connections.", count(&self.connections));
        page.head("inferd_reloads_total", "counter", "Reloads by outcome.");
        page.sample("inferd_reloads_total", "{outcome=\"ok\"}", count(&self.reloads_ok));
        page.sample("inferd_reloads_total", "{outcome=\"failed\"}", count(&self.reloads_failed));
    }
}

struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last is for what exceeds them all.
    counts: Vec<AtomicU64>,
    /// In millionths, because there is no atomic float.
    sum_millionths: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_millionths: AtomicU64::new(0) }
    }

    fn observe(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_millionths.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, page: &mut Page, name: &str) {
        let mut below = 0;
        for (n, count) in self.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(n).map_or("+Inf".to_string(), f64::to_string);
            page.sample(&format!("{name}_bucket"), &format!("{{le=\"{bound}\"}}"), below);
        }
        let sum = self.sum_millionths.load(Ordering::Relaxed) as f64 / 1e6;
        page.sample(&format!("{name}_sum"), "", sum);
        page.sample(&format!("{name}_count"), "", below);
    }
}

/// Prometheus text, version 0.0.4.
#[derive(Default)]
pub struct Page(String);

impl Page {
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

/// A label's value as the format wants it.
pub fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_last_holds_all() {
        let metrics = Metrics::default();
        for sequences in [1, 3, 1000] {
            metrics.batch(sequences, 10, Duration::from_millis(3));
        }
        let mut page = Page::default();
        metrics.write(&mut page);
        let text = page.into_text();
        for line in [
            "inferd_batch_sequences_bucket{le=\"1\"} 1",
            "inferd_batch_sequences_bucket{le=\"4\"} 2",
            "inferd_batch_sequences_bucket{le=\"512\"} 2",
            "inferd_batch_sequences_bucket{le=\"+Inf\"} 3",
            "inferd_batch_sequences_sum 1004",
            "inferd_tokens_total 30",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
