//! `GET /openapi.json`: what this very server takes and answers, as OpenAPI 3.1.
//!
//! Made when it is asked for, because the truth depends on flags and models: how many inputs, which names, how long a
//! vector. Written by hand: the types say little of limits, and the crates that derive schemas bring more code than this.
//! `cargo xtask conform` holds the document against the running server.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde_json::{Value, json};

use super::super::app::App;
use super::super::model::Shape;
use super::TIMEOUT_HEADER;
use super::models::answer;
use crate::build_info;

mod schemas;

pub async fn document(State(app): State<Arc<App>>) -> Response<Body> {
    answer(&of(&app))
}

fn of(app: &App) -> Value {
    let entries = app.catalog.entries();
    let models: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let shapes: Vec<Shape> =
        entries.iter().filter_map(|entry| entry.loaded().map(|model| model.shape())).collect();
    // Of models that differ, the most that one of them takes; of models that are not loaded yet, nothing is known.
    let shape = (shapes.len() == entries.len()).then(|| Shape {
        dimension: shapes.iter().map(|shape| shape.dimension).max().unwrap_or(0),
        tokens_max: shapes.iter().map(|shape| shape.tokens_max).max().unwrap_or(0),
        vocabulary: shapes.iter().map(|shape| shape.vocabulary).max().unwrap_or(0),
    });
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": build_info::NAME,
            "version": build_info::get().version,
            "description": "Sentence embeddings. Every error has the envelope `Error`. Besides what is listed here, any \
                path answers 404 `unknown_url` if there is nothing, and 405 `method_not_allowed` to another method.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": {
            "/v1/embeddings": { "post": computes("embeddings", "Vectors of inputs, as OpenAI has it") },
            "/v1/infer": { "post": computes("infer", "Vectors, likeness and ranking: this server's own interface") },
            "/v1/rerank": { "post": computes("rerank", "Documents by their likeness to a query, as Cohere and Jina have it") },
            "/tokenize": { "post": computes("tokenize", "The tokens of texts and their places, as text-embeddings-inference has it") },
            "/v1/models": { "get": reads("listModels", "The models", json_of("Models"), &[]) },
            "/v1/models/{name}": {
                "get": reads("getModel", "One model", json_of("Model"), &[("404", "`model_not_found`, or no path")]),
                "parameters": [{
                    "name": "name", "in": "path", "required": true,
                    "schema": { "enum": models },
                }],
            },
            "/openapi.json": { "get": reads("getDocument", "This document", json!({ "application/json": { "schema": { "type": "object" } } }), &[]) },
            "/healthz": { "get": reads("isAlive", "The process answers", json_of("Status"), &[]) },
            "/readyz": { "get": reads("isReady", "The server takes work", json_of("Status"), &[("503", "`draining`, `model_changed`")]) },
            "/metrics": { "get": reads("getMetrics", "Prometheus text", text("text/plain"), &[]) },
            "/": { "get": reads("getStatusPage", "A page for people", text("text/html"), &[]) },
        },
        "components": {
            "schemas": schemas::all(&models, shape, app.limits.inputs_max),
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
    });
    secure(app, &mut document);
    document
}

/// Keys, where this server asks for them.
fn secure(app: &App, document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for method in ["get", "post"] {
            let Some(operation) = item.get_mut(method) else { continue };
            if app.keys.is_some() && !super::auth::is_open(app, path) {
                operation["security"] = json!([{ "key": [] }]);
                operation["responses"]["401"] = error("`missing_api_key`, `invalid_api_key`");
                operation["responses"]["401"]["headers"]["WWW-Authenticate"] =
                    json!({ "required": true, "schema": { "type": "string" } });
            } else {
                operation["security"] = json!([]);
            }
        }
    }
}

fn reads(id: &str, summary: &str, content: Value, errors: &[(&str, &str)]) -> Value {
    let mut responses =
        json!({ "200": { "description": summary, "headers": headers(), "content": content } });
    for (status, codes) in errors {
        responses[*status] = error(codes);
    }
    json!({ "operationId": id, "summary": summary, "parameters": [id_parameter()], "responses": responses })
}

/// `name` with a capital and `Request` or `Answer` behind it is the schema.
fn computes(name: &str, summary: &str) -> Value {
    let schema: String = name[..1].to_uppercase() + &name[1..];
    let errors = [
        ("400", "`invalid_json`, `invalid_value`: the request is wrong; `param` says where"),
        ("404", "`model_not_found`"),
        ("408", "`body_timeout`: the body did not arrive in time"),
        ("413", "`body_too_large`"),
        ("415", "`unsupported_media_type`: not `application/json`"),
        ("429", "`queue_full`: come back after `Retry-After`"),
        ("500", "`internal_error`"),
        ("503", "`draining`, `model_not_loaded`, `model_changed`"),
        ("504", "`timeout`: of the server, or what the request asked for; the work has been stopped"),
    ];
    let mut operation = reads(name, summary, json_of(&format!("{schema}Answer")), &errors);
    operation["requestBody"] = json!({ "required": true, "content": json_of(&format!("{schema}Request")) });
    operation["parameters"] = json!([id_parameter(), {
        "name": TIMEOUT_HEADER, "in": "header",
        "description": "Milliseconds after which the answer is not wanted any more. It cannot lengthen the server's own limit.",
        "schema": { "type": "integer", "minimum": 1, "maximum": u32::MAX },
    }]);
    let retry = json!({ "required": true, "schema": { "type": "integer", "minimum": 1 } });
    operation["responses"]["429"]["headers"]["Retry-After"] = retry.clone();
    operation["responses"]["503"]["headers"]["Retry-After"] = retry;
    operation
}

fn id_parameter() -> Value {
    json!({
        "name": "x-request-id", "in": "header",
        "description": "Comes back in the answer and stands in the log, if it is plain and short.",
        "schema": { "type": "string" },
    })
}

fn headers() -> Value {
    json!({ "x-request-id": { "required": true, "schema": { "type": "string", "minLength": 1 } } })
}

fn error(codes: &str) -> Value {
    json!({ "description": codes, "headers": headers(), "content": json_of("Error") })
}

fn json_of(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn text(media_type: &str) -> Value {
    json!({ media_type: { "schema": { "type": "string" } } })
}
