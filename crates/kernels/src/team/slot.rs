//! What the members of one region share.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::event_count::EventCount;

/// Rounds of a barrier of [`MEMBERS_MAX`] members.
const ROUNDS: usize = 10;
/// Size limit of a team.
pub(super) const MEMBERS_MAX: usize = 1 << ROUNDS;
/// Low bits of [`Slot::announced`] that hold the number of members.
const MEMBERS_BITS: u32 = 16;

/// The work of one region. It is on the stack of the caller; other members reach it until they leave the region.
pub(super) struct Region<'a> {
    /// The part of one member. Returns the epoch of the last barrier at which the member arrived, and does not unwind.
    pub work: &'a (dyn Fn(Place<'_>) -> u64 + Sync),
}

/// Where a member takes part in a region.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub slot: &'a Slot,
    /// Number of the member.
    pub index: usize,
    /// Number of members of the region.
    pub count: usize,
}

/// Announces regions to the members. Each slot serves one region after the other; a team has several, so that a member that
/// has finished its part of one region starts the next ones while others still work.
///
/// Aligned to two cache lines, because CPUs prefetch the neighbour of a line.
#[repr(align(128))]
pub(super) struct Slot {
    /// Number and members of the newest region of this slot.
    announced: AtomicU64,
    /// Valid for the members of the announced region until they leave it.
    region: AtomicPtr<Region<'static>>,
    /// Number of the region that may use this slot next.
    next_region: AtomicU64,
    /// Number of the last region whose caller has computed, or does not need to.
    turn_ended: AtomicU64,
    /// Epochs of barriers increase over all regions of the slot, so the flags need no reset. A region starts with this one.
    first_epoch: AtomicU64,
    /// The last epoch that all members of the region can complete. A member that leaves lowers it to its own epoch.
    reachable_epoch: AtomicU64,
    /// Decisions of member 0 for barriers of even and of odd epochs.
    decisions: [AtomicBool; 2],
    seats: Box<[Seat]>,
}

/// The lines of one member in a slot. It waits here at barriers; the caller also for its turn and for the end of
/// the region.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    /// The epoch in which the neighbour of each round arrived. Written by that neighbour only.
    arrived: [AtomicU64; ROUNDS],
    /// Number of the last region that the member left.
    left: AtomicU64,
    event: EventCount,
}

/// A region as the members see it announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub number: u64,
    pub members: usize,
}

impl Slot {
    /// A slot whose first region is `first`.
    pub fn new(members: usize, first: u64) -> Slot {
        Slot {
            announced: AtomicU64::new(0),
            region: AtomicPtr::default(),
            next_region: AtomicU64::new(first),
            turn_ended: AtomicU64::new(first - 1),
            first_epoch: AtomicU64::new(0),
            reachable_epoch: AtomicU64::new(u64::MAX),
            decisions: Default::default(),
            seats: (0..members).map(|_| Seat::default()).collect(),
        }
    }

    /// Whether the region can be announced: the one before it in this slot has ended.
    pub fn is_free_for(&self, number: u64) -> bool {
        // Acquire: the previous region has ended with all of its effects.
        self.next_region.load(Ordering::Acquire) == number
    }

    /// Makes a region visible to the members. The slot must be free for it.
    pub fn announce(&self, number: u64, members: usize, region: &Region<'_>) {
        self.region.store((&raw const *region).cast_mut().cast(), Ordering::Relaxed);
        // Release: a member that sees the announcement sees the region.
        self.announced.store(number << MEMBERS_BITS | members as u64, Ordering::Release);
    }

    /// The newest region of this slot; number 0 before the first one.
    pub fn announcement(&self) -> Announcement {
        let announced = self.announced.load(Ordering::Acquire);
        Announcement {
            number: announced >> MEMBERS_BITS,
            members: (announced & ((1 << MEMBERS_BITS) - 1)) as usize,
        }
    }

