//! Twice of what the server can do, for minutes: it must refuse the rest in time, and stay as it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::server::{Sample, sample};
use super::traffic::{Tally, Traffic};

pub struct Settings {
    pub clients: usize,
    pub time: Duration,
    /// Requests that the server holds at a time for these clients, all of one address.
    pub queue: usize,
}

/// What the numbers are held against.
pub struct Numbers {
    pub unloaded_p99: f64,
    /// Requests a second.
    pub capacity: f64,
    pub tally: Tally,
    pub samples: Vec<Sample>,
    pub queue: usize,
    pub clients: usize,
}

const UNLOADED: Duration = Duration::from_secs(10);
const CAPACITY: Duration = Duration::from_secs(10);
/// Enough for full batches, and few enough that none is refused.
const CAPACITY_CLIENTS: usize = 32;
const OVERLOAD: f64 = 2.0;
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Memory must be flat after this part of the time.
const SETTLED_AFTER: f64 = 0.2;
const RESIDENT_SPREAD_MAX: f64 = 0.05;

pub fn measure(
    address: SocketAddr,
    bodies: &[Vec<u8>],
    settings: &Settings,
    stop: &AtomicBool,
) -> anyhow::Result<Numbers> {
    let traffic = |clients, time, rate| Traffic { address, clients, time, rate, bodies, stop }.run();
    let unloaded = traffic(1, UNLOADED, None);
    let started = Instant::now();
    let full = traffic(CAPACITY_CLIENTS.min(settings.queue), CAPACITY, None);
    let capacity = full.count(200) as f64 / started.elapsed().as_secs_f64();
    let unloaded_p99 = unloaded
        .percentile(99.0)
        .ok_or_else(|| anyhow::anyhow!("no request was answered before the load"))?;
    anyhow::ensure!(capacity > 0.0, "no request was answered by {CAPACITY_CLIENTS} clients");
    println!(
        "  unloaded: {} requests, p50 {:.1} ms, p99 {:.1} ms; capacity {capacity:.0} requests/s; load {:.0}/s by {} \
         clients for {} s",
        unloaded.count(200),
        unloaded.percentile(50.0).unwrap_or(0.0) * 1e3,
        unloaded_p99 * 1e3,
        OVERLOAD * capacity,
        settings.clients,
        settings.time.as_secs(),
    );
    let ended = AtomicBool::new(false);
    let (tally, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                samples.push(sample(address));
                std::thread::sleep(SAMPLE_EVERY);
            }
            samples
        });
        let tally = traffic(settings.clients, settings.time, Some(OVERLOAD * capacity));
        ended.store(true, Ordering::Relaxed);
        (tally, sampler.join())
    });
    let samples = samples.map_err(|_| anyhow::anyhow!("the thread that reads /metrics panicked"))?;
    let samples = samples.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Numbers { unloaded_p99, capacity, tally, samples, queue: settings.queue, clients: settings.clients })
}

pub fn judge(numbers: &Numbers, findings: &mut Findings) {
    let Numbers { tally, samples, .. } = numbers;
    let others = tally.others(&[200, 429]);
    let lost = tally.lost.len() + tally.not_connected;
    findings.add(
        "no error but 429",
        others.is_empty() && lost == 0 && tally.no_retry_after == 0 && tally.count(200) > 0,
        "200 and 429 with Retry-After, nothing else",
        format!(
            "{} answered, {} told 429, other statuses {others:?}, {lost} lost, {} without Retry-After{}",
            tally.count(200),
            tally.count(429),
            tally.no_retry_after,
            tally.lost.first().map(|why| format!(" ({why})")).unwrap_or_default(),
        ),
    );
    findings.add(
        "it was an overload",
        tally.count(429) > 0,
        "some requests are refused: else this run proves nothing",
        format!("{} of {} refused", tally.count(429), tally.count(429) + tally.count(200)),
    );
    // What stands before a request that is let in last: a full queue, served at capacity.
    let queue_bound = numbers.queue.min(numbers.clients) as f64 / numbers.capacity;
    let p99_max = 3.0 * numbers.unloaded_p99 + queue_bound;
    let p99 = tally.percentile(99.0);
    findings.add(
        "p99 of accepted requests",
        p99.is_some_and(|p99| p99 <= p99_max),
        format!(
            "at most {:.0} ms: three times the unloaded p99, and the queue's {:.0} ms",
            p99_max * 1e3,
            queue_bound * 1e3
        ),
        match (tally.percentile(50.0), p99) {
            (Some(p50), Some(p99)) => {
                format!("{:.0} ms of {:.0} ms (p50 {:.0} ms)", p99 * 1e3, p99_max * 1e3, p50 * 1e3)
            }
            _ => "not measured".into(),
        },
    );
    let settled = &samples[(samples.len() as f64 * SETTLED_AFTER) as usize..];
    let range = |value: fn(&Sample) -> f64| {
        settled
            .iter()
            .map(value)
            .fold((f64::MAX, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)))
    };
    let (low, high) = range(|sample| sample.resident);
    findings.add(
        "resident memory is flat",
        settled.len() > 2 && high <= low * (1.0 + RESIDENT_SPREAD_MAX),
        format!("within {:.0} % after the first fifth of the time", RESIDENT_SPREAD_MAX * 100.0),
        format!(
            "{:.1} to {:.1} MiB ({:.1} %) over {} samples",
            low / 1048576.0,
            high / 1048576.0,
            (high / low - 1.0) * 100.0,
            settled.len()
        ),
    );
    let (fewest, most) = range(|sample| sample.threads);
    findings.add(
        "threads are constant",
        settled.len() > 2 && fewest == most,
        "one number in all samples",
        format!("{fewest:.0} to {most:.0}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        let mut tally = Tally::default();
        tally.answered.insert(200, vec![0.1; 1000]);
        tally.answered.insert(429, vec![0.001; 1000]);
        let sample = Sample { resident: 100e6, threads: 9.0, held: 0.0 };
        Numbers {
            unloaded_p99: 0.02,
            capacity: 100.0,
            tally,
            samples: vec![sample; 100],
            queue: 10,
            clients: 200,
        }
    }

    fn failed(break_it: impl FnOnce(&mut Numbers)) -> Vec<String> {
        let mut numbers = numbers();
        break_it(&mut numbers);
        let mut findings = Findings::default();
        judge(&numbers, &mut findings);
        findings.failed().into_iter().map(String::from).collect()
    }

    #[test]
    fn each_promise_is_judged_by_itself() {
        assert_eq!(failed(|_| ()), [""; 0]);
        assert_eq!(failed(|n| n.tally.lost.push("reset".into())), ["no error but 429"]);
        assert_eq!(failed(|n| drop(n.tally.answered.insert(500, vec![0.1]))), ["no error but 429"]);
        assert_eq!(failed(|n| n.tally.no_retry_after = 1), ["no error but 429"]);
        assert_eq!(failed(|n| drop(n.tally.answered.remove(&429))), ["it was an overload"]);
        assert_eq!(
            failed(|n| n.tally.answered.get_mut(&200).unwrap()[..11].fill(0.17)),
            ["p99 of accepted requests"]
        );
        assert_eq!(failed(|n| n.samples[20].resident *= 1.06), ["resident memory is flat"]);
        assert_eq!(failed(|n| n.samples[19].resident *= 1.06), [""; 0]);
        assert_eq!(failed(|n| n.samples[99].threads = 10.0), ["threads are constant"]);
        assert_eq!(failed(|n| n.samples.truncate(2)), ["resident memory is flat", "threads are constant"]);
    }
}
