//! One pool of job tokens for everything that runs in parallel. make and cargo each hold one token and take more from the
//! same pool, so together they never run more than `--jobs` compilers, and one uses the cores that the other leaves idle.

use std::process::Command;

use anyhow::Context;

/// The pool of a run.
pub struct Jobs {
    count: usize,
    client: jobserver::Client,
}

/// The permission to run one process; returned to the pool on drop.
pub struct Token(#[expect(dead_code, reason = "held for its drop")] jobserver::Acquired);

impl Jobs {
    /// A pool of `count` tokens.
    pub fn new(count: usize) -> anyhow::Result<Self> {
        Ok(Self { count, client: jobserver::Client::new(count).context("creating the pool of job tokens")? })
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

    /// Runs both, in parallel unless the pool has only one token.
    pub fn join<A: Send, B>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
        if self.count == 1 {
            return (a(), b());
        }
        std::thread::scope(|scope| {
            let a = scope.spawn(a);
            let b = b();
            (a.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), b)
        })
    }

    /// Maps `0..count` in the order of the indices, on at most as many threads as the pool has tokens.
    pub fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if index >= count {
                    return done;
                }
                done.push((index, work(index)));
            }
        };
        let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.count.min(count)).map(|_| scope.spawn(worker)).collect();
            let mut all = worker();
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        });
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
}
