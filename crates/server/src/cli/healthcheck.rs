//! `inferd healthcheck`: asks a server on this machine whether it takes work. For images without a shell or curl.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::CommandResult;
use crate::failure::Failure;
use crate::serve::Listen;
use crate::units;

/// Of the status line and what follows: more is not needed.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

#[derive(clap::Args)]
pub struct Flags {
    /// Address of the server, or `unix:/path`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    address: Listen,
    /// `/readyz` (takes work) or `/healthz` (is alive)
    #[arg(long, value_name = "PATH", default_value = "/readyz", value_parser = ["/readyz", "/healthz"])]
    path: String,
    /// Time for each of connecting, sending and receiving
    #[arg(long, value_name = "TIME", default_value = "2 s", value_parser = units::duration)]
    timeout: Duration,
}

/// Exit 0: yes. Exit 1: it answered otherwise. Exit 2: it did not answer.
pub fn run(flags: Flags) -> CommandResult {
    let answer = ask(&flags).map_err(|error| {
        Failure::new(error)
            .context(format!("no answer from {}, {}", flags.address, flags.path))
            .hint("Is the server running, and does it listen on this address?")
    })?;
    let status = answer.split(' ').nth(1).unwrap_or("");
    if status == "200" {
        return Ok(ExitCode::SUCCESS);
    }
    let _ = writeln!(std::io::stderr(), "{}, {} answered {status}", flags.address, flags.path);
    Ok(ExitCode::from(1))
}

fn ask(flags: &Flags) -> std::io::Result<String> {
    let timeout = flags.timeout.max(Duration::from_millis(1));
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
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 ") {
        Ok(answer)
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "what answered does not speak HTTP/1.1"))
    }
}
