//! Waiting for a condition on atomics: spin for a bounded time, then sleep.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time of busy waiting with `pause`. Most waits of a running region are shorter, and another thread may not need the core.
const PAUSE_TIME: Duration = Duration::from_micros(5);
/// Time after which a waiter sleeps. Up to then it offers its core to other threads, because the thread that it waits for
/// may be preempted on this very core.
const SPIN_TIME: Duration = Duration::from_micros(50);
/// Polls between two readings of the clock: one reading costs as much as a few `pause`. The limit is a time and never a
/// number of polls, because one `pause` takes 10 to 140 cycles, by CPU.
const POLLS_PER_READING: u32 = 8;

/// Lets threads sleep until a condition holds. Costs the notifier a fence and a load while no thread sleeps.
///
/// No wake-up is lost: the notifier changes the condition, executes a fence and reads `sleepers`; a waiter increments
/// `sleepers`, executes a fence and reads the condition. The two fences have an order, so either the notifier sees the
/// sleeper or the waiter sees the change. The lock closes the gap between the last poll and the sleep.
#[derive(Default)]
pub(super) struct EventCount {
    sleepers: AtomicU32,
    lock: Mutex<()>,
    changed: Condvar,
}

impl EventCount {
    /// Polls until there is a value. `poll` must not panic.
    pub fn wait_for<T>(&self, mut poll: impl FnMut() -> Option<T>) -> T {
        match spin(&mut poll) {
            Some(value) => value,
            None => self.sleep(poll),
        }
    }

    /// Waits until the condition holds. `poll` must not panic.
    pub fn wait_until(&self, mut poll: impl FnMut() -> bool) {
        self.wait_for(|| poll().then_some(()));
    }

    #[cold]
    fn sleep<T>(&self, mut poll: impl FnMut() -> Option<T>) -> T {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let value = loop {
            if let Some(value) = poll() {
                break value;
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        value
    }

    /// Wakes the threads that sleep here. To be called after each change of their condition.
    pub fn notify(&self) {
        EventCount::notify_each([self]);
    }

    /// As [`EventCount::notify`] for several, with one fence.
    pub fn notify_each<'a>(events: impl IntoIterator<Item = &'a EventCount>) {
        fence(Ordering::SeqCst);
        for event in events {
            if event.sleepers.load(Ordering::Relaxed) > 0 {
                event.wake();
            }
        }
    }

    #[cfg(test)]
    pub fn has_sleeper(&self) -> bool {
        self.sleepers.load(Ordering::Relaxed) > 0
    }

    #[cold]
    fn wake(&self) {
        // A waiter holds the lock from its last poll until it sleeps.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

#[inline]
fn spin<T>(poll: &mut impl FnMut() -> Option<T>) -> Option<T> {
    if let Some(value) = poll() {
        return Some(value);
    }
    let start = Instant::now();
    loop {
        for _ in 0..POLLS_PER_READING {
            spin_loop();
            if let Some(value) = poll() {
                return Some(value);
            }
        }
        let waited = start.elapsed();
        if waited >= SPIN_TIME {
            return None;
        }
        if waited >= PAUSE_TIME {
            thread::yield_now();
        }
    }
}
