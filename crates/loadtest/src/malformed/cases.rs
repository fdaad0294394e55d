//! Requests that are well-formed HTTP and violate the OpenAPI document: first every field of every operation with every value,
//! then random combinations.

use serde_json::Value;

use crate::malformed::document::{Document, Operation};
use crate::malformed::values;
use crate::rng::Rng;

/// One request and what the document says about it.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is wrong, in words.
    pub name: String,
    /// Index of the operation in the document.
    pub operation: usize,
    pub method: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// The allowed responses, besides those of an overloaded server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200
    Accepted,
    /// A documented status from 400 to 499.
    Rejected,
    /// 404, or 405 from a path with a parameter.
    NoRoute,
    /// This status.
    Status(u16),
    /// 200 or a documented status from 400 to 499: the document does not decide.
    Either,
}

const JSON: &str = "application/json";
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post"];
const MEDIA_TYPES: [(&str, Expected); 9] = [
    ("text/plain", Expected::Status(415)),
    ("application/x-www-form-urlencoded", Expected::Status(415)),
    ("multipart/form-data; boundary=x", Expected::Status(415)),
    ("application/jsonx", Expected::Status(415)),
    ("application", Expected::Status(415)),
    (";", Expected::Status(415)),
    ("application/json; charset=utf-8", Expected::Accepted),
    ("Application/JSON", Expected::Accepted),
    ("application/json; charset=\"", Expected::Either),
];
const HEADER_VALUES: [&str; 10] =
    ["", "0", "-1", "1.5", "abc", "4294967296", "99999999999999999999", "1, 2", "0x10", "\u{e9}"];
const PATHS: [&str; 8] = [
    "/%",
    "/%ff%00",
    "//",
    "/../",
    "/v1/models/%2e%2e%2f",
    "/v1/unknown",
    "/V1/EMBEDDINGS",
    "/v1/embeddings/",
];

/// `count` requests; the same for the same document and seed.
pub fn generate(document: &Document, seed: u64, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> =
        (0..document.operations.len()).flat_map(|operation| systematic(document, operation)).collect();
    // The first `count` of them are a sample when there are more.
    let mut rng = Rng::new(seed, u64::MAX);
    for index in (1..cases.len()).rev() {
        cases.swap(index, rng.below(index + 1));
    }
    cases.truncate(count);
    let with_body: Vec<usize> = (0..document.operations.len())
        .filter(|operation| !document.operations[*operation].bodies.is_empty())
        .collect();
    for index in cases.len()..count {
        let mut rng = Rng::new(seed, index as u64);
        let operation = *rng.pick(&with_body);
        cases.push(random(document, operation, &mut rng));
    }
    cases
}

/// Every single violation.
fn systematic(document: &Document, index: usize) -> Vec<Case> {
    let operation = &document.operations[index];
    let schemas = &document.schemas;
    let mut cases = protocol(document, index);
    for body in &operation.bodies {
        let sample = schemas.sample(body);
        cases.push(of_body(document, index, "a valid body", &sample));
        let mut unknown = sample.clone();
        unknown["unknown_field"] = 1.into();
        cases.push(of_body(document, index, "an unknown field", &unknown));
        for (field, schema) in body["properties"].as_object().into_iter().flatten() {
            let mut missing = sample.clone();
            missing.as_object_mut().and_then(|fields| fields.remove(field));
            cases.push(of_body(document, index, &format!("`{field}` missing"), &missing));
            for (what, value) in values::of_field(schemas, schema) {
                let mut changed = sample.clone();
                changed[field.as_str()] = value;
                cases.push(of_body(document, index, &format!("`{field}`: {what}"), &changed));
            }
        }
    }
    for root in [Value::Null, true.into(), 1.into(), "text".into(), Value::Array(Vec::new())] {
        if !operation.bodies.is_empty() {
            cases.push(of_body(document, index, "a body that is not an object", &root));
        }
    }
    cases
}

/// Violations of method, media type, headers and path.
fn protocol(document: &Document, index: usize) -> Vec<Case> {
    let operation = &document.operations[index];
    let body = operation.bodies.first().map(|body| document.schemas.sample(body).to_string().into_bytes());
    let case = |name: String, request: Request, expected| Case {
        name,
        operation: index,
        method: request.method.to_string(),
        bytes: request.bytes(body.as_deref()),
        expected,
    };
    let plain = Request { method: &operation.method, path: &operation.path, media_type: JSON, header: None };
    let mut cases = Vec::new();
    for method in METHODS {
        let expected = match method {
            own if operation.methods.iter().any(|method| method == own) => Expected::Either,
            // HTTP defines it for every path with GET.
            "HEAD" if operation.methods.iter().any(|method| method == "GET") => Expected::Either,
            _ => Expected::Status(405),
        };
        cases.push(case(format!("method {method}"), Request { method, ..plain }, expected));
    }
    for (name, schema) in &operation.headers {
        for value in HEADER_VALUES {
            let number = serde_json::from_str::<Value>(value).unwrap_or_else(|_| value.into());
            let is_valid = document.schemas.is_valid(schema, &number)
                || document.schemas.is_valid(schema, &Value::from(value));
            let expected = if is_valid { Expected::Accepted } else { Expected::Rejected };
            let header = Some((name.as_str(), value));
            cases.push(case(format!("header {name}: {value:?}"), Request { header, ..plain }, expected));
        }
    }
    for path in PATHS {
        let path = format!("{path}{}", "x".repeat(index));
        let expected = Expected::NoRoute;
        cases.push(case(format!("path {path}"), Request { path: &path, ..plain }, expected));
    }
    for query in ["?", "?a=b", "?%zz", "?a[]=\u{e9}&&=", "?../../etc/passwd"] {
        let path = format!("{}{query}", operation.path);
        cases.push(case(format!("query {query}"), Request { path: &path, ..plain }, Expected::Accepted));
    }
    if body.is_some() {
        for (media_type, expected) in MEDIA_TYPES {
            let name = format!("media type {media_type:?}");
            cases.push(case(name, Request { media_type, ..plain }, expected));
        }
        for header in [
            ("content-encoding", "gzip"),
            ("accept", "image/png"),
            ("accept-encoding", ";q=x"),
            ("range", "bytes=0-0"),
            ("expect", "200-ok"),
        ] {
            let name = format!("header {}: {}", header.0, header.1);
            cases.push(case(name, Request { header: Some(header), ..plain }, Expected::Either));
        }
    }
    cases
}

