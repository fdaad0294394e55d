//! `POST /v1/embeddings`, compatible with the OpenAI API.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::super::text::BodyText;
use super::super::admitted::{Admitted, Usage};
use super::super::error::ApiError;
use super::super::input::{Input, InputLimits};
use super::super::json::parse;
use super::super::lenient_int::LenientInt;
use super::super::parts::{VectorParts, append};
use super::super::stream::respond;
use super::super::vectors::{dimension, truncate};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    model: Option<String>,
    encoding_format: Option<Encoding>,
    dimensions: Option<LenientInt<usize>>,
    /// The user of the caller. Accepted because clients send it, and not used.
    #[expect(dead_code, reason = "a field of the API")]
    user: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize)]
struct Embedding<'a, N: Serialize + ?Sized> {
    object: &'static str,
    index: usize,
    embedding: &'a N,
}

fn write_float(out: &mut Vec<u8>, index: usize, vector: &[f32]) {
    append(out, &Embedding { object: "embedding", index, embedding: vector });
}

fn write_base64(out: &mut Vec<u8>, index: usize, vector: &[f32]) {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    append(out, &Embedding { object: "embedding", index, embedding: &*BASE64.encode(bytes) });
}

struct Query {
    input: Input,
    model: Option<String>,
    encoding: Encoding,
    dimensions: Option<usize>,
}

fn read(body: &Arc<BodyText>, limits: InputLimits) -> Result<Query, ApiError> {
    let EmbeddingsRequest { input, model, encoding_format, dimensions, user: _ } = parse(body)?;
    let input = Input::read(body, input, "input", limits)?;
    Ok(Query {
        input,
        model,
        encoding: encoding_format.unwrap_or_default(),
        dimensions: dimensions.map(|number| number.0),
    })
}

/// The handler.
pub async fn create(admitted: Admitted) -> Result<Response<Body>, ApiError> {
    let (request, query) = admitted.parse(read).await?;
    let loaded = request.model(query.model.as_deref()).await?;
    let dimension = dimension(query.dimensions, loaded.shape)?;
    let output = request.compute(&loaded, query.input.into(), "input").await?;

    let mut vectors = output.vectors;
    vectors.iter_mut().for_each(|vector| truncate(vector, dimension));
    let head = br#"{"object":"list","data":["#.to_vec();
    let mut tail = br#"],"model":"#.to_vec();
    append(&mut tail, &loaded.entry.name());
    tail.extend(br#","usage":"#);
    append(&mut tail, &Usage::of(output.token_count));
    tail.push(b'}');
    let write = match query.encoding {
        Encoding::Float => write_float,
        Encoding::Base64 => write_base64,
    };
    Ok(respond(VectorParts { head, tail, vectors, write }, output.permit).await)
}
