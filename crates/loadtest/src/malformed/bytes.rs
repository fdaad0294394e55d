//! Bytes that are almost HTTP: requests with two readings, and random changes of valid requests.

use crate::malformed::document::Document;
use crate::rng::Rng;

/// Bytes for one connection.
#[derive(Debug, Clone)]
pub struct Shot {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Bytes per write.
    pub piece: usize,
    /// The bytes contain [`HIDDEN`] in a place where an answer to it means that a request was smuggled.
    pub hides: bool,
}

/// The path of a request inside of another one.
pub const HIDDEN: &str = "/smuggled";
const LAST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const TOKENS: [&[u8]; 16] = [
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b":",
    b"\x7f",
    b"\xff",
    b"%00",
    b"\x0b",
    b"0",
    b"-1",
    b";",
    b",",
];
const LINES: [&str; 34] = [
    "transfer-encoding: chunked",
    "transfer-encoding: xchunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding:",
    "content-length: 0",
    "content-length: 1",
    "content-length: -1",
    "content-length: +5",
    "content-length: 0x5",
    "content-length: 5, 5",
    "content-length: 99999999999999999999",
    "content-length: 9223372036854775807",
    "content-length:",
    "host: a",
    "host:",
    "host: a:b@c/d",
    "expect: 100-continue",
    "expect: x",
    "upgrade: websocket\r\nconnection: upgrade",
    "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk",
    "connection: close",
    "connection: keep-alive, content-length",
    "content-type: text/plain",
    "content-encoding: gzip",
    "range: bytes=0-",
    " folded",
    "\tfolded",
    ": no name",
    "no colon",
    "a b: space in the name",
    "name : space before the colon",
    "x-request-id: \x01",
    "x-request-timeout-ms: 1",
    "te: trailers\r\ntrailer: content-length",
];
const REQUEST_LINES: [&str; 14] = [
    "GET / HTTP/1.0",
    "GET / HTTP/0.9",
    "GET / HTTP/2.0",
    "GET / HTTP/1.1 ",
    "GET /",
    "GET  / HTTP/1.1",
    "PRI * HTTP/2.0",
    "OPTIONS * HTTP/1.1",
    "CONNECT localhost:80 HTTP/1.1",
    "GET http://other/ HTTP/1.1",
    "GET //other/ HTTP/1.1",
    "HEAD /healthz HTTP/1.1",
    "GET /\u{0} HTTP/1.1",
    "get / http/1.1",
];

