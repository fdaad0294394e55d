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
//! | `slot` | how a region is announced, synchronized and ended |
//! | `member` | what the closure can do |
//! | `units` | dynamic division of work |
//! | `threads` | life of the threads, and work for idle ones |

mod event_count;
mod member;
mod slot;
mod threads;
mod units;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

pub use self::member::{Broken, Member};
pub use self::units::Units;

use self::event_count::EventCount;
use self::slot::{MEMBERS_MAX, Region, Slot};
use self::threads::Threads;

/// Size and threads of a [`Team`].
#[derive(Clone, Copy, Debug)]
pub struct TeamConfig<'a> {
    /// Members including the caller, so one more than threads that the team starts. At most 1024.
    pub members: NonZeroUsize,
    /// Stack of each started thread, in bytes. The stack of a caller is its own business.
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
pub struct Team {
    threads: Threads,
}

/// What the threads and the callers of a team share.
struct Shared {
    slots: [Slot; 2],
    /// Where each member waits for its next region. Not used by member 0, which is the caller.
    idle: Box<[IdleMember]>,
    turns: Turns,
}

#[repr(align(128))]
#[derive(Default)]
struct IdleMember {
    event: EventCount,
}

/// The order of callers.
#[repr(align(128))]
struct Turns {
    /// Number of the next region. Regions are numbered from [`FIRST_REGION`] in the order of arrival of their callers.
    next_arrival: AtomicU64,
    /// Number of the region that is announced next. In order, because a member that looks for one region sleeps until that
    /// region or a later one that needs it is announced.
    next_announcement: AtomicU64,
    /// Number of the region whose caller may compute as member 0: one caller at a time.
    computing: AtomicU64,
    /// Callers wait here for a slot and for their turn to compute.
    event: EventCount,
}

/// Not 0, the number in a slot without a region.
const FIRST_REGION: u64 = 1;

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
        let turns = Turns {
            next_arrival: AtomicU64::new(FIRST_REGION),
            next_announcement: AtomicU64::new(FIRST_REGION),
            computing: AtomicU64::new(FIRST_REGION),
            event: EventCount::default(),
        };
        // Region n uses slot n modulo 2.
        let slots = [Slot::new(members, FIRST_REGION + 1), Slot::new(members, FIRST_REGION)];
        let idle = (0..members).map(|_| IdleMember::default()).collect();
        Ok(Team { threads: Threads::start(config, Shared { slots, idle, turns })? })
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
        assert!(!IS_IN_REGION.get(), "a member of a thread team called `run` inside of a region");
        let members = members.clamp(1, self.members());
        let outcomes: Vec<Mutex<Option<thread::Result<R>>>> =
            (0..members).map(|_| Mutex::new(None)).collect();
        let work = |member: &Member<'_>| {
            IS_IN_REGION.set(true);
            // The closure is not used after a panic, and its results are dropped.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(member)));
            IS_IN_REGION.set(false);
            // The caller drops the payload of a panic, because that can panic again.
            *outcomes[member.index()].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        };
        self.shared().run_region(members, &Region { work: &work });
        let outcomes = outcomes.into_iter().map(|outcome| {
            let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
            outcome.unwrap_or_else(|| Err(Box::new("no result")))
        });
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
        let turns = &self.shared().turns;
        turns.computing.load(Ordering::Relaxed) == turns.next_arrival.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Shared {
        self.threads.shared()
    }
}

impl Shared {
    fn slot(&self, region: u64) -> &Slot {
        &self.slots[(region % 2) as usize]
    }

    /// Runs a region with the calling thread as member 0. Returns when no other member uses `region`.
    ///
    /// Nothing here unwinds after the announcement: `Region::work` does not, waiting recovers poisoned locks. So no member
    /// can use the region after this call.
    fn run_region(&self, members: usize, region: &Region<'_>) {
        // Relaxed: the number is all that is passed on.
        let number = self.turns.next_arrival.fetch_add(1, Ordering::Relaxed);
        let slot = self.slot(number);
        self.turns.event.wait_until(|| {
            // Acquire: a member that sees this announcement sees those before it.
            self.turns.next_announcement.load(Ordering::Acquire) == number && slot.is_free_for(number)
        });
        slot.announce(number, members, region);
        self.turns.next_announcement.store(number + 1, Ordering::Release);
        EventCount::notify_each(self.idle[1..members].iter().map(|member| &member.event));
        self.turns.event.notify();
        // Acquire: this caller computes after the previous one, so data of member 0 can be used by both.
        self.turns.event.wait_until(|| self.turns.computing.load(Ordering::Acquire) == number);
        let member = Member::new(slot, 0, members);
        (region.work)(&member);
        member.leave_barriers();
        self.turns.computing.store(number + 1, Ordering::Release);
        self.turns.event.notify();
        slot.wait_for_others(members, number);
        slot.end_region(number + self.slots.len() as u64);
        self.turns.event.notify();
    }
}

/// A member of a region panicked. The panic hook has reported the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPanicked {
    message: Option<String>,
}

impl MemberPanicked {
    fn new(payload: Box<dyn Any + Send>) -> MemberPanicked {
        let message = match payload.downcast::<String>() {
            Ok(message) => Some(*message),
            Err(payload) => payload.downcast_ref::<&str>().map(|message| (*message).to_owned()),
        };
        MemberPanicked { message }
    }

    /// The message of the first member that panicked, when it is a text.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl fmt::Display for MemberPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member of the thread team panicked")?;
        self.message.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

impl std::error::Error for MemberPanicked {}
