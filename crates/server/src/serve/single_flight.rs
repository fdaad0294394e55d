//! A value that is made once however many ask for it at once, and can be asked for again after a failure or a panic.
//!
//! The maker runs on a thread of its own with an explicit stack; those who wait do so without a lock, and one that gives
//! up waiting does not stop the making. The lock is held to look at the state, never while the value is made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::compute_thread;

/// Why the value could not be made. Shared by all who waited.
pub type Failed = Arc<str>;

type Outcome<T> = Option<Result<T, Failed>>;

enum State<T> {
    Empty,
    Making(watch::Receiver<Outcome<T>>),
    Ready(T),
}

pub struct SingleFlight<T>(Arc<Mutex<State<T>>>);

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    pub fn empty() -> Self {
        Self(Arc::new(Mutex::new(State::Empty)))
    }

    /// What is there already.
    pub fn ready(&self) -> Option<T> {
        match &*lock(&self.0) {
            State::Ready(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// The value; made by `make` if nobody makes it yet.
    pub async fn get(&self, make: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failed> {
        let mut outcome = match self.join_or_start(make)? {
            Joined::Ready(value) => return Ok(value),
            Joined::Waiting(outcome) => outcome,
        };
        match outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(result)) => result,
            _ => Err("the thread that loads ended without a result".into()),
        }
    }

    fn join_or_start(
        &self,
        make: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<Joined<T>, Failed> {
        let mut state = lock(&self.0);
        match &*state {
            State::Ready(value) => return Ok(Joined::Ready(value.clone())),
            State::Making(outcome) => return Ok(Joined::Waiting(outcome.clone())),
            State::Empty => {}
        }
        let (sender, receiver) = watch::channel(None);
        let shared = Arc::clone(&self.0);
        let started = compute_thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(make))
                .unwrap_or_else(|_| Err("loading panicked; the message is on stderr".to_string()))
                .map_err(Failed::from);
            *lock(&shared) = match &result {
                Ok(value) => State::Ready(value.clone()),
                Err(_) => State::Empty,
            };
            sender.send_replace(Some(result));
        });
        if let Err(error) = started {
            return Err(format!("cannot start the thread that loads: {error}").into());
        }
        *state = State::Making(receiver.clone());
        Ok(Joined::Waiting(receiver))
    }
}

enum Joined<T> {
    Ready(T),
    Waiting(watch::Receiver<Outcome<T>>),
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // A state is replaced whole, so a panic elsewhere leaves a sound one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    #[test]
    fn a_hundred_racing_callers_cause_one_load() {
        let (cell, loads) = (Arc::new(SingleFlight::empty()), Arc::new(AtomicUsize::new(0)));
        let runtime = runtime();
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (cell, loads) = (Arc::clone(&cell), Arc::clone(&loads));
                runtime.spawn(async move {
                    let make = move || {
                        loads.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(50));
                        Ok(7)
                    };
                    cell.get(make).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(runtime.block_on(caller).unwrap().unwrap(), 7);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_a_failure_and_after_a_panic_the_next_caller_tries_again() {
        let cell = SingleFlight::empty();
        let runtime = runtime();
        assert_eq!(&*runtime.block_on(cell.get(|| Err("no such file".into()))).unwrap_err(), "no such file");
        let panicked = runtime.block_on(cell.get(|| panic!("on purpose"))).unwrap_err();
        assert!(panicked.contains("panicked"), "{panicked}");
        assert!(cell.ready().is_none());
        assert_eq!(runtime.block_on(cell.get(|| Ok(1))), Ok(1));
        assert_eq!((cell.ready(), runtime.block_on(cell.get(|| Ok(2)))), (Some(1), Ok(1)));
    }

    #[test]
    fn a_caller_that_gives_up_does_not_stop_the_load() {
        let cell = SingleFlight::empty();
        let slow = || {
            std::thread::sleep(Duration::from_millis(100));
            Ok(3)
        };
        let runtime = runtime();
        let waited =
            runtime.block_on(async { tokio::time::timeout(Duration::from_millis(5), cell.get(slow)).await });
        assert!(waited.is_err());
        assert_eq!(runtime.block_on(cell.get(|| Ok(4))), Ok(3));
    }
}
