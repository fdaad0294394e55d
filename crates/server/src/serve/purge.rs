//! The thread that returns memory to the kernel when the server has no work.
//!
//! The allocator returns memory only while it allocates, so an idle server would keep what its last requests have freed.
//! After [`QUIET_TIME`] without work this thread makes every thread with a heap collect it: compute threads, runners of
//! the scheduler, HTTP threads. It never does so in shorter gaps, because the next request would have to fault the pages
//! in again. Under lasting load it returns, at a low cost, what was free for a second.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::ComputeTeam;
use tokio::runtime::Handle;

use super::purge_request::{PurgeRequest, Signal};
use super::state::AppState;
use crate::compute_thread;
use crate::memory::collect::{self, Depth};
use crate::memory::resident::ResidentReader;

/// Time without work after which memory is returned.
const QUIET_TIME: Duration = Duration::from_secs(2);
/// Work that is noticed late delays the return by this much.
const TICK: Duration = Duration::from_millis(500);
/// Interval of collections under load, and of the check of an idle server.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);
/// At the memory limit collections are not more frequent than this.
const AT_LIMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Collections after the end of the work: responses that were still being sent are freed after the first one.
const PASSES: u32 = 2;
/// Time for all threads to carry out a collection before the memory that no thread owns is returned.
const THREADS_TIME: Duration = Duration::from_millis(50);
/// Longest time that an HTTP thread waits for the others, so that each one takes one task.
const MEETING_TIME_MAX: Duration = Duration::from_millis(20);
/// An idle server collects again when it has grown by this much, or when this many connections have closed.
const IDLE_GROWTH_BYTES: u64 = 4 << 20;
const CLOSED_CONNECTIONS: i64 = 16;

/// The thread; dropping it ends it.
pub struct Purger {
    request: PurgeRequest,
    thread: Option<JoinHandle<()>>,
}

/// The threads that own heaps.
pub struct Threads {
    /// `None` for models that compute elsewhere.
    pub team: Option<ComputeTeam>,
    pub http: Handle,
}

