//! Many connections that post long texts to `/tokenize`: an embedding beside them must not wait for more than its share.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use diag::Diagnostic;
use process::Runner;

use crate::http_client::Client;
use crate::server::Server;
use crate::traffic::Outcomes;
use crate::two_clients::{KeyFile, LOAD, OTHER};
use crate::{Check, LATENCY, NOT_MEASURED, UNEXPECTED_RESPONSE};

/// Connections of one client that post to `/tokenize`.
const CONNECTIONS: usize = 64;
const TEXT_BYTES: usize = 130_000;
const UNLOADED: Duration = Duration::from_secs(5);
const LOADED: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_mins(1);
/// A full batch: the default is 1024 tokens per thread.
const BATCH_TEXTS: usize = 16;
const BATCHES: usize = 7;
/// Pause of a measured client between two requests, so that it does not form a load of its own.
const PAUSE: Duration = Duration::from_millis(20);

pub fn run(binary: &Path, model: &str, runner: &Runner) -> anyhow::Result<Vec<Check>> {
    let keys = KeyFile::create()?;
    let path = keys.path();
    let server = Server::start(binary, &["--model", model, "--api-keys", &path])?;
    let address = server.address();
    let unloaded = embed(address, OTHER, UNLOADED, runner);
    let unloaded_p99 = unloaded.percentile(99.0).context("no embedding succeeded without load")?;
    let batch = batch_time(address)?;
    let limit = 3.0 * unloaded_p99 + batch;

    let (flood, same, other) = std::thread::scope(|scope| {
        let flood: Vec<_> =
            (0..CONNECTIONS).map(|number| scope.spawn(move || tokenize(address, number, runner))).collect();
        // The measurement begins when the queue is full.
        std::thread::sleep(Duration::from_secs(1));
        let measured = LOADED.saturating_sub(Duration::from_secs(2));
        let same = scope.spawn(move || embed(address, LOAD, measured, runner));
        let other = embed(address, OTHER, measured, runner);
        let mut all = Outcomes::default();
        for client in flood {
            all.merge(client.join().unwrap_or_default());
        }
        (all, same.join().unwrap_or_default(), other)
    });
    let latency = |name: &str, outcomes: &Outcomes| {
        let p99 = outcomes.percentile(99.0);
        Check::new(
            &LATENCY,
            name,
            p99.is_some_and(|p99| p99 <= limit) && outcomes.count(200) > 10,
            format!(
                "p99 at most {:.0} ms: three times {:.0} ms without load, and {:.0} ms for one batch",
                limit * 1e3,
                unloaded_p99 * 1e3,
                batch * 1e3
            ),
            match p99 {
                Some(p99) => format!(
                    "p99 {:.0} ms of {:.0} ms, p50 {:.0} ms, {} embeddings",
                    p99 * 1e3,
                    limit * 1e3,
                    outcomes.percentile(50.0).unwrap_or(0.0) * 1e3,
                    outcomes.count(200)
                ),
                None => "no embedding succeeded".into(),
            },
        )
    };
    let unexpected = [&flood, &same, &other].map(|outcomes| outcomes.unexpected(&[200, 429])).concat();
    let lost = flood.lost.len() + same.lost.len() + other.lost.len();
    Ok(vec![
        latency("embedding of another client", &other),
        latency("embedding of the same client", &same),
        Check::new(
            &UNEXPECTED_RESPONSE,
            "tokenization continues",
            flood.count(200) > 0 && unexpected.is_empty() && lost == 0,
            "200, and 429 with Retry-After",
            format!(
                "{} texts of {TEXT_BYTES} bytes tokenized, {} throttled; other statuses {unexpected:?}, {lost} lost",
                flood.count(200),
                flood.count(429)
            ),
        ),
    ])
}

/// Median time of a full batch, in seconds.
fn batch_time(address: SocketAddr) -> anyhow::Result<f64> {
    let text = "stone ".repeat(126);
    let body = format!("{{\"input\":[{}]}}", vec![format!("{text:?}"); BATCH_TEXTS].join(","));
    let mut client = Client::new(address, TIMEOUT).with_key(OTHER);
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

fn embed(address: SocketAddr, key: &'static str, duration: Duration, runner: &Runner) -> Outcomes {
    let mut client = Client::new(address, TIMEOUT).with_key(key);
    let (mut outcomes, started) = (Outcomes::default(), Instant::now());
    while started.elapsed() < duration && runner.check().is_ok() {
        let sent = Instant::now();
        outcomes.record(client.post("/v1/embeddings", br#"{"input":"a quiet harbour"}"#), sent.elapsed());
        std::thread::sleep(PAUSE);
    }
    outcomes
}

/// Half of the texts have short words, half have words that take the tokenizer many steps each.
fn tokenize(address: SocketAddr, number: usize, runner: &Runner) -> Outcomes {
    let word = if number.is_multiple_of(2) { "harbour ".to_string() } else { "xq".repeat(49) + " " };
    let text = word.repeat(TEXT_BYTES / word.len());
    let body = format!("{{\"inputs\":{text:?}}}");
    let mut client = Client::new(address, TIMEOUT).with_key(LOAD);
    let (mut outcomes, started) = (Outcomes::default(), Instant::now());
    while started.elapsed() < LOADED && runner.check().is_ok() {
        let sent = Instant::now();
        outcomes.record(client.post("/tokenize", body.as_bytes()), sent.elapsed());
    }
    outcomes
}
