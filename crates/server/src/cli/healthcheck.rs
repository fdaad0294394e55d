//! `inferd healthcheck`: requests the readiness of a server on this machine. For images without a shell and curl.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use units::TimeSpan;

use super::exit::CommandResult;
use crate::codes;
use crate::serve::Listen;

/// Of a response; the status line is at its start.
const RESPONSE_BYTES_MAX: u64 = 16 << 10;

/// Flags of the command.
#[derive(clap::Args)]
pub struct Flags {
    /// Address of the server, or `unix:/path`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    address: Listen,
    /// `/readyz` (accepts requests) or `/healthz` (the process responds)
    #[arg(long, value_name = "PATH", default_value = "/readyz", value_parser = ["/readyz", "/healthz"])]
    path: String,
    /// Time limit for each of connecting, sending and receiving
    #[arg(long, value_name = "TIME", default_value = "2 s")]
    timeout: TimeSpan,
}

/// Exits with 0 for a response 200, 1 for another response, 2 without a response.
pub fn run(flags: &Flags) -> CommandResult {
    let response = request(flags).map_err(|error| {
        let message = format!("no response from {}, {}", flags.address, flags.path);
        codes::caused(&codes::NO_RESPONSE, message, &error).hint(codes::fix(&codes::NO_RESPONSE))
    })?;
    let status = response.split(' ').nth(1).unwrap_or("");
    if status == "200" {
        return Ok(ExitCode::SUCCESS);
    }
    let _ = writeln!(std::io::stderr(), "{}, {}: status {status}", flags.address, flags.path);
    Ok(ExitCode::from(1))
}

fn request(flags: &Flags) -> std::io::Result<String> {
    // A timeout of zero is an error of the socket functions.
    let timeout = flags.timeout.duration().max(Duration::from_millis(1));
    match &flags.address {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            exchange(stream, &address.to_string(), &flags.path)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            exchange(stream, "localhost", &flags.path)
        }
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response).into_owned();
    if response.starts_with("HTTP/1.1 ") {
        Ok(response)
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the response is not HTTP/1.1"))
    }
}
