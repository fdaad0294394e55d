//! Identity of a client, for fair sharing and the log: the address of the peer, or the name of its API key.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// All connections of one address, or of one key, belong to one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(Arc<str>);

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection.
    Ip(IpAddr),
    /// A unix socket, and the user id of the process that connected.
    Unix(Option<u32>),
}

impl Peer {
    /// The client that all connections of this peer belong to.
    pub fn client(self) -> Client {
        match self {
            Self::Ip(address) => Client::from_address(address),
            Self::Unix(Some(user)) => Client::from_name(&format!("uid {user}")),
            Self::Unix(None) => Client::from_name("uid unknown"),
        }
    }
}

impl Client {
    /// The client of an address. An IPv6 client is a network of 64 bits: every host has that many addresses.
    pub fn from_address(address: IpAddr) -> Self {
        // An IPv4 client that connects to an IPv6 socket is the same client.
        match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let network = Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX));
                Self(format!("{network}/64").into())
            }
            other => Self(other.to_string().into()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let of = |text: &str| Client::from_address(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2:ffff::9"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(
            (of("::1"), of("::ffff:192.0.2.7"), of("192.0.2.7")),
            ("::1".into(), "192.0.2.7".into(), "192.0.2.7".into())
        );
    }
}
