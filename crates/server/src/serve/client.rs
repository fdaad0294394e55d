//! Whose request it is, for fairness and for the log: the peer's address. All connections of one address are one client.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client(Arc<str>);

impl Client {
    pub fn from_address(address: IpAddr) -> Self {
        // A v4 client that reached a v6 socket is the same client.
        Self(address.to_canonical().to_string().into())
    }

    pub fn from_name(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
