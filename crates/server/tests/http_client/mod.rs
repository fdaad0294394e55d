//! A minimal HTTP/1.1 client that sends exactly the given bytes, also invalid ones.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn error_code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{json}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Time limit of a read, far above the duration of any test.
const TIME_MAX: Duration = Duration::from_mins(1);

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIME_MAX)).unwrap();
    stream
}

pub fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// Reads one response; the connection stays open.
pub fn receive(stream: &mut TcpStream) -> Option<Response> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response { status, head, body: Vec::new() };
    let length = response.header("content-length").map_or(0, |text| text.parse().unwrap());
    response.body = vec![0; length];
    stream.read_exact(&mut response.body).ok()?;
    Some(response)
}

pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Response {
    let mut stream = connect(address);
    send(&mut stream, method, path, headers, body);
    receive(&mut stream).expect("an response")
}

pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, "", b"")
}

pub const JSON: &str = "content-type: application/json\r\n";

pub fn embed(address: SocketAddr, body: &str) -> Response {
    request(address, "POST", "/v1/embeddings", JSON, body.as_bytes())
}

pub fn embed_within(address: SocketAddr, ms: u32, body: &str) -> Response {
    let headers = format!("{JSON}x-request-timeout-ms: {ms}\r\n");
    request(address, "POST", "/v1/embeddings", &headers, body.as_bytes())
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Response {
    request(address, "POST", path, JSON, body.as_bytes())
}

#[track_caller]
pub fn check_error(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.error_code().as_str()), (status, code), "{}", response.text());
    assert!(response.header("x-request-id").is_some());
}
