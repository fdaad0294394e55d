//! Tokenizes the texts of jobs for one slice of time: into sequences for the model, or into the tokens that are the
//! response.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::EngineError;

use super::super::job::{Job, JobError, OutputKind};
use super::super::queue::Slice;
use super::super::text_work::{Progress, TextWork};
use super::core::Core;

/// Time of one slice, besides its last piece.
const SLICE_TIME: Duration = Duration::from_millis(5);

/// Tokenizes at least one piece of each job.
pub fn tokenize(core: &Core, slice: Slice) {
    let share = SLICE_TIME / u32::try_from(slice.len().max(1)).unwrap_or(u32::MAX);
    let (tokens_max, mut failed) = (core.settings().request_tokens_max, false);
    for (job, mut work) in slice {
        if matches!(job.output_kind, OutputKind::Tokens { .. }) {
            job.step_begins();
        }
        let deadline = Instant::now() + share;
        let advance = AssertUnwindSafe(|| work.advance(&job, tokens_max, deadline));
        let result = catch_unwind(advance).unwrap_or(Err(JobError::Engine(EngineError::WorkerFailed)));
        match result {
            Ok(Progress::Unfinished) => core.lock().queue.put_back(&job, work),
            Ok(Progress::Finished) => finish(core, &job, work),
            Err(error) => {
                job.fail(error);
                failed = true;
            }
        }
    }
    if failed {
        core.remove_cancelled();
    }
}

fn finish(core: &Core, job: &Arc<Job>, work: TextWork) {
    match job.output_kind {
        OutputKind::Embeddings => {
            core.lock().queue.set_sequences(job, work.into_ids());
        }
        OutputKind::Tokens { .. } => {
            let entry = core.lock().queue.remove(job);
            // Dropped after the lock is released.
            drop(entry);
            job.finish_tokens(work.into_tokens());
        }
    }
}
