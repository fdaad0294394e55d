//! HTTP/1.1 by hand over a socket: what the tests send is exactly what they say, also when it is wrong.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
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

/// Far above what any test waits for.
const TIME_MAX: Duration = Duration::from_secs(60);

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIME_MAX)).unwrap();
    stream
}

pub fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str, body: &[u8]) {
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// One answer; the connection stays as it is.
pub fn receive(stream: &mut TcpStream) -> Option<Answer> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).ok()?;
    Some(answer)
}

pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address);
    send(&mut stream, method, path, headers, body);
    receive(&mut stream).expect("an answer")
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, "", b"")
}

pub const JSON: &str = "content-type: application/json\r\n";

pub fn embed(address: SocketAddr, body: &str) -> Answer {
    request(address, "POST", "/v1/embeddings", JSON, body.as_bytes())
}

pub fn embed_within(address: SocketAddr, ms: u32, body: &str) -> Answer {
    let headers = format!("{JSON}x-request-timeout-ms: {ms}\r\n");
    request(address, "POST", "/v1/embeddings", &headers, body.as_bytes())
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    request(address, "POST", path, JSON, body.as_bytes())
}

#[track_caller]
pub fn check_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{}", answer.text());
    assert!(answer.header("x-request-id").is_some());
}
