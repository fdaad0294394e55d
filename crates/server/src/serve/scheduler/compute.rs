//! Computes one batch and distributes its vectors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use engine::{Cancel, EngineError, IdleSignal};

use super::super::job::{Job, JobError};
use super::super::queue::{Batch, Item, LaneKind};
use super::core::Core;

/// Computes a batch that [`Core::next`] has returned.
pub fn compute(core: &Arc<Core>, batch: Batch) {
    let idle = SignalOnDrop(idle_signal(core));
    step(core, batch, &idle.0);
}

/// Signals once that the next batch may begin.
fn idle_signal(core: &Arc<Core>) -> IdleSignal {
    let (core, signaled) = (Arc::clone(core), AtomicBool::new(false));
    IdleSignal::new(move || {
        if signaled.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut state = core.lock();
        state.shares.batch_leaves_a_member_idle();
        let has_requests = state.queue.requests() > 0;
        drop(state);
        // A thread that wakes without work takes a core at the moment when the GEMMs of a single text need all cores.
        if has_requests {
            core.wake_runner();
        }
    })
}

/// Signals also after a panic, which would otherwise block the queue for ever.
struct SignalOnDrop(IdleSignal);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        self.0.notify();
    }
}

fn step(core: &Core, Batch { model, items }: Batch, idle: &IdleSignal) {
    let jobs = jobs_of(&items);
    jobs.iter().for_each(|job| job.step_begins());
    let cancel = Cancel::shared(jobs.iter().map(|job| job.cancel.clone()).collect());
    let (targets, sequences): (Vec<_>, Vec<_>) =
        items.into_iter().map(|item| ((item.job, item.index), item.sequence)).unzip();
    let tokens = sequences.iter().map(Vec::len).sum();
    let started = Instant::now();
    core.lock().running.extend(jobs.iter().cloned());
    let result = catch_unwind(AssertUnwindSafe(|| model.step(&sequences, &cancel, idle)))
        .unwrap_or(Err(EngineError::WorkerFailed));
    let time = started.elapsed();
    let mut state = core.lock();
    state.running.retain(|running| !jobs.iter().any(|job| Arc::ptr_eq(job, running)));
    let has_texts = state.queue.has_texts(LaneKind::TokenizeOnly);
    state.shares.batch_took(time, has_texts);
    drop(state);
    idle.notify();
    core.metrics().batch(sequences.len(), tokens, time);
    match result {
        Ok(vectors) => {
            for ((job, index), vector) in targets.into_iter().zip(vectors) {
                job.add_vector(index, vector);
            }
        }
        Err(EngineError::WorkerFailed) if jobs.len() > 1 => {
            let items = targets.into_iter().zip(sequences);
            let items: Vec<_> = items.map(|((job, index), sequence)| Item { job, index, sequence }).collect();
            for items in by_job(items) {
                step(core, Batch { model: Arc::clone(&model), items }, idle);
            }
        }
        Err(error) => {
            for job in &jobs {
                job.fail(JobError::Engine(error.clone()));
            }
            // Removes the sequences of these jobs that were not in the batch.
            core.remove_cancelled();
        }
    }
}

fn jobs_of(items: &[Item]) -> Vec<Arc<Job>> {
    let mut jobs: Vec<Arc<Job>> = Vec::new();
    for item in items {
        if !jobs.iter().any(|job| Arc::ptr_eq(job, &item.job)) {
            jobs.push(Arc::clone(&item.job));
        }
    }
    jobs
}

fn by_job(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match groups.iter_mut().find(|group| Arc::ptr_eq(&group[0].job, &item.job)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}
