//! Twice the capacity of the server, for minutes: it must reject the excess in time and keep its memory and threads.
//!
//! The time of a full queue is measured first, on a server without a limit on the wait. The overloaded server gets a part
//! of it as `--queue-timeout`: the number of requests alone bounds no time on a machine whose speed varies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diag::Diagnostic;
use process::Runner;

use crate::metrics::Sample;
use crate::server::Server;
use crate::traffic::{Outcomes, Traffic};
use crate::{
    ACCEPTED_RATE, LATENCY, MEMORY_GROWTH, NOT_MEASURED, NOT_SATURATED, ScenarioCheck, THREAD_COUNT,
    UNEXPECTED_RESPONSE,
};

/// Options of the server under test. Small batches, because a request that does not wait any more takes the time of a batch.
pub const ARGUMENTS: [&str; 4] = ["--max-inflight", "64", "--batch-tokens", "256"];
/// Requests that the server admits from these clients: one address may hold three quarters of `--max-inflight`.
const MAX_INFLIGHT_PER_ADDRESS: usize = 48;

/// Size of the load.
pub struct Load<'a> {
    pub clients: usize,
    pub duration: Duration,
    /// Request bodies.
    pub bodies: &'a [Vec<u8>],
    pub runner: &'a Runner,
}

/// What a run observed.
pub struct Measurement {
    /// 99th percentile of one client without other load, in seconds.
    pub unloaded_p99: f64,
    /// Requests per second of a closed loop.
    pub capacity: f64,
    pub outcomes: Outcomes,
    /// One per second during the overload.
    pub samples: Vec<Sample>,
    /// Requests that the server admits at a time.
    pub max_inflight: usize,
    pub clients: usize,
    /// Time of the overload in seconds.
    pub seconds: f64,
}

const UNLOADED_DURATION: Duration = Duration::from_secs(10);
const CAPACITY_DURATION: Duration = Duration::from_secs(10);
/// Enough for full batches, and few enough that no request is rejected.
const CAPACITY_CLIENTS: usize = 32;
/// Offered load, as a multiple of the capacity.
const OVERLOAD: f64 = 2.0;
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// `--queue-timeout`, as a part of the time of a full queue. The rest is for the batch, whose time varies.
const QUEUE_TIMEOUT_SHARE: f64 = 1.0 / 3.0;
/// Accepted requests per second, as a part of the capacity. The rest is for rejections, which take processor time, and for
/// the clients, which share the processors.
const ACCEPTED_SHARE_MIN: f64 = 0.7;
/// Memory and threads must be constant after this share of the time.
const WARM_UP_SHARE: f64 = 0.2;
const RESIDENT_SPREAD_MAX: f64 = 0.05;

/// Measures latency without load, capacity, and an overload of twice that capacity. `start` starts the server with
/// [`ARGUMENTS`] and further ones, at most one at a time. Returns the overloaded server, too.
pub fn measure(
    start: impl Fn(&[&str]) -> anyhow::Result<Server>,
    load: &Load<'_>,
) -> anyhow::Result<(Measurement, Server)> {
    let traffic = |address, clients, duration, rate| {
        Traffic { address, clients, duration, rate, bodies: load.bodies, runner: load.runner }.run()
    };
    let server = start(&[])?;
    let unloaded = traffic(server.address(), 1, UNLOADED_DURATION, None);
    let started = Instant::now();
    let clients = CAPACITY_CLIENTS.min(MAX_INFLIGHT_PER_ADDRESS);
    let closed_loop = traffic(server.address(), clients, CAPACITY_DURATION, None);
    let capacity = closed_loop.count(200) as f64 / started.elapsed().as_secs_f64();
    drop(server);
    load.runner.check()?;
    let not_measured = |clients: usize| {
        Diagnostic::new(&NOT_MEASURED, "no request was accepted before the overload")
            .found(format!("no 200 for {clients} clients"))
    };
    let unloaded_p99 = unloaded.percentile(99.0).ok_or_else(|| not_measured(1))?;
    if capacity <= 0.0 {
        return Err(not_measured(CAPACITY_CLIENTS).into());
    }
    let full_queue_s = full_queue_s(MAX_INFLIGHT_PER_ADDRESS, load.clients, capacity);
    let queue_timeout_ms = (1e3 * full_queue_s * QUEUE_TIMEOUT_SHARE).ceil();
    let server = start(&["--queue-timeout", &format!("{queue_timeout_ms} ms")])?;
    load.runner.events().step(format!(
        "without load: {} requests, p50 {:.1} ms, p99 {:.1} ms; capacity {capacity:.0} requests/s; offering {:.0} \
         requests/s from {} clients for {} s, with `--queue-timeout \"{queue_timeout_ms} ms\"`",
        unloaded.count(200),
        unloaded.percentile(50.0).unwrap_or(0.0) * 1e3,
        unloaded_p99 * 1e3,
        OVERLOAD * capacity,
        load.clients,
        load.duration.as_secs(),
    ));
    let is_done = AtomicBool::new(false);
    let started = Instant::now();
    let (outcomes, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                samples.push(server.sample());
                std::thread::sleep(SAMPLE_INTERVAL);
            }
            samples
        });
        let outcomes = traffic(server.address(), load.clients, load.duration, Some(OVERLOAD * capacity));
        is_done.store(true, Ordering::Relaxed);
        (outcomes, sampler.join())
    });
    let seconds = started.elapsed().as_secs_f64();
    load.runner.check()?;
    let samples = samples.map_err(|_| anyhow::anyhow!("the thread that reads /metrics panicked"))?;
    let samples = samples.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let (max_inflight, clients) = (MAX_INFLIGHT_PER_ADDRESS, load.clients);
    Ok((Measurement { unloaded_p99, capacity, outcomes, samples, max_inflight, clients, seconds }, server))
}

