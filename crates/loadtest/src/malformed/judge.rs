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
        Expected::NoRoute => matches!(status, 404 | 405),
        Expected::Status(expected) => status == expected,
        Expected::Either => (400..500).contains(&status) || status == 200,
    };
    // Other paths and other methods are documented for the server, not for the operation.
    let is_of_operation = !matches!(case.expected, Expected::NoRoute | Expected::Status(405))
        && case.method == operation.method;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::malformed::cases;

    fn document() -> Document {
        let object = |properties: serde_json::Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
        let content = |name: &str| json!({ "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } } });
        let document = json!({
            "paths": { "/x": { "post": {
                "requestBody": content("Request"),
                "responses": { "200": content("Response"), "400": content("Error"), "415": content("Error") },
            } } },
            "components": { "schemas": {
                "Request": object(json!({ "n": { "type": "integer", "maximum": 9 } }), &["n"]),
                "Response": object(json!({ "ok": { "const": true } }), &["ok"]),
                "Error": object(json!({ "error": { "type": "string" } }), &["error"]),
            } },
        });
        Document::new(&document.to_string().into_bytes()).unwrap()
    }

    fn case(expected: Expected) -> Case {
        Case { name: String::new(), operation: 0, method: "POST".into(), bytes: Vec::new(), expected }
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: vec![("x-request-id".into(), "1".into())], body: body.as_bytes().to_vec() }
    }

    const OK: &str = r#"{"ok":true}"#;
    const ERROR: &str = r#"{"error":"no"}"#;

    #[test]
    fn a_documented_response_has_no_problem() {
        let document = document();
        for (expected, status, body) in [
            (Expected::Accepted, 200, OK),
            (Expected::Rejected, 400, ERROR),
            (Expected::Status(415), 415, ERROR),
            (Expected::Either, 200, OK),
            (Expected::NoRoute, 404, ERROR),
            (Expected::Accepted, 504, ERROR),
        ] {
            assert_eq!(of_case(&document, &case(expected), &reply(status, body)), None, "{status}");
        }
    }

    #[test]
    fn every_other_response_is_a_problem() {
        let document = document();
        for (expected, status, body) in [
            // An invalid request is accepted, and a valid one is rejected.
            (Expected::Rejected, 200, OK),
            (Expected::Accepted, 400, ERROR),
            (Expected::Status(415), 400, ERROR),
            // A body that is not that of the document.
            (Expected::Accepted, 200, r#"{"ok":1}"#),
            (Expected::Rejected, 400, "no"),
            // A status that the operation does not document.
            (Expected::Rejected, 418, ERROR),
            (Expected::Rejected, 500, ERROR),
            (Expected::Accepted, 503, ERROR),
            (Expected::Status(405), 405, ERROR),
        ] {
            assert!(of_case(&document, &case(expected), &reply(status, body)).is_some(), "{status} {body}");
        }
        let without_id = Reply { headers: Vec::new(), ..reply(200, OK) };
        assert!(of_case(&document, &case(Expected::Accepted), &without_id).is_some());
    }

    #[test]
    fn bytes_may_get_a_status_of_the_parser_as_the_last_response() {
        let document = document();
        let of_parser = Reply { headers: Vec::new(), ..reply(400, "") };
        let of = |replies: &[Reply]| of_bytes(&document, replies, End::Closed);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[reply(200, OK), of_parser.clone()]), None);
        assert!(of(&[of_parser, reply(200, OK)]).is_some());
        assert!(of(&[reply(500, ERROR)]).is_some());
        assert!(of(&[reply(418, ERROR)]).is_some());
        assert!(of_bytes(&document, &[], End::Open).is_some());
    }

    #[test]
    fn requests_depend_on_the_seed_alone_and_most_are_invalid() {
        let document = document();
        let bytes = |seed| -> Vec<_> {
            cases::generate(&document, seed, 500).into_iter().map(|case| case.bytes).collect()
        };
        assert_eq!(bytes(1).len(), 500);
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        let invalid = cases::generate(&document, 1, 500);
        assert!(invalid.iter().filter(|case| case.expected == Expected::Rejected).count() > 250);
        assert!(invalid.iter().any(|case| case.expected == Expected::Accepted));
    }
}
