//! Requests to the thread that returns memory to the kernel.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Requests a collection by the thread.
#[derive(Clone, Default)]
pub struct PurgeRequest(Arc<(Mutex<Signal>, Condvar)>);

/// What the thread shall do.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Signal {
    #[default]
    None,
    /// Return memory without waiting for the end of the work.
    AtLimit,
    /// End.
    Stop,
}

impl PurgeRequest {
    /// Memory is at its limit: returns it without waiting for the end of the work.
    pub fn at_limit(&self) {
        self.send(Signal::AtLimit);
    }

    /// `Stop` is never replaced.
    pub fn send(&self, signal: Signal) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != Signal::Stop {
            *state = signal;
        }
        drop(state);
        changed.notify_all();
    }

    /// Waits for a signal, for at most `time`. `Stop` stays.
    pub fn wait(&self, time: Duration) -> Signal {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(state, time, |signal| *signal == Signal::None);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let signal = *state;
        if signal != Signal::Stop {
            *state = Signal::None;
        }
        signal
    }
}
