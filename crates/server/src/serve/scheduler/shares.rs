//! The choice between embeddings and requests that only tokenize, by the time that each has taken.
//!
//! Both use the same cores, and a slice of the tokenizer that runs beside a batch of one text makes the threads of that
//! batch wait for each other. So they take turns: after a batch, slices may run for as long as the batch took, up to
//! [`IN_A_ROW_MAX`] or a part of that time; then the next batch begins. Time is measured, because the cost of a byte of
//! text varies by a factor of ten, and the time of a batch by a factor of a thousand.

use std::time::Duration;

/// Longest time of slices between two short batches. An embedding that arrives meanwhile waits at most this long.
const IN_A_ROW_MAX: Duration = Duration::from_millis(30);
/// After a longer batch slices may run for this part of its time: with a batch of seconds, [`IN_A_ROW_MAX`] would leave
/// tokenizing less than a hundredth of the time.
const PART_OF_BATCH: u32 = 4;

/// What a runner may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Batch,
    TokenizeSlice,
    Wait,
}

/// Use of the engine by both kinds of requests.
#[derive(Debug, Default)]
pub struct Shares {
    /// Time of slices before the next batch.
    owed: Duration,
    /// Batches that occupy the engine so that neither another batch nor a slice may begin.
    batches: usize,
    slices: usize,
}

impl Shares {
    /// Decides what an idle runner does; `slices_max` is the number of compute threads.
    pub fn choose(&self, has_sequences: bool, has_texts: bool, slices_max: usize) -> Choice {
        let slice_next = has_texts && (!has_sequences || !self.owed.is_zero());
        match (slice_next, has_sequences) {
            _ if self.batches > 0 => Choice::Wait,
            (true, _) if self.slices < slices_max => Choice::TokenizeSlice,
            (false, true) if self.slices == 0 => Choice::Batch,
            _ => Choice::Wait,
        }
    }

    pub fn batch_begins(&mut self) {
        self.batches += 1;
    }

    /// The next batch or slice may begin.
    pub fn batch_leaves_a_member_idle(&mut self) {
        self.batches = self.batches.saturating_sub(1);
    }

    /// Accounts for a batch. Without waiting texts nothing is owed: an idle kind of request does not save up time.
    pub fn batch_took(&mut self, time: Duration, has_texts: bool) {
        let owed_max = IN_A_ROW_MAX.max(time / PART_OF_BATCH);
        self.owed = if has_texts { (self.owed + time).min(owed_max) } else { Duration::ZERO };
    }

    pub fn slice_begins(&mut self) {
        self.slices += 1;
    }

    pub fn slice_took(&mut self, time: Duration) {
        self.slices = self.slices.saturating_sub(1);
        self.owed = self.owed.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_embedding_comes_before_texts_that_are_owed_nothing() {
        let shares = Shares::default();
        assert_eq!(shares.choose(true, true, 2), Choice::Batch);
        assert_eq!(shares.choose(false, true, 2), Choice::TokenizeSlice);
        assert_eq!(shares.choose(true, false, 2), Choice::Batch);
        assert_eq!(shares.choose(false, false, 2), Choice::Wait);
    }

    #[test]
    fn texts_get_the_time_of_the_last_batch_up_to_a_bound() {
        for (batch, slices) in [(10, 2), (100, 6), (4000, 200)] {
            let mut shares = Shares::default();
            shares.batch_took(batch * MS, true);
            let mut found = 0;
            while shares.choose(true, true, 1) == Choice::TokenizeSlice {
                shares.slice_begins();
                shares.slice_took(5 * MS);
                found += 1;
            }
            assert_eq!(found, slices);
        }
        let mut shares = Shares::default();
        shares.batch_took(1000 * MS, false);
        assert_eq!(shares.choose(true, true, 1), Choice::Batch);
    }

    #[test]
    fn a_batch_and_a_slice_never_run_together_and_slices_are_bounded() {
        let mut shares = Shares::default();
        shares.batch_begins();
        assert_eq!(shares.choose(true, true, 2), Choice::Wait);
        shares.batch_leaves_a_member_idle();
        shares.slice_begins();
        assert_eq!(shares.choose(true, true, 2), Choice::Wait);
        assert_eq!(shares.choose(false, true, 2), Choice::TokenizeSlice);
        assert_eq!(shares.choose(false, true, 1), Choice::Wait);
        shares.slice_took(MS);
        assert_eq!(shares.choose(true, true, 2), Choice::Batch);
    }
}
