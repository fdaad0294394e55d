//! Mixed load for an hour, with a spike and an attack in every sixth of the time: memory does not grow, and the load gets no
//! error but 429 and 503.

mod disturbance;
mod mixed;
mod trend;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::disturbance::{ATTACKS, Disturbance};
use self::trend::Trend;
use crate::context::Context;
use crate::metrics::Sample;
use crate::server::Server;
use crate::traffic::Outcomes;
use crate::{NOT_SATURATED, SOAK_GROWTH, SOAK_NOISE, ScenarioCheck, UNEXPECTED_RESPONSE, aftermath};

const PERIODS: u32 = 6;
/// A shorter run has too few samples between its attacks.
const DURATION_MIN: Duration = Duration::from_mins(1);
/// Growth that no run of an hour can tell from noise, and that a year of service survives: 2 KiB per minute is 1 GiB per year.
const SLOPE_MAX: f64 = 2048.0;
/// The interval of the slope, times the duration, as a share of the memory. A wider interval shows nothing.
const NOISE_MAX: f64 = 0.1;
/// The line is fitted to means of so many settled samples.
const BLOCK: usize = 5;
const MIB: f64 = 1048576.0;

/// Times of one period: memory settles, is measured, then come the spike and the attack.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    period: Duration,
    settle: Duration,
    steady: Duration,
    spike: Duration,
    attack: Duration,
    interval: Duration,
}

impl Schedule {
    fn new(total: Duration) -> Self {
        let period = total.max(DURATION_MIN) / PERIODS;
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(20));
        let spike = (period / 15).clamp(short, long);
        let attack = (period / 15).clamp(short, long);
        let settle = (period / 4).min(Duration::from_mins(1));
        let steady = period.saturating_sub(settle + spike + attack);
        // About a hundred samples in each period, and at most two per second: a read takes time from the server.
        let interval = (steady / 100).max(Duration::from_millis(500)).min(steady / 10);
        Self { period, settle, steady, spike, attack, interval }
    }
}

pub fn run(context: &Context<'_>) -> anyhow::Result<Vec<ScenarioCheck>> {
    let schedule = Schedule::new(context.duration);
    let model = context.model_argument();
    let mut arguments = vec!["--model", model.as_str()];
    // Attacks come from another address than the load, as they do from another machine.
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        arguments.extend(["--listen", "[::1]:0"]);
    }
    let mut server = Server::start(context.binary, &arguments)?;
    let address = server.address();
    let other = server.addresses().into_iter().find(SocketAddr::is_ipv6).unwrap_or(address);
    let before = server.sample()?;

    let is_done = AtomicBool::new(false);
    let started = Instant::now();
    let (periods, load) = std::thread::scope(|scope| {
        let is_done = &is_done;
        let clients: Vec<_> = (0..mixed::CLIENTS as u64)
            .map(|number| scope.spawn(move || mixed::client(address, number, is_done)))
            .collect();
        let periods = (0..PERIODS)
            .map(|number| period(context, &schedule, started, number, (address, other)))
            .collect();
        is_done.store(true, Ordering::Relaxed);
        let mut load = Outcomes::default();
        for client in clients {
            match client.join() {
                Ok(outcomes) => load.merge(outcomes),
                Err(_) => load.lost.push("a client thread panicked".into()),
            }
        }
        (periods, load)
    });
    let periods: anyhow::Result<Vec<Period>> = periods;
    let periods = periods?;
    let mut checks = judge_memory(&periods, schedule.interval);
    checks.push(judge_load(&load));
    checks.push(judge_spikes(&periods));
    checks.extend(aftermath::checks(&mut server, &before)?);
    Ok(checks)
}

/// What one period observed.
#[derive(Debug, Default)]
struct Period {
    /// Minutes since the begin of the soak, and resident bytes, without the times of spike, attack and settling.
    settled: Vec<(f64, f64)>,
    spike: Outcomes,
}

