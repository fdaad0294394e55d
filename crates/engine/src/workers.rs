//! The compute threads: a fixed number per pool, each with an explicit stack and its own scratch memory, alive as long as
//! the pool.
//!
//! All calls on a pool share its threads, so the number of workers bounds the number of threads inside OpenBLAS,
//! independently of the number of callers. A job that panics fails its own call and does not stop the worker. The queue
//! needs no bound: each caller waits for its results, so the queue holds at most the chunks of the waiting calls.
//! Admission control belongs to the server.
//!
//! Several models can share a [`WorkerPool`]; the number of compute threads is then that of one model.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};

use crate::bert::Scratch;
use crate::idle_signal::IdleSignal;
use crate::stack::STACK_SIZE_BYTES;

type Job = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The compute threads of all models that are opened on the pool. They end when the last model and the last clone of the
/// pool are dropped.
#[derive(Clone)]
pub struct WorkerPool {
    workers: Arc<Workers>,
}

impl WorkerPool {
    /// Starts the threads.
    pub fn start(threads: NonZeroUsize) -> std::io::Result<WorkerPool> {
        Workers::start(threads).map(|workers| WorkerPool { workers: Arc::new(workers) })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.workers.threads.len()
    }

    /// Makes each worker call `work` once, as soon as it has no job. Returns at once.
    ///
    /// For work that only the thread itself can do, such as returning the memory of its heap. A request that a worker has
    /// not begun is replaced by the next one.
    pub fn run_on_each_idle_worker(&self, work: fn()) {
        let mut queue = self.workers.queue.lock();
        queue.idle_work = Some(work);
        queue.idle_work_number += 1;
        drop(queue);
        self.workers.queue.changed.notify_all();
    }

    /// Whether no job waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.workers.pending_jobs.load(Ordering::Relaxed) == 0
    }

    /// Runs `job` on each input and returns the results in the order of the inputs; `None` for a job that panicked.
    pub(crate) fn map<I, T>(
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

    /// As [`WorkerPool::map`]; notifies `idle` when this call leaves a worker idle.
    pub(crate) fn map_with_signal<I, T>(
        &self,
        inputs: Vec<I>,
        idle: &IdleSignal,
        job: impl Fn(I, &mut Scratch) -> T + Send + Sync + 'static,
    ) -> Vec<Option<T>>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        if inputs.len() < self.threads() {
            idle.notify();
        }
        let waiting = Arc::new(AtomicUsize::new(inputs.len()));
        let job = Arc::new(job);
        let (results, received) = mpsc::channel();
        let mut outputs: Vec<Option<T>> = inputs.iter().map(|_| None).collect();
        for (i, input) in inputs.into_iter().enumerate() {
            let (job, results) = (Arc::clone(&job), results.clone());
            let (waiting, idle) = (Arc::clone(&waiting), idle.clone());
            let pending = PendingJob::new(&self.workers.pending_jobs);
            self.workers.submit(Box::new(move |scratch| {
                let _pending = pending;
                waiting.fetch_sub(1, Ordering::Relaxed);
                // Fails when the caller was dropped; the result is then not needed.
                let _ = results.send((i, job(input, scratch)));
                if waiting.load(Ordering::Relaxed) == 0 {
                    idle.notify();
                }
            }));
        }
        drop(results);
        for (i, output) in received {
            outputs[i] = Some(output);
        }
        outputs
    }
}

struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    /// Jobs that wait or run.
    pending_jobs: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
    idle_work: Option<fn()>,
    /// Increases with each request of idle work; each worker knows the last one that it has done.
    idle_work_number: u64,
}

