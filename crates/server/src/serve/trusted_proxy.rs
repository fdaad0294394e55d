//! Peers whose headers about the client are trusted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::client::Peer;

const UNIX: &str = "unix";

/// A network of proxies, or all peers of unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Address and length of the prefix. IPv4 addresses are never in their IPv6 form.
    Network(IpAddr, u8),
    /// Every peer of a unix socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let error = || {
            "expected an address such as `10.0.0.7`, a network such as `10.0.0.0/8` or `fd00::/8`, or `unix`"
                .to_owned()
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits_max,
            Some(text) => text.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(error)?,
        };
        if bits(address) & !mask(prefix, bits_max) != 0 {
            return Err(format!("`{text}` has bits behind its prefix of {prefix} bits"));
        }
        Ok(Self::Network(address, prefix))
    }
}

/// The form that [`FromStr`] parses.
impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

impl TrustedProxy {
    /// Whether the list contains the peer.
    pub fn any_is(list: &[Self], peer: Peer) -> bool {
        list.iter().any(|proxy| match (proxy, peer) {
            (Self::Unix, Peer::Unix(_)) => true,
            (Self::Network(network, prefix), Peer::Ip(address)) => {
                let address = address.to_canonical();
                let bits_max = if network.is_ipv4() { 32 } else { 128 };
                network.is_ipv4() == address.is_ipv4()
                    && bits(address) & mask(*prefix, bits_max) == bits(*network)
            }
            _ => false,
        })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The `prefix` highest of `bits` bits.
fn mask(prefix: u8, bits: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(bits));
    all & !all.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(network: &str, address: &str) -> bool {
        let proxy = network.parse().unwrap();
        TrustedProxy::any_is(&[proxy], Peer::Ip(address.parse().unwrap()))
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_other() {
        assert!(trusts("10.0.0.0/8", "10.255.0.1") && !trusts("10.0.0.0/8", "11.0.0.0"));
        assert!(trusts("0.0.0.0/0", "192.0.2.1") && !trusts("0.0.0.0/0", "2001:db8::1"));
        assert!(trusts("::/0", "2001:db8::1") && !trusts("::/0", "192.0.2.1"));
        assert!(trusts("192.0.2.1", "192.0.2.1") && !trusts("192.0.2.1", "192.0.2.0"));
        assert!(trusts("fd00::/8", "fdff::1") && !trusts("fd00::/8", "fe00::1"));
        // An IPv4 peer of an IPv6 socket.
        assert!(trusts("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!TrustedProxy::any_is(&["0.0.0.0/0".parse().unwrap()], Peer::Unix(Some(0))));
        assert!(TrustedProxy::any_is(&[TrustedProxy::Unix], Peer::Unix(None)));
    }

    #[test]
    fn rejects_what_is_not_a_network() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.1/8", "::/129", "example.com", "10.0.0.0/", "/8", "10.0.0.0/-1"]
        {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
        for text in ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32", "unix"] {
            assert_eq!(text.parse::<TrustedProxy>().unwrap().to_string(), text);
        }
    }
}
