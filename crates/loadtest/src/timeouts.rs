//! Requests that exceed their time limit: each gets 504, and the next request is as fast as without load.
//!
//! The limit passes while the batch of the large request is computed, which takes much longer than anything else that
//! can delay the next request: on a busy machine the latency without load has a tail of 100 ms, and a batch of the default size
//! takes less.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::http_client::Client;
use crate::probe::{TIMEOUT, wait_until};
use crate::server::Server;
use crate::{AFTER_TIMEOUT, RESOURCE_LEAK, ScenarioCheck, TIMEOUT_PHASE, TIMEOUT_STATUS};

const UNLOADED: usize = 300;
const ROUNDS: usize = 40;
const SMALL: &[u8] = br#"{"input":"a valid request"}"#;
/// Between two requests without load: the first request after a pause finds idle threads and cold caches, as the one after a
/// timeout does.
const PAUSE: Duration = Duration::from_millis(10);
/// One batch holds the whole large request: it takes seconds.
const BATCH_TOKENS: &str = "32768";
const TEXTS: usize = 120;
/// Above the time of tokenizing the large request, far below that of computing it.
const LIMIT_MS: u32 = 400;
/// What waits for a response longer than this does not end at its time limit.
const TIMEOUT_OF_LARGE: Duration = Duration::from_secs(5);

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<ScenarioCheck>> {
    let server = Server::start(binary, &["--model", model, "--batch-tokens", BATCH_TOKENS])?;
    let text = "the quick brown fox jumps over the lazy dog ".repeat(30);
    let large = format!("{{\"input\":{:?}}}", vec![text; TEXTS]);
    let limit = format!("x-request-timeout-ms: {LIMIT_MS}\r\n");
    let mut client = Client::new(server.address(), TIMEOUT);
    let mut small = || -> anyhow::Result<f64> {
        let began = Instant::now();
        let response = client.post("/v1/embeddings", SMALL).map_err(|error| anyhow::anyhow!("{error}"))?;
        anyhow::ensure!(response.status == 200, "a small request got status {}", response.status);
        Ok(began.elapsed().as_secs_f64())
    };
    let mut unloaded = (0..UNLOADED)
        .map(|_| {
            std::thread::sleep(PAUSE);
            small()
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (mut after, mut statuses) = (Vec::new(), Vec::new());
    let mut other = Client::new(server.address(), TIMEOUT_OF_LARGE);
    for _ in 0..ROUNDS {
        let response = other.post_with("/v1/embeddings", &limit, large.as_bytes());
        let status = response.map_or(0, |response| response.status);
        statuses.push(status);
        if status != 504 {
            // Each further round would take as long as the whole computation.
            break;
        }
        // No response is the slowest one, and the rounds after it would be as slow.
        let seconds = small().unwrap_or(f64::INFINITY);
        after.push(seconds);
        if seconds.is_infinite() {
            break;
        }
    }
    let rounds = statuses.len();
    let timed_out = statuses.iter().filter(|status| **status == 504).count();
    let other_status = statuses.iter().find(|status| **status != 504);
    let mut checks = vec![ScenarioCheck::new(
        &TIMEOUT_STATUS,
        "a request above its time limit",
        timed_out == rounds,
        format!("{rounds} responses 504"),
        match other_status {
            None => format!("{timed_out}"),
            Some(0) => format!("{timed_out}, then no response within {} s", TIMEOUT_OF_LARGE.as_secs()),
            Some(status) => format!("{timed_out}, then {status}"),
        },
    )];
    if timed_out > 0 {
        let p99 = percentile(&mut unloaded, 0.99);
        let median = percentile(&mut after, 0.5);
        checks.push(ScenarioCheck::new(
            &AFTER_TIMEOUT,
            "the request after a timeout",
            median <= p99,
            format!("median within the p99 without load, {:.1} ms", p99 * 1e3),
            format!(
                "median {:.1} ms, p75 {:.1} ms, slowest {:.1} ms; p99 without load {:.1} ms",
                median * 1e3,
                percentile(&mut after, 0.75) * 1e3,
                percentile(&mut after, 1.0) * 1e3,
                p99 * 1e3
            ),
        ));
        checks.push(phases(&server.warnings()));
    }
    let released = wait_until(Duration::from_secs(10), || {
        server.sample().is_ok_and(|sample| sample.requests_held == 0.0)
    });
    checks.push(ScenarioCheck::new(
        &RESOURCE_LEAK,
        "the permits of the work",
        released,
        "0 permits held",
        format!("released: {released}"),
    ));
    Ok(checks)
}

/// Whether the limit passed during the computation: a request that ends in the tokenizer shows nothing about it.
fn phases(warnings: &[String]) -> ScenarioCheck {
    let of_phase = |phase: &str| {
        let timed_out = warnings.iter().filter(|line| line.contains(" status=504"));
        timed_out.filter(|line| line.contains(&format!(" phase={phase}"))).count()
    };
    let (computing, queued) = (of_phase("compute"), of_phase("queue"));
    ScenarioCheck::new(
        &TIMEOUT_PHASE,
        "what the time limit interrupted",
        computing > queued,
        "more computations than tokenizations, in the log",
        format!("{computing} computations, {queued} tokenizations"),
    )
}

/// By the nearest-rank method.
fn percentile(values: &mut [f64], fraction: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (fraction * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_passes_before_the_computation_is_not_measured() {
        let line = |phase: &str| format!("WARN request status=504 ms=400.2 phase={phase} id=x");
        let lines =
            |queued, computing| [vec![line("queue"); queued], vec![line("compute"); computing]].concat();
        assert_eq!(
            phases(&lines(3, 2)).violation("timeouts").map(|problem| problem.code().id),
            Some("timeout-phase")
        );
        assert!(phases(&lines(3, 4)).passed());
        assert!(!phases(&[]).passed());
    }

    #[test]
    fn percentiles_are_by_the_nearest_rank_and_infinite_without_a_value() {
        assert_eq!(percentile(&mut [4.0, 1.0, 3.0, 2.0], 0.75), 3.0);
        assert_eq!(percentile(&mut [], 0.75), f64::INFINITY);
    }
}