fn period(
    context: &Context<'_>,
    schedule: &Schedule,
    started: Instant,
    number: u32,
    (address, other): (SocketAddr, SocketAddr),
) -> anyhow::Result<Period> {
    let pause = |time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end && context.runner.check().is_ok() {
            std::thread::sleep((end - Instant::now()).min(Duration::from_millis(200)));
        }
    };
    // The last requests of the attack before may take longer than planned: that is taken from the time of measurement, so that the
    // run does not become longer.
    let end = started + schedule.period * number + schedule.settle + schedule.steady;
    pause(schedule.settle);
    let mut settled = Vec::new();
    while (settled.len() < 2 * BLOCK || Instant::now() < end) && context.runner.check().is_ok() {
        settled.push((started.elapsed().as_secs_f64() / 60.0, Sample::read(address)?.resident_bytes));
        pause(schedule.interval);
    }
    context.runner.check()?;
    let spike = Disturbance::Spike.run(other, schedule.spike);
    let after_spike = Sample::read(address).map_or(0.0, |sample| sample.resident_bytes);
    // The warm-up has all attacks: each of them takes memory once that the allocator keeps for the next time.
    let attacks = match number {
        0 => &ATTACKS[..],
        _ => std::slice::from_ref(&ATTACKS[number as usize % ATTACKS.len()]),
    };
    attacks.iter().for_each(|attack| drop(attack.run(other, schedule.attack)));
    let names: Vec<_> = attacks.iter().map(|attack| attack.name()).collect();
    let after_attack = Sample::read(address).map_or(0.0, |sample| sample.resident_bytes);
    context.runner.events().step(format!(
        "period {} of {PERIODS}: settled {:.1} MiB, after the spike {:.1} MiB, after the attack ({}) {:.1} MiB",
        number + 1,
        mean(&settled).1 / MIB,
        after_spike / MIB,
        names.join(", "),
        after_attack / MIB,
    ));
    Ok(Period { settled, spike })
}

fn mean(samples: &[(f64, f64)]) -> (f64, f64) {
    let count = samples.len().max(1) as f64;
    let (minutes, bytes) =
        samples.iter().fold((0.0, 0.0), |sum, sample| (sum.0 + sample.0, sum.1 + sample.1));
    (minutes / count, bytes / count)
}

/// The first period is warm-up: the first spike and every attack are at its end.
fn judge_memory(periods: &[Period], interval: Duration) -> Vec<ScenarioCheck> {
    let later = periods.get(1..).unwrap_or_default();
    let blocks: Vec<(f64, f64)> =
        later.iter().flat_map(|period| period.settled.chunks_exact(BLOCK)).map(mean).collect();
    let Some(trend) = Trend::fit(&blocks) else {
        let found = format!("{} means of {BLOCK} samples, one per {interval:?}", blocks.len());
        return vec![ScenarioCheck::new(&SOAK_NOISE, "memory is measured", false, "at least 4 means", found)];
    };
    let minutes = blocks.last().map_or(0.0, |last| last.0) - blocks[0].0;
    let kib = |bytes: f64| bytes / 1024.0;
    let noise = trend.half_width * minutes / trend.mean;
    vec![
        ScenarioCheck::new(
            &SOAK_GROWTH,
            "resident memory does not grow",
            !trend.exceeds(SLOPE_MAX),
            format!("the interval of the slope begins at or below {:.0} KiB/min", kib(SLOPE_MAX)),
            format!(
                "{:+.1} ± {:.1} KiB/min (95 %) over {minutes:.1} min, {} means of {BLOCK} samples, mean {:.1} MiB",
                kib(trend.slope),
                kib(trend.half_width),
                blocks.len(),
                trend.mean / MIB
            ),
        ),
        ScenarioCheck::new(
            &SOAK_NOISE,
            "growth would be seen",
            noise <= NOISE_MAX,
            format!(
                "an interval that is at most {:.0} % of the memory over the whole time",
                NOISE_MAX * 100.0
            ),
            format!(
                "{:.1} %: growth above {:.1} KiB/min is a violation",
                noise * 100.0,
                kib(SLOPE_MAX + trend.half_width)
            ),
        ),
    ]
}