/// The requests with two readings, in full.
pub fn shapes() -> Vec<Shot> {
    let hidden = format!("GET {HIDDEN} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let length = hidden.len();
    let post = |headers: &str, body: &str| {
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        format!("{head}{headers}\r\n\r\n{body}")
    };
    let mut shapes = Vec::new();
    // A reader that ignores the length answers the hidden request.
    for value in [
        format!("{length}"),
        format!("{length}, {length}"),
        format!("+{length}"),
        format!("0{length}"),
        format!(" {length}\t"),
        format!("{length}\r\ncontent-length: {length}"),
    ] {
        shapes
            .push((format!("content-length {value:?}"), post(&format!("content-length: {value}"), &hidden)));
    }
    for name in [
        "content-length ",
        "content-length\t",
        "content\0-length",
        "\x0bcontent-length",
        "\u{a0}content-length",
    ] {
        shapes.push((format!("header {name:?}"), post(&format!("{name}: {length}"), &hidden)));
    }
    shapes.push((
        "two content-length".into(),
        post(&format!("content-length: 0\r\ncontent-length: {length}"), &hidden),
    ));
    shapes.push((
        "two content-length, the long one first".into(),
        post(&format!("content-length: {length}\r\ncontent-length: 0"), &hidden),
    ));
    // A reader that prefers the other header ends the body before the hidden request.
    let chunks = format!("0\r\n\r\n{hidden}");
    for coding in [
        "transfer-encoding: chunked",
        "transfer-encoding: Chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding : chunked",
        "transfer-encoding:\tchunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\0",
        "transfer-encoding: chunked;x=y",
        "transfer-encoding: ,chunked",
    ] {
        let both = format!("content-length: {}\r\n{coding}", chunks.len());
        shapes.push((format!("content-length and {coding:?}"), post(&both, &chunks)));
        let both = format!("{coding}\r\ncontent-length: {}", chunks.len());
        shapes.push((format!("{coding:?} and content-length"), post(&both, &chunks)));
    }
    // A reader that accepts the size of the chunk differently finds the hidden request in its data, or after it.
    for size in [
        format!("{length:x};a=\"\r\n"),
        format!("{length:x};\n"),
        format!("0x{length:x}"),
        format!("+{length:x}"),
        format!(" {length:x}"),
        format!("{length:x} "),
        format!("{length:x};{}", "a".repeat(20_000)),
        format!("-{length:x}"),
        format!("{length:x}\n"),
        format!("10000000000000000{length:x}"),
        format!("{length:x},0"),
    ] {
        let body = format!("{size}\r\n{hidden}\r\n0\r\n\r\n");
        let name: String = format!("chunk size {size:?}").chars().take(60).collect();
        shapes.push((name, post("transfer-encoding: chunked", &body)));
    }
    let bare = post(&format!("x: y\ncontent-length: {length}"), &hidden);
    shapes.push(("a bare line feed in the head".into(), bare));
    shapes.push((
        "a bare carriage return in the head".into(),
        post(&format!("x: y\rcontent-length: {length}"), &hidden),
    ));
    shapes.push((
        "a trailer with a length".into(),
        post("transfer-encoding: chunked", &format!("0\r\ncontent-length: {length}\r\n\r\n")),
    ));
    let shapes = shapes.into_iter().map(|(name, text)| {
        let bytes = text.into_bytes();
        Shot { name, piece: bytes.len(), bytes, hides: true }
    });
    shapes.collect()
}

/// Random changes of a valid request.
pub fn random(document: &Document, rng: &mut Rng) -> Shot {
    let mut bytes = valid(document, rng);
    let mut names = Vec::new();
    for _ in 0..=rng.below(4) {
        names.push(change(document, rng, &mut bytes));
    }
    if rng.one_in(2) {
        bytes.extend(LAST);
        names.push("a valid request after it");
    }
    let piece = if rng.one_in(4) { 1 + rng.below(200) } else { bytes.len() };
    Shot { name: names.join(", "), bytes, piece, hides: false }
}

fn valid(document: &Document, rng: &mut Rng) -> Vec<u8> {
    let operation = rng.pick(&document.operations);
    let mut text = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", operation.method, operation.path);
    let Some(body) = operation.bodies.first() else { return (text + "\r\n").into_bytes() };
    let body = document.schemas.sample(body).to_string();
    text += "content-type: application/json\r\n";
    if rng.one_in(3) {
        let (first, rest) = body.split_at(rng.below(body.len()).max(1));
        let extension = if rng.one_in(2) { ";name=\"value\"" } else { "" };
        text += &format!(
            "transfer-encoding: chunked\r\n\r\n{:x}{extension}\r\n{first}\r\n{:X}\r\n{rest}\r\n0\r\n\r\n",
            first.len(),
            rest.len()
        );
    } else {
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
    }
    text.into_bytes()
}

fn change(document: &Document, rng: &mut Rng, bytes: &mut Vec<u8>) -> &'static str {
    let place = rng.below(bytes.len());
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let insert = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| drop(bytes.splice(at..at, new.iter().copied()));
    match rng.below(13) {
        0 if !bytes.is_empty() => {
            bytes[place] = rng.below(256) as u8;
            "a changed byte"
        }
        1 if !bytes.is_empty() => {
            bytes[place] ^= 1 << rng.below(8);
            "a changed bit"
        }
        2 => {
            let end = (place + 1 + rng.below(20)).min(bytes.len());
            bytes.drain(place..end);
            "removed bytes"
        }
        3 => {
            let end = (place + 1 + rng.below(60)).min(bytes.len());
            let copy = bytes[place..end].to_vec();
            insert(bytes, place, &copy);
            "repeated bytes"
        }
        4 => {
            insert(bytes, place, rng.pick::<&[u8]>(&TOKENS));
            "an inserted token"
        }
        5 | 6 => {
            insert(bytes, line, format!("{}\r\n", rng.pick(&LINES)).as_bytes());
            "an inserted header"
        }
        7 => {
            bytes.splice(..line, format!("{}\r\n", rng.pick(&REQUEST_LINES)).bytes());
            "another request line"
        }
        8 => {
            bytes.truncate(place);
            "a truncated request"
        }
        9 => {
            let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
            *bytes = text.into_bytes();
            "bare line feeds"
        }
        10 => {
            let more: Vec<u8> = (0..=rng.below(9)).flat_map(|_| valid(document, rng)).collect();
            bytes.extend(more);
            "pipelined requests"
        }
        11 if rng.one_in(4) => {
            let long = match rng.below(3) {
                0 => format!("x: {}\r\n", "a".repeat(1 << (10 + rng.below(8)))),
                1 => "x: y\r\n".repeat(90 + rng.below(200)),
                _ => format!("{}: x\r\n", "a".repeat(1 << (10 + rng.below(8)))),
            };
            insert(bytes, line, long.as_bytes());
            "large headers"
        }
        _ => {
            let noise: Vec<u8> = (0..=rng.below(64)).map(|_| rng.below(256) as u8).collect();
            insert(bytes, place, &noise);
            "random bytes"
        }
    }
}
