//! Load that needs much memory, then no traffic, twice: resident memory returns to the level before the load, and the second
//! peak is not above the first one.
//!
//! Memory is read from `/proc` and not from `/metrics`: a request would be traffic, and the allocator of an idle server
//! does nothing by itself. Connections stay open while the server is idle.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use process::Runner;

use crate::curve::Curve;
use crate::http_client::{Client, RequestError, Response};
use crate::server::Server;
use crate::{SPIKE_PEAK_GROWTH, SPIKE_RETURN, SPIKE_TOO_SMALL, ScenarioCheck, UNEXPECTED_RESPONSE};

/// Length of the phases.
#[derive(Clone, Copy)]
pub struct Phases {
    pub load: Duration,
    pub idle: Duration,
    /// Load and idle time, this often.
    pub repeat: usize,
}

impl Phases {
    pub const DEFAULT: Self =
        Self { load: Duration::from_secs(15), idle: Duration::from_secs(13), repeat: 2 };
}

/// Requests of one kind, by several clients.
pub struct RequestKind {
    pub clients: usize,
    pub path: &'static str,
    pub body: Vec<u8>,
    /// Time from a response to the next request.
    pub pause: Duration,
    /// Time from the end of a request to the first read of its response: the server holds the response meanwhile.
    pub read_after: Duration,
}

/// What a run observed.
pub struct Measurement {
    pub curve: Curve,
    /// Begin and end of each load, in seconds of the curve.
    loads: Vec<(f64, f64)>,
    statuses: Vec<u16>,
    /// Begin of the first response of each unexpected status.
    unexpected: Vec<(u16, String)>,
    without_retry_after: usize,
    lost: Vec<String>,
}

/// Of the body of an unexpected response, in a report.
const EXCERPT_CHARS: usize = 300;

/// Time before the first load, in which the idle level is measured.
const SETTLE: Duration = Duration::from_secs(3);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
const STACK_BYTES: usize = 256 << 10;
/// The requirement: memory is back this long after the last response.
const RETURN_SECONDS_MAX: f64 = 10.0;
/// Above the idle level.
const RETURN_RATIO_MAX: f64 = 1.10;
/// Noise of the peak: it depends on which requests overlap.
const PEAK_RATIO_MAX: f64 = 1.15;
/// Above the idle level; a smaller peak shows nothing.
const PEAK_MIB_MIN: f64 = 32.0;

/// Long texts, large responses and many connections, for a model with few layers.
pub fn mixed_requests() -> Vec<RequestKind> {
    let words = |bytes: usize| "seven old bridges carry a quiet river over stone ".repeat(bytes / 49);
    // A word of this length is one token: memory, and little time. The server holds the body until its response is read.
    let long_words = serde_json::json!({ "inputs": vec!["a".repeat(127 << 10); 31] });
    let long_texts = serde_json::json!({ "inputs": vec![words(100 << 10); 8] });
    let many_inputs = serde_json::json!({ "input": vec!["a"; 500] });
    let short = serde_json::json!({ "input": "a quiet harbour" });
    let kind = |clients, path, body: serde_json::Value, pause_ms, read_after_ms| RequestKind {
        clients,
        path,
        body: body.to_string().into_bytes(),
        pause: Duration::from_millis(pause_ms),
        read_after: Duration::from_millis(read_after_ms),
    };
    vec![
        kind(12, "/tokenize", long_texts, 0, 0),
        kind(12, "/v1/embeddings", many_inputs, 0, 3000),
        kind(32, "/tokenize", long_words, 0, 3000),
        kind(150, "/v1/embeddings", short, 500, 0),
    ]
}

/// Runs the phases against `server`, and reads the memory of the process `pid`.
pub fn measure(
    server: &Server,
    pid: u32,
    kinds: &[RequestKind],
    phases: Phases,
    runner: &Runner,
) -> anyhow::Result<Measurement> {
    let status = PathBuf::from(format!("/proc/{pid}/status"));
    resident_mib(&status)?;
    let started = Instant::now();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut curve = Curve::default();
            while !is_done.load(Ordering::Relaxed) {
                // A process that has ended has no memory: the curve ends, and the check of the responses fails.
                let Ok(mib) = resident_mib(&status) else { break };
                curve.push(started.elapsed().as_secs_f64(), mib);
                std::thread::sleep(SAMPLE_INTERVAL);
            }
            curve
        });
        let mut measurement = run_phases(server, kinds, phases, runner, started);
        is_done.store(true, Ordering::Relaxed);
        let sampled = sampler.join().map_err(|_| anyhow::anyhow!("the thread that reads /proc panicked"))?;
        measurement.curve.seconds = sampled.seconds;
        measurement.curve.resident_mib = sampled.resident_mib;
        runner.check()?;
        Ok(measurement)
    })
}

