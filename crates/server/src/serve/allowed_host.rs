//! Hosts that requests may name besides those of the server itself.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

const ANY: &str = "*";

/// A name that `--allowed-host` adds, in lower case and without a port; `*` allows every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(String);

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if text == ANY || is_name || address(text).is_some() {
            return Ok(Self(text.trim_end_matches('.').to_ascii_lowercase()));
        }
        Err("expected a name without scheme and port, such as `embeddings.example.com`, an address, or `*`"
            .into())
    }
}

impl AllowedHost {
    /// Whether it allows every host.
    pub fn is_any(&self) -> bool {
        self.0 == ANY
    }

    /// Whether it is this name, in lower case and without a port, or the same address in another form.
    pub fn names(&self, name: &str) -> bool {
        self.0 == name || address(&self.0).is_some_and(|own| address(name) == Some(own))
    }
}

/// The address that the text is, with or without brackets; IPv4 addresses never in their IPv6 form.
pub fn address(name: &str) -> Option<IpAddr> {
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address = match inside {
        Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => name.parse(),
    };
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_what_is_no_name_and_no_address() {
        for text in ["", "http://a", "a:80", "a/b", "**"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
