//! A value that concurrent callers load once. After a failure or a panic the next caller starts another load.
//!
//! The load runs on its own thread with an explicit stack. Callers wait without a lock; a caller that stops waiting does not stop
//! the load. The lock guards the state and is never held during a load.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diag::Diagnostic;
use tokio::sync::watch;

use crate::{codes, compute_thread};

type Outcome<T> = Option<Result<T, Diagnostic>>;

enum State<T> {
    Empty,
    Loading(watch::Receiver<Outcome<T>>),
    Ready(T),
}

/// The value.
pub struct SingleFlight<T>(Arc<Mutex<State<T>>>);

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// A value that is not loaded.
    pub fn empty() -> Self {
        Self(Arc::new(Mutex::new(State::Empty)))
    }

    /// The value, if it is loaded.
    pub fn ready(&self) -> Option<T> {
        match &*lock(&self.0) {
            State::Ready(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// The value. Calls `load` unless the value exists or another caller is loading it.
    pub async fn get(
        &self,
        load: impl FnOnce() -> Result<T, Diagnostic> + Send + 'static,
    ) -> Result<T, Diagnostic> {
        let mut outcome = match self.join_or_start(load)? {
            Joined::Ready(value) => return Ok(value),
            Joined::Waiting(outcome) => outcome,
        };
        match outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(result)) => result,
            _ => Err(Diagnostic::new(&codes::INTERNAL_ERROR, "the loading thread ended without a result")),
        }
    }

    fn join_or_start(
        &self,
        load: impl FnOnce() -> Result<T, Diagnostic> + Send + 'static,
    ) -> Result<Joined<T>, Diagnostic> {
        let mut state = lock(&self.0);
        match &*state {
            State::Ready(value) => return Ok(Joined::Ready(value.clone())),
            State::Loading(outcome) => return Ok(Joined::Waiting(outcome.clone())),
            State::Empty => {}
        }
        let (sender, receiver) = watch::channel(None);
        let shared = Arc::clone(&self.0);
        let started = compute_thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
                Err(Diagnostic::new(&codes::INTERNAL_ERROR, "the load panicked; the message is on stderr"))
            });
            *lock(&shared) = match &result {
                Ok(value) => State::Ready(value.clone()),
                Err(_) => State::Empty,
            };
            sender.send_replace(Some(result));
        });
        if let Err(error) = started {
            return Err(codes::caused(&codes::SYSTEM_RESOURCE, "cannot start the loading thread", &error));
        }
        *state = State::Loading(receiver.clone());
        Ok(Joined::Waiting(receiver))
    }
}

enum Joined<T> {
    Ready(T),
    Waiting(watch::Receiver<Outcome<T>>),
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // The state is replaced as a whole, so a panic leaves a valid one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const TIME_MAX: Duration = Duration::from_secs(20);

    fn failure(message: &str) -> Diagnostic {
        Diagnostic::new(&codes::MODEL_UNUSABLE, message)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A load that waits for the sender.
    fn blocked_load(
        value: i32,
    ) -> (mpsc::Sender<()>, impl FnOnce() -> Result<i32, Diagnostic> + Send + 'static) {
        let (release, released) = mpsc::channel();
        (release, move || {
            released.recv_timeout(TIME_MAX).map(|()| value).map_err(|error| failure(&error.to_string()))
        })
    }

    #[test]
    fn concurrent_callers_cause_one_load() {
        let (cell, loads) = (Arc::new(SingleFlight::empty()), Arc::new(AtomicUsize::new(0)));
        let (release, load) = blocked_load(7);
        let load = Arc::new(Mutex::new(Some(load)));
        runtime().block_on(async {
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..100 {
                let (cell, loads, load) = (Arc::clone(&cell), Arc::clone(&loads), Arc::clone(&load));
                callers.spawn(async move {
                    let load = move || {
                        loads.fetch_add(1, Ordering::SeqCst);
                        let load = lock_value(&load).take().ok_or_else(|| failure("a second load"))?;
                        load()
                    };
                    cell.get(load).await
                });
            }
            // Polls every caller once.
            tokio::task::yield_now().await;
            release.send(()).unwrap();
            while let Some(value) = callers.join_next().await {
                assert_eq!(value.unwrap().unwrap(), 7);
            }
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    fn lock_value<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
        value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn a_caller_after_a_failure_or_a_panic_loads_again() {
        let cell = SingleFlight::empty();
        let runtime = runtime();
        let failed = runtime.block_on(cell.get(|| Err(failure("no such file")))).unwrap_err();
        assert_eq!(failed.to_string(), "no such file");
        let panicked = runtime.block_on(cell.get(|| panic!("on purpose"))).unwrap_err();
        assert_eq!(panicked.to_string(), "the load panicked; the message is on stderr");
        assert!(cell.ready().is_none());
        assert_eq!(runtime.block_on(cell.get(|| Ok(1))), Ok(1));
        assert_eq!((cell.ready(), runtime.block_on(cell.get(|| Ok(2)))), (Some(1), Ok(1)));
    }

    #[test]
    fn a_caller_that_stops_waiting_does_not_stop_the_load() {
        let cell = SingleFlight::empty();
        let (release, load) = blocked_load(3);
        runtime().block_on(async {
            {
                let mut waiting = pin!(cell.get(load));
                assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
            }
            release.send(()).unwrap();
            assert_eq!(cell.get(|| Ok(4)).await, Ok(3));
        });
    }
}
