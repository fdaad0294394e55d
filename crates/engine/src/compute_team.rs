//! The thread team of the engine: a fixed number of members, each with an explicit stack and its own scratch memory.
//!
//! All calls on a team share its members, so their number bounds the number of threads inside OpenBLAS, independently of
//! the number of callers. The caller of a call is one of the members. A unit that panics fails its own call and ends no
//! thread. Calls that wait need no queue: each caller waits for its own results, and admission control belongs to the
//! server.
//!
//! Several models can share a [`ComputeTeam`]; the number of threads that compute is then that of one model.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernels::team::{Member, MemberPanicked, Team, TeamConfig, Units};

use crate::bert::Scratch;
use crate::error::EngineError;
use crate::idle_signal::IdleSignal;
use crate::stack::{self, STACK_SIZE_BYTES};

/// The threads that compute for all models that are opened on the team. They end when the last model and the last clone of
/// the team are dropped.
#[derive(Clone)]
pub struct ComputeTeam {
    inner: Arc<Inner>,
}

struct Inner {
    team: Team,
    /// By index of the member. No two threads have one index at the same time, so a lock never waits.
    scratch: Box<[Mutex<Scratch>]>,
}

impl ComputeTeam {
    /// Starts the threads: one less than `members`, because the caller of a call is a member.
    pub fn start(members: NonZeroUsize) -> io::Result<ComputeTeam> {
        let config = TeamConfig { members, stack_bytes: STACK_SIZE_BYTES, name: "embed" };
        let scratch = (0..members.get()).map(|_| Mutex::default()).collect();
        Ok(ComputeTeam { inner: Arc::new(Inner { team: Team::start(&config)?, scratch }) })
    }

    /// The number of threads that compute, callers included.
    pub fn members(&self) -> usize {
        self.inner.team.members()
    }

    /// Makes each thread of the team call `work` once, as soon as it is idle. Returns at once. Does not reach callers.
    ///
    /// For work that only the thread itself can do, such as returning the memory of its heap. A request that a thread has
    /// not begun is replaced by the next one.
    pub fn run_on_each_idle_thread(&self, work: fn()) {
        self.inner.team.run_on_each_idle_member(work);
    }