/// The last admitted request waits for all others, which are served at capacity.
fn full_queue_s(max_inflight: usize, clients: usize, capacity: f64) -> f64 {
    max_inflight.min(clients) as f64 / capacity
}

/// Compares a measurement with the promises of docs/server.md.
pub fn judge(measurement: &Measurement) -> Vec<ScenarioCheck> {
    let Measurement { outcomes, samples, .. } = measurement;
    let mut checks = vec![
        judge_responses(outcomes),
        judge_saturation(outcomes),
        judge_accepted(measurement),
        judge_latency(measurement),
    ];
    let settled = &samples[(samples.len() as f64 * WARM_UP_SHARE) as usize..];
    let range = |value: fn(&Sample) -> f64| {
        settled
            .iter()
            .map(value)
            .fold((f64::MAX, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)))
    };
    let (low, high) = range(|sample| sample.resident_bytes);
    checks.push(ScenarioCheck::new(
        &MEMORY_GROWTH,
        "resident memory is constant",
        settled.len() > 2 && high <= low * (1.0 + RESIDENT_SPREAD_MAX),
        format!("within {:.0} % after the first fifth of the time", RESIDENT_SPREAD_MAX * 100.0),
        format!(
            "{:.1} to {:.1} MiB ({:.1} %) over {} samples",
            low / 1048576.0,
            high / 1048576.0,
            (high / low - 1.0) * 100.0,
            settled.len()
        ),
    ));
    let (fewest, most) = range(|sample| sample.threads);
    checks.push(ScenarioCheck::new(
        &THREAD_COUNT,
        "the number of threads is constant",
        settled.len() > 2 && fewest == most,
        "one number in all samples",
        format!("{fewest:.0} to {most:.0}"),
    ));
    checks
}

fn judge_responses(outcomes: &Outcomes) -> ScenarioCheck {
    let unexpected = outcomes.unexpected(&[200, 429]);
    let lost = outcomes.lost.len() + outcomes.not_connected;
    ScenarioCheck::new(
        &UNEXPECTED_RESPONSE,
        "no error but 429",
        unexpected.is_empty() && lost == 0 && outcomes.without_retry_after == 0 && outcomes.count(200) > 0,
        "200, and 429 with Retry-After",
        format!(
            "{} accepted (200), {} throttled (429), other statuses {unexpected:?}, {lost} lost, {} without Retry-After{}",
            outcomes.count(200),
            outcomes.count(429),
            outcomes.without_retry_after,
            outcomes.lost.first().map(|reason| format!(" ({reason})")).unwrap_or_default(),
        ),
    )
}

fn judge_saturation(outcomes: &Outcomes) -> ScenarioCheck {
    let (accepted, throttled) = (outcomes.count(200), outcomes.count(429));
    ScenarioCheck::new(
        &NOT_SATURATED,
        "the server is overloaded",
        throttled > 0,
        "some requests are throttled",
        format!("{throttled} of {} throttled", throttled + accepted),
    )
}

