//! A team of threads that compute together.
//!
//! A *region* is one call of [`Team::run`]: the caller and the threads of the team, its *members*, run the same closure and
//! meet at barriers. Entering a region costs some ten nanoseconds while the threads still spin, and some microseconds when
//! they sleep; threads without work sleep after 50 µs, so an idle team uses no CPU time.
//!
//! Several callers can use one team. Their regions run in the order of arrival, and at most [`Team::members`] threads
//! compute. A member that has finished its part of one region begins the next one while others still work, so independent
//! units of two calls fill all cores.
//!
//! | file | decision |
//! |---|---|
//! | `event_count` | how long a waiting thread spins, and how it sleeps |
//! | `shared` | the order of regions and of their callers |
//! | `slot` | how a region is announced, synchronized and ended; where a member takes part |
//! | `member` | what the closure can do |
//! | `panicked` | what is left of a panic |
//! | `units` | dynamic division of work |
//! | `threads` | life of the threads, and work for idle ones |

mod event_count;
mod member;
mod panicked;
mod shared;
mod slot;
mod threads;
mod units;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

pub use self::member::{Broken, Member};
pub use self::panicked::MemberPanicked;
pub use self::units::Units;

use self::shared::Shared;
use self::slot::{MEMBERS_MAX, Place, Region};
use self::threads::Threads;

/// Size and threads of a [`Team`].
#[derive(Clone, Copy, Debug)]
pub struct TeamConfig<'a> {
    /// Members including the caller, so one more than threads that the team starts. At most 1024.
    pub members: NonZeroUsize,
    /// Stack of each started thread, in bytes. A caller computes on the stack of its own thread.
    pub stack_bytes: usize,
    /// Threads are named `name-1`, `name-2`, and so on. Linux shows 15 bytes.
    pub name: &'a str,
}

impl Default for TeamConfig<'_> {
    /// One member, which is the caller; 2 MiB, the default of std; "compute".
    fn default() -> Self {
        TeamConfig { members: NonZeroUsize::MIN, stack_bytes: 2 << 20, name: "compute" }
    }
}

/// A fixed number of threads that run regions together with their callers. Dropping the team ends and joins the threads.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use kernels::team::{Team, TeamConfig};
///
/// let team = Team::start(&TeamConfig { members: 2.try_into().unwrap(), ..TeamConfig::default() })?;
/// let parts = [AtomicUsize::new(0), AtomicUsize::new(0)];
/// let results = team.run(|member| {
///     parts[member.index()].store(member.share(10).sum(), Ordering::Relaxed);
///     // After the barrier each member sees the parts of all.
///     member.barrier()?;
///     Ok::<_, kernels::team::Broken>(parts.iter().map(|part| part.load(Ordering::Relaxed)).sum::<usize>())
/// });
/// assert_eq!(results, Ok(vec![Ok(45), Ok(45)]));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Team {
    threads: Threads,
}

thread_local! {
    static IS_IN_REGION: Cell<bool> = const { Cell::new(false) };
}

impl Team {
    /// Starts the threads.
    pub fn start(config: &TeamConfig<'_>) -> io::Result<Team> {
        let members = config.members.get();
        if members > MEMBERS_MAX {
            let message = format!("{members} members, at most {MEMBERS_MAX} are possible");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Team { threads: Threads::start(config, Shared::new(members))? })
    }

    /// Members including the caller.
    pub fn members(&self) -> usize {
        self.shared().idle.len()
    }

    /// Runs `work` once on each member and returns the results in the order of the members, when all have ended.
    ///
    /// A panic of a member is caught: the region fails, barriers of the other members break, and the team stays usable.
    ///
    /// # Panics
    ///
    /// When called by a member of a running region, of this or of another team: it would wait for itself.
    pub fn run<R: Send>(&self, work: impl Fn(&Member<'_>) -> R + Sync) -> Result<Vec<R>, MemberPanicked> {
        self.run_with(self.members(), work)
    }

    /// As [`Team::run`] with at most `members` members, at least one: for work that is too small for all.
    ///
    /// Members beyond the number are not woken. Also with one member, the caller waits for its turn to compute.
    pub fn run_with<R: Send>(
        &self,
        members: usize,
        work: impl Fn(&Member<'_>) -> R + Sync,
    ) -> Result<Vec<R>, MemberPanicked> {
        self.run_region(members, &|| false, work)
    }

    /// Runs `work`, which takes units until none is left, on the members. When the team is idle, on no more members than there
    /// are units.
    ///
    /// The caller takes no part when all units are taken before its turn to compute. So a short call that the other members
    /// complete does not wait for the caller of the previous region. `work` must not use barriers.
    pub fn run_units(&self, units: &Units, work: impl Fn(&Member<'_>) + Sync) -> Result<(), MemberPanicked> {
        let members = if self.is_idle() { units.count() } else { self.members() };
        self.run_region(members, &|| units.are_taken(), work).map(drop)
    }

    fn run_region<R: Send>(
        &self,
        members: usize,
        is_done: &dyn Fn() -> bool,
        work: impl Fn(&Member<'_>) -> R + Sync,
    ) -> Result<Vec<R>, MemberPanicked> {
        assert!(!IS_IN_REGION.get(), "a member of a thread team called `run` inside of a region");
        let members = members.clamp(1, self.members());
        let outcomes: Vec<Mutex<Option<thread::Result<R>>>> =
            (0..members).map(|_| Mutex::new(None)).collect();
        let work = |place: Place<'_>| {
            let member = Member::new(place);
            IS_IN_REGION.set(true);
            // The closure is not used after a panic, and its results are dropped.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&member)));
            IS_IN_REGION.set(false);
            // The caller drops the payload of a panic, because that can panic again.
            *outcomes[member.index()].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            member.last_epoch()
        };
        self.shared().run_region(members, &Region { work: &work }, is_done);
        // Only a caller that took no part has no outcome.
        let outcomes = outcomes
            .into_iter()
            .filter_map(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner));
        outcomes.collect::<thread::Result<Vec<R>>>().map_err(MemberPanicked::new)
    }

    /// Makes each thread of the team call `work` once, as soon as it has no region. Returns at once.
    ///
    /// For work that only the thread itself can do, such as returning the memory of its heap. Callers are no threads of the
    /// team. A request that a thread has not begun is replaced by the next one.
    pub fn run_on_each_idle_member(&self, work: fn()) {
        self.threads.request_idle_work(work);
    }

    /// Whether no region waits or runs. Outdated as soon as it is read, when there are other callers.
    pub fn is_idle(&self) -> bool {
        self.shared().is_idle()
    }

    fn shared(&self) -> &Shared {
        self.threads.shared()
    }
}