    /// Whether no call waits or computes.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.team.is_idle()
    }

    /// Computes units `0..count` and returns their results in order. Each member takes the next unit that is left.
    ///
    /// Notifies `idle` when this call leaves a member idle. Fails when a unit fails or panics; the other units are computed
    /// all the same, so units stop by a flag of the call.
    pub(crate) fn map<T: Send>(
        &self,
        count: usize,
        idle: &IdleSignal,
        unit: impl Fn(usize, &mut Scratch) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        if count < self.members() {
            idle.notify();
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let units = Units::new(count);
        let results: Vec<Mutex<Option<Result<T, EngineError>>>> =
            (0..count).map(|_| Mutex::new(None)).collect();
        Self::on_full_stack(|| {
            self.inner.team.run_units(&units, |member| {
                let scratch = &mut *lock(&self.inner.scratch[member.index()]);
                while let Some(i) = units.take() {
                    let result = catch_unwind(AssertUnwindSafe(|| unit(i, scratch))).unwrap_or_else(|_| {
                        // The panic hook has reported the panic. The scratch memory may be inconsistent.
                        *scratch = Scratch::default();
                        Err(EngineError::WorkerFailed)
                    });
                    *lock(&results[i]) = Some(result);
                }
                // All units have begun, and this member has none.
                idle.notify();
            })
        })?;
        let results = results.into_iter().map(|result| {
            result
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .unwrap_or(Err(EngineError::WorkerFailed))
        });
        results.collect()
    }

    /// Runs `work` once on each of at most `members` members, with the scratch memory of the member, and returns the results
    /// in their order. For work whose members meet at barriers. Fails when a member panics.
    pub(crate) fn run_with<T: Send>(
        &self,
        members: usize,
        work: impl Fn(&Member<'_>, &mut Scratch) -> T + Sync,
    ) -> Result<Vec<T>, EngineError> {
        Self::on_full_stack(|| {
            self.inner
                .team
                .run_with(members, |member| work(member, &mut lock(&self.inner.scratch[member.index()])))
        })
    }

    /// A caller whose stack is smaller than [`STACK_SIZE_BYTES`] computes on a thread that is started for the call.
    fn on_full_stack<T: Send>(
        run: impl FnOnce() -> Result<T, MemberPanicked> + Send,
    ) -> Result<T, EngineError> {
        // The panic hook has reported the panic.
        stack::with_full_size(run)
            .map_or(Err(EngineError::WorkerFailed), |result| result.map_err(|_| EngineError::WorkerFailed))
    }
}

/// What these locks guard is replaced after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn two() -> ComputeTeam {
        ComputeTeam::start(NonZeroUsize::new(2).unwrap()).unwrap()
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
            std::thread::yield_now();
        }
    }

    /// An idle signal and the number of its notifications.
    fn counting_signal() -> (IdleSignal, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&count);
        (
            IdleSignal::new(move || {
                counts.fetch_add(1, Ordering::SeqCst);
            }),
            count,
        )
    }

    /// Unit 0 occupies one member, the other one computes units 1 and 2. The signal must come when unit 2 has ended, although
    /// the call continues.
    #[test]
    fn notifies_once_no_unit_waits_and_a_member_is_idle() {
        let (idle, notified) = counting_signal();
        let ended = AtomicUsize::new(0);
        let early = two().map(3, &idle, |i, _| {
            let early = notified.load(Ordering::SeqCst);
            if i == 0 {
                wait_until("notification", || notified.load(Ordering::SeqCst) > 0);
                assert_eq!(ended.load(Ordering::SeqCst), 2);
            }
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(early)
        });
        assert_eq!(early.unwrap(), [0, 0, 0]);
    }

    #[test]
    fn notifies_at_once_when_a_call_has_fewer_units_than_members() {
        let (idle, notified) = counting_signal();
        let seen = two().map(1, &idle, |_, _| Ok(notified.load(Ordering::SeqCst)));
        assert_eq!(seen.unwrap(), [1]);
        assert!(two().map(0, &idle, |_, _| Ok(())).unwrap().is_empty());
        assert!(notified.load(Ordering::SeqCst) >= 3);
    }

    /// Units of the second call run on the member that the first call has left idle.
    #[test]
    fn the_next_call_uses_a_member_that_is_idle() {
        let (team, second_ended) = (two(), AtomicBool::new(false));
        let (notify, notified) = mpsc::channel();
        let idle = IdleSignal::new(move || {
            let _ = notify.send(());
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                team.map(2, &idle, |i, _| {
                    if i == 0 {
                        wait_until("end of the second call", || second_ended.load(Ordering::SeqCst));
                    }
                    Ok(())
                })
            });
            notified.recv_timeout(Duration::from_secs(20)).unwrap();
            let units = AtomicUsize::new(0);
            let second = team.map(4, &IdleSignal::default(), |i, _| {
                // Ends the first call once the other member has computed all of these.
                if units.fetch_add(1, Ordering::SeqCst) == 3 {
                    second_ended.store(true, Ordering::SeqCst);
                }
                Ok(i)
            });
            assert_eq!(second.unwrap(), [0, 1, 2, 3]);
        });
    }

    #[test]
    fn returns_results_in_the_order_of_the_units() {
        let done: Vec<AtomicBool> = (0..100).map(|_| AtomicBool::new(false)).collect();
        let results = two().map(100, &IdleSignal::default(), |i, _| {
            // Every even unit ends after its successor.
            wait_until("the successor", || i % 2 == 1 || done[i + 1].load(Ordering::Acquire));
            done[i].store(true, Ordering::Release);
            Ok(i * i)
        });
        assert_eq!(results.unwrap(), (0..100).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_fails_one_call_and_no_thread() {
        let team = two();
        for _ in 0..4 {
            let results = team.map(3, &IdleSignal::default(), |i, _| {
                assert!(i != 1, "the panic of this test");
                Ok(i)
            });
            assert!(matches!(results, Err(EngineError::WorkerFailed)));
            assert_eq!(team.map(3, &IdleSignal::default(), |i, _| Ok(i)).unwrap(), [0, 1, 2]);
        }
        assert!(team.is_idle());
    }

    #[test]
    fn every_member_has_the_configured_stack_for_every_stack_of_the_caller() {
        let team = two();
        let sizes = || team.run_with(2, |_, _| stack::own_size_bytes()).unwrap();
        let small = || std::thread::Builder::new().stack_size(256 << 10);
        let from_small =
            std::thread::scope(|scope| small().spawn_scoped(scope, sizes).unwrap().join().unwrap());
        let from_full = stack::with_full_size(sizes).unwrap();
        for sizes in [from_small, from_full] {
            assert!(sizes.iter().all(|size| *size >= STACK_SIZE_BYTES), "{sizes:?}");
        }
    }

    #[test]
    fn a_caller_with_a_full_stack_computes_itself() {
        let team = two();
        let (caller, members) = stack::with_full_size(|| {
            let id = || std::thread::current().id();
            (id(), team.run_with(2, |_, _| id()).unwrap())
        })
        .unwrap();
        assert_eq!(members[0], caller);
    }
}
