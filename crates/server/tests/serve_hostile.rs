//! Bodies and paths that are made to cost memory or time, and responses above the size that is encoded as a whole.

mod fake_model;
mod http_client;

use std::sync::Arc;

use fake_model::{Fake, address, loader, options, wait_until};
use http_client::{check_error, get, post};
use inferd::serve::Server;
use serde_json::{Value, json};

fn server() -> Server {
    let mut options = options();
    options.requests.body_bytes_max = 8 << 20;
    options.requests.inputs_max = 6000;
    options.admission.bytes_max = 32 << 20;
    Server::open_with(options, loader(&Arc::<Fake>::default())).unwrap()
}

/// The message of an error.
fn message(response: &http_client::Response) -> String {
    response.json()["error"]["message"].as_str().unwrap().to_string()
}

#[test]
fn hostile_json_of_any_size_gets_400_with_a_short_message() {
    let server = server();
    let at = address(&server);
    // Below and above the size that is parsed on a thread of its own.
    for size in [1000, 1 << 20] {
        let long = "x".repeat(size);
        let bodies = [
            format!("{}{}", "[".repeat(size), "]".repeat(size)),
            format!("{{\"input\":{}{}}}", "[".repeat(size), "]".repeat(size)),
            format!("{{\"input\":[{}]}}", "9".repeat(size)),
            format!("{{\"input\":[1e{}]}}", "9".repeat(size)),
            format!("{{\"{long}\":1,\"input\":\"a\"}}"),
            format!("{{\"{}\":1}}", "\\u0041".repeat(size / 6)),
            format!("{{\"input\":\"a\",\"input\":\"{long}\"}}"),
            format!("{{\"input\":\"a\",\"dimensions\":\"{long}\"}}"),
            format!("{{\"input\":\"a\",\"encoding_format\":\"{long}\"}}"),
            format!("{{\"input\":\"{long}"),
            format!("{{\"input\":\"{}\\ud800\"}}", "\\ud83d\\ude00".repeat(size / 12)),
        ];
        for body in bodies {
            let response = post(at, "/v1/embeddings", &body);
            check_error(&response, 400, "invalid_json");
            let message = message(&response);
            assert!(message.chars().count() < 500, "{} of {size}: {} characters", &body[..20], message.len());
        }
        let escapes = json!({ "input": "\u{1}\"\\\u{1f600}".repeat(size / 12) });
        assert_eq!(post(at, "/v1/embeddings", &escapes.to_string()).status, 200);
    }
    wait_until("all permits are released", || server.inflight_requests() == 0);
}

#[test]
fn a_message_repeats_at_most_200_characters_of_a_value() {
    let server = server();
    let at = address(&server);
    let long = "m".repeat(4 << 20);
    let response = post(at, "/v1/embeddings", &json!({ "input": "a", "model": long }).to_string());
    check_error(&response, 404, "model_not_found");
    assert!(message(&response).len() < 300, "{}", message(&response));
    let path = format!("/v1/{}", "p".repeat(10_000));
    for response in [get(at, &path), get(at, &format!("/v1/models/{}", "p".repeat(10_000)))] {
        assert!(response.status == 404 && message(&response).len() < 300, "{}", response.status);
    }
}

#[test]
fn a_response_that_is_encoded_while_it_is_sent_is_complete_and_has_its_length() {
    let server = server();
    let at = address(&server);
    let body = json!({ "input": vec!["a"; 5000] }).to_string();
    let response = post(at, "/v1/embeddings", &body);
    assert_eq!(response.status, 200);
    let json: Value = response.json();
    let data = json["data"].as_array().unwrap();
    assert_eq!(
        (data.len(), &data[4999]["index"], &data[0]["embedding"][0]),
        (5000, &json!(4999), &json!(1.0))
    );
    assert_eq!(json["usage"]["total_tokens"], 5000);
    let infer = json!({ "task": "embed", "inputs": vec!["a"; 5000] }).to_string();
    assert_eq!(post(at, "/v1/infer", &infer).json()["embeddings"].as_array().unwrap().len(), 5000);
    let tokens =
        post(at, "/tokenize", &json!({ "inputs": ["a b ".repeat(600), "", "c"] }).to_string()).json();
    assert_eq!(tokens[0].as_array().unwrap().len(), 1202);
    assert_eq!(
        tokens[0][1200],
        json!({ "id": 1, "text": "b", "special": false, "start": 2398, "stop": 2399 })
    );
    assert_eq!(tokens[2][1]["text"], "c");
    let document = "d\"\u{e9}".repeat(20_000);
    let ranked = json!({ "query": "q", "documents": [document, "b"], "return_documents": true }).to_string();
    let ranked = post(at, "/v1/rerank", &ranked).json();
    let texts: Vec<&Value> =
        ranked["results"].as_array().unwrap().iter().map(|r| &r["document"]["text"]).collect();
    assert!(texts.contains(&&json!(document)) && texts.contains(&&json!("b")));
    wait_until("all bytes are released", || {
        get(at, "/metrics").text().lines().any(|line| line == "inferd_inflight_bytes 0")
    });
}
