//! Who is let in: a bounded number of requests and of bytes, and no client may take all of them.
//!
//! A [`Permit`] counts a request from its headers to the end of its work, wherever that work is: it lives in the
//! request's job, not in the connection, so a request whose client has gone still counts until its work has stopped.
//! When the answer is ready the request's slot is free, and only its bytes count until they are sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::client::Client;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub requests_max: usize,
    pub bytes_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Ready,
    Draining,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Draining,
    /// Come back after this many seconds.
    Full {
        retry_after_s: u64,
    },
}

pub struct Admission {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    requests: usize,
    bytes: u64,
    /// Requests of each client that has any.
    held: HashMap<Client, usize>,
    /// How long a request was held lately.
    mean_s: f64,
}

const RETRY_AFTER_S_MAX: f64 = 60.0;
/// The part of the slots that one client alone cannot take: 1 in this many.
const RESERVE: usize = 4;

impl Admission {
    pub fn new(limits: Limits) -> Arc<Self> {
        let state = State { phase: Phase::Ready, requests: 0, bytes: 0, held: HashMap::new(), mean_s: 0.0 };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// `bytes` is what the body will take at most.
    pub fn admit(self: &Arc<Self>, client: &Client, bytes: u64) -> Result<Permit, Refusal> {
        let mut state = self.lock();
        if state.phase == Phase::Draining {
            return Err(Refusal::Draining);
        }
        let client_max = (self.limits.requests_max - self.limits.requests_max / RESERVE).max(1);
        let held = state.held.get(client).copied().unwrap_or(0);
        // With nothing in flight any body that passed the body limit is let in.
        let bytes_full = state.requests > 0 && state.bytes + bytes > self.limits.bytes_max;
        if state.requests >= self.limits.requests_max || held >= client_max || bytes_full {
            let retry_after_s = state.mean_s.clamp(1.0, RETRY_AFTER_S_MAX).ceil() as u64;
            return Err(Refusal::Full { retry_after_s });
        }
        state.requests += 1;
        state.bytes += bytes;
        *state.held.entry(client.clone()).or_insert(0) += 1;
        Ok(Permit { admission: Arc::clone(self), client: Some(client.clone()), bytes, since: Instant::now() })
    }

    /// From now on nobody is let in.
    pub fn drain(&self) {
        self.lock().phase = Phase::Draining;
    }

    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Requests and bytes that are held now.
    pub fn held(&self) -> (usize, u64) {
        let state = self.lock();
        (state.requests, state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts are written one by one, each sound by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Permit {
    admission: Arc<Admission>,
    /// `None` when the slot has been given back and only bytes are held.
    client: Option<Client>,
    bytes: u64,
    since: Instant,
}

impl Permit {
    /// Counts what the answer will take, now that it is known; refused when there is no room for it.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Refusal> {
        let mut state = self.admission.lock();
        if state.requests > 1 && state.bytes + bytes > self.admission.limits.bytes_max {
            let retry_after_s = state.mean_s.clamp(1.0, RETRY_AFTER_S_MAX).ceil() as u64;
            return Err(Refusal::Full { retry_after_s });
        }
        state.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// The work is done: gives the slot back and holds `bytes`, those of the answer, until dropped.
    pub fn into_answer(mut self, bytes: u64) -> Self {
        self.release_slot();
        let mut state = self.admission.lock();
        state.bytes = state.bytes.saturating_sub(self.bytes) + bytes;
        drop(state);
        self.bytes = bytes;
        self
    }

    fn release_slot(&mut self) {
        let Some(client) = self.client.take() else { return };
        let mut state = self.admission.lock();
        state.requests -= 1;
        if let Some(held) = state.held.get_mut(&client) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&client);
            }
        }
        state.mean_s = 0.9 * state.mean_s + 0.1 * self.since.elapsed().as_secs_f64();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release_slot();
        let mut state = self.admission.lock();
        state.bytes = state.bytes.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Arc<Admission> {
        Admission::new(Limits { requests_max: 4, bytes_max: 1000 })
    }

    fn client(name: &str) -> Client {
        Client::from_name(name)
    }

    #[test]
    fn one_client_cannot_take_the_last_quarter() {
        let admission = admission();
        let held: Vec<_> = (0..3).map(|_| admission.admit(&client("a"), 1).unwrap()).collect();
        assert!(matches!(admission.admit(&client("a"), 1), Err(Refusal::Full { retry_after_s: 1.. })));
        let other = admission.admit(&client("b"), 1).unwrap();
        assert!(admission.admit(&client("c"), 1).is_err());
        drop((held, other));
        assert_eq!(admission.held(), (0, 0));
        assert!(admission.lock().held.is_empty());
    }

    #[test]
    fn bytes_are_bounded_but_a_single_large_body_gets_in() {
        let admission = admission();
        let large = admission.admit(&client("a"), 5000).unwrap();
        assert!(admission.admit(&client("b"), 1).is_err());
        let answer = large.into_answer(900);
        assert_eq!(admission.held(), (0, 900));
        drop(admission.admit(&client("b"), 100).unwrap());
        drop(answer);
        assert_eq!(admission.held(), (0, 0));
    }

    #[test]
    fn draining_lets_nobody_in() {
        let admission = admission();
        admission.drain();
        assert_eq!(admission.admit(&client("a"), 1).err(), Some(Refusal::Draining));
    }
}