/// What a worker does next.
enum Task {
    Job(Job),
    IdleWork(fn()),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Jobs run without the lock, and no step under it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Blocks until there is a task; `None` when the pool is dropped and no job is left. `done` is the number of the idle
    /// work that the worker has done.
    fn next(&self, done: &mut u64) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(Task::Job(job));
            }
            if state.closed {
                return None;
            }
            if let Some(work) = state.idle_work
                && *done != state.idle_work_number
            {
                *done = state.idle_work_number;
                return Some(Task::IdleWork(work));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Workers {
    fn start(count: NonZeroUsize) -> std::io::Result<Workers> {
        let mut workers =
            Workers { queue: Arc::default(), threads: Vec::new(), pending_jobs: Arc::default() };
        for i in 0..count.get() {
            let queue = Arc::clone(&workers.queue);
            let builder = Builder::new().name(format!("embed-{i}")).stack_size(STACK_SIZE_BYTES);
            workers.threads.push(builder.spawn(move || run_jobs(&queue))?);
        }
        Ok(workers)
    }

    fn submit(&self, job: Job) {
        self.queue.submit(job);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Counts a job until it has run, has panicked or was dropped without a run.
struct PendingJob {
    count: Arc<AtomicUsize>,
}

impl PendingJob {
    fn new(count: &Arc<AtomicUsize>) -> PendingJob {
        count.fetch_add(1, Ordering::Relaxed);
        PendingJob { count: Arc::clone(count) }
    }
}

impl Drop for PendingJob {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run_jobs(queue: &Queue) {
    let (mut scratch, mut idle_work_done) = (Scratch::default(), 0);
    while let Some(task) = queue.next(&mut idle_work_done) {
        let job = match task {
            Task::Job(job) => job,
            Task::IdleWork(work) => {
                work();
                continue;
            }
        };
        if catch_unwind(AssertUnwindSafe(|| job(&mut scratch))).is_err() {
            // The panic hook has reported the panic. The scratch memory may be inconsistent.
            scratch = Scratch::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    fn two() -> WorkerPool {
        WorkerPool::start(NonZeroUsize::new(2).unwrap()).unwrap()
    }

    /// The last of three jobs on two workers waits for a worker. The signal must come once that job runs, although the
    /// call continues.
    #[test]
    fn notifies_once_no_job_waits_and_a_worker_is_idle() {
        let (notify, notified) = mpsc::channel();
        let idle = IdleSignal::new(move || notify.send(()).unwrap());
        let (end, ended) = mpsc::channel::<()>();
        let (ended, notified) = (Mutex::new(ended), Arc::new(Mutex::new(notified)));
        let results = two().map_with_signal(vec![0, 1, 2], &idle, move |i: usize, _| match i {
            // Blocks one worker until the other is idle.
            0 => ended.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok(),
            1 => notified.lock().unwrap().try_recv().is_err(),
            _ => {
                let none_yet = notified.lock().unwrap().try_recv().is_err();
                let (notified, end) = (Arc::clone(&notified), end.clone());
                std::thread::spawn(move || {
                    notified.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
                    end.send(()).unwrap();
                });
                none_yet
            }
        });
        assert_eq!(results, [Some(true); 3]);
    }

    #[test]
    fn notifies_at_once_when_a_call_has_fewer_jobs_than_workers() {
        let (notify, notified) = mpsc::channel();
        let idle = IdleSignal::new(move || notify.send(()).unwrap());
        let notified = Mutex::new(notified);
        let seen =
            two().map_with_signal(vec![()], &idle, move |(), _| notified.lock().unwrap().try_recv().is_ok());
        assert_eq!(seen, [Some(true)]);
    }

    #[test]
    fn returns_results_in_the_order_of_the_inputs() {
        let done: Arc<Vec<AtomicBool>> = Arc::new((0..100).map(|_| AtomicBool::new(false)).collect());
        let results = two().map((0..100).collect(), move |i: usize, _| {
            // Every even job ends after its successor.
            while i.is_multiple_of(2) && !done[i + 1].load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            done[i].store(true, Ordering::Release);
            i * i
        });
        assert_eq!(results, (0..100).map(|i| Some(i * i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_fails_one_job_and_no_worker() {
        let pool = two();
        for _ in 0..4 {
            let results = pool.map(vec![1, 0, 2], |i: i32, _| {
                assert!(i != 0, "the panic of this test");
                10 / i
            });
            assert_eq!(results, [Some(10), None, Some(5)]);
        }
        assert!(pool.is_idle());
    }

    #[test]
    fn every_worker_has_the_configured_stack() {
        let sizes = two().map(vec![(); 8], |(), _| own_stack_bytes());
        assert!(sizes.iter().all(|size| size.is_some_and(|size| size >= STACK_SIZE_BYTES)), "{sizes:?}");
    }

    fn own_stack_bytes() -> usize {
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: `pthread_attr_t` consists of integers and pointers, for which zero is valid.
        let mut attributes = unsafe { std::mem::zeroed() };
        // SAFETY: always safe to call.
        let thread = unsafe { libc::pthread_self() };
        // SAFETY: initializes `attributes`, which outlives the call, from a thread that runs.
        assert_eq!(unsafe { libc::pthread_getattr_np(thread, &raw mut attributes) }, 0);
        // SAFETY: `attributes` is initialized and both outputs are locals.
        let status =
            unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size) };
        assert_eq!(status, 0);
        // SAFETY: `attributes` is initialized and not used afterwards.
        unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
        size
    }

    #[test]
    fn idle_work_runs_once_on_each_worker_and_does_not_wait_for_a_job() {
        static THREADS: Mutex<Vec<std::thread::ThreadId>> = Mutex::new(Vec::new());
        let wait_for = |count: usize| {
            let started = std::time::Instant::now();
            while THREADS.lock().unwrap().len() < count {
                assert!(started.elapsed() < Duration::from_secs(20), "not on {count} workers within 20 s");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let pool = two();
        let work = || THREADS.lock().unwrap().push(std::thread::current().id());
        pool.run_on_each_idle_worker(work);
        wait_for(2);
        // One worker is busy: the other one does the work at once, the busy one later.
        let (end, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let (pool_of_caller, begun) = (pool.clone(), Arc::new(AtomicBool::new(false)));
        let begins = Arc::clone(&begun);
        let caller = std::thread::spawn(move || {
            pool_of_caller.map(vec![0], move |_: usize, _| {
                begins.store(true, Ordering::SeqCst);
                ended.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok()
            })
        });
        while !begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        pool.run_on_each_idle_worker(work);
        wait_for(3);
        end.send(()).unwrap();
        assert_eq!(caller.join().unwrap(), [Some(true)]);
        wait_for(4);
        let threads = THREADS.lock().unwrap();
        assert_ne!(threads[0], threads[1]);
        assert_ne!(threads[2], threads[3]);
        assert_eq!(threads.len(), 4);
    }
}