/// Several violations at once, or text that is not JSON.
fn random(document: &Document, index: usize, rng: &mut Rng) -> Case {
    let operation = &document.operations[index];
    let body = rng.pick(&operation.bodies);
    let fields: Vec<(&String, &Value)> = body["properties"].as_object().into_iter().flatten().collect();
    let mut value = document.schemas.sample(body);
    let mut names = Vec::new();
    for _ in 0..=rng.below(3) {
        let (field, schema) = rng.pick(&fields);
        let (what, new) = rng.pick(&values::of_field(&document.schemas, schema)).clone();
        names.push(format!("`{field}`: {what}"));
        value[field.as_str()] = new;
    }
    if rng.one_in(2) {
        return of_body(document, index, &names.join(", "), &value);
    }
    let (name, expected, text) = not_json(rng, body, &document.schemas.sample(body), &value);
    of_text(operation, index, name, expected, &text)
}

/// A body as text that breaks the rules of JSON or of its encoding.
fn not_json(rng: &mut Rng, body: &Value, sample: &Value, changed: &Value) -> (String, Expected, Vec<u8>) {
    let text = changed.to_string().into_bytes();
    let fields: Vec<&String> =
        body["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    let field = *rng.pick(&fields);
    match rng.below(10) {
        0 => {
            let length = rng.below(text.len());
            ("a truncated body".into(), Expected::Rejected, text[..length].to_vec())
        }
        1 => {
            let pairs =
                format!("{{\"{field}\":{},\"{field}\":{}}}", sample[field.as_str()], changed[field.as_str()]);
            (format!("`{field}` twice"), Expected::Either, pairs.into_bytes())
        }
        2 => ("bytes after the body".into(), Expected::Rejected, [&text[..], b"{}"].concat()),
        3 => ("a byte order mark".into(), Expected::Rejected, ["\u{feff}".as_bytes(), &text].concat()),
        4 => {
            let units = String::from_utf8_lossy(&text).encode_utf16().flat_map(u16::to_le_bytes).collect();
            ("UTF-16".into(), Expected::Rejected, units)
        }
        5 => ("white space".into(), Expected::Rejected, b" \t\r\n".repeat(rng.below(200))),
        6 => {
            let mut text = sample.to_string().into_bytes();
            let place = rng.below(text.len());
            text[place] = rng.below(256) as u8;
            ("a changed byte".into(), Expected::Either, text)
        }
        _ => {
            let (what, is_rejected, raw) = values::raw(rng);
            let mut other = sample.clone();
            other.as_object_mut().and_then(|fields| fields.remove(field));
            let mut text = other.to_string().into_bytes();
            text.pop();
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend(format!("\"{field}\":").bytes());
            text.extend(raw);
            text.push(b'}');
            let expected = if is_rejected { Expected::Rejected } else { Expected::Either };
            (format!("`{field}`: {what}"), expected, text)
        }
    }
}

/// The schema decides what is expected.
fn of_body(document: &Document, index: usize, name: &str, value: &Value) -> Case {
    let operation = &document.operations[index];
    let is_valid = operation.bodies.iter().any(|body| document.schemas.is_valid(body, value));
    let expected = if is_valid { Expected::Accepted } else { Expected::Rejected };
    of_text(operation, index, name.into(), expected, value.to_string().as_bytes())
}

fn of_text(operation: &Operation, index: usize, name: String, expected: Expected, text: &[u8]) -> Case {
    let request =
        Request { method: &operation.method, path: &operation.path, media_type: JSON, header: None };
    let bytes = request.bytes(Some(text));
    Case { name, operation: index, method: operation.method.clone(), bytes, expected }
}

#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    media_type: &'a str,
    header: Option<(&'a str, &'a str)>,
}

impl Request<'_> {
    fn bytes(&self, body: Option<&[u8]>) -> Vec<u8> {
        let Self { method, path, media_type, header } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        if let Some((name, value)) = header {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("content-type: {media_type}\r\ncontent-length: {}\r\n", body.len());
        }
        [head.as_bytes(), b"\r\n", body.unwrap_or_default()].concat()
    }
}