impl Purger {
    /// Starts the thread.
    pub fn start(state: &Arc<AppState>, threads: Threads, request: PurgeRequest) -> std::io::Result<Self> {
        let (state, requests) = (Arc::downgrade(state), request.clone());
        let run = move || run(&state, &threads, &requests);
        let thread = compute_thread::spawn_named("inferd-memory".into(), run)?;
        Ok(Self { request, thread: Some(thread) })
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        self.request.send(Signal::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(state: &Weak<AppState>, threads: &Threads, requests: &PurgeRequest) {
    let resident = ResidentReader::open().ok();
    let resident_bytes = || resident.as_ref().and_then(ResidentReader::bytes).unwrap_or(0);
    let mut policy = Policy::new(Instant::now());
    loop {
        let signal = requests.wait(TICK);
        let Some(state) = state.upgrade() else { return };
        if signal == Signal::Stop {
            return;
        }
        let (held, held_bytes) = state.admission.inflight();
        let observed = Observation {
            at_limit: signal == Signal::AtLimit,
            is_busy: held > 0 || held_bytes > 0,
            steps: state.metrics.steps(),
            connections: state.metrics.connections(),
            resident_bytes: resident_bytes(),
        };
        let Some(depth) = policy.decide(&observed, Instant::now()) else { continue };
        collect_all(&state, threads, depth);
        state.metrics.collection();
        policy.collected(resident_bytes(), observed.connections);
    }
}

struct Observation {
    at_limit: bool,
    /// Whether a request is held.
    is_busy: bool,
    /// Work since the start.
    steps: u64,
    connections: i64,
    resident_bytes: u64,
}

/// Decides when to collect.
struct Policy {
    steps: u64,
    busy_at: Instant,
    collected_at: Instant,
    /// Collections that the last work still needs.
    passes_left: u32,
    collected_bytes: u64,
    collected_connections: i64,
}

impl Policy {
    fn new(now: Instant) -> Self {
        Self {
            steps: 0,
            busy_at: now,
            collected_at: now,
            passes_left: PASSES,
            collected_bytes: u64::MAX,
            collected_connections: 0,
        }
    }

    fn decide(&mut self, observed: &Observation, now: Instant) -> Option<Depth> {
        let since_collection = now - self.collected_at;
        if observed.is_busy || observed.steps != self.steps {
            (self.steps, self.busy_at, self.passes_left) = (observed.steps, now, PASSES);
        }
        let depth = if observed.at_limit {
            (since_collection >= AT_LIMIT_INTERVAL).then_some(Depth::All)
        } else if now - self.busy_at < QUIET_TIME {
            (since_collection >= BUSY_INTERVAL).then_some(Depth::Expired)
        } else if self.passes_left > 0 {
            self.passes_left -= 1;
            // The next pass is later.
            self.busy_at = now;
            Some(Depth::All)
        } else {
            let has_grown = observed.resident_bytes > self.collected_bytes.saturating_add(IDLE_GROWTH_BYTES);
            let has_closed = observed.connections + CLOSED_CONNECTIONS <= self.collected_connections;
            (since_collection >= BUSY_INTERVAL && (has_grown || has_closed)).then_some(Depth::All)
        };
        if depth.is_some() {
            self.collected_at = now;
        }
        depth
    }

    fn collected(&mut self, resident_bytes: u64, connections: i64) {
        (self.collected_bytes, self.collected_connections) = (resident_bytes, connections);
    }
}

fn collect_all(state: &AppState, threads: &Threads, depth: Depth) {
    collect::request(depth);
    if let Some(team) = &threads.team {
        team.run_on_each_idle_thread(collect::run_if_due);
    }
    state.scheduler.wake_idle_runners();
    let hold = if depth == Depth::All { MEETING_TIME_MAX } else { Duration::ZERO };
    drop(on_each_http_thread(&threads.http, hold));
    std::thread::sleep(THREADS_TIME);
    // Pages that the other threads have freed belong to no thread.
    collect::run_if_due();
}

/// Number of tasks that have begun.
type Meeting = Arc<(Mutex<usize>, Condvar)>;

/// tokio has no call that runs on every thread. So each task keeps its thread until all tasks have begun.
fn on_each_http_thread(http: &Handle, hold: Duration) -> Meeting {
    let threads = http.metrics().num_workers();
    let all = Meeting::default();
    for _ in 0..threads {
        let meeting = Arc::clone(&all);
        http.spawn(async move {
            collect::run_if_due();
            let (arrived, changed) = &*meeting;
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            *arrived += 1;
            changed.notify_all();
            drop(changed.wait_timeout_while(arrived, hold, |arrived| *arrived < threads));
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Observation =
        Observation { at_limit: false, is_busy: false, steps: 7, connections: 3, resident_bytes: 100 << 20 };

    /// A policy that has seen 7 steps of work at time 0.
    fn after_work() -> (Policy, Instant) {
        let start = Instant::now();
        let mut policy = Policy::new(start);
        assert_eq!(policy.decide(&IDLE, start), None);
        (policy, start)
    }

    #[test]
    fn collects_twice_after_the_work_and_not_in_short_gaps() {
        let (mut policy, start) = after_work();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(policy.decide(&IDLE, at(1900)), None);
        // More work: the time starts again.
        assert_eq!(policy.decide(&Observation { steps: 8, ..IDLE }, at(1950)), None);
        let idle = Observation { steps: 8, ..IDLE };
        assert_eq!(policy.decide(&idle, at(3900)), None);
        assert_eq!(policy.decide(&idle, at(4000)), Some(Depth::All));
        policy.collected(idle.resident_bytes, idle.connections);
        assert_eq!(policy.decide(&idle, at(4500)), None);
        assert_eq!(policy.decide(&idle, at(6000)), Some(Depth::All));
        for second in 8..60 {
            assert_eq!(policy.decide(&idle, at(second * 1000)), None, "{second} s");
        }
    }

    #[test]
    fn an_idle_server_collects_again_after_growth_or_closed_connections() {
        let (mut policy, start) = after_work();
        let at = |seconds| start + Duration::from_secs(seconds);
        let many = Observation { connections: 40, ..IDLE };
        assert_eq!(policy.decide(&many, at(2)), Some(Depth::All));
        assert_eq!(policy.decide(&many, at(4)), Some(Depth::All));
        policy.collected(many.resident_bytes, many.connections);
        assert_eq!(policy.decide(&Observation { connections: 30, ..IDLE }, at(20)), None);
        assert_eq!(policy.decide(&IDLE, at(20)), Some(Depth::All));
        policy.collected(IDLE.resident_bytes, IDLE.connections);
        let grown = Observation { resident_bytes: IDLE.resident_bytes + (5 << 20), ..IDLE };
        assert_eq!(policy.decide(&grown, at(29)), None);
        assert_eq!(policy.decide(&grown, at(30)), Some(Depth::All));
    }

    #[test]
    fn under_load_it_collects_at_a_low_cost_and_at_the_limit_at_once() {
        let (mut policy, start) = after_work();
        let at = |ms| start + Duration::from_millis(ms);
        let busy = Observation { is_busy: true, ..IDLE };
        assert_eq!(policy.decide(&busy, at(9900)), None);
        assert_eq!(policy.decide(&busy, at(10_000)), Some(Depth::Expired));
        let full = Observation { at_limit: true, ..busy };
        assert_eq!(policy.decide(&full, at(10_500)), None);
        assert_eq!(policy.decide(&full, at(11_000)), Some(Depth::All));
    }

    #[test]
    fn one_task_runs_on_each_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let started = Instant::now();
        // A second task on the same thread would begin after 20 s.
        let meeting = on_each_http_thread(runtime.handle(), Duration::from_secs(20));
        let arrived = meeting.0.lock().unwrap();
        let time_max = Duration::from_secs(10);
        let (arrived, _) = meeting.1.wait_timeout_while(arrived, time_max, |arrived| *arrived < 2).unwrap();
        assert_eq!(*arrived, 2, "after {:?}", started.elapsed());
    }
}