    /// The announced region. Valid for its members until they leave it.
    pub fn region(&self) -> *const Region<'static> {
        self.region.load(Ordering::Relaxed)
    }

    /// Where the caller waits.
    pub fn caller_event(&self) -> &EventCount {
        &self.seats[0].event
    }

    /// Whether the caller of the region computes no more.
    pub fn has_turn_ended(&self, number: u64) -> bool {
        // Acquire: the next caller computes after this one, so both can use data of member 0.
        self.turn_ended.load(Ordering::Acquire) >= number
    }

    /// Lets the caller of the next region compute.
    pub fn end_turn(&self, number: u64) {
        self.turn_ended.store(number, Ordering::Release);
    }

    /// The epoch of the members before the first barrier of the region.
    #[inline]
    pub fn first_epoch(&self) -> u64 {
        self.first_epoch.load(Ordering::Relaxed)
    }

    /// Whether all members can still arrive at the barrier of this epoch.
    pub fn is_reachable(&self, epoch: u64) -> bool {
        // Relaxed: a failed barrier orders nothing.
        self.reachable_epoch.load(Ordering::Relaxed) >= epoch
    }

    /// The decision that member 0 makes for the barrier of this epoch.
    pub fn decision(&self, epoch: u64) -> &AtomicBool {
        &self.decisions[(epoch % 2) as usize]
    }

    /// Arrives at the barrier of `epoch` and waits for `members` members; false when one of them left before it arrived.
    ///
    /// A dissemination barrier: in round r a member tells the one 2^r ahead that it has arrived and waits for the one 2^r
    /// behind. After the last round it has heard of all, directly or through others. Each flag has one writer and one
    /// reader, so there is no contended read-modify-write, and the time grows with the logarithm of the members.
    pub fn barrier(&self, member: usize, members: usize, epoch: u64) -> bool {
        let own = &self.seats[member];
        for round in (0..ROUNDS).take_while(|round| 1 << round < members) {
            let ahead = &self.seats[(member + (1 << round)) % members];
            // Release, and Acquire below: what a member did before its arrival happens before what any other does after
            // the barrier, because each round passes on what the earlier rounds acquired.
            ahead.arrived[round].store(epoch, Ordering::Release);
            ahead.event.notify();
            // The neighbour may be one epoch further already.
            let arrived = || own.arrived[round].load(Ordering::Acquire) >= epoch;
            let complete = own.event.wait_for(|| {
                if arrived() {
                    return Some(true);
                }
                (!self.is_reachable(epoch)).then_some(false)
            });
            if !complete {
                return false;
            }
        }
        true
    }

    /// Makes barriers after `epoch`, the last one of a member that leaves, fail for the others.
    pub fn lower_reachable_epoch(&self, epoch: u64, members: usize) {
        // The members of most regions leave with the same epoch: one of them writes.
        if self.reachable_epoch.load(Ordering::Relaxed) > epoch {
            self.reachable_epoch.fetch_min(epoch, Ordering::Relaxed);
            EventCount::notify_each(self.seats[..members].iter().map(|seat| &seat.event));
        }
    }

    /// A member other than the caller has left the region: the last access of this member to it.
    pub fn leave(&self, member: usize, number: u64) {
        // Release: the caller returns after all effects of the member.
        self.seats[member].left.store(number, Ordering::Release);
        self.caller_event().notify();
    }

    /// Waits until members `1..members` have left the region.
    pub fn wait_for_others(&self, members: usize, number: u64) {
        let mut waits_for = 1;
        self.caller_event().wait_until(|| {
            while waits_for < members && self.seats[waits_for].left.load(Ordering::Acquire) == number {
                waits_for += 1;
            }
            waits_for == members
        });
    }

    /// Prepares the slot for its next region. No member is in a region of this slot.
    pub fn end_region(&self, next: u64) {
        let reachable = self.reachable_epoch.swap(u64::MAX, Ordering::Relaxed);
        // A member may have stored the epoch after the last reachable one, but no later one.
        self.first_epoch.store(reachable + 1, Ordering::Relaxed);
        self.next_region.store(next, Ordering::Release);
    }
}
