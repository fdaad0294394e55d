//! Data about the connection of a request, for the layer around the handlers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::client::Peer;
use super::super::connection_table::Slot;
use super::host::HostPolicy;

/// A request extension. A request of a test without a socket has none.
#[derive(Clone)]
pub struct Connection {
    pub peer: Peer,
    /// The server's address.
    pub local: Option<IpAddr>,
    pub hosts: Arc<HostPolicy>,
    /// The place in the table of connections.
    pub slot: Arc<Slot>,
    /// Set when the peer may still send at the end of the connection.
    pub lingers: Arc<AtomicBool>,
}

impl Connection {
    /// The request was rejected: from now on the connection may close to make room for another one.
    pub fn rejected(&self) {
        self.slot.set_idle(true);
    }

    /// The connection closes before the peer has sent its whole request.
    pub fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }
}
