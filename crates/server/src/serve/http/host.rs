//! The check of the header `Host`, against DNS rebinding: a web page of another site makes its own name resolve to
//! loopback, and the browser of the user then lets the page read responses of this server. The browser sends that name
//! as the host, so a server on loopback accepts only names that belong to it.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

use super::super::allowed_host::{AllowedHost, address};
use super::error::ApiError;

/// Quoted in the error.
const HOST_CHARS_MAX: usize = 100;
/// Accepted with every host: these responses tell nothing, and orchestrators send addresses of their own.
const PROBES: &[&str] = &["/healthz", "/readyz"];

/// Which hosts the connections of a listener accept.
#[derive(Debug, Clone)]
pub enum HostPolicy {
    /// Every host: no browser reaches a unix socket, and the names of other listeners are not known here.
    Any,
    /// `localhost`, loopback addresses, the address of the connection, and these.
    Only(Vec<AllowedHost>),
}

impl HostPolicy {
    /// The policy of a listener.
    pub fn new(is_loopback: bool, allowed: &[AllowedHost]) -> Self {
        let allows_all = allowed.iter().any(AllowedHost::is_any);
        if allows_all || (allowed.is_empty() && !is_loopback) {
            Self::Any
        } else {
            Self::Only(allowed.to_vec())
        }
    }

    /// Checks every host that the request names; `local` is the server's address of the connection. A request without a
    /// host is accepted: a browser always sends one.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap, local: Option<IpAddr>) -> Result<(), ApiError> {
        let Self::Only(allowed) = self else { return Ok(()) };
        if is_unchecked(uri.path()) {
            return Ok(());
        }
        let lines = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        for host in lines.chain(uri.authority().map(axum::http::uri::Authority::as_str)) {
            if !is_allowed(host, allowed, local) {
                return Err(ApiError::host_not_allowed(
                    &host.chars().take(HOST_CHARS_MAX).collect::<String>(),
                ));
            }
        }
        Ok(())
    }
}

/// Whether the path is served to every host.
pub fn is_unchecked(path: &str) -> bool {
    PROBES.contains(&path)
}

fn is_allowed(host: &str, allowed: &[AllowedHost], local: Option<IpAddr>) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    if let Some(address) = address(&name)
        && (address.is_loopback() || local.is_some_and(|local| local.to_canonical() == address))
    {
        return true;
    }
    name == "localhost" || allowed.iter().any(|other| other.names(&name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && is_whole(name) => name,
        _ => host,
    }
}

/// False for the part of an IPv6 address without brackets.
fn is_whole(name: &str) -> bool {
    !name.contains(':') || name.ends_with(']')
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepts(policy: &HostPolicy, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        let local = Some("10.1.2.3".parse().unwrap());
        policy.check(&"/v1/models".parse().unwrap(), &headers, local).is_ok()
    }

    fn names(names: &[&str]) -> Vec<AllowedHost> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_loopback_listener_accepts_its_own_names_only() {
        let policy = HostPolicy::new(true, &[]);
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]",
            "[::1]:80",
            "localhost.",
            "10.1.2.3:1",
        ] {
            assert!(accepts(&policy, &[host]), "{host}");
        }
        for host in [
            "rebind.example",
            "rebind.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.0.2.1",
            "",
            "localhost:80@evil.example",
            "[::1",
            "x",
        ] {
            assert!(!accepts(&policy, &[host]), "{host}");
        }
        assert!(accepts(&policy, &[]) && !accepts(&policy, &["localhost", "evil.example"]));
    }

    #[test]
    fn the_target_of_the_request_counts_too() {
        let policy = HostPolicy::new(true, &[]);
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        assert!(policy.check(&"http://evil.example/v1/models".parse().unwrap(), &headers, None).is_err());
        let evil = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("evil.example"))]);
        assert!(policy.check(&"/readyz".parse().unwrap(), &evil, None).is_ok());
    }

    #[test]
    fn allowed_hosts_add_names_and_check_every_listener() {
        let policy = HostPolicy::new(false, &names(&["Api.Example.com", "2001:db8::1"]));
        assert!(accepts(&policy, &["api.example.com:443"]) && accepts(&policy, &["[2001:db8::1]:80"]));
        assert!(accepts(&policy, &["localhost"]) && !accepts(&policy, &["example.com"]));
        for any in [HostPolicy::new(false, &[]), HostPolicy::new(true, &names(&["a", "*"]))] {
            assert!(accepts(&any, &["evil.example"]));
        }
    }
}
