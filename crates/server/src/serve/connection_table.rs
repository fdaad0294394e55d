//! The open connections: their number, the share of each client, and which one closes when there are too many.
//!
//! A connection is idle while no request is in flight on it: between requests, and until the head of a request is
//! complete. When all connections are in use, the one that has been idle longest closes, of the client that has the most.
//! A client takes three quarters of the connections at most; above that it replaces its own. It never replaces those of
//! a client that has fewer.
//!
//! Busy connections are bounded by the limit on requests and are never closed here. If all are busy, a new connection
//! takes one of a few reserved places, on which probes are served and other requests are rejected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::client::Client;

/// Connections beyond the limit, for probes.
pub const RESERVED: usize = 16;
/// One client can take all connections but one in this many.
const REST: usize = 4;

/// All open connections of the listeners that share one limit.
pub struct ConnectionTable {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    /// Number and time of an entry: a count of all events.
    clock: u64,
}

struct Entry {
    client: Client,
    place: Place,
    /// `None` while a request is in flight.
    idle_since: Option<u64>,
    close: Arc<Notify>,
}

/// What a connection may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everything.
    Ordinary,
    /// Probes.
    Reserved,
}

/// One open connection.
pub struct Slot {
    table: Arc<ConnectionTable>,
    number: u64,
    place: Place,
    close: Arc<Notify>,
}

/// What happened to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Nothing,
    Oldest,
}

impl ConnectionTable {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Takes a place for a new connection, if necessary that of an idle one. `None`: every place is busy.
    pub fn open(self: &Arc<Self>, client: Client) -> Option<(Slot, Closed)> {
        let mut state = self.lock();
        let total = state.count(Place::Ordinary, None);
        let own = state.count(Place::Ordinary, Some(&client));
        let has_share = own < (self.limit - self.limit / REST).max(1);
        let (place, closed) = if has_share && total < self.limit {
            (Place::Ordinary, Closed::Nothing)
        } else if state.close_oldest(Place::Ordinary, (!has_share).then_some(&client), own) {
            (Place::Ordinary, Closed::Oldest)
        } else if state.count(Place::Reserved, None) < RESERVED {
            (Place::Reserved, Closed::Nothing)
        } else if state.close_oldest(Place::Reserved, None, 0) {
            (Place::Reserved, Closed::Oldest)
        } else {
            return None;
        };
        let number = state.tick();
        let close = Arc::new(Notify::new());
        let entry = Entry { client, place, idle_since: Some(number), close: Arc::clone(&close) };
        state.entries.insert(number, entry);
        drop(state);
        Some((Slot { table: Arc::clone(self), number, place, close }, closed))
    }

    /// Closes the connection that has been idle longest, of the client that has the most: the process has no descriptor
    /// left for a new one. False when none is idle.
    pub fn close_oldest(&self) -> bool {
        self.lock().close_oldest(Place::Ordinary, None, 0)
    }

    /// Open connections.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn count(&self, place: Place, client: Option<&Client>) -> usize {
        let is_counted =
            |entry: &&Entry| entry.place == place && client.is_none_or(|client| entry.client == *client);
        self.entries.values().filter(is_counted).count()
    }

    /// Removes one entry and closes its connection: of `client`, or of the client with the most connections, at least
    /// `connections_min`, that has an idle one. Linear in the number of connections, and called for a new one only.
    fn close_oldest(&mut self, place: Place, client: Option<&Client>, connections_min: usize) -> bool {
        /// Connections, and the one that has been idle longest.
        #[derive(Default)]
        struct OfClient {
            connections: usize,
            oldest: Option<(u64, u64)>,
        }
        let mut clients: HashMap<&Client, OfClient> = HashMap::new();
        for (number, entry) in &self.entries {
            if entry.place != place || client.is_some_and(|client| entry.client != *client) {
                continue;
            }
            let of_client = clients.entry(&entry.client).or_default();
            of_client.connections += 1;
            if let Some(since) = entry.idle_since {
                let oldest = of_client.oldest.get_or_insert((since, *number));
                *oldest = (*oldest).min((since, *number));
            }
        }
        let large = clients.values().filter(|of| of.connections >= connections_min);
        let with_idle = large.filter_map(|of| of.oldest.map(|oldest| (of.connections, oldest)));
        let victim =
            with_idle.max_by_key(|(connections, (since, _))| (*connections, std::cmp::Reverse(*since)));
        let Some((_, (_, number))) = victim else { return false };
        if let Some(entry) = self.entries.remove(&number) {
            entry.close.notify_one();
        }
        true
    }
}

impl Slot {
    /// What the connection may request.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns when the connection must close because another one has taken its place.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    /// A request is in flight until the guard is dropped.
    pub fn request(self: &Arc<Self>) -> Busy {
        self.set_idle(false);
        Busy(Arc::clone(self))
    }

    /// Whether the connection may close although its request is not complete: the request has been rejected.
    pub fn set_idle(&self, is_idle: bool) {
        let mut state = self.table.lock();
        let now = state.tick();
        if let Some(entry) = state.entries.get_mut(&self.number) {
            entry.idle_since = is_idle.then_some(now);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.lock().entries.remove(&self.number);
    }
}

/// A request in flight.
pub struct Busy(Arc<Slot>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_idle(true);
    }
}

#[cfg(test)]
mod tests;
