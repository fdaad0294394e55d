//! As many connections as the server accepts, without a complete request: probes and other clients get connections.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http_client::connect;
use crate::probe::TIMEOUT;
use crate::server::Server;
use crate::victim::{self, attacker, is_served};
use crate::{CLIENT_BLOCKED, ScenarioCheck};

/// The default of `--max-connections`, and the backlog of a listener behind it.
const CONNECTIONS: usize = 1024;
const OBSERVED: Duration = Duration::from_secs(2);
const ATTACKERS: u8 = 64;
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const DESCRIPTORS: u32 = 128;
const BODY_HEAD: &str = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                         content-length: 100000\r\n\r\n{";
const PARTIAL_HEAD: &str = "POST /v1/embeddings HTTP/1.1\r\nhost: local";

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<ScenarioCheck>> {
    let mut checks = Vec::new();
    let server = Server::start(binary, &["--model", model])?;
    let address = server.address();
    // The first ones come from the address that `healthcheck` uses.
    for (name, begin) in [
        ("connections without a byte", ""),
        ("connections with a part of the head", PARTIAL_HEAD),
        ("connections with a part of the body", BODY_HEAD),
    ] {
        let held = open(address, LOOPBACK, CONNECTIONS, begin);
        checks.extend(service(binary, address, name, held.len())?);
    }
    let each = CONNECTIONS / usize::from(ATTACKERS);
    let held: Vec<_> = (1..=ATTACKERS).flat_map(|n| open(address, attacker(n), each, "")).collect();
    checks.extend(service(binary, address, "connections of many addresses", held.len())?);
    drop((held, server));
    // A limit of descriptors below that of connections.
    let server = Server::start_with_descriptors(binary, DESCRIPTORS, &["--model", model])?;
    let held = open(server.address(), LOOPBACK, 2 * DESCRIPTORS as usize, "");
    checks.extend(service(
        binary,
        server.address(),
        "connections above the limit of descriptors",
        held.len(),
    )?);
    Ok(checks)
}

/// `healthcheck` from the address of the attack, and requests from another one.
fn service(
    binary: &Path,
    address: SocketAddr,
    attack: &str,
    held: usize,
) -> anyhow::Result<[ScenarioCheck; 2]> {
    let check = Command::new(binary)
        .env_clear()
        .args(["healthcheck", "--address", &address.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok([
        ScenarioCheck::new(
            &CLIENT_BLOCKED,
            format!("{attack}: healthcheck"),
            check.success(),
            "exit code 0",
            format!("{check}, beside {held} connections"),
        ),
        is_served(&format!("{attack}: another client"), address, victim::ADDRESS, 0, OBSERVED),
    ])
}

/// Opens connections that send `begin` and nothing more. The server may close some of them.
fn open(address: SocketAddr, source: IpAddr, count: usize, begin: &str) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = connect(address, Some(source), TIMEOUT).ok()?;
        let _ = stream.write_all(begin.as_bytes());
        Some(stream)
    };
    (0..count).filter_map(one).collect()
}
