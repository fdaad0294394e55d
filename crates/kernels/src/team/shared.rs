//! The order of regions and of their callers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::event_count::EventCount;
use super::slot::{Place, Region, Slot};

/// What the threads and the callers of a team share.
pub(super) struct Shared {
    /// Region n uses slot n modulo their number.
    pub slots: [Slot; SLOTS],
    /// Where each member waits for its next region. Not used by member 0, which is the caller.
    pub idle: Box<[IdleMember]>,
    pub turns: Turns,
}

#[repr(align(128))]
#[derive(Default)]
pub(super) struct IdleMember {
    pub event: EventCount,
}

/// The order of callers.
#[repr(align(128))]
pub(super) struct Turns {
    /// Number of the next region. Regions are numbered from [`FIRST_REGION`] in the order of arrival of their callers.
    pub next_arrival: AtomicU64,
    /// Number of the region that is announced next. In order, because a member that looks for one region sleeps until that
    /// region or a later one that needs it is announced.
    next_announcement: AtomicU64,
    /// Callers wait here for a slot.
    event: EventCount,
}

/// Regions that can run at the same time. One less can begin and end while a member is busy with a long unit of the oldest
/// one.
pub(super) const SLOTS: usize = 8;
/// Larger than the initial numbers in a slot, and large enough for the regions before it to have a number.
pub(super) const FIRST_REGION: u64 = SLOTS as u64;

impl Shared {
    pub fn new(members: usize) -> Shared {
        Shared {
            slots: std::array::from_fn(|slot| Slot::new(members, FIRST_REGION + slot as u64)),
            idle: (0..members).map(|_| IdleMember::default()).collect(),
            turns: Turns {
                next_arrival: AtomicU64::new(FIRST_REGION),
                next_announcement: AtomicU64::new(FIRST_REGION),
                event: EventCount::default(),
            },
        }
    }

    /// Whether no region waits or runs.
    pub fn is_idle(&self) -> bool {
        let next = self.turns.next_arrival.load(Ordering::Relaxed);
        // The last region of each slot has ended.
        (next..next + SLOTS as u64).all(|region| self.slot(region).is_free_for(region))
    }

    pub fn slot(&self, region: u64) -> &Slot {
        &self.slots[region as usize % SLOTS]
    }

    /// Runs a region with the calling thread as member 0, unless `is_done` before its turn. Returns when no other member uses
    /// `region`. `is_done` must not panic, and can become true only by work of the other members.
    ///
    /// Member 0 is one thread at a time: callers take turns in the order of their regions.
    ///
    /// Nothing here unwinds after the announcement: `Region::work` does not, waiting recovers poisoned locks. So no member
    /// can use the region after this call.
    pub fn run_region(&self, members: usize, region: &Region<'_>, is_done: &dyn Fn() -> bool) {
        // Relaxed: the number is all that is passed on.
        let number = self.turns.next_arrival.fetch_add(1, Ordering::Relaxed);
        let slot = self.slot(number);
        self.turns.event.wait_until(|| {
            // Acquire: a member that sees this announcement sees those before it.
            self.turns.next_announcement.load(Ordering::Acquire) == number && slot.is_free_for(number)
        });
        slot.announce(number, members, region);
        self.turns.next_announcement.store(number + 1, Ordering::Release);
        let idle = self.idle[1..members].iter().map(|member| &member.event);
        EventCount::notify_each(idle.chain([&self.turns.event]));
        let takes_part = slot.caller_event().wait_for(|| match self.is_turn_of(number) {
            true => Some(true),
            false => is_done().then_some(false),
        });
        let last_epoch = match takes_part {
            true => (region.work)(Place { slot, index: 0, count: members }),
            false => slot.first_epoch(),
        };
        slot.lower_reachable_epoch(last_epoch, members);
        slot.end_turn(number);
        EventCount::notify_each(self.slots.iter().map(Slot::caller_event));
        slot.wait_for_others(members, number);
        slot.end_region(number + SLOTS as u64);
        self.turns.event.notify();
    }

    /// Whether all earlier callers have ended their turns. Those that are not checked have ended their regions, because later
    /// regions have their slots.
    fn is_turn_of(&self, number: u64) -> bool {
        let first = number - (SLOTS as u64 - 1);
        (first..number).rev().all(|earlier| self.slot(earlier).has_turn_ended(earlier))
    }
}
