//! Identity of a client, for fair sharing and the log: the address of the peer, or the name of its API key.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// All connections of one address, or of one key, belong to one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client(Arc<str>);

impl Client {
    /// The client of a TCP connection.
    pub fn from_address(address: IpAddr) -> Self {
        // An IPv4 client that connects to an IPv6 socket is the same client.
        Self(address.to_canonical().to_string().into())
    }

    /// A client with a name.
    pub fn from_name(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
