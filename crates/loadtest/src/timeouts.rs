//! Requests that exceed their time limit: each gets 504, and the next request is as fast as without load.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::http_client::Client;
use crate::probe::{TIMEOUT, wait_until};
use crate::server::Server;
use crate::{AFTER_TIMEOUT, Check, RESOURCE_LEAK, UNEXPECTED_RESPONSE};

const UNLOADED: usize = 300;
const ROUNDS: usize = 40;
const SMALL: &[u8] = br#"{"input":"a valid request"}"#;
/// The engine checks for cancellation before every layer, so one layer of the cancelled batch may be left; and the
/// first request after it finds cold caches.
const FACTOR_MAX: f64 = 3.0;
/// A limit that no machine meets for the large request, and every machine for the small one.
const LIMIT_MS: u32 = 30;

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<Check>> {
    let server = Server::start(binary, &["--model", model])?;
    let text = "the quick brown fox jumps over the lazy dog ".repeat(25);
    let large = format!("{{\"input\":{:?}}}", vec![text; 400]);
    let limit = format!("x-request-timeout-ms: {LIMIT_MS}\r\n");
    let mut client = Client::new(server.address(), TIMEOUT);
    let mut small = || -> anyhow::Result<f64> {
        let began = Instant::now();
        let response = client.post("/v1/embeddings", SMALL).map_err(|error| anyhow::anyhow!("{error}"))?;
        anyhow::ensure!(response.status == 200, "a small request got status {}", response.status);
        Ok(began.elapsed().as_secs_f64())
    };
    let mut unloaded = (0..UNLOADED).map(|_| small()).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut after, mut statuses) = (Vec::new(), Vec::new());
    let mut other = Client::new(server.address(), TIMEOUT);
    for _ in 0..ROUNDS {
        let response = other.post_with("/v1/embeddings", &limit, large.as_bytes());
        statuses.push(response.map_or(0, |response| response.status));
        after.push(small()?);
    }
    let p99 = percentile(&mut unloaded, 0.99);
    let median = percentile(&mut after, 0.5);
    let released = wait_until(Duration::from_secs(10), || {
        server.sample().is_ok_and(|sample| sample.requests_held == 0.0)
    });
    let timed_out = statuses.iter().filter(|status| **status == 504).count();
    Ok(vec![
        Check::new(
            &UNEXPECTED_RESPONSE,
            "a request above its time limit",
            timed_out == ROUNDS,
            format!("{ROUNDS} responses 504"),
            format!("{timed_out}"),
        ),
        Check::new(
            &AFTER_TIMEOUT,
            "the request after a timeout",
            median <= p99 * FACTOR_MAX,
            format!("median within {FACTOR_MAX} times the p99 without load, {:.1} ms", p99 * 1e3),
            format!(
                "median {:.1} ms, slowest {:.1} ms; p99 without load {:.1} ms",
                median * 1e3,
                percentile(&mut after, 1.0) * 1e3,
                p99 * 1e3
            ),
        ),
        Check::new(
            &RESOURCE_LEAK,
            "the permits of the work",
            released,
            "0 permits held",
            format!("released: {released}"),
        ),
    ])
}

/// By the nearest-rank method.
fn percentile(values: &mut [f64], fraction: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (fraction * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