fn run_phases(
    server: &Server,
    kinds: &[RequestKind],
    phases: Phases,
    runner: &Runner,
    started: Instant,
) -> Measurement {
    let mut measurement = Measurement {
        curve: Curve::default(),
        loads: Vec::new(),
        statuses: Vec::new(),
        unexpected: Vec::new(),
        without_retry_after: 0,
        lost: Vec::new(),
    };
    let now = || started.elapsed().as_secs_f64();
    measurement.curve.phase(now(), "idle");
    wait(SETTLE, runner);
    for number in 1..=phases.repeat {
        let begin = now();
        measurement.curve.phase(begin, "load");
        runner.events().step(format!("load {number} of {}, {} s", phases.repeat, phases.load.as_secs()));
        // Connections stay open until the end of the idle time.
        let clients = run_load(server, kinds, phases.load, runner, &mut measurement);
        measurement.loads.push((begin, now()));
        measurement.curve.phase(now(), "idle");
        runner.events().step(format!("no traffic for {} s", phases.idle.as_secs()));
        wait(phases.idle, runner);
        drop(clients);
    }
    measurement
}

/// Sleeps; a signal ends it.
fn wait(time: Duration, runner: &Runner) {
    let until = Instant::now() + time;
    while Instant::now() < until && runner.check().is_ok() {
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

fn run_load(
    server: &Server,
    kinds: &[RequestKind],
    time: Duration,
    runner: &Runner,
    measurement: &mut Measurement,
) -> Vec<Client> {
    let until = Instant::now() + time;
    let (address, mut connections) = (server.address(), Vec::new());
    std::thread::scope(|scope| {
        let kinds = kinds.iter().flat_map(|kind| (0..kind.clients).map(move |_| kind));
        let threads: Vec<_> = kinds
            .filter_map(|kind| {
                let run = move || {
                    let mut client = Client::new(address, RESPONSE_TIMEOUT);
                    let mut results = Vec::new();
                    while Instant::now() < until && runner.check().is_ok() {
                        let response = client.post_and_wait(kind.path, &kind.body, kind.read_after);
                        let pause = match &response {
                            Ok(response) if response.status == 200 => kind.pause,
                            // The time of `Retry-After`, shortened.
                            _ => kind.pause.max(Duration::from_millis(200)),
                        };
                        results.push(response.map(ResponseSummary::of));
                        std::thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
                    }
                    (client, results)
                };
                std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run).ok()
            })
            .collect();
        for thread in threads {
            let Ok((client, results)) = thread.join() else {
                measurement.lost.push("a client thread panicked".into());
                continue;
            };
            connections.push(client);
            for result in results {
                match result {
                    Ok(summary) => measurement.add(summary),
                    Err(RequestError::NotConnected(reason) | RequestError::Lost(reason)) => {
                        measurement.lost.push(reason);
                    }
                }
            }
        }
    });
    connections
}

/// What a run keeps of a response.
struct ResponseSummary {
    status: u16,
    has_retry_after: bool,
    /// Of an unexpected response.
    excerpt: Option<String>,
}

impl ResponseSummary {
    fn of(response: Response) -> Self {
        let Response { status, has_retry_after, body, .. } = response;
        let excerpt = || String::from_utf8_lossy(&body).chars().take(EXCERPT_CHARS).collect();
        Self { status, has_retry_after, excerpt: (!is_expected(status)).then(excerpt) }
    }
}

impl Measurement {
    fn add(&mut self, ResponseSummary { status, has_retry_after, excerpt }: ResponseSummary) {
        self.statuses.push(status);
        self.without_retry_after += usize::from(matches!(status, 429 | 503) && !has_retry_after);
        if let Some(excerpt) = excerpt
            && !self.unexpected.iter().any(|(known, _)| *known == status)
        {
            self.unexpected.push((status, excerpt));
        }
    }
}

fn is_expected(status: u16) -> bool {
    matches!(status, 200 | 429 | 503)
}

fn resident_mib(status: &PathBuf) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(status).with_context(|| status.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("`VmRSS` in {}", status.display()))
}

/// Compares a measurement with the promises of docs/server.md.
pub fn judge(measurement: &Measurement) -> Vec<ScenarioCheck> {
    let Measurement { curve, loads, .. } = measurement;
    let first_load = loads.first().map_or(0.0, |(begin, _)| *begin);
    let idle = curve.between(0.0, first_load).last().map_or(0.0, |(_, mib)| mib);
    let peak_of =
        |(begin, end): &(f64, f64)| curve.between(*begin, *end).map(|(_, mib)| mib).fold(0.0, f64::max);
    let peaks: Vec<f64> = loads.iter().map(peak_of).collect();
    let mut checks = vec![judge_responses(measurement)];
    checks.push(ScenarioCheck::new(
        &SPIKE_TOO_SMALL,
        "the load needs memory",
        !peaks.is_empty() && peaks.iter().all(|peak| *peak >= idle + PEAK_MIB_MIN),
        format!("at least {PEAK_MIB_MIN:.0} MiB above the idle level"),
        format!("idle {idle:.1} MiB, peaks {}", list(&peaks)),
    ));
    for (number, (_, end)) in loads.iter().enumerate() {
        checks.push(judge_return(curve, number + 1, idle, *end));
    }
    let (first, last) = (peaks.first().copied(), peaks.last().copied());
    let ratio = first.zip(last).map(|(first, last)| last / first);
    checks.push(ScenarioCheck::new(
        &SPIKE_PEAK_GROWTH,
        "the last peak is not above the first",
        peaks.len() > 1 && ratio.is_some_and(|ratio| ratio <= PEAK_RATIO_MAX),
        format!("at most {:.0} % above it", (PEAK_RATIO_MAX - 1.0) * 100.0),
        list(&peaks),
    ));
    checks
}

