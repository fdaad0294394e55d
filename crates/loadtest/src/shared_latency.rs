//! Latency of embeddings beside the load of another client: it must stay near the latency without load.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use diag::Diagnostic;
use process::Runner;

use crate::http_client::{Client, RequestError, Response};
use crate::traffic::Outcomes;
use crate::two_clients::OTHER;
use crate::{LATENCY, NOT_MEASURED, ScenarioCheck};

/// Time limit of one request of these scenarios.
pub const TIMEOUT: Duration = Duration::from_mins(1);
const UNLOADED: Duration = Duration::from_secs(5);
/// A full batch of two threads: the default is 256 tokens per thread.
const BATCH_TEXTS: usize = 4;
const BATCHES: usize = 7;
/// Pause of a measured client between two requests, so that it does not form a load of its own.
const PAUSE: Duration = Duration::from_millis(20);
/// Fewer show nothing.
const RESPONSES_MIN: usize = 10;

/// What an embedding may take beside a load.
pub struct Limit {
    /// Seconds without load.
    unloaded_p99: f64,
    /// Seconds of one full batch.
    batch: f64,
}

impl Limit {
    /// Measures a server without load. It has the API keys of [`crate::two_clients`].
    pub fn measure(server: SocketAddr, runner: &Runner) -> anyhow::Result<Self> {
        let unloaded = embed(server, OTHER, UNLOADED, runner);
        let unloaded_p99 = unloaded.percentile(99.0).context("no embedding succeeded without load")?;
        Ok(Self { unloaded_p99, batch: batch_time(server)? })
    }

    /// Judges requests without computation, which only the threads of HTTP can delay.
    pub fn check_probes(&self, name: &str, outcomes: &Outcomes) -> ScenarioCheck {
        Self::within(
            name,
            2.0 * self.unloaded_p99,
            format!("twice the {:.0} ms of an embedding without load", self.unloaded_p99 * 1e3),
            outcomes,
        )
    }

    /// Judges embeddings beside a load that leaves one batch before them.
    pub fn check(&self, name: &str, outcomes: &Outcomes) -> ScenarioCheck {
        let (unloaded, batch) = (self.unloaded_p99, self.batch);
        let reason = format!(
            "three times {:.0} ms without load, and {:.0} ms for one batch",
            unloaded * 1e3,
            batch * 1e3
        );
        Self::within(name, 3.0 * unloaded + batch, reason, outcomes)
    }

    fn within(name: &str, limit: f64, reason: String, outcomes: &Outcomes) -> ScenarioCheck {
        let p99 = outcomes.percentile(99.0);
        ScenarioCheck::new(
            &LATENCY,
            name,
            p99.is_some_and(|p99| p99 <= limit) && outcomes.count(200) > RESPONSES_MIN,
            format!("p99 at most {:.0} ms: {reason}", limit * 1e3),
            match p99 {
                Some(p99) => format!(
                    "p99 {:.0} ms of {:.0} ms, p50 {:.0} ms, {} responses",
                    p99 * 1e3,
                    limit * 1e3,
                    outcomes.percentile(50.0).unwrap_or(0.0) * 1e3,
                    outcomes.count(200)
                ),
                None => "no request succeeded".into(),
            },
        )
    }
}

/// Requests `/healthz` for `duration`, with pauses.
pub fn probe(server: SocketAddr, duration: Duration, runner: &Runner) -> Outcomes {
    repeat(server, OTHER, duration, runner, |client| client.get("/healthz"))
}

/// Embeds one short text after another for `duration`, with pauses.
pub fn embed(server: SocketAddr, key: &'static str, duration: Duration, runner: &Runner) -> Outcomes {
    let body = br#"{"input":"a quiet harbour"}"#;
    repeat(server, key, duration, runner, |client| client.post("/v1/embeddings", body))
}

fn repeat(
    server: SocketAddr,
    key: &'static str,
    duration: Duration,
    runner: &Runner,
    request: impl Fn(&mut Client) -> Result<Response, RequestError>,
) -> Outcomes {
    let mut client = Client::new(server, TIMEOUT).with_key(key);
    let (mut outcomes, started) = (Outcomes::default(), Instant::now());
    while started.elapsed() < duration && runner.check().is_ok() {
        let sent = Instant::now();
        outcomes.record(request(&mut client), sent.elapsed());
        std::thread::sleep(PAUSE);
    }
    outcomes
}

/// Median time of a full batch, in seconds.
fn batch_time(server: SocketAddr) -> anyhow::Result<f64> {
    let text = "stone ".repeat(126);
    let body = format!("{{\"input\":[{}]}}", vec![format!("{text:?}"); BATCH_TEXTS].join(","));
    let mut client = Client::new(server, TIMEOUT).with_key(OTHER);
    let mut outcomes = Outcomes::default();
    for _ in 0..BATCHES {
        let sent = Instant::now();
        outcomes.record(client.post("/v1/embeddings", body.as_bytes()), sent.elapsed());
    }
    let found = format!("statuses {:?}", outcomes.seconds_by_status.keys());
    outcomes
        .percentile(50.0)
        .ok_or_else(|| Diagnostic::new(&NOT_MEASURED, "no full batch was computed").found(found).into())
}
