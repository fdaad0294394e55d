//! Admission control: bounds the number and the bytes of concurrent requests, and the share of each client.
//!
//! A [`Permit`] counts a request from its headers to the end of its work. The job owns it, not the connection, so that
//! a request whose client has disconnected counts until its work has stopped. A finished request releases its slot; the
//! bytes of its response count until they are sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::client::Client;

/// Limits on all concurrent requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of their bodies and responses.
    pub bytes_max: u64,
}

/// Whether new requests are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Ready,
    Draining,
}

/// Reason to reject a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    Draining,
    /// A limit is reached; value of `Retry-After`.
    Full {
        retry_after_s: u64,
    },
}

/// Issues permits.
pub struct Admission {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    requests: usize,
    bytes: u64,
    /// Requests of each client that has at least one.
    requests_by_client: HashMap<Client, usize>,
    /// Exponential average of the time that a permit is held.
    mean_s: f64,
}

const RETRY_AFTER_S_MAX: f64 = 60.0;
/// One client can take all slots but one in this many.
const RESERVE: usize = 4;

impl Admission {
    pub fn new(limits: Limits) -> Arc<Self> {
        let state = State {
            phase: Phase::Ready,
            requests: 0,
            bytes: 0,
            requests_by_client: HashMap::new(),
            mean_s: 0.0,
        };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// Admits a request of `client` whose body takes at most `bytes`.
    pub fn admit(self: &Arc<Self>, client: &Client, bytes: u64) -> Result<Permit, Rejection> {
        let mut state = self.lock();
        if state.phase == Phase::Draining {
            return Err(Rejection::Draining);
        }
        let client_max = (self.limits.requests_max - self.limits.requests_max / RESERVE).max(1);
        let of_client = state.requests_by_client.get(client).copied().unwrap_or(0);
        // When nothing is held, not even an unsent response, every body within the body limit is admitted.
        let bytes_full = state.bytes > 0 && state.bytes + bytes > self.limits.bytes_max;
        if state.requests >= self.limits.requests_max || of_client >= client_max || bytes_full {
            let retry_after_s = state.mean_s.clamp(1.0, RETRY_AFTER_S_MAX).ceil() as u64;
            return Err(Rejection::Full { retry_after_s });
        }
        state.requests += 1;
        state.bytes += bytes;
        *state.requests_by_client.entry(client.clone()).or_insert(0) += 1;
        Ok(Permit { admission: Arc::clone(self), client: Some(client.clone()), bytes, since: Instant::now() })
    }

    /// Rejects all further requests.
    pub fn drain(&self) {
        self.lock().phase = Phase::Draining;
    }

    /// Whether new requests are admitted.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Requests and bytes that permits count now.
    pub fn inflight(&self) -> (usize, u64) {
        let state = self.lock();
        (state.requests, state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two writes to the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one request until it is dropped.
pub struct Permit {
    admission: Arc<Admission>,
    /// `None` after the slot has been released; only bytes count then.
    client: Option<Client>,
    bytes: u64,
    since: Instant,
}

impl Permit {
    /// Counts further bytes of the request; fails when they exceed the limit.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Rejection> {
        let mut state = self.admission.lock();
        // Exempt only when no other request or response holds bytes.
        if state.bytes > self.bytes && state.bytes + bytes > self.admission.limits.bytes_max {
            let retry_after_s = state.mean_s.clamp(1.0, RETRY_AFTER_S_MAX).ceil() as u64;
            return Err(Rejection::Full { retry_after_s });
        }
        state.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Stops to count bytes that have been freed.
    pub fn release(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut state = self.admission.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Releases the slot. From now on the permit counts `bytes`, those of the response.
    pub fn into_response(mut self, bytes: u64) -> Self {
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
        if let Some(requests) = state.requests_by_client.get_mut(&client) {
            *requests -= 1;
            if *requests == 0 {
                state.requests_by_client.remove(&client);
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
    fn one_client_takes_three_quarters_of_the_slots_at_most() {
        let admission = admission();
        let held: Vec<_> = (0..3).map(|_| admission.admit(&client("a"), 1).unwrap()).collect();
        assert!(matches!(admission.admit(&client("a"), 1), Err(Rejection::Full { retry_after_s: 1.. })));
        let other = admission.admit(&client("b"), 1).unwrap();
        assert!(admission.admit(&client("c"), 1).is_err());
        drop((held, other));
        assert_eq!(admission.inflight(), (0, 0));
        assert!(admission.lock().requests_by_client.is_empty());
    }

    #[test]
    fn bounds_bytes_but_admits_a_single_large_body() {
        let admission = admission();
        let large = admission.admit(&client("a"), 5000).unwrap();
        assert!(admission.admit(&client("b"), 1).is_err());
        let response = large.into_response(900);
        assert_eq!(admission.inflight(), (0, 900));
        drop(admission.admit(&client("b"), 100).unwrap());
        drop(response);
        assert_eq!(admission.inflight(), (0, 0));
    }

    #[test]
    fn an_unsent_response_counts_against_the_next_request_although_its_slot_is_free() {
        let admission = admission();
        let response = admission.admit(&client("a"), 100).unwrap().into_response(900);
        assert_eq!(admission.inflight(), (0, 900));
        assert!(admission.admit(&client("b"), 200).is_err());
        let mut next = admission.admit(&client("b"), 50).unwrap();
        assert!(next.charge(100).is_err());
        drop(response);
        next.charge(5000).unwrap();
        next.release(5000);
        assert_eq!(admission.inflight(), (1, 50));
    }

    #[test]
    fn draining_rejects_requests() {
        let admission = admission();
        admission.drain();
        assert_eq!(admission.admit(&client("a"), 1).err(), Some(Rejection::Draining));
    }
}
