//! The threads that compute: as many as were asked for, alive as long as the model, each with an explicit stack and its
//! own scratch memory.
//!
//! All calls on one model share them, so the number of threads inside BLAS is bounded by the number of workers however
//! many callers there are. A job that panics costs its own call an error, not the worker. The queue has no bound of its
//! own: its callers wait for their result, so there are never more jobs than waiting calls have chunks. Admission is
//! the server's concern.
//!
//! Several models can share them, see [`WorkerPool`]: then as many threads compute as one model alone would use.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};

use crate::bert::Scratch;
use crate::blas;
use crate::idle_signal::IdleSignal;

type Job = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The threads that compute, for every model that is opened on them. They end with the last model and the last clone.
#[derive(Clone)]
pub struct WorkerPool(pub(crate) Arc<Workers>);

impl WorkerPool {
    pub fn start(threads: NonZeroUsize) -> std::io::Result<WorkerPool> {
        Workers::start(threads).map(|workers| WorkerPool(Arc::new(workers)))
    }

    pub fn threads(&self) -> usize {
        self.0.count()
    }
}

pub(crate) struct Workers {
    /// `None` only while dropping: closing the queue is what ends the threads.
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Jobs that wait or run.
    jobs: Arc<AtomicUsize>,
}

impl Workers {
    pub fn start(count: NonZeroUsize) -> std::io::Result<Workers> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut workers = Workers { queue: Some(queue), threads: Vec::new(), jobs: Arc::default() };
        for i in 0..count.get() {
            let jobs = Arc::clone(&jobs);
            let builder = Builder::new().name(format!("embed-{i}")).stack_size(blas::CALLER_STACK_BYTES);
            workers.threads.push(builder.spawn(move || work(&jobs))?);
        }
        Ok(workers)
    }

    pub fn count(&self) -> usize {
        self.threads.len()
    }

    pub fn are_idle(&self) -> bool {
        self.jobs.load(Ordering::Relaxed) == 0
    }

    /// Runs `job` on each input and gives the results in order. `None` stands for a job that panicked.
    pub fn map<I, T>(
        &self,
        inputs: Vec<I>,
        job: impl Fn(I, &mut Scratch) -> T + Send + Sync + 'static,
    ) -> Vec<Option<T>>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        self.map_with_signal(inputs, &IdleSignal::default(), job)
    }

    /// As [`Workers::map`], and says when this call leaves a worker idle.
    pub fn map_with_signal<I, T>(
        &self,
        inputs: Vec<I>,
        idle: &IdleSignal,
        job: impl Fn(I, &mut Scratch) -> T + Send + Sync + 'static,
    ) -> Vec<Option<T>>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        if inputs.len() < self.count() {
            idle.notify();
        }
        let waiting = Arc::new(AtomicUsize::new(inputs.len()));
        let job = Arc::new(job);
        let (results, inbox) = mpsc::channel();
        let mut outputs: Vec<Option<T>> = inputs.iter().map(|_| None).collect();
        for (i, input) in inputs.into_iter().enumerate() {
            let (job, results) = (Arc::clone(&job), results.clone());
            let (waiting, idle) = (Arc::clone(&waiting), idle.clone());
            let counted = Counted::new(&self.jobs);
            let task: Job = Box::new(move |scratch| {
                let _counted = counted;
                waiting.fetch_sub(1, Ordering::Relaxed);
                // The caller may have given up on the whole call; then nobody reads this result.
                let _ = results.send((i, job(input, scratch)));
                if waiting.load(Ordering::Relaxed) == 0 {
                    idle.notify();
                }
            });
            if let Some(queue) = &self.queue {
                // Fails only when all workers are gone: the results then stay `None`.
                let _ = queue.send(task);
            }
        }
        drop(results);
        for (i, output) in inbox {
            outputs[i] = Some(output);
        }
        outputs
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A job as long as it is one, also when it panics or is never run.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(jobs: &Arc<AtomicUsize>) -> Counted {
        jobs.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(jobs))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    let mut scratch = Scratch::default();
    loop {
        // The lock is held while waiting, and only then: one idle worker waits for a job, the others for the lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(|| job(&mut scratch))).is_err() {
            // The panic hook has spoken. Whatever the job left in the scratch memory is not used again.
            scratch = Scratch::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn two() -> Workers {
        Workers::start(NonZeroUsize::new(2).unwrap()).unwrap()
    }

    /// Of three jobs on two workers the last waits for a worker: until it runs there is no idle, and then there is, though
    /// the call goes on.
    #[test]
    fn room_is_told_when_nothing_waits_and_a_worker_is_idle() {
        let (told, reached) = mpsc::channel();
        let idle = IdleSignal::new(move || told.send(()).unwrap());
        let (end, ended) = mpsc::channel::<()>();
        let (ended, reached) = (Mutex::new(ended), Arc::new(Mutex::new(reached)));
        let look = Arc::clone(&reached);
        let results = two().map_with_signal(vec![0, 1, 2], &idle, move |i: usize, _| match i {
            // Blocks one worker until the other is idle.
            0 => ended.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok(),
            1 => look.lock().unwrap().try_recv().is_err(),
            _ => {
                let none_yet = look.lock().unwrap().try_recv().is_err();
                let (look, end) = (Arc::clone(&look), end.clone());
                std::thread::spawn(move || {
                    look.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
                    end.send(()).unwrap();
                });
                none_yet
            }
        });
        assert_eq!(results, [Some(true); 3]);
    }

    #[test]
    fn a_call_for_fewer_workers_than_there_are_leaves_room_at_once() {
        let (told, reached) = mpsc::channel();
        let idle = IdleSignal::new(move || told.send(()).unwrap());
        let reached = Mutex::new(reached);
        let seen =
            two().map_with_signal(vec![()], &idle, move |(), _| reached.lock().unwrap().try_recv().is_ok());
        assert_eq!(seen, [Some(true)]);
    }

    #[test]
    fn results_come_in_the_order_of_the_inputs() {
        let results = two().map((0..100).collect(), |i: usize, _| {
            std::thread::sleep(std::time::Duration::from_micros((100 - i as u64) * 10));
            i * i
        });
        assert_eq!(results, (0..100).map(|i| Some(i * i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_costs_one_result_and_no_worker() {
        let workers = two();
        for _ in 0..4 {
            let results = workers.map(vec![1, 0, 2], |i: i32, _| {
                assert!(i != 0, "a panic that this test wants");
                10 / i
            });
            assert_eq!(results, [Some(10), None, Some(5)]);
        }
    }

    #[test]
    fn every_worker_has_the_stack_that_it_was_promised() {
        let sizes = two().map(vec![(); 8], |(), _| own_stack_bytes());
        assert!(sizes.iter().all(|s| s.is_some_and(|s| s >= blas::CALLER_STACK_BYTES)), "{sizes:?}");
    }

    fn own_stack_bytes() -> usize {
        // SAFETY: the attributes are written by the first call and released by the last; the outputs are locals.
        unsafe {
            let mut attributes = std::mem::zeroed();
            assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &mut attributes), 0);
            let (mut start, mut size) = (std::ptr::null_mut(), 0);
            assert_eq!(libc::pthread_attr_getstack(&attributes, &mut start, &mut size), 0);
            libc::pthread_attr_destroy(&mut attributes);
            size
        }
    }
}
