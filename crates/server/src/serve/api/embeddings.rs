//! `POST /v1/embeddings`, as OpenAI has it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::app::App;
use super::error::ApiError;
use super::input::Input;
use super::request_log::RequestContext;
use super::vectors::{shorten, width};
use super::whole::Whole;
use super::work::{Usage, Work, answer, parse};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    model: Option<String>,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<Whole<usize>>,
    /// Whom the caller serves: taken, because clients send it, and not used.
    #[allow(dead_code, reason = "part of the interface")]
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
struct EmbeddingsAnswer<'a> {
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

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (work, body) = Work::begin(app, context, request).await?;
    let EmbeddingsRequest { input, model, encoding_format, dimensions, user: _ } = parse(&body)?;
    let input = Input::read(input, "input", work.limits())?;
    drop(body);
    let loaded = work.model(model.as_deref()).await?;
    let width = width(dimensions.map(|whole| whole.0), loaded.shape)?;
    let done = work.run(&loaded, input.into(), "input").await?;

    let mut data = Vec::with_capacity(done.vectors.len());
    for (index, mut vector) in done.vectors.into_iter().enumerate() {
        shorten(&mut vector, width);
        let embedding = match encoding_format {
            Encoding::Float => Numbers::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Numbers::Base64(BASE64.encode(bytes))
            }
        };
        data.push(Embedding { object: "embedding", index, embedding });
    }
    let (model, usage) = (loaded.entry.name.as_str(), Usage::of(done.tokens));
    answer(&EmbeddingsAnswer { object: "list", data, model, usage }, done.permit)
}
