//! `POST /tokenize`, compatible with text-embeddings-inference: the tokens of texts with their offsets. Texts are not
//! truncated, so the response gives the full length of a text in tokens.

use axum::body::Body;
use axum::http::Response;
use engine::TokenWithOffsets;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::super::scheduler;
use super::super::admitted::Admitted;
use super::super::error::ApiError;
use super::super::input::Input;
use super::super::json::{counted, parse};

/// Bytes of one token in JSON besides its text: names, quotes and numbers.
const TOKEN_BYTES: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizeRequest<'a> {
    #[serde(borrow)]
    inputs: &'a RawValue,
    model: Option<String>,
    add_special_tokens: Option<bool>,
}

/// `start` and `stop` count characters. Special tokens have no offsets.
#[derive(Serialize)]
struct Token<'a> {
    id: u32,
    text: &'a str,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

/// The handler.
pub async fn tokenize(Admitted { request, body }: Admitted) -> Result<Response<Body>, ApiError> {
    let TokenizeRequest { inputs, model, add_special_tokens } = parse(&body)?;
    let Input::Texts(texts) = Input::read(inputs, "inputs", request.input_limits())? else {
        return Err(ApiError::json("`inputs`: expected a string or a list of strings").at("inputs"));
    };
    drop(body);
    let loaded = request.model(model.as_deref()).await?;
    let input = scheduler::Input::TokenizeOnly { texts, special_tokens: add_special_tokens.unwrap_or(true) };
    let mut output = request.compute(&loaded, input, "inputs").await?;
    let text_bytes: usize = output.tokenized.iter().flatten().map(|token| token.text.len()).sum();
    output.permit.charge((text_bytes + output.token_count * TOKEN_BYTES) as u64)?;
    let tokens: Vec<Vec<Token>> =
        output.tokenized.iter().map(|tokens| tokens.iter().map(token).collect()).collect();
    counted(&tokens, output.permit)
}

fn token(token: &TokenWithOffsets) -> Token<'_> {
    let TokenWithOffsets { id, text, special, offsets } = token;
    let (start, stop) = offsets.map_or((None, None), |(start, stop)| (Some(start), Some(stop)));
    Token { id: *id, text, special: *special, start, stop }
}
