//! Dynamic division of work.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Units of work that members take one by one: for units of different cost, and members of different speed.
///
/// ```
/// let units = kernels::team::Units::new(2);
/// assert_eq!([units.take(), units.take(), units.take()], [Some(0), Some(1), None]);
/// ```
#[repr(align(128))]
pub struct Units {
    next: AtomicUsize,
    count: usize,
}

impl Units {
    /// Units `0..count`.
    pub fn new(count: usize) -> Units {
        Units { next: AtomicUsize::new(0), count }
    }

    /// Number of units, taken or not.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether all units are taken.
    pub fn are_taken(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.count
    }

    /// The next unit; `None` when all are taken. Each unit is taken once.
    pub fn take(&self) -> Option<usize> {
        // The check keeps the counter from wrapping. Relaxed: a unit is a number; the region orders the data.
        if self.are_taken() {
            return None;
        }
        let unit = self.next.fetch_add(1, Ordering::Relaxed);
        (unit < self.count).then_some(unit)
    }
}
