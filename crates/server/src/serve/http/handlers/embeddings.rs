//! `POST /v1/embeddings`, compatible with the OpenAI API.

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::admitted::{Admitted, Usage};
use super::super::error::ApiError;
use super::super::input::Input;
use super::super::json::{counted, parse};
use super::super::lenient_int::LenientInt;
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
struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Numbers,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Float(Vec<f32>),
    Base64(String),
}

/// The handler.
pub async fn create(Admitted { request, body }: Admitted) -> Result<Response<Body>, ApiError> {
    let EmbeddingsRequest { input, model, encoding_format, dimensions, user: _ } = parse(&body)?;
    let input = Input::read(input, "input", request.input_limits())?;
    drop(body);
    let loaded = request.model(model.as_deref()).await?;
    let dimension = dimension(dimensions.map(|number| number.0), loaded.shape)?;
    let output = request.compute(&loaded, input.into(), "input").await?;

    let mut data = Vec::with_capacity(output.vectors.len());
    for (index, mut vector) in output.vectors.into_iter().enumerate() {
        truncate(&mut vector, dimension);
        let embedding = match encoding_format.unwrap_or_default() {
            Encoding::Float => Numbers::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Numbers::Base64(BASE64.encode(bytes))
            }
        };
        data.push(Embedding { object: "embedding", index, embedding });
    }
    let (model, usage) = (loaded.entry.name(), Usage::of(output.token_count));
    counted(&EmbeddingsResponse { object: "list", data, model, usage }, output.permit)
}
