//! Many clients at once, each on its own thread: as fast as the server answers, or at a rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{Answer, Client, Missed};

pub struct Traffic<'a> {
    pub address: SocketAddr,
    pub clients: usize,
    pub time: Duration,
    /// Requests a second of all clients together; without it each sends when the last one is answered.
    pub rate: Option<f64>,
    /// The bodies, taken in turn.
    pub bodies: &'a [Vec<u8>],
    pub stop: &'a AtomicBool,
}

/// What became of the requests.
#[derive(Default)]
pub struct Tally {
    /// Seconds from the first byte sent to the last byte read, by status.
    pub answered: BTreeMap<u16, Vec<f32>>,
    /// 429 and 503 that did not say when to come back.
    pub no_retry_after: usize,
    pub not_connected: usize,
    pub lost: Vec<String>,
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);
const STACK_BYTES: usize = 256 << 10;

impl Traffic<'_> {
    pub fn run(&self) -> Tally {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .filter_map(|number| {
                    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                    thread.spawn_scoped(scope, move || self.client(number, started)).ok()
                })
                .collect();
            let mut all = Tally::default();
            if clients.len() < self.clients {
                all.lost.push(format!("only {} of {} clients could be started", clients.len(), self.clients));
            }
            for client in clients {
                match client.join() {
                    Ok(tally) => all.add(tally),
                    Err(_) => all.lost.push("a client of this measurement panicked".into()),
                }
            }
            all
        })
    }

    fn client(&self, number: usize, started: Instant) -> Tally {
        let mut tally = Tally::default();
        let mut client = Client::new(self.address, ANSWER_TIME_MAX);
        let interval = self.rate.map(|rate| Duration::from_secs_f64(self.clients as f64 / rate));
        // Spread over one interval, so that the clients do not come all at once.
        let mut next = started + interval.unwrap_or_default().mul_f64(number as f64 / self.clients as f64);
        for body in self.bodies.iter().cycle().skip(number) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) || started.elapsed() >= self.time {
                break;
            }
            let sent = Instant::now();
            tally.set_note(client.post("/v1/embeddings", body), sent.elapsed());
            if let Some(interval) = interval {
                // Who is late does not catch up: that would be a rate that nobody asked for.
                next = (next + interval).max(Instant::now());
            }
        }
        tally
    }
}

impl Tally {
    fn set_note(&mut self, answer: Result<Answer, Missed>, time: Duration) {
        match answer {
            Ok(answer) => {
                if matches!(answer.status, 429 | 503) && !answer.retry_after {
                    self.no_retry_after += 1;
                }
                self.answered.entry(answer.status).or_default().push(time.as_secs_f32());
            }
            Err(Missed::NotConnected(_)) => {
                self.not_connected += 1;
                // A loop that fails at once would only burn the cores that are measured.
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Missed::Lost(why)) => self.lost.push(why),
        }
    }

    fn add(&mut self, other: Self) {
        for (status, times) in other.answered {
            self.answered.entry(status).or_default().extend(times);
        }
        self.no_retry_after += other.no_retry_after;
        self.not_connected += other.not_connected;
        self.lost.extend(other.lost);
    }

    pub fn count(&self, status: u16) -> usize {
        self.answered.get(&status).map_or(0, Vec::len)
    }

    /// Statuses that are none of these.
    pub fn others(&self, expected: &[u16]) -> Vec<(u16, usize)> {
        let others = self.answered.iter().filter(|(status, _)| !expected.contains(status));
        others.map(|(status, times)| (*status, times.len())).collect()
    }

    /// Seconds within which so many in a hundred of the accepted requests were answered.
    pub fn percentile(&self, of_100: f64) -> Option<f64> {
        let mut times = self.answered.get(&200)?.clone();
        times.sort_by(f32::total_cmp);
        let rank = (of_100 / 100.0 * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).map(|seconds| f64::from(*seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let mut tally = Tally::default();
        assert_eq!(tally.percentile(99.0), None);
        tally.answered.insert(200, (1..=200).rev().map(|n| n as f32).collect());
        assert_eq!(tally.percentile(50.0), Some(100.0));
        assert_eq!(tally.percentile(99.0), Some(198.0));
        assert_eq!(tally.percentile(100.0), Some(200.0));
    }

    #[test]
    fn what_was_not_expected_is_found_whatever_it_is() {
        let mut tally = Tally::default();
        for status in [200, 429, 500, 500] {
            let answer = Answer { status, retry_after: false, body: Vec::new() };
            tally.set_note(Ok(answer), Duration::ZERO);
        }
        tally.set_note(Err(Missed::Lost("reset".into())), Duration::ZERO);
        assert_eq!(tally.others(&[200, 429]), [(500, 2)]);
        assert_eq!((tally.no_retry_after, tally.lost.len()), (1, 1));
    }
}
