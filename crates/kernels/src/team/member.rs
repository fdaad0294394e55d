//! One thread's view of a running region.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::slot::Place;

/// A member of the team in one region. Exists only during the call of `work`, on the thread of the member.
///
/// ```compile_fail
/// let team = kernels::team::Team::start(&kernels::team::TeamConfig::default()).unwrap();
/// let escaped = std::sync::Mutex::new(None);
/// team.run(|member| *escaped.lock().unwrap() = Some(member));
/// ```
///
/// ```compile_fail
/// fn send_to_another_thread<T: Send>(_: T) {}
/// let team = kernels::team::Team::start(&kernels::team::TeamConfig::default()).unwrap();
/// team.run(|member| send_to_another_thread(member));
/// ```
pub struct Member<'a> {
    place: Place<'a>,
    /// The last barrier at which this member arrived. A `Cell`, so a member cannot be shared between threads.
    epoch: Cell<u64>,
}

impl<'a> Member<'a> {
    /// The member that takes part at this place.
    #[inline]
    pub(super) fn new(place: Place<'a>) -> Member<'a> {
        Member { place, epoch: Cell::new(place.slot.first_epoch()) }
    }

    /// The epoch of the last barrier at which this member arrived.
    #[inline]
    pub(super) fn last_epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Number of this member, from 0; the caller of the region is member 0. No two threads have the same number at the same
    /// time, also in different regions of a team.
    pub fn index(&self) -> usize {
        self.place.index
    }

    /// Number of members of this region.
    pub fn count(&self) -> usize {
        self.place.count
    }

    /// This member's share of `items` items. The shares of all members are disjoint, cover all items and differ by one item
    /// at most. They depend on nothing but the numbers, so a member that reads the same weights in each call finds them in
    /// its cache.
    pub fn share(&self, items: usize) -> Range<usize> {
        let Place { index, count, .. } = self.place;
        let (length, longer) = (items / count, items % count);
        let start = index * length + index.min(longer);
        start..start + length + usize::from(index < longer)
    }

    /// Waits until all members have arrived. What each member did before is visible to all of them afterwards.
    ///
    /// Fails for all members alike when one of them has left the region, by a panic or a return, without having arrived.
    /// All later barriers of the region then fail, too.
    pub fn barrier(&self) -> Result<(), Broken> {
        let Place { slot, index, count } = self.place;
        let epoch = self.epoch.get() + 1;
        if !slot.is_reachable(epoch) {
            return Err(Broken);
        }
        self.epoch.set(epoch);
        if slot.barrier(index, count, epoch) { Ok(()) } else { Err(Broken) }
    }

    /// A barrier after which all members have the same answer: that of `decide` on member 0, which alone calls it.
    ///
    /// For a decision from a changing input, such as a cancellation flag: if each member read the flag, some could leave
    /// while others continue to the next barrier.
    pub fn agree(&self, decide: impl FnOnce() -> bool) -> Result<bool, Broken> {
        let decision = self.place.slot.decision(self.epoch.get() + 1);
        if self.place.index == 0 {
            decision.store(decide(), Ordering::Relaxed);
        }
        // Relaxed: the barrier orders the accesses. The value is overwritten two barriers later at the earliest: after a
        // barrier at which all members arrived with the value read.
        self.barrier()?;
        Ok(decision.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("index", &self.index()).field("count", &self.count()).finish()
    }
}

/// A barrier that cannot complete, because a member left the region before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member of the thread team left before the barrier")
    }
}

impl std::error::Error for Broken {}
