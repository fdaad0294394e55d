//! From texts to what the requests want of them: sequences that go on to the model, or the pieces themselves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine::{Cancel, EngineError, TokenWithOffsets};

use super::super::job::{Job, JobError, Wants};
use super::Shared;

type Texts = (Arc<Job>, Vec<String>);

enum Tokenized {
    Ids(Vec<Vec<u32>>),
    Pieces(Vec<Vec<TokenWithOffsets>>),
}

/// Of one model, and for one purpose.
pub(super) fn alike(jobs: Vec<Texts>) -> Vec<Vec<Texts>> {
    let mut groups: Vec<Vec<Texts>> = Vec::new();
    for job in jobs {
        let same = |other: &Job| Arc::ptr_eq(&other.model, &job.0.model) && other.wants == job.0.wants;
        match groups.iter_mut().find(|group| same(&group[0].0)) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

impl Shared {
    /// The texts of jobs that are alike, in one call: a job of one text would leave the other workers idle.
    pub(super) fn tokenize(&self, mut jobs: Vec<Texts>) {
        let Some((model, wants)) = jobs.first().map(|(job, _)| (Arc::clone(&job.model), job.wants)) else {
            return;
        };
        let cancel = Cancel::shared(jobs.iter().map(|(job, _)| job.cancel.clone()).collect());
        let counts: Vec<usize> = jobs.iter().map(|(_, texts)| texts.len()).collect();
        let texts: Vec<String> = jobs.iter_mut().flat_map(|(_, texts)| std::mem::take(texts)).collect();
        let result = catch_unwind(AssertUnwindSafe(|| match wants {
            Wants::Vectors => model.tokenize(&texts, &cancel).map(Tokenized::Ids),
            Wants::Pieces { special_tokens } => {
                jobs.iter().for_each(|(job, _)| job.step_begins());
                model.pieces(&texts, special_tokens, &cancel).map(Tokenized::Pieces)
            }
        }));
        match result.unwrap_or(Err(EngineError::WorkerFailed)) {
            Ok(Tokenized::Ids(sequences)) => {
                let mut sequences = sequences.into_iter();
                for ((job, _), count) in jobs.into_iter().zip(counts) {
                    self.tokenized(&job, sequences.by_ref().take(count).collect());
                }
            }
            Ok(Tokenized::Pieces(pieces)) => {
                let mut pieces = pieces.into_iter();
                for ((job, _), count) in jobs.into_iter().zip(counts) {
                    self.pieces(&job, pieces.by_ref().take(count).collect());
                }
            }
            Err(_) if jobs.len() > 1 => {
                // Whichever it was fails alone.
                let mut texts = texts.into_iter();
                for ((job, _), count) in jobs.into_iter().zip(counts) {
                    self.tokenize(vec![(job, texts.by_ref().take(count).collect())]);
                }
            }
            Err(error) => {
                for (job, _) in jobs {
                    job.fail(JobError::Engine(error.clone()));
                }
                self.forget_cancelled();
            }
        }
    }

    fn tokenized(&self, job: &Arc<Job>, sequences: Vec<Vec<u32>>) {
        if self.count_tokens(job, sequences.iter().map(Vec::len).sum()) {
            self.lock().queue.tokenized(job, sequences);
            self.wake.notify_one();
        }
    }

    fn pieces(&self, job: &Arc<Job>, pieces: Vec<Vec<TokenWithOffsets>>) {
        if self.count_tokens(job, pieces.iter().map(Vec::len).sum()) {
            let entry = self.lock().queue.remove(job);
            // Outside of the lock.
            drop(entry);
            job.fulfil_pieces(pieces);
        }
    }

    /// Whether they are not too many; if they are, the job fails.
    fn count_tokens(&self, job: &Arc<Job>, tokens: usize) -> bool {
        let tokens_max = self.settings.request_tokens_max;
        job.count_tokens(tokens);
        if tokens > tokens_max {
            job.fail(JobError::TooManyTokens { tokens, tokens_max });
            self.forget_cancelled();
        }
        tokens <= tokens_max
    }
}
