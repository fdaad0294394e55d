//! A response compared with the OpenAPI document.

use crate::malformed::cases::{Case, Expected};
use crate::malformed::document::Document;
use crate::malformed::wire::{End, Reply};

/// Statuses of a server that has too much to do. They need `Retry-After`, except for the time limit.
const OVERLOADED: [u16; 3] = [429, 503, 504];
/// Statuses that the HTTP parser answers without a body, before a request exists. docs/server.md has them.
const OF_PARSER: [u16; 4] = [400, 408, 414, 431];

/// What is wrong with the response to a well-formed request; `None` when nothing is.
pub fn of_case(document: &Document, case: &Case, reply: &Reply) -> Option<String> {
    let status = reply.status;
    let operation = &document.operations[case.operation];
    if let Some(problem) = of_any(document, reply, case.method == "HEAD") {
        return Some(problem);
    }
    if OVERLOADED.contains(&status) {
        return None;
    }
    let as_expected = match case.expected {
        Expected::Accepted => status == 200,
        Expected::Rejected => (400..500).contains(&status),
        Expected::Status(expected) => status == expected,
        Expected::Either => (400..500).contains(&status) || status == 200,
    };
    // Other paths and other methods are documented for the server, not for the operation.
    let is_of_operation =
        !matches!(case.expected, Expected::Status(404 | 405)) && case.method == operation.method;
    if !as_expected {
        return Some(format!("{status} instead of {:?}", case.expected));
    }
    if is_of_operation && !document.is_documented(operation, status, &reply.body) {
        return Some(format!("{status} with a status or a body that the operation does not document"));
    }
    (status == 405 && reply.header("allow").is_none()).then(|| "405 without `Allow`".into())
}

/// What is wrong with the responses to bytes that may be no request.
pub fn of_bytes(document: &Document, replies: &[Reply], end: End) -> Option<String> {
    if end == End::Open {
        return Some("the server holds the connection after every time limit".into());
    }
    let documented = document.statuses();
    for (index, reply) in replies.iter().enumerate() {
        let is_last = index + 1 == replies.len();
        let is_of_parser = OF_PARSER.contains(&reply.status) && reply.body.is_empty() && is_last;
        let is_known = documented.contains(&reply.status) || [404, 405].contains(&reply.status);
        if !is_of_parser && !is_known {
            return Some(format!("the undocumented status {}", reply.status));
        }
        // A response to HEAD has no body; the method is unknown here.
        if !is_of_parser && let Some(problem) = of_any(document, reply, reply.body.is_empty()) {
            return Some(problem);
        }
    }
    None
}

/// What holds for every response of a handler.
fn of_any(document: &Document, reply: &Reply, has_no_body: bool) -> Option<String> {
    let status = reply.status;
    if reply.header("x-request-id").is_none_or(str::is_empty) {
        return Some(format!("{status} without x-request-id"));
    }
    if status == 500 {
        return Some(format!("500: {}", String::from_utf8_lossy(&reply.body)));
    }
    if [429, 503].contains(&status) && reply.header("retry-after").is_none() {
        return Some(format!("{status} without `Retry-After`"));
    }
    if status >= 400 && !has_no_body && !document.is_error(&reply.body) {
        let body: String = String::from_utf8_lossy(&reply.body).chars().take(80).collect();
        return Some(format!("{status} without the envelope of errors: {body:?}"));
    }
    None
}
