//! Cost model of a call that consists of a single chunk: chooses between one OpenBLAS thread and several.
//!
//! The threads of one product synchronise by spinning. On idle cores they make a single text 1.6 times as fast. On cores
//! that other busy processes share, each synchronisation costs a time slice, and the same text takes 7 to 13 times as
//! long (both measured on two cores). No prior information distinguishes the two cases, so the model times both modes
//! and selects the cheaper one. It retries the other mode with exponential backoff, which detects a change in the load
//! of the machine.

use std::time::Duration;

/// Fixed cost of a forward pass, in tokens: OpenBLAS repacks the weights once per product, for any number of tokens.
/// Makes the costs of short and long texts comparable.
const FIXED_COST_TOKENS: f64 = 64.0;
const RETRY_CALLS_MIN: u32 = 64;
const RETRY_CALLS_MAX: u32 = 4096;

/// How many threads OpenBLAS uses in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threading {
    /// The calling thread only.
    Single,
    /// As many as the thread team has members.
    Multi,
}

/// Exponential averages of the measured cost of both modes, in seconds per token.
#[derive(Debug)]
pub(crate) struct CostModel {
    single: Option<f64>,
    multi: Option<f64>,
    calls_since_retry: u32,
    retry_after: u32,
}

impl Default for CostModel {
    fn default() -> Self {
        CostModel { single: None, multi: None, calls_since_retry: 0, retry_after: RETRY_CALLS_MIN }
    }
}

impl CostModel {
    /// The mode for the next call.
    pub fn choose(&mut self) -> Threading {
        let (cheaper, other) = match self.cheaper() {
            Some(Threading::Multi) => (Threading::Multi, Threading::Single),
            Some(Threading::Single) => (Threading::Single, Threading::Multi),
            // The safe mode first: many processes embed one text and exit.
            None if self.single.is_none() => return Threading::Single,
            None => return Threading::Multi,
        };
        self.calls_since_retry += 1;
        if self.calls_since_retry < self.retry_after {
            return cheaper;
        }
        self.calls_since_retry = 0;
        self.retry_after = (self.retry_after * 2).min(RETRY_CALLS_MAX);
        other
    }

    /// Adds the cost of a call during which no other call used OpenBLAS.
    pub fn record(&mut self, threading: Threading, tokens: usize, time: Duration) {
        let cheaper_before = self.cheaper();
        let cost = time.as_secs_f64() / (tokens as f64 + FIXED_COST_TOKENS);
        let average = if threading == Threading::Multi { &mut self.multi } else { &mut self.single };
        // The mode in use: weight 1/2 for the new value, so one call suffices to leave a mode that became ten times as
        // expensive. The other mode: its average is outdated, so the new value replaces it.
        *average = Some(
            average
                .filter(|_| cheaper_before == Some(threading))
                .map_or(cost, |old| f64::midpoint(old, cost)),
        );
        if self.cheaper() != cheaper_before {
            self.retry_after = RETRY_CALLS_MIN;
        }
    }

    fn cheaper(&self) -> Option<Threading> {
        let (single, multi) = (self.single?, self.multi?);
        Some(if multi <= single { Threading::Multi } else { Threading::Single })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates `calls` calls that cost `single` or `multi` microseconds; returns the number of multi-threaded ones.
    fn run(model: &mut CostModel, calls: usize, single: u64, multi: u64) -> usize {
        let mut used = 0;
        for _ in 0..calls {
            let threading = model.choose();
            used += usize::from(threading == Threading::Multi);
            let micros = if threading == Threading::Multi { multi } else { single };
            model.record(threading, 20, Duration::from_micros(micros));
        }
        used
    }

    #[test]
    fn uses_all_threads_when_they_are_cheaper() {
        assert!(run(&mut CostModel::default(), 1000, 1600, 1000) >= 990);
    }

    #[test]
    fn retries_the_more_expensive_mode_rarely() {
        assert!(run(&mut CostModel::default(), 10_000, 1000, 10_000) <= 10);
    }

    #[test]
    fn leaves_an_expensive_mode_after_one_call_and_returns_when_it_is_cheap_again() {
        let mut model = CostModel::default();
        run(&mut model, 100, 1600, 1000);
        assert!(run(&mut model, 50, 2000, 20_000) <= 2);
        assert!(run(&mut model, 1000, 1600, 1000) > 500);
    }

    #[test]
    fn starts_with_a_single_thread() {
        assert_eq!(CostModel::default().choose(), Threading::Single);
    }
}
