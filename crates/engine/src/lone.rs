//! Whether a chunk that is alone gets OpenBLAS's threads: decided by what it cost lately, not by rule.
//!
//! Threads inside a product wait for each other by spinning. On idle cores they make a lone text 1.6 times as fast; on
//! cores shared with other busy processes each wait costs a time slice, and the same text takes 7 to 13 times as long
//! (both measured on two cores). Nothing tells in advance which it is, so both ways are timed and the cheaper is taken;
//! the dearer is tried again ever more rarely, so that a change in the machine's load is noticed.

use std::time::Duration;

/// A product repacks its weights whatever the number of tokens: as much work as this many tokens, roughly. Makes the
/// costs of short and long texts comparable.
const FIXED_COST_TOKENS: f64 = 64.0;
const RETRY_MIN: u32 = 64;
const RETRY_MAX: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    OneThread,
    AllThreads,
}

/// Recent costs of both ways, in seconds a token.
#[derive(Debug)]
pub(crate) struct Pace {
    one: Option<f64>,
    all: Option<f64>,
    calls_since_retry: u32,
    retry_after: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { one: None, all: None, calls_since_retry: 0, retry_after: RETRY_MIN }
    }
}

impl Pace {
    /// The way to go now.
    pub fn choose(&mut self) -> Way {
        let (better, worse) = match self.better() {
            Some(Way::AllThreads) => (Way::AllThreads, Way::OneThread),
            Some(Way::OneThread) => (Way::OneThread, Way::AllThreads),
            // The safe way first: many processes embed one text and end.
            None => return if self.one.is_none() { Way::OneThread } else { Way::AllThreads },
        };
        self.calls_since_retry += 1;
        if self.calls_since_retry < self.retry_after {
            return better;
        }
        self.calls_since_retry = 0;
        self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
        worse
    }

    /// What a call that stayed alone has cost.
    pub fn record(&mut self, way: Way, tokens: usize, time: Duration) {
        let better_before = self.better();
        let cost = time.as_secs_f64() / (tokens as f64 + FIXED_COST_TOKENS);
        let slot = if way == Way::AllThreads { &mut self.all } else { &mut self.one };
        // Of the way in use half old, half new: one call is enough to leave it when it has become ten times as dear. Of
        // the other the old number is from another time: replaced.
        *slot = Some(slot.filter(|_| better_before == Some(way)).map_or(cost, |old| (old + cost) / 2.0));
        if self.better() != better_before {
            self.retry_after = RETRY_MIN;
        }
    }

    fn better(&self) -> Option<Way> {
        let (one, all) = (self.one?, self.all?);
        Some(if all <= one { Way::AllThreads } else { Way::OneThread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs calls on a machine where each way costs this many microseconds; gives how often all threads were used.
    fn run(pace: &mut Pace, calls: usize, one: u64, all: u64) -> usize {
        let mut used = 0;
        for _ in 0..calls {
            let way = pace.choose();
            used += usize::from(way == Way::AllThreads);
            pace.record(way, 20, Duration::from_micros(if way == Way::AllThreads { all } else { one }));
        }
        used
    }

    #[test]
    fn an_idle_machine_uses_all_threads() {
        assert!(run(&mut Pace::default(), 1000, 1600, 1000) >= 990);
    }

    #[test]
    fn a_busy_machine_tries_all_threads_rarely() {
        assert!(run(&mut Pace::default(), 10_000, 1000, 10_000) <= 10);
    }

    #[test]
    fn a_neighbour_that_comes_costs_one_call_and_one_that_goes_is_noticed() {
        let mut pace = Pace::default();
        run(&mut pace, 100, 1600, 1000);
        assert!(run(&mut pace, 50, 2000, 20_000) <= 2);
        assert!(run(&mut pace, 1000, 1600, 1000) > 500);
    }

    #[test]
    fn the_first_call_of_a_process_takes_the_safe_way() {
        assert_eq!(Pace::default().choose(), Way::OneThread);
    }
}