fn judge_accepted(measurement: &Measurement) -> ScenarioCheck {
    let accepted = measurement.outcomes.count(200) as f64 / measurement.seconds;
    let accepted_min = ACCEPTED_SHARE_MIN * measurement.capacity;
    ScenarioCheck::new(
        &ACCEPTED_RATE,
        "accepted requests per second",
        accepted >= accepted_min,
        format!(
            "at least {:.0} % of the capacity of {:.0} per second",
            ACCEPTED_SHARE_MIN * 1e2,
            measurement.capacity
        ),
        format!("{accepted:.0} per second ({:.0} %)", accepted / measurement.capacity * 1e2),
    )
}

fn judge_latency(measurement: &Measurement) -> ScenarioCheck {
    let wait_max = full_queue_s(measurement.max_inflight, measurement.clients, measurement.capacity);
    let p99_max = 3.0 * measurement.unloaded_p99 + wait_max;
    let (p50, p99) = (measurement.outcomes.percentile(50.0), measurement.outcomes.percentile(99.0));
    ScenarioCheck::new(
        &LATENCY,
        "p99 of accepted requests",
        p99.is_some_and(|p99| p99 <= p99_max),
        format!(
            "at most {:.0} ms: three times the p99 without load, and {:.0} ms for a full queue",
            p99_max * 1e3,
            wait_max * 1e3
        ),
        match (p50, p99) {
            (Some(p50), Some(p99)) => {
                format!("{:.0} ms of {:.0} ms (p50 {:.0} ms)", p99 * 1e3, p99_max * 1e3, p50 * 1e3)
            }
            _ => "not measured".into(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        let mut outcomes = Outcomes::default();
        outcomes.seconds_by_status.insert(200, vec![0.1; 1000]);
        outcomes.seconds_by_status.insert(429, vec![0.001; 1000]);
        let sample = Sample {
            resident_bytes: 100e6,
            threads: 9.0,
            requests_held: 0.0,
            connections: 1.0,
            blas_threads: 2.0,
        };
        Measurement {
            unloaded_p99: 0.02,
            capacity: 100.0,
            outcomes,
            samples: vec![sample; 100],
            max_inflight: 10,
            clients: 200,
            seconds: 10.0,
        }
    }

    fn violated(change: impl FnOnce(&mut Measurement)) -> Vec<String> {
        let mut measurement = measurement();
        change(&mut measurement);
        let checks = judge(&measurement);
        checks.iter().filter(|check| !check.passed()).map(|check| check.name().to_string()).collect()
    }

    #[test]
    fn each_violation_is_reported_by_its_own_check() {
        assert_eq!(violated(|_| ()), [""; 0]);
        assert_eq!(violated(|m| m.outcomes.lost.push("reset".into())), ["no error but 429"]);
        assert_eq!(violated(|m| m.outcomes.not_connected = 1), ["no error but 429"]);
        assert_eq!(
            violated(|m| drop(m.outcomes.seconds_by_status.insert(500, vec![0.1]))),
            ["no error but 429"]
        );
        assert_eq!(violated(|m| m.outcomes.without_retry_after = 1), ["no error but 429"]);
        assert_eq!(
            violated(|m| drop(m.outcomes.seconds_by_status.remove(&429))),
            ["the server is overloaded"]
        );
        assert_eq!(
            violated(|m| m.outcomes.seconds_by_status.get_mut(&200).unwrap()[..11].fill(0.17)),
            ["p99 of accepted requests"]
        );
        assert_eq!(violated(|m| m.seconds = 14.2), [""; 0]);
        assert_eq!(violated(|m| m.seconds = 14.3), ["accepted requests per second"]);
        assert_eq!(violated(|m| m.samples[20].resident_bytes *= 1.06), ["resident memory is constant"]);
        assert_eq!(violated(|m| m.samples[19].resident_bytes *= 1.06), [""; 0]);
        assert_eq!(violated(|m| m.samples[99].threads = 10.0), ["the number of threads is constant"]);
        assert_eq!(
            violated(|m| m.samples.truncate(2)),
            ["resident memory is constant", "the number of threads is constant"]
        );
    }
}
