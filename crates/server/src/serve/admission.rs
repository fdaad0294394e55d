//! Admission control: bounds the number and the bytes of concurrent requests, and the share of each client.
//!
//! A [`Permit`] counts a request from its headers to the end of its work. The job owns it, not the connection, so that
//! a request whose client has disconnected counts until its work has stopped. A finished request releases its slot; the
//! bytes of its response count until they are sent.
//!
//! Bytes count when memory is allocated for them. The announced length of a body counts nothing: it costs a client
//! nothing to announce. After each [`CHECK_BYTES`] the memory of the process is compared with `--memory-max`, because an
//! admitted request grows: tokens and responses have no announced length. A request that needs more bytes than there are is rejected and does not wait, because two
//! requests that wait for each other's bytes would hold them until a time limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::client::Client;
use super::memory_cap::{MemoryCap, MemoryFull};
use super::share;

/// Bytes that a request charges between two comparisons with `--memory-max`.
const CHECK_BYTES: u64 = 1 << 20;

/// Limits on all concurrent requests.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
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
    /// The process has reached `--memory-max`.
    Memory(MemoryFull),
}

/// Issues permits.
pub struct Admission {
    limits: AdmissionLimits,
    state: Mutex<State>,
    memory_cap: OnceLock<Arc<MemoryCap>>,
}

struct State {
    phase: Phase,
    requests: usize,
    bytes: u64,
    /// Each client that holds a request or bytes. The limits on both bound the number of entries.
    clients: HashMap<Client, Held>,
    /// Exponential average of the time that a permit is held.
    mean_s: f64,
}

/// What one client holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    requests: usize,
    bytes: u64,
    /// Permits; the entry is removed with the last one.
    permits: usize,
}

const RETRY_AFTER_S_MAX: f64 = 60.0;

impl Admission {
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        let state =
            State { phase: Phase::Ready, requests: 0, bytes: 0, clients: HashMap::new(), mean_s: 0.0 };
        Arc::new(Self { limits, state: Mutex::new(state), memory_cap: OnceLock::new() })
    }

    /// Bounds the memory of the process. Later calls change nothing.
    pub fn set_memory_cap(&self, cap: Arc<MemoryCap>) {
        let _ = self.memory_cap.set(cap);
    }

    /// Admits a request of `client`. Its bytes are counted by [`Permit::charge`].
    pub fn admit(self: &Arc<Self>, client: &Client) -> Result<Permit, Rejection> {
        let mut state = self.lock();
        if state.phase == Phase::Draining {
            return Err(Rejection::Draining);
        }
        let own = state.clients.get(client).map_or(0, |held| held.requests);
        if !share::allows(own as u64, state.requests as u64, 1, self.limits.requests_max as u64) {
            return Err(state.full());
        }
        state.requests += 1;
        let held = state.clients.entry(client.clone()).or_default();
        held.requests += 1;
        held.permits += 1;
        drop(state);
        Ok(Permit {
            admission: Arc::clone(self),
            client: client.clone(),
            has_slot: true,
            bytes: 0,
            unchecked: 0,
            since: Instant::now(),
        })
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
    pub fn limits(&self) -> AdmissionLimits {
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

impl State {
    fn full(&self) -> Rejection {
        Rejection::Full { retry_after_s: self.mean_s.clamp(1.0, RETRY_AFTER_S_MAX).ceil() as u64 }
    }

    fn held(&mut self, client: &Client) -> &mut Held {
        self.clients.entry(client.clone()).or_default()
    }
}

/// Counts one request until it is dropped.
pub struct Permit {
    admission: Arc<Admission>,
    client: Client,
    /// False after the slot has been released; only bytes count then.
    has_slot: bool,
    bytes: u64,
    /// Charged since the last comparison with `--memory-max`.
    unchecked: u64,
    since: Instant,
}

impl Permit {
    /// Counts further bytes of the request; call it before the memory is allocated. Fails when they exceed the limit or
    /// the share of the client, or when the process has no memory for them. While no other request holds bytes there is no
    /// limit on bytes but those on one request.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Rejection> {
        self.check_memory(bytes)?;
        let mut state = self.admission.lock();
        let others = state.bytes.saturating_sub(self.bytes);
        let own = state.held(&self.client).bytes;
        if others > 0 && !share::allows(own, state.bytes, bytes, self.admission.limits.bytes_max) {
            return Err(state.full());
        }
        state.bytes += bytes;
        state.held(&self.client).bytes += bytes;
        drop(state);
        self.bytes += bytes;
        Ok(())
    }

    fn check_memory(&mut self, bytes: u64) -> Result<(), Rejection> {
        self.unchecked = self.unchecked.saturating_add(bytes);
        if self.unchecked >= CHECK_BYTES {
            self.unchecked = 0;
            if let Some(cap) = self.admission.memory_cap.get() {
                cap.check(bytes).map_err(Rejection::Memory)?;
            }
        }
        Ok(())
    }

    /// Counts `bytes` less, because their memory has been freed.
    pub fn release(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        let mut state = self.admission.lock();
        state.bytes -= bytes;
        state.held(&self.client).bytes -= bytes;
        drop(state);
        self.bytes -= bytes;
    }

    /// Releases the slot. From now on the permit counts `bytes`, those of the response.
    pub fn into_response(mut self, bytes: u64) -> Self {
        self.release_slot();
        self.release(self.bytes);
        let mut state = self.admission.lock();
        state.bytes += bytes;
        state.held(&self.client).bytes += bytes;
        drop(state);
        self.bytes = bytes;
        self
    }

    fn release_slot(&mut self) {
        if !std::mem::take(&mut self.has_slot) {
            return;
        }
        let mut state = self.admission.lock();
        state.requests -= 1;
        state.held(&self.client).requests -= 1;
        state.mean_s = 0.9 * state.mean_s + 0.1 * self.since.elapsed().as_secs_f64();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release_slot();
        self.release(self.bytes);
        let mut state = self.admission.lock();
        let held = state.held(&self.client);
        held.permits -= 1;
        if held.permits == 0 {
            state.clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests;
