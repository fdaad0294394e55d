//! Tokenizes the texts of jobs: into sequences for the model, or into the tokens that a request asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine::{Cancel, EngineError, TokenWithOffsets};

use super::super::job::{Job, JobError, OutputKind};
use super::core::Core;

type Texts = (Arc<Job>, Vec<String>);

enum Tokenized {
    Ids(Vec<Vec<u32>>),
    Tokens(Vec<Vec<TokenWithOffsets>>),
}

/// Groups of jobs with the same model and output, which one call of the tokenizer can serve.
pub fn group_by_call(jobs: Vec<Texts>) -> Vec<Vec<Texts>> {
    let mut groups: Vec<Vec<Texts>> = Vec::new();
    for job in jobs {
        let matches =
            |other: &Job| Arc::ptr_eq(&other.model, &job.0.model) && other.output_kind == job.0.output_kind;
        match groups.iter_mut().find(|group| matches(&group[0].0)) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// Tokenizes one group in one call, so that small jobs occupy all workers.
pub fn tokenize(core: &Core, mut jobs: Vec<Texts>) {
    let Some((model, output_kind)) = jobs.first().map(|(job, _)| (Arc::clone(&job.model), job.output_kind))
    else {
        return;
    };
    let cancel = Cancel::shared(jobs.iter().map(|(job, _)| job.cancel.clone()).collect());
    let counts: Vec<usize> = jobs.iter().map(|(_, texts)| texts.len()).collect();
    let texts: Vec<String> = jobs.iter_mut().flat_map(|(_, texts)| std::mem::take(texts)).collect();
    let result = catch_unwind(AssertUnwindSafe(|| match output_kind {
        OutputKind::Embeddings => model.tokenize(&texts, &cancel).map(Tokenized::Ids),
        OutputKind::Tokens { special_tokens } => {
            jobs.iter().for_each(|(job, _)| job.step_begins());
            model.tokens_with_offsets(&texts, special_tokens, &cancel).map(Tokenized::Tokens)
        }
    }));
    match result.unwrap_or(Err(EngineError::WorkerFailed)) {
        Ok(Tokenized::Ids(sequences)) => {
            let mut sequences = sequences.into_iter();
            for ((job, _), count) in jobs.into_iter().zip(counts) {
                add_sequences(core, &job, sequences.by_ref().take(count).collect());
            }
        }
        Ok(Tokenized::Tokens(tokens)) => {
            let mut tokens = tokens.into_iter();
            for ((job, _), count) in jobs.into_iter().zip(counts) {
                add_tokens(core, &job, tokens.by_ref().take(count).collect());
            }
        }
        Err(_) if jobs.len() > 1 => {
            // One call per job: only the job that causes the error fails.
            let mut texts = texts.into_iter();
            for ((job, _), count) in jobs.into_iter().zip(counts) {
                tokenize(core, vec![(job, texts.by_ref().take(count).collect())]);
            }
        }
        Err(error) => {
            for (job, _) in jobs {
                job.fail(JobError::Engine(error.clone()));
            }
            core.remove_cancelled();
        }
    }
}

fn add_sequences(core: &Core, job: &Arc<Job>, sequences: Vec<Vec<u32>>) {
    if core.count_tokens(job, sequences.iter().map(Vec::len).sum()) {
        core.lock().queue.set_sequences(job, sequences);
        core.wake_runner();
    } else {
        core.remove_cancelled();
    }
}

fn add_tokens(core: &Core, job: &Arc<Job>, tokens: Vec<Vec<TokenWithOffsets>>) {
    if core.count_tokens(job, tokens.iter().map(Vec::len).sum()) {
        let entry = core.lock().queue.remove(job);
        // Dropped after the lock is released.
        drop(entry);
        job.add_tokens(tokens);
    } else {
        core.remove_cancelled();
    }
}
