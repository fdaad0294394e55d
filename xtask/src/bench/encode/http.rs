//! An HTTP/1.1 client of one kept connection. It does as little as possible: its time is part of the measurement.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

const TIMEOUT: Duration = Duration::from_mins(2);
/// Responses are read in pieces of this size: larger than the vector of one text in base64.
const READ_BUFFER_BYTES: usize = 256 << 10;

pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::with_capacity(READ_BUFFER_BYTES, stream)))
    }

    /// Sends a request and returns the body of its response. Every status except 200 is an error.
    pub fn post(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.0.get_mut().write_all(request).context("sending a request to inferd")?;
        read_response(&mut self.0)
    }
}

/// The bytes of a POST request with a JSON body.
pub fn post(path: &str, json: &str) -> Vec<u8> {
    let length = json.len();
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length";
    format!("POST {path} HTTP/1.1\r\n{head}: {length}\r\n\r\n{json}").into_bytes()
}

fn read_response(stream: &mut impl BufRead) -> anyhow::Result<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = None;
    loop {
        let mut line = String::new();
        ensure!(
            stream.read_line(&mut line)? > 0,
            "inferd closed the connection before the end of a response"
        );
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((_, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = Some(value.trim().parse().with_context(|| format!("the header `{line}`"))?);
        }
    }
    let mut body = vec![0; length.context("the response of inferd has no content-length")?];
    stream.read_exact(&mut body).context("receiving a response of inferd")?;
    ensure!(status == "200", "inferd answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_complete_or_an_error() {
        let complete = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(read_response(&mut &complete[..]).unwrap(), b"ab");
        for length in 0..complete.len() {
            assert!(read_response(&mut &complete[..length]).is_err(), "{length} bytes passed for a response");
        }
    }

    #[test]
    fn another_status_is_an_error_with_its_body() {
        let busy = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy";
        let error = read_response(&mut &busy[..]).unwrap_err().to_string();
        assert_eq!(error, "inferd answered 429: busy");
    }
}