fn judge_return(curve: &Curve, number: usize, idle: f64, end: f64) -> ScenarioCheck {
    let limit = idle * RETURN_RATIO_MAX;
    let deadline = end + RETURN_SECONDS_MAX;
    let back = curve.between(end, deadline).find(|(_, mib)| *mib <= limit).map(|(at, _)| at - end);
    // It must also stay there.
    let after: Vec<f64> = curve.between(deadline, deadline + 2.0).map(|(_, mib)| mib).collect();
    let level = after.first().copied().unwrap_or(f64::MAX);
    ScenarioCheck::new(
        &SPIKE_RETURN,
        format!("memory returns after load {number}"),
        back.is_some() && !after.is_empty() && after.iter().all(|mib| *mib <= limit),
        format!("at most {limit:.1} MiB, 10 % above idle, {RETURN_SECONDS_MAX:.0} s after the last response"),
        match back {
            Some(seconds) => format!("{level:.1} MiB (idle {idle:.1}), below the limit after {seconds:.1} s"),
            None => format!("{level:.1} MiB (idle {idle:.1})"),
        },
    )
}

fn judge_responses(measurement: &Measurement) -> ScenarioCheck {
    let count = |status: u16| measurement.statuses.iter().filter(|found| **found == status).count();
    let (accepted, throttled, full) = (count(200), count(429), count(503));
    let others = measurement.statuses.iter().filter(|status| !is_expected(**status)).count();
    let excerpts =
        measurement.unexpected.iter().map(|(status, text)| format!("; the first {status}: {text}"));
    ScenarioCheck::new(
        &UNEXPECTED_RESPONSE,
        "no error but 429 and 503",
        accepted > 0 && others == 0 && measurement.lost.is_empty() && measurement.without_retry_after == 0,
        "200, and 429 or 503 with Retry-After",
        format!(
            "{accepted} accepted (200), {throttled} throttled (429), {full} refused (503), {others} others, {} lost, {} without Retry-After{}{}",
            measurement.lost.len(),
            measurement.without_retry_after,
            measurement.lost.first().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            excerpts.collect::<String>(),
        ),
    )
}

fn list(mib: &[f64]) -> String {
    let values: Vec<_> = mib.iter().map(|mib| format!("{mib:.1} MiB")).collect();
    values.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle at 100 MiB, two loads with a peak of 500 MiB, and idle again.
    fn measurement(level_after: f64, second_peak: f64) -> Measurement {
        let mut curve = Curve::default();
        for tenth in 0..600 {
            let second = f64::from(tenth) / 10.0;
            let mib = match second {
                ..3.0 => 100.0,
                3.0..18.0 => 500.0,
                20.0..31.0 => level_after,
                31.0..46.0 => second_peak,
                48.0.. => level_after,
                _ => 300.0,
            };
            curve.push(second, mib);
        }
        let loads = vec![(3.0, 18.0), (31.0, 46.0)];
        Measurement {
            curve,
            loads,
            statuses: vec![200, 429],
            unexpected: Vec::new(),
            without_retry_after: 0,
            lost: Vec::new(),
        }
    }

    fn violated(measurement: &Measurement) -> Vec<String> {
        let checks = judge(measurement);
        checks.iter().filter(|check| !check.passed()).map(|check| check.name().to_string()).collect()
    }

    #[test]
    fn each_violation_is_reported_by_its_own_check() {
        assert_eq!(violated(&measurement(109.0, 500.0)), [""; 0]);
        let not_back = ["memory returns after load 1", "memory returns after load 2"];
        assert_eq!(violated(&measurement(111.0, 500.0)), not_back);
        assert_eq!(violated(&measurement(100.0, 600.0)), ["the last peak is not above the first"]);
        assert_eq!(violated(&measurement(100.0, 120.0)), ["the load needs memory"]);
        let mut lost = measurement(100.0, 500.0);
        lost.lost.push("reset".into());
        assert_eq!(violated(&lost), ["no error but 429 and 503"]);
    }

    #[test]
    fn a_curve_that_ends_early_is_not_a_pass() {
        let mut ended = measurement(100.0, 500.0);
        ended.curve.seconds.truncate(400);
        ended.curve.resident_mib.truncate(400);
        assert_eq!(violated(&ended), ["memory returns after load 2"]);
    }
}
