//! The client of a request that came through trusted proxies: `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! Each proxy appends the address of its peer, so the list is read from its end: the first address that is not a trusted
//! proxy is the client. What stands before it was sent by the client and can be false. A list that cannot be read up to
//! that address, and two headers that disagree (a proxy that supports only one of them passes the other one on), give no
//! client.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

use super::super::client::Peer;
use super::super::trusted_proxy::TrustedProxy;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A longer list is not one of proxies.
const ELEMENTS_MAX: usize = 32;

/// The address of the client, if `peer` is a trusted proxy that has sent it.
pub fn client_address(headers: &HeaderMap, peer: Peer, trusted: &[TrustedProxy]) -> Option<IpAddr> {
    if !TrustedProxy::any_is(trusted, peer) {
        return None;
    }
    let forwarded = of_header(headers, &header::FORWARDED, trusted, |element| node(&forwarded_for(element)?));
    let x_forwarded_for = of_header(headers, &X_FORWARDED_FOR, trusted, node);
    match (forwarded, x_forwarded_for) {
        (Sender::Address(one), Sender::Address(other)) if one == other => Some(one),
        (Sender::Address(one), Sender::NoHeader) | (Sender::NoHeader, Sender::Address(one)) => Some(one),
        _ => None,
    }
}

/// What one header tells about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    NoHeader,
    /// The list has no address where the client stands, or is malformed.
    Unknown,
    Address(IpAddr),
}

fn of_header(
    headers: &HeaderMap,
    name: &HeaderName,
    trusted: &[TrustedProxy],
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Sender {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Sender::NoHeader;
    }
    // Several lines are one list, in their order.
    let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap_or("?")).collect();
    let elements = lines.into_iter().map(split_list).collect::<Option<Vec<_>>>().map(|lists| lists.concat());
    let client = elements.and_then(|elements| rightmost_client(&elements, trusted, address));
    client.map_or(Sender::Unknown, Sender::Address)
}

fn rightmost_client(
    elements: &[&str],
    trusted: &[TrustedProxy],
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<IpAddr> {
    for (number, element) in elements.iter().rev().enumerate().take(ELEMENTS_MAX) {
        let address = address(element)?;
        let is_first = number + 1 == elements.len();
        if is_first || !TrustedProxy::any_is(trusted, Peer::Ip(address)) {
            return Some(address);
        }
    }
    None
}

/// The elements of a list, separated by commas outside of quotes; `None` when a quote does not end.
fn split_list(line: &str) -> Option<Vec<&str>> {
    split_outside_quotes(line, ',')
        .map(|elements| elements.into_iter().map(str::trim).filter(|element| !element.is_empty()).collect())
}

fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!is_quoted).then_some(parts)
}

/// The value of `for` in an element such as `for="[2001:db8::1]:80";proto=https`. It must occur once.
fn forwarded_for(element: &str) -> Option<String> {
    let mut found = None;
    for pair in split_outside_quotes(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) => Some(quoted.replace('\\', "")),
        None => Some(value.to_owned()),
    }
}

/// The address of a node: with or without a port, IPv6 with or without brackets. `unknown` and obfuscated identifiers
/// (`_hidden`) are no address.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    let address = address.or_else(|error| {
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inside.ok_or(error)?.parse::<std::net::Ipv6Addr>().map(IpAddr::V6)
    });
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client_of(peer: &str, lines: &[(&str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Peer::Ip(peer.parse().unwrap());
        client_address(&headers, peer, &trusted).map(|address| address.to_string())
    }

    fn x(value: &str) -> Option<String> {
        client_of(PROXY, &[("x-forwarded-for", value)])
    }

    fn forwarded(value: &str) -> Option<String> {
        client_of(PROXY, &[("forwarded", value)])
    }

    #[test]
    fn the_rightmost_address_that_is_not_a_proxy_is_the_client() {
        assert_eq!(x("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(x("192.0.2.1, 10.1.1.1 ,fd00::1").as_deref(), Some("192.0.2.1"));
        assert_eq!(forwarded("for=192.0.2.1;proto=http, For=10.0.0.9").as_deref(), Some("192.0.2.1"));
        // All of them are proxies: the first one sent the request.
        assert_eq!(x("10.0.0.5, 10.0.0.6").as_deref(), Some("10.0.0.5"));
    }

    #[test]
    fn what_the_client_has_sent_itself_is_ignored() {
        assert_eq!(x("203.0.113.9, 192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(x("10.0.0.9, 192.0.2.1, 10.0.0.2").as_deref(), Some("192.0.2.1"));
        assert_eq!(x("garbage, 192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(forwarded("for=203.0.113.9, for=192.0.2.1").as_deref(), Some("192.0.2.1"));
        // A proxy that appends to one header passes the other one on.
        let both = |one, other| client_of(PROXY, &[("forwarded", one), ("x-forwarded-for", other)]);
        assert_eq!(both("for=203.0.113.9", "192.0.2.1"), None);
        assert_eq!(both("for=\"_x\"", "192.0.2.1"), None);
        assert_eq!(both("for=192.0.2.1", "192.0.2.1").as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn headers_of_other_peers_are_ignored() {
        assert_eq!(client_of("192.0.2.7", &[("x-forwarded-for", "198.51.100.1")]), None);
        assert_eq!(client_of("192.0.2.7", &[("forwarded", "for=198.51.100.1")]), None);
    }

    #[test]
    fn reads_ipv6_with_brackets_and_ports() {
        for value in [
            "for=\"[2001:db8::1]\"",
            "for=\"[2001:db8::1]:4711\"",
            "by=10.0.0.1;FOR=\"[2001:db8::1]:4711\" ; host=\"a,b;for=x\"",
        ] {
            assert_eq!(forwarded(value).as_deref(), Some("2001:db8::1"), "{value}");
        }
        for value in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
            assert_eq!(x(value).as_deref(), Some("2001:db8::1"), "{value}");
        }
        assert_eq!(x("192.0.2.1:4711").as_deref(), Some("192.0.2.1"));
        assert_eq!(x("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")];
        assert_eq!(client_of(PROXY, &lines).as_deref(), Some("192.0.2.1"));
        let lines = [("forwarded", "for=192.0.2.1"), ("forwarded", "for=10.0.0.2")];
        assert_eq!(client_of(PROXY, &lines).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn a_list_without_an_address_gives_no_client() {
        for value in
            ["unknown", "_hidden", "", ",", "192.0.2.1, unknown", "192.0.2", "[::1", "192.0.2.1:99999"]
        {
            assert_eq!(x(value), None, "{value}");
        }
        for value in [
            "for=unknown",
            "for=_hidden",
            "for=192.0.2.1, for=\"_obfuscated\"",
            "proto=https",
            "for=\"192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "192.0.2.1",
        ] {
            assert_eq!(forwarded(value), None, "{value}");
        }
        assert_eq!(x(&format!("192.0.2.1,{}", vec!["10.0.0.2"; 1000].join(","))), None);
    }
}