fn judge_load(load: &Outcomes) -> ScenarioCheck {
    let unexpected = load.unexpected(&[200, 429, 503]);
    let problems = unexpected.len() + load.lost.len() + load.not_connected + load.without_retry_after;
    ScenarioCheck::new(
        &UNEXPECTED_RESPONSE,
        "no error but 429 and 503",
        problems == 0 && load.count(200) > 0,
        "200, and 429 or 503 with Retry-After",
        format!(
            "{} accepted (200), {} throttled (429), {} rejected (503), other statuses {unexpected:?}, {} not connected, \
             {} lost{}, {} without Retry-After; p99 {:.0} ms",
            load.count(200),
            load.count(429),
            load.count(503),
            load.not_connected,
            load.lost.len(),
            load.lost.first().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            load.without_retry_after,
            load.percentile(99.0).unwrap_or(0.0) * 1e3,
        ),
    )
}

fn judge_spikes(periods: &[Period]) -> ScenarioCheck {
    let counts: Vec<usize> = periods.iter().map(|period| period.spike.count(200)).collect();
    ScenarioCheck::new(
        &NOT_SATURATED,
        "every spike reaches the server",
        counts.iter().all(|count| *count > 0),
        "accepted requests in each spike",
        format!("{counts:?} accepted"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(leak_bytes_per_minute: f64) -> Vec<Period> {
        let sample = |period: u32, index: u32| {
            let minutes = f64::from(period) * 10.0 + f64::from(index) * 0.08;
            // The first period is lower; noise of 100 KiB.
            let level = if period == 0 { 60e6 } else { 100e6 };
            (minutes, level + f64::from(index * 37 % 11) * 10e3 + leak_bytes_per_minute * minutes)
        };
        (0..PERIODS)
            .map(|period| Period {
                settled: (0..100).map(|index| sample(period, index)).collect(),
                spike: Outcomes::default(),
            })
            .collect()
    }

    fn violated(periods: &[Period]) -> Vec<String> {
        let checks = judge_memory(periods, Duration::from_secs(5));
        checks.iter().filter(|check| !check.passed()).map(|check| check.name().to_string()).collect()
    }

    #[test]
    fn growth_is_a_violation_and_the_warm_up_is_not() {
        assert_eq!(violated(&periods(0.0)), [""; 0]);
        assert_eq!(violated(&periods(8.0 * 1024.0)), ["resident memory does not grow"]);
        assert_eq!(violated(&periods(-8.0 * 1024.0)), [""; 0]);
    }

    #[test]
    fn noise_that_hides_growth_is_a_violation() {
        let mut noisy = periods(0.0);
        for (index, sample) in noisy.iter_mut().flat_map(|period| &mut period.settled).enumerate() {
            sample.1 += if index / 100 % 2 == 0 { 40e6 } else { 0.0 };
        }
        assert_eq!(violated(&noisy), ["growth would be seen"]);
        assert_eq!(violated(&periods(0.0)[..1]), ["memory is measured"]);
    }

    #[test]
    fn every_period_has_time_for_each_of_its_parts() {
        for minutes in [0, 1, 3, 60] {
            let schedule = Schedule::new(Duration::from_mins(minutes));
            assert!(schedule.steady > Duration::from_secs(2), "{schedule:?}");
            assert!(schedule.steady / BLOCK as u32 >= schedule.interval, "{schedule:?}");
            assert_eq!(schedule.settle + schedule.steady + schedule.spike + schedule.attack, schedule.period);
        }
        assert_eq!(Schedule::new(Duration::from_hours(1)).period, Duration::from_mins(10));
    }
}
