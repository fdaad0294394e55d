//! Bytes to a server and the responses back, with nothing repaired in between.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    /// Received and not yet parsed.
    received: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closed it.
    Closed,
    /// The server still holds it.
    Open,
}

/// Longer than every time limit of the server under test.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After so long without a byte, the client says that it sends nothing more. This decides how much is exercised, not what is a
/// violation.
const QUIET: Duration = Duration::from_millis(60);
const HEADERS_MAX: usize = 64;

impl Wire {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a request and returns its response, and whether the connection can carry another request.
    pub fn exchange(&mut self, request: &[u8], is_head: bool) -> Result<(Reply, bool), String> {
        // The server may answer and close before it has read the whole request; that response counts.
        let written = self.stream.write_all(request);
        self.stream.set_read_timeout(Some(TIMEOUT)).map_err(|error| error.to_string())?;
        loop {
            if let Some((reply, used)) = parse(&self.received, Body::of_one(is_head))? {
                self.received.drain(..used);
                // An interim response; the final one follows.
                if reply.status >= 200 {
                    let is_reusable = !reply.closes() && written.is_ok() && self.received.is_empty();
                    return Ok((reply, is_reusable));
                }
            } else if self.read().map_err(|error| format!("no response: {error}"))? == 0 {
                return Err(format!("closed without a response, after {} bytes of one", self.received.len()));
            }
        }
    }

    /// Sends bytes in pieces of this size and returns what the server answers until it closes.
    pub fn all(mut self, bytes: &[u8], piece: usize) -> Result<(Vec<Reply>, End), String> {
        for piece in bytes.chunks(piece.max(1)) {
            // The server may close first.
            if self.stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut is_sending = true;
        self.stream.set_read_timeout(Some(QUIET)).map_err(|error| error.to_string())?;
        let end = loop {
            match self.read() {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if !is_sending {
                        break End::Open;
                    }
                    is_sending = false;
                    let _ = self.stream.shutdown(Shutdown::Write);
                    self.stream.set_read_timeout(Some(TIMEOUT)).map_err(|error| error.to_string())?;
                }
                // A reset: the server closed while bytes were on their way to it.
                Err(_) => break End::Closed,
            }
        };
        let mut replies = Vec::new();
        let mut rest = &self.received[..];
        while !rest.is_empty() {
            match parse(rest, Body::Unknown)? {
                Some((reply, used)) => {
                    rest = &rest[used..];
                    replies.push(reply);
                }
                None => return Err(format!("{} bytes of an incomplete response", rest.len())),
            }
        }
        replies.retain(|reply| reply.status >= 200);
        Ok((replies, end))
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 16 << 10];
        let count = self.stream.read(&mut bytes)?;
        self.received.extend(&bytes[..count]);
        Ok(count)
    }
}

/// Whether a response has the body that its length announces; a response to HEAD has none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Present,
    Absent,
    /// The method of the request is unknown: without a body if a response or nothing follows the head.
    Unknown,
}

impl Body {
    fn of_one(is_head: bool) -> Self {
        if is_head { Self::Absent } else { Self::Present }
    }
}

/// The first response and its length; `None` when it is incomplete.
fn parse(bytes: &[u8], body: Body) -> Result<Option<(Reply, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
            return Err(format!("a response that is not HTTP ({error}): {begin:?}"));
        }
    };
    let status = head.code.unwrap_or(0);
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let mut lengths = headers.iter().filter(|(name, _)| name == "content-length");
    let length: usize = match (lengths.next(), lengths.next()) {
        _ if status < 200 || status == 204 || status == 304 => 0,
        (Some((_, length)), None) => length.parse().map_err(|_| format!("content-length {length:?}"))?,
        (None, _) => return Err(format!("a response {status} without content-length")),
        (Some(_), Some(_)) => return Err(format!("a response {status} with two content-length")),
    };
    let rest = &bytes[head_length..];
    let is_absent = match body {
        Body::Present => false,
        Body::Absent => true,
        Body::Unknown => rest.is_empty() || rest.starts_with(b"HTTP/1."),
    };
    let length = if is_absent { 0 } else { length };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((Reply { status, headers, body: body.to_vec() }, head_length + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_or_incomplete_or_an_error() {
        let bytes = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 ";
        let (reply, used) = parse(bytes, Body::Present).unwrap().unwrap();
        assert_eq!((reply.status, reply.body.as_slice(), used), (400, b"ab".as_slice(), bytes.len() - 9));
        assert_eq!(parse(&bytes[..used - 1], Body::Present), Ok(None));
        let (reply, used) = parse(&bytes[..used - 2], Body::Unknown).unwrap().unwrap();
        assert_eq!((reply.body.len(), used), (0, used));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n", Body::Present).is_err());
        assert!(
            parse(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", Body::Present)
                .is_err()
        );
        assert!(parse(b"garbage\r\n\r\n", Body::Present).is_err());
    }
}
