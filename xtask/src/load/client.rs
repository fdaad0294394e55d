//! One HTTP/1.1 client on one kept connection: knows of each request whether it was answered, never let in, or lost.
//!
//! A general client hides exactly what is measured here: it retries, and it does not say whether the request had left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Client {
    address: SocketAddr,
    time_max: Duration,
    connection: Option<BufReader<TcpStream>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: bool,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// No connection: the server had not taken anything on.
    NotConnected(String),
    /// The request, or a part of it, had left.
    Lost(String),
}

const HEADERS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 64 << 10;

impl Client {
    pub fn new(address: SocketAddr, time_max: Duration) -> Self {
        Self { address, time_max, connection: None }
    }

    pub fn get(&mut self, path: &str) -> Result<Answer, Missed> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: loopback\r\n\r\n").as_bytes())
    }

    pub fn post(&mut self, path: &str, json: &[u8]) -> Result<Answer, Missed> {
        self.send(&post(path, json))
    }

    pub fn send(&mut self, request: &[u8]) -> Result<Answer, Missed> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| Missed::NotConnected(error.to_string()))?,
        };
        // A server may answer and close before it has read all of a body; then its answer still counts.
        let written = connection.get_mut().write_all(request);
        let (answer, keep) =
            read_answer(&mut connection).map_err(|error| match written.and(Err::<(), _>(error)) {
                Err(error) => Missed::Lost(error.to_string()),
                Ok(()) => Missed::Lost("no answer".into()),
            })?;
        self.connection = keep.then_some(connection);
        Ok(answer)
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.time_max)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.time_max))?;
        stream.set_write_timeout(Some(self.time_max))?;
        Ok(BufReader::new(stream))
    }
}

pub fn post(path: &str, json: &[u8]) -> Vec<u8> {
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: loopback\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), json].concat()
}

fn invalid(text: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, text.to_string())
}

/// The answer, and whether the connection may be used again.
fn read_answer(connection: &mut impl BufRead) -> std::io::Result<(Answer, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let before = head.len();
        connection.by_ref().take(HEAD_BYTES_MAX as u64).read_until(b'\n', &mut head)?;
        if head.len() == before {
            return Err(invalid("the connection ended before an answer"));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(invalid("the head of the answer does not end"));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&head).map_err(|error| invalid(&format!("the head of the answer: {error}")))?;
    let header = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length: usize = header("content-length")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("the answer has no content-length"))?;
    let keep = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let answer = Answer {
        status: response.code.unwrap_or(0),
        retry_after: header("retry-after").is_some(),
        body: Vec::new(),
    };
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((Answer { body, ..answer }, keep))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> std::io::Result<(Answer, bool)> {
        read_answer(&mut bytes)
    }

    #[test]
    fn an_answer_is_whole_or_an_error() {
        let whole = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nab";
        let answer = Answer { status: 429, retry_after: true, body: b"ab".to_vec() };
        assert_eq!(read(whole).unwrap(), (answer, true));
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes passed for an answer");
        }
        let (_, keep) = read(b"HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert!(!keep);
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read(b"garbage\r\n\r\n").is_err());
    }

    #[test]
    fn a_server_that_is_not_there_is_not_a_lost_request() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answer = Client::new(address, Duration::from_secs(5)).get("/");
        assert!(matches!(answer, Err(Missed::NotConnected(_))), "{answer:?}");
    }

    #[test]
    fn a_connection_that_ends_without_an_answer_is_a_lost_request() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
        });
        let answer = Client::new(address, Duration::from_secs(5)).get("/");
        server.join().unwrap();
        assert!(matches!(answer, Err(Missed::Lost(_))), "{answer:?}");
    }
}
