//! The endpoints other than embeddings: infer, rerank, tokenize, the OpenAPI document, the status page. The vectors of
//! the fake model are known: [words, sequences of the batch, 0, 1].

mod fake_model;
mod http_client;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake_model::{Fake, address, loader, options, serve, wait_until};
use http_client::{JSON, check_error, connect, get, post, request, send};
use inferd::serve::Server;
use serde_json::{Value, json};

#[test]
fn infer_embeds_compares_and_ranks() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let embedded = post(at, "/v1/infer", r#"{"task":"embed","inputs":["a b c","d"]}"#).json();
    assert_eq!((&embedded["task"], &embedded["model"]), (&"embed".into(), &"m".into()));
    assert_eq!(embedded["embeddings"][0][0], 3.0);
    assert_eq!(embedded["usage"], json!({ "prompt_tokens": 4, "total_tokens": 4 }));
    let short = post(at, "/v1/infer", r#"{"task":"embed","inputs":[[5,6]],"dimensions":2}"#).json();
    assert_eq!(short["embeddings"][0].as_array().unwrap().len(), 2);

    let compared =
        post(at, "/v1/infer", r#"{"task":"similarity","source":"a b","targets":["c d","e f g h i j k l"]}"#)
            .json();
    let similarities = compared["similarities"].as_array().unwrap();
    assert!(
        (similarities[0].as_f64().unwrap() - 1.0).abs() < 1e-6
            && similarities[1].as_f64() < similarities[0].as_f64()
    );
    let ids = post(at, "/v1/infer", r#"{"task":"similarity","source":[1,2],"targets":[[3,4]]}"#).json();
    assert!((ids["similarities"][0].as_f64().unwrap() - 1.0).abs() < 1e-6);

    let body = r#"{"task":"rerank","query":"a b","documents":["1 2 3 4 5 6 7 8","x y","1 2 3"],"top_n":2}"#;
    let ranked = post(at, "/v1/infer", body).json();
    let order: Vec<&Value> =
        ranked["results"].as_array().unwrap().iter().map(|result| &result["index"]).collect();
    assert_eq!(order, [1, 2]);
    assert_eq!(server.inflight_requests(), 0);
}

#[test]
fn rerank_sorts_documents_and_returns_them_on_request() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let body =
        r#"{"query":"a b","documents":["1 2 3 4 5 6 7 8",{"text":"x y"},"1 2 3"],"return_documents":true}"#;
    let ranked = post(at, "/v1/rerank", body).json();
    let results = ranked["results"].as_array().unwrap();
    let order: Vec<&Value> = results.iter().map(|result| &result["index"]).collect();
    assert_eq!(order, [1, 2, 0]);
    assert_eq!(results[0]["document"], json!({ "text": "x y" }));
    let scores: Vec<f64> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && (scores[0] - 1.0).abs() < 1e-6, "{scores:?}");
    let ranked = post(at, "/v1/rerank", r#"{"query":"a","documents":["b","c d"],"top_n":1}"#).json();
    assert_eq!(ranked["results"].as_array().unwrap().len(), 1);
    assert!(ranked["results"][0].get("document").is_none());
}

#[test]
fn tokenize_returns_offsets_with_and_without_special_tokens() {
    let model = Arc::new(Fake::default());
    let server = serve(&model);
    let at = address(&server);
    let tokens = post(at, "/tokenize", r#"{"inputs":["ab c"]}"#).json();
    assert_eq!(tokens[0][0], json!({ "id": 0, "text": "[S]", "special": true, "start": null, "stop": null }));
    assert_eq!(tokens[0][1], json!({ "id": 1, "text": "ab", "special": false, "start": 0, "stop": 2 }));
    let tokens = post(at, "/tokenize", r#"{"inputs":"ab c","add_special_tokens":false}"#).json();
    assert_eq!(tokens[0].as_array().unwrap().len(), 2);
    assert_eq!(model.steps.load(Ordering::SeqCst), 0);
    // The token limit applies as for other requests.
    let long = "a ".repeat(6000);
    check_error(&post(at, "/tokenize", &json!({ "inputs": long }).to_string()), 400, "invalid_value");
    let page = get(at, "/metrics").text();
    assert!(page.contains("inferd_requests_total{route=\"/tokenize\",status=\"200\"} 2"), "{page}");
    wait_until("all permits are released", || server.inflight_requests() == 0);
}

/// Clients send `null` for a field that their caller did not set.
#[test]
fn null_in_an_optional_field_is_the_same_as_no_field() {
    let server = serve(&Arc::default());
    let at = address(&server);
    // A request with its required fields, and the optional ones.
    for (path, required, optional) in [
        (
            "/v1/embeddings",
            json!({ "input": "a b" }),
            &["model", "encoding_format", "dimensions", "user"][..],
        ),
        ("/v1/infer", json!({ "task": "embed", "inputs": "a b" }), &["model", "dimensions"]),
        ("/v1/infer", json!({ "task": "similarity", "source": "a", "targets": "b" }), &["model"]),
        ("/v1/infer", json!({ "task": "rerank", "query": "a", "documents": "b" }), &["model", "top_n"]),
        ("/v1/rerank", json!({ "query": "a", "documents": ["b"] }), &["model", "top_n", "return_documents"]),
        ("/tokenize", json!({ "inputs": "a b" }), &["model", "add_special_tokens"]),
    ] {
        let absent = post(at, path, &required.to_string());
        assert_eq!(absent.status, 200, "{path}");
        let mut body = required.clone();
        for field in optional {
            body[*field] = Value::Null;
        }
        let null = post(at, path, &body.to_string());
        assert_eq!((null.status, null.json()), (200, absent.json()), "{path} {body}");
        for field in required.as_object().unwrap().keys() {
            let mut body = required.clone();
            body[field] = Value::Null;
            assert_eq!(post(at, path, &body.to_string()).status, 400, "{path} {body}");
        }
    }
    // The document allows null for every field that is not required.
    let schemas = get(at, "/openapi.json").json()["components"]["schemas"].take();
    for name in ["EmbeddingsRequest", "RerankRequest", "TokenizeRequest"] {
        let required = schemas[name]["required"].as_array().unwrap();
        for (field, schema) in schemas[name]["properties"].as_object().unwrap() {
            if !required.contains(&json!(field)) && field != "user" && field != "model" {
                assert!(schema.to_string().contains("null"), "{name}.{field}: {schema}");
            }
        }
    }
}

#[test]
fn a_model_with_a_slash_in_its_name_is_found_at_its_path() {
    let options = inferd::serve::Options { models: vec![("org/name".into(), "unused".into())], ..options() };
    let server = Server::open_with(options, loader(&Arc::default())).unwrap();
    let at = address(&server);
    for path in ["/v1/models/org/name", "/v1/models/org%2Fname"] {
        let response = get(at, path);
        assert_eq!((response.status, &response.json()["id"]), (200, &json!("org/name")), "{path}");
    }
    check_error(&get(at, "/v1/models/org"), 404, "model_not_found");
    check_error(&get(at, "/v1/models/org/name/"), 404, "model_not_found");
    check_error(&get(at, "/v1/models/"), 404, "unknown_url");
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"org/name","input":"a"}"#).status, 200);
}

#[test]
fn token_ids_are_refused_with_the_remedy_unless_the_server_accepts_them() {
    let mut options = options();
    options.requests.token_ids = false;
    let model = Arc::new(Fake::default());
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    assert_eq!(post(at, "/v1/embeddings", r#"{"input":["a"]}"#).status, 200);
    let steps = model.steps.load(Ordering::SeqCst);
    for (path, body) in [
        ("/v1/embeddings", r#"{"input":[5,6]}"#),
        ("/v1/embeddings", r#"{"input":[[5],[6]]}"#),
        ("/v1/infer", r#"{"task":"embed","inputs":[5]}"#),
        ("/v1/infer", r#"{"task":"similarity","source":[5],"targets":[[6]]}"#),
        ("/v1/infer", r#"{"task":"rerank","query":"a","documents":[[6]]}"#),
    ] {
        check_error(&post(at, path, body), 400, "invalid_value");
    }
    assert_eq!(model.steps.load(Ordering::SeqCst), steps);
    let message = post(at, "/v1/embeddings", r#"{"input":[5,6]}"#).json()["error"]["message"].take();
    insta::assert_snapshot!(message.as_str().unwrap(), @"this server accepts texts, not token ids: ids of another tokenizer than the model's give wrong vectors. Send texts; in LangChain pass `check_embedding_ctx_length=False` to `OpenAIEmbeddings`. For a client with the tokenizer of the model, start the server with `--allow-token-ids`");
    let document = get(at, "/openapi.json").text();
    assert!(!document.contains("TokenIds") && !document.contains("token ids"), "{document}");
}

#[test]
fn reports_the_invalid_field_of_a_request() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let many = json!(vec!["a"; 100]).to_string();
    for (path, body, code, param) in [
        ("/v1/infer", r#"{}"#, "invalid_json", Value::Null),
        ("/v1/infer", r#"{"task":"sing"}"#, "invalid_json", Value::Null),
        ("/v1/infer", r#"{"task":"embed"}"#, "invalid_json", Value::Null),
        ("/v1/infer", r#"{"task":"embed","inputs":"a","top_n":1}"#, "invalid_json", Value::Null),
        ("/v1/infer", r#"{"task":"embed","inputs":[]}"#, "invalid_value", "inputs".into()),
        (
            "/v1/infer",
            r#"{"task":"embed","inputs":"a","dimensions":9}"#,
            "invalid_value",
            "dimensions".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"similarity","source":["a","b"],"targets":"c"}"#,
            "invalid_value",
            "source".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"similarity","source":["a"],"targets":"c"}"#,
            "invalid_value",
            "source".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"rerank","query":[ "a"],"documents":["b"]}"#,
            "invalid_value",
            "query".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"similarity","source":"a","targets":[]}"#,
            "invalid_value",
            "targets".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"similarity","source":"a","targets":[1]}"#,
            "invalid_value",
            "targets".into(),
        ),
        (
            "/v1/infer",
            r#"{"task":"rerank","query":"a","documents":["b"],"top_n":0}"#,
            "invalid_value",
            "top_n".into(),
        ),
        ("/v1/rerank", r#"{"query":"a","documents":[]}"#, "invalid_value", "documents".into()),
        ("/v1/rerank", r#"{"query":"a","documents":["b"],"top_n":0}"#, "invalid_value", "top_n".into()),
        ("/v1/rerank", r#"{"query":"a","documents":[{"txt":"b"}]}"#, "invalid_json", "documents".into()),
        ("/v1/rerank", r#"{"query":["a"],"documents":["b"]}"#, "invalid_json", Value::Null),
        (
            "/v1/rerank",
            &format!(r#"{{"query":"a","documents":{many}}}"#),
            "invalid_value",
            "documents".into(),
        ),
        ("/tokenize", r#"{"inputs":[1]}"#, "invalid_json", "inputs".into()),
        ("/tokenize", r#"{"inputs":"a","special":true}"#, "invalid_json", Value::Null),
        ("/tokenize", r#"{"inputs":"a","model":"n"}"#, "model_not_found", "model".into()),
    ] {
        let response = post(at, path, body);
        let status = if code == "model_not_found" { 404 } else { 400 };
        check_error(&response, status, code);
        assert_eq!(response.json()["error"]["param"], param, "{body}");
    }
    for path in ["/v1/infer", "/v1/rerank", "/tokenize"] {
        check_error(
            &request(at, "POST", path, "content-type: text/plain\r\n", b"{}"),
            415,
            "unsupported_media_type",
        );
        check_error(&request(at, "POST", path, JSON, &vec![b' '; 70_000]), 413, "body_too_large");
        check_error(&get(at, path), 405, "method_not_allowed");
    }
    wait_until("all permits are released", || server.inflight_requests() == 0);
}

#[test]
fn all_endpoints_respect_deadline_and_admission() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let mut options = options();
    options.admission.requests_max = 4;
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    let bodies = [
        ("/v1/infer", r#"{"task":"similarity","source":"a","targets":"b"}"#),
        ("/v1/rerank", r#"{"query":"a","documents":["b"]}"#),
    ];
    let headers = format!("{JSON}x-request-timeout-ms: 20\r\n");
    for (path, body) in bodies {
        check_error(&request(at, "POST", path, &headers, body.as_bytes()), 504, "timeout");
    }
    wait_until("all permits are released", || server.inflight_requests() == 0);
    assert_eq!(model.cancelled_steps.load(Ordering::SeqCst), 2);
    std::thread::scope(|scope| {
        let held: Vec<_> =
            (0..3).map(|_| scope.spawn(move || post(at, bodies[1].0, bodies[1].1).status)).collect();
        wait_until("three requests are in flight", || server.inflight_requests() == 3);
        for (path, body) in bodies.into_iter().chain([("/tokenize", r#"{"inputs":"a"}"#)]) {
            check_error(&post(at, path, body), 429, "queue_full");
        }
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
}

#[test]
fn a_slow_reader_is_disconnected_and_its_bytes_are_released() {
    let mut options = options();
    options.requests.body_bytes_max = 16 << 20;
    options.requests.body_timeout = Duration::from_secs(20);
    options.admission.bytes_max = 64 << 20;
    let server = Server::open_with(options, loader(&Arc::default())).unwrap();
    let at = address(&server);
    // More than the socket buffers of the kernel hold.
    let document = "x".repeat(12 << 20);
    let body = json!({ "query": "a", "documents": [document], "return_documents": true }).to_string();
    let mut stream = connect(at);
    send(&mut stream, "POST", "/v1/rerank", JSON, body.as_bytes());
    wait_until("the response holds bytes", || inflight_bytes(at) > 0);
    let started = Instant::now();
    let mut part = [0; 64];
    // The pause limits the rate to 12.5 KiB/s, below the minimum. Polling continues until the server disconnects.
    while let Ok(1..) = stream.read(&mut part) {
        std::thread::sleep(Duration::from_millis(5));
        if inflight_bytes(at) == 0 {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{} bytes are still in flight",
            inflight_bytes(at)
        );
    }
    assert_eq!(inflight_bytes(at), 0);
}

fn inflight_bytes(at: std::net::SocketAddr) -> u64 {
    let page = get(at, "/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix("inferd_inflight_bytes ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn the_openapi_document_states_the_limits_of_the_server() {
    let server = serve(&Arc::default());
    let at = address(&server);
    // The model is not loaded, so its limits are unknown.
    let before = get(at, "/openapi.json").json();
    assert!(before["components"]["schemas"]["TokenIds"]["maxItems"].is_null());
    assert_eq!(post(at, "/tokenize", r#"{"inputs":"a"}"#).status, 200);
    let document = get(at, "/openapi.json").json();
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        (&schemas["TokenIds"]["maxItems"], &schemas["TokenIds"]["items"]["maximum"]),
        (&256.into(), &999.into())
    );
    assert_eq!(schemas["EmbeddingsRequest"]["properties"]["dimensions"]["anyOf"][0]["maximum"], 4);
    assert_eq!(schemas["ModelName"]["enum"], json!(["m", null]));
    // Every reference resolves, and every path is a route of the server.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas[name].is_object(), "{name}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let response = request(at, &method.to_uppercase(), path, "", b"");
            assert!(![405].contains(&response.status), "{method} {path}: {}", response.status);
        }
    }
}

#[test]
fn the_status_page_shows_state_models_and_requests() {
    let server = serve(&Arc::default());
    let at = address(&server);
    assert_eq!(post(at, "/tokenize", r#"{"inputs":"a"}"#).status, 200);
    let response = get(at, "/");
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(response.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let page = response.text();
    for words in [
        "is <span class=ok>ready",
        "<th>m<td>in memory",
        "0 of 64",
        "200 OK<td>1",
        "Resident",
        "OpenBLAS kernel",
    ] {
        assert!(page.contains(words), "`{words}` is missing in:\n{page}");
    }
    assert!(!page.contains("<script"));
}
