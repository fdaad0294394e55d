//! `GET /openapi.json`: the interface of this server as OpenAPI 3.1.
//!
//! Built per request, because limits depend on flags and models: number of inputs, names of models, dimension of
//! vectors.
//!
//! Written by hand. Derive macros (`utoipa`, `aide`) produce a schema per Rust type at compile time; they express
//! neither limits that are known at run time nor input types that are parsed by hand under limits (`input`, `rerank`),
//! so most schemas would be overridden. The conformance test of the release pipeline compares the document with the
//! running server.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde_json::{Value, json};

use super::super::super::model::Shape;
use super::super::super::state::AppState;
use super::super::auth;
use super::super::{deadline, host, json};
use super::metrics;
use crate::build_info;

mod schemas;

/// Paths that are served on every connection.
const ON_RESERVED_CONNECTIONS: &[&str] = &["/", "/healthz", "/readyz", "/metrics"];

/// The document.
pub async fn document(State(state): State<Arc<AppState>>) -> Response<Body> {
    json::plain(&describe(&state))
}

fn describe(state: &AppState) -> Value {
    let entries = state.catalog.entries();
    let models: Vec<&str> = entries.iter().map(|entry| entry.name()).collect();
    let shapes: Vec<Shape> =
        entries.iter().filter_map(|entry| entry.loaded().map(|model| model.shape())).collect();
    // The maximum over all models. Sizes of models that are not loaded are unknown.
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
            "description": "Sentence embeddings. Every error has the envelope `Error`. Other paths return 404 \
                `unknown_url`; other methods return 405 `method_not_allowed`.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": {
            "/v1/embeddings": { "post": compute("embeddings", "Embeddings, compatible with OpenAI") },
            "/v1/infer": { "post": compute("infer", "Embeddings, similarity and ranking: the native interface") },
            "/v1/rerank": { "post": compute("rerank", "Documents by similarity to a query, compatible with Cohere and Jina") },
            "/tokenize": { "post": compute("tokenize", "Tokens of texts and their offsets, compatible with text-embeddings-inference") },
            "/v1/models": { "get": read("listModels", "The models", json_of("Models"), &[]) },
            "/v1/models/{name}": {
                "get": read("getModel", "One model", json_of("Model"), &[("404", "`model_not_found`, `unknown_url`")]),
                "parameters": [{
                    "name": "name", "in": "path", "required": true,
                    "description": "A `/` in the name is sent as such or as `%2F`.",
                    "schema": { "enum": models },
                }],
            },
            "/openapi.json": { "get": read("getDocument", "This document", json!({ "application/json": { "schema": { "type": "object" } } }), &[]) },
            "/healthz": { "get": read("isAlive", "Liveness", json_of("Status"), &[]) },
            "/readyz": { "get": read("isReady", "Readiness", json_of("Status"), &[("503", "`draining`, `model_changed`")]) },
            "/metrics": { "get": read("getMetrics", "Metrics as OpenMetrics text", text(metrics::MEDIA_TYPE), &[]) },
            "/": { "get": read("getStatusPage", "Status page", text("text/html"), &[]) },
        },
        "components": {
            "schemas": schemas::all(&models, shape, state.limits.inputs_max, state.limits.token_ids),
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
    });
    add_security(state, &mut document);
    add_connection_errors(&mut document);
    document
}

/// Adds the errors that depend on the connection and not on the operation.
fn add_connection_errors(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for method in ["get", "post"] {
            let Some(operation) = item.get_mut(method) else { continue };
            let responses = &mut operation["responses"];
            if !host::is_unchecked(path) {
                responses["403"] = error("`host_not_allowed`: the header `Host` names another site");
            }
            if !ON_RESERVED_CONNECTIONS.contains(&path.as_str()) {
                let codes = responses["503"]["description"]
                    .as_str()
                    .map_or(String::new(), |codes| format!("{codes}, "));
                responses["503"] = error(&format!("{codes}`connections_full`"));
                responses["503"]["headers"]["Retry-After"] = retry_after();
            }
        }
    }
}

fn retry_after() -> Value {
    json!({ "required": true, "schema": { "type": "integer", "minimum": 1 } })
}

/// Adds the requirement of a key to the operations that need one.
fn add_security(state: &AppState, document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for method in ["get", "post"] {
            let Some(operation) = item.get_mut(method) else { continue };
            if state.api_keys.is_some() && !auth::is_open(state, path) {
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

fn read(id: &str, summary: &str, content: Value, errors: &[(&str, &str)]) -> Value {
    let mut responses =
        json!({ "200": { "description": summary, "headers": headers(), "content": content } });
    for (status, codes) in errors {
        responses[*status] = error(codes);
    }
    json!({ "operationId": id, "summary": summary, "parameters": [id_parameter()], "responses": responses })
}

/// An operation whose schemas are the capitalized `name` with `Request` and `Response`.
fn compute(name: &str, summary: &str) -> Value {
    let schema: String = name[..1].to_uppercase() + &name[1..];
    let errors = [
        ("400", "`invalid_json`, `invalid_value`: the request is invalid; `param` names the field"),
        ("404", "`model_not_found`"),
        ("408", "`body_timeout`: the body was not received in time"),
        ("413", "`body_too_large`"),
        ("415", "`unsupported_media_type`: not `application/json`"),
        ("429", "`queue_full` or `queue_timeout`: retry after `Retry-After`"),
        ("500", "`internal_error`"),
        (
            "503",
            "`draining`, `model_not_loaded`, `model_changed`, `insufficient_memory`, `memory_max_reached`, `out_of_memory`",
        ),
        ("504", "`timeout`: the limit of the server or of the request has passed; the work is canceled"),
    ];
    let mut operation = read(name, summary, json_of(&format!("{schema}Response")), &errors);
    operation["requestBody"] = json!({ "required": true, "content": json_of(&format!("{schema}Request")) });
    operation["parameters"] = json!([id_parameter(), {
        "name": deadline::HEADER, "in": "header",
        "description": "Time limit in milliseconds. It cannot exceed the limit of the server.",
        "schema": { "type": "integer", "minimum": 1, "maximum": u32::MAX },
    }]);
    operation["responses"]["429"]["headers"]["Retry-After"] = retry_after();
    operation
}

fn id_parameter() -> Value {
    json!({
        "name": "x-request-id", "in": "header",
        "description": "Returned in the response and logged, if it is at most 128 visible ASCII characters.",
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
