//! The threads of a team: start, what a thread does next, work for idle threads, end.

use std::io;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::TeamConfig;
use super::event_count::EventCount;
use super::shared::{FIRST_REGION, SLOTS, Shared};
use super::slot::Place;

/// The threads of a team. They end when this is dropped.
pub(super) struct Threads {
    state: Arc<State>,
    handles: Vec<JoinHandle<()>>,
}

struct State {
    shared: Shared,
    idle_work: Mutex<Option<fn()>>,
    /// Increases with each request of idle work; each thread stores the number of the last one that it has done.
    idle_work_requests: AtomicU64,
    is_closed: AtomicBool,
}

/// What a thread does next.
enum Task {
    /// Look at the region with the awaited number.
    Region,
    IdleWork {
        request: u64,
    },
    End,
}

impl Threads {
    pub fn start(config: &TeamConfig<'_>, shared: Shared) -> io::Result<Threads> {
        let state = Arc::new(State {
            shared,
            idle_work: Mutex::new(None),
            idle_work_requests: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        });
        let mut threads = Threads { state, handles: Vec::new() };
        for member in 1..config.members.get() {
            let builder =
                Builder::new().name(format!("{}-{member}", config.name)).stack_size(config.stack_bytes);
            let state = Arc::clone(&threads.state);
            // On failure the drop of `threads` ends those that run.
            threads.handles.push(builder.spawn(move || state.run_thread(member))?);
        }
        Ok(threads)
    }

    pub fn shared(&self) -> &Shared {
        &self.state.shared
    }

    pub fn request_idle_work(&self, work: fn()) {
        *self.state.idle_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        self.state.idle_work_requests.fetch_add(1, Ordering::Relaxed);
        self.state.notify_all();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.state.is_closed.store(true, Ordering::Relaxed);
        self.state.notify_all();
        for thread in self.handles.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn notify_all(&self) {
        EventCount::notify_each(self.shared.idle.iter().map(|member| &member.event));
    }

    fn run_thread(&self, member: usize) {
        let (mut number, mut idle_work_done) = (FIRST_REGION, 0);
        loop {
            match self.next_task(member, number, idle_work_done) {
                Task::Region => number = self.take_part(member, number),
                Task::IdleWork { request } => {
                    idle_work_done = request;
                    let work = *self.idle_work.lock().unwrap_or_else(PoisonError::into_inner);
                    // The panic hook has reported a panic.
                    let _ = work.map(catch_unwind);
                }
                Task::End => return,
            }
        }
    }

    /// Waits until region `number` or a later one is announced, there is idle work, or the team is dropped.
    fn next_task(&self, member: usize, number: u64, idle_work_done: u64) -> Task {
        let slot = self.shared.slot(number);
        self.shared.idle[member].event.wait_for(|| {
            if slot.announcement().number >= number {
                return Some(Task::Region);
            }
            if self.is_closed.load(Ordering::Relaxed) {
                return Some(Task::End);
            }
            let request = self.idle_work_requests.load(Ordering::Relaxed);
            (request != idle_work_done).then_some(Task::IdleWork { request })
        })
    }

    /// Takes part in region `number` if it has this member; returns the number of the next region to look at.
    fn take_part(&self, member: usize, number: u64) -> u64 {
        let slot = self.shared.slot(number);
        let announced = slot.announcement();
        if announced.number > number {
            // The slot is in use again, so region `number` ended without this member. Announcements are in order: those before
            // it are in the other slots, and all regions before these have ended.
            return announced.number - (SLOTS as u64 - 1);
        }
        if member < announced.members {
            // SAFETY: `run_region` keeps the region alive until this member calls `leave`.
            let region = unsafe { &*slot.region() };
            let last_epoch = (region.work)(Place { slot, index: member, count: announced.members });
            slot.lower_reachable_epoch(last_epoch, announced.members);
            slot.leave(member, number);
        }
        number + 1
    }
}
