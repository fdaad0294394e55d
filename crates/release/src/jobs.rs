//! One pool of job tokens for everything that runs in parallel. make and cargo each hold one token and take more from the
//! same pool, so together they never run more than `--jobs` compilers, and one uses the cores that the other leaves idle.
//!
//! Work in this process runs on as many threads as there are tokens. They are apart from the global threads of rayon, on which the
//! gate decodes one file: work here waits for children most of its time, and the gate must not wait for it.

use std::process::Command;

use anyhow::Context;
use rayon::iter::{ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pool of a run.
pub struct Jobs {
    count: usize,
    client: jobserver::Client,
    threads: ThreadPool,
}

/// The permission to run one process; returned to the pool on drop.
pub struct Token(#[expect(dead_code, reason = "held for its drop")] jobserver::Acquired);

impl Jobs {
    /// A pool of `count` tokens and as many threads.
    pub fn new(count: usize) -> anyhow::Result<Self> {
        let threads = ThreadPoolBuilder::new().num_threads(count).build().context("starting threads")?;
        let client = jobserver::Client::new(count).context("creating the pool of job tokens")?;
        Ok(Self { count, client, threads })
    }

    /// All tokens of the pool.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits for a token. A child that is a client of the pool counts itself as one job.
    pub fn token(&self) -> anyhow::Result<Token> {
        Ok(Token(self.client.acquire().context("acquiring a job token")?))
    }

    /// Makes make a client of the pool.
    pub fn share_with_make(&self, command: &mut Command) {
        self.client.configure_make(command);
    }

    /// Makes cargo a client of the pool.
    pub fn share_with_cargo(&self, command: &mut Command) {
        self.client.configure(command);
    }

    /// Runs both, in parallel unless the pool has only one thread.
    pub fn join<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        self.threads.install(|| rayon::join(a, b))
    }

    /// Maps `0..count` on the threads of the pool. They start with the first indices: work that takes long has these.
    pub fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        // The usual iterator of a range would give each thread a part of the range.
        let in_order = || (0..count).par_bridge().map(|index| (index, work(index))).collect();
        let mut results: Vec<(usize, T)> = self.threads.install(in_order);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn parallel_work_never_exceeds_the_number_of_jobs() {
        for count in [1, 3] {
            let jobs = Jobs::new(count).unwrap();
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let results = jobs.map(24, |index| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
                index * 2
            });
            assert_eq!(results, (0..24).map(|index| index * 2).collect::<Vec<_>>());
            assert!(most.load(Ordering::SeqCst) <= count, "{most:?} of {count}");
        }
        assert_eq!(Jobs::new(1).unwrap().join(|| 1, || 2), (1, 2));
        assert_eq!(Jobs::new(2).unwrap().join(|| 1, || 2), (1, 2));
        assert!(Jobs::new(2).unwrap().map(0, |index| index).is_empty());
    }

    #[test]
    fn nested_work_never_exceeds_the_number_of_jobs() {
        let jobs = Jobs::new(2).unwrap();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            running.fetch_sub(1, Ordering::SeqCst);
        };
        jobs.join(|| jobs.join(work, work), || jobs.join(work, work));
        assert_eq!(most.load(Ordering::SeqCst), 2);
        // The gate decodes in the pool of the thread that calls it.
        assert_eq!(jobs.map(4, |_| rayon::current_num_threads()), [2; 4]);
    }

    #[test]
    fn work_starts_in_the_order_of_the_indices() {
        let started = std::sync::Mutex::new(Vec::new());
        Jobs::new(1).unwrap().map(9, |index| started.lock().unwrap().push(index));
        assert_eq!(*started.lock().unwrap(), (0..9).collect::<Vec<_>>());
    }
}
