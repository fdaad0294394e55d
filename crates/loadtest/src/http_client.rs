//! HTTP/1.1 client with one kept connection. Each request is answered, refused before it was sent, or lost.
//!
//! A general client hides what is measured here: it retries, and it does not report whether the request was sent.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A client that opens a connection when it needs one.
pub struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    timeout: Duration,
    key: Option<&'static str>,
    connection: Option<BufReader<TcpStream>>,
}

/// What a check needs of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub has_retry_after: bool,
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// No connection: nothing was sent.
    NotConnected(String),
    /// The request, or a part of it, was sent.
    Lost(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(reason) => write!(f, "not connected: {reason}"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
        }
    }
}

const HEADERS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 64 << 10;

impl Client {
    /// `timeout` applies to connecting and to each read and write.
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, source: None, timeout, key: None, connection: None }
    }

    /// The same from another address of this machine. The server tells clients apart by their addresses.
    pub fn from_source(address: SocketAddr, source: IpAddr, timeout: Duration) -> Self {
        Self { source: Some(source), ..Self::new(address, timeout) }
    }

    /// Sends this API key with every POST request.
    pub fn with_key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    pub fn get(&mut self, path: &str) -> Result<Response, RequestError> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes(), Duration::ZERO)
    }

    pub fn post(&mut self, path: &str, json: &[u8]) -> Result<Response, RequestError> {
        self.post_with(path, &self.key.map_or(String::new(), authorization), json)
    }

    /// `headers` are whole lines.
    pub fn post_with(&mut self, path: &str, headers: &str, json: &[u8]) -> Result<Response, RequestError> {
        self.send(&post_request_with(path, headers, json), Duration::ZERO)
    }

    /// Reads the response late, as a slow client does.
    pub fn post_and_wait(
        &mut self,
        path: &str,
        json: &[u8],
        read_after: Duration,
    ) -> Result<Response, RequestError> {
        self.send(&post_request(path, json), read_after)
    }

    fn send(&mut self, request: &[u8], read_after: Duration) -> Result<Response, RequestError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| RequestError::NotConnected(error.to_string()))?,
        };
        // A server may answer and close before it has read the whole body; that response counts.
        let written = connection.get_mut().write_all(request);
        std::thread::sleep(read_after);
        let (response, is_reusable) = read_response(&mut connection).map_err(|error| {
            // A failed write is the cause of the failed read.
            RequestError::Lost(written.err().unwrap_or(error).to_string())
        })?;
        self.connection = is_reusable.then_some(connection);
        Ok(response)
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        connect(self.address, self.source, self.timeout).map(BufReader::new)
    }
}

/// Connects from a source address. `timeout` applies to connecting and to each read and write.
pub fn connect(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// The bytes of a POST request with a JSON body.
pub fn post_request(path: &str, json: &[u8]) -> Vec<u8> {
    post_request_with(path, "", json)
}

/// The header of an API key, as a whole line.
pub fn authorization(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// `headers` are whole lines.
pub fn post_request_with(path: &str, headers: &str, json: &[u8]) -> Vec<u8> {
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), json].concat()
}

fn invalid(text: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, text.to_string())
}

/// The response, and whether the connection can carry another request.
fn read_response(connection: &mut impl BufRead) -> std::io::Result<(Response, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let before = head.len();
        connection.by_ref().take(HEAD_BYTES_MAX as u64).read_until(b'\n', &mut head)?;
        if head.len() == before {
            return Err(invalid("the connection ended before the head of a response"));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(invalid("the head of the response is too long"));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&head).map_err(|error| invalid(&format!("the head of the response: {error}")))?;
    let header = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length: usize = header("content-length")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("the response has no content-length"))?;
    let is_reusable = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let status = response.code.unwrap_or(0);
    let has_retry_after = header("retry-after").is_some();
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((Response { status, has_retry_after, body }, is_reusable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> std::io::Result<(Response, bool)> {
        read_response(&mut bytes)
    }

    #[test]
    fn a_response_is_complete_or_an_error() {
        let complete = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nab";
        let response = Response { status: 429, has_retry_after: true, body: b"ab".to_vec() };
        assert_eq!(read(complete).unwrap(), (response, true));
        for length in 0..complete.len() {
            assert!(read(&complete[..length]).is_err(), "{length} bytes passed for a response");
        }
        let (_, is_reusable) =
            read(b"HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert!(!is_reusable);
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read(b"garbage\r\n\r\n").is_err());
    }

    #[test]
    fn an_unreachable_server_is_not_a_lost_request() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let response = Client::new(address, Duration::from_secs(5)).get("/");
        assert!(matches!(response, Err(RequestError::NotConnected(_))), "{response:?}");
    }

    #[test]
    fn a_connection_that_ends_without_a_response_is_a_lost_request() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
        });
        let response = Client::new(address, Duration::from_secs(5)).get("/");
        server.join().unwrap();
        assert!(matches!(response, Err(RequestError::Lost(_))), "{response:?}");
    }
}
