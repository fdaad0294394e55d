//! `POST /tokenize`, compatible with text-embeddings-inference: the tokens of texts with their offsets. Texts are not
//! truncated, so the response gives the full length of a text in tokens.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::scheduler;
use super::super::super::text::BodyText;
use super::super::admitted::Admitted;
use super::super::error::ApiError;
use super::super::input::{Input, InputLimits};
use super::super::json::parse;
use super::super::parts::TokenParts;
use super::super::stream::respond;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizeRequest<'a> {
    #[serde(borrow)]
    inputs: &'a RawValue,
    model: Option<String>,
    add_special_tokens: Option<bool>,
}

/// The handler.
pub async fn tokenize(admitted: Admitted) -> Result<Response<Body>, ApiError> {
    let read = |body: &Arc<BodyText>, limits: InputLimits| {
        let TokenizeRequest { inputs, model, add_special_tokens } = parse(body)?;
        let Input::Texts(texts) = Input::read(body, inputs, "inputs", limits)? else {
            return Err(ApiError::json("`inputs`: expected a string or a list of strings").at("inputs"));
        };
        Ok((texts, model, add_special_tokens.unwrap_or(true)))
    };
    let (request, (texts, model, special_tokens)) = admitted.parse(read).await?;
    let loaded = request.model(model.as_deref()).await?;
    let body_bytes = request.body_bytes();
    let input = scheduler::Input::TokenizeOnly { texts, special_tokens };
    let output = request.compute(&loaded, input, "inputs").await?;
    let parts = TokenParts::new(loaded.model, output.tokenized, body_bytes);
    Ok(respond(parts, output.permit).await)
}
