//! `POST /tokenize`, in the shape of text-embeddings-inference: the tokens of texts, with their places. Texts are not cut,
//! so the answer tells how long a text is for the model.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response};
use engine::TokenWithOffsets;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::app::App;
use super::super::scheduler;
use super::error::ApiError;
use super::input::Input;
use super::request_log::RequestContext;
use super::work::{Work, answer, parse};

/// Of one token in JSON, besides its text: names, quotes and numbers.
const TOKEN_BYTES: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizeRequest<'a> {
    #[serde(borrow)]
    inputs: &'a RawValue,
    model: Option<String>,
    #[serde(default = "yes")]
    add_special_tokens: bool,
}

fn yes() -> bool {
    true
}

/// `start` and `stop` count characters; a token that stands for no part of the text has none.
#[derive(Serialize)]
struct Token<'a> {
    id: u32,
    text: &'a str,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (work, body) = Work::begin(app, context, request).await?;
    let TokenizeRequest { inputs, model, add_special_tokens } = parse(&body)?;
    let Input::Texts(texts) = Input::read(inputs, "inputs", work.limits())? else {
        return Err(ApiError::json("`inputs`: expected a string or a list of strings").at("inputs"));
    };
    drop(body);
    let loaded = work.model(model.as_deref()).await?;
    let input = scheduler::Input::ToPieces { texts, special_tokens: add_special_tokens };
    let mut done = work.run(&loaded, input, "inputs").await?;
    let text_bytes: usize = done.pieces.iter().flatten().map(|piece| piece.text.len()).sum();
    done.permit.charge((text_bytes + done.tokens * TOKEN_BYTES) as u64)?;
    let tokens: Vec<Vec<Token>> =
        done.pieces.iter().map(|pieces| pieces.iter().map(token).collect()).collect();
    answer(&tokens, done.permit)
}

fn token(piece: &TokenWithOffsets) -> Token<'_> {
    let TokenWithOffsets { id, text, special, offsets } = piece;
    let (start, stop) = offsets.map_or((None, None), |(start, stop)| (Some(start), Some(stop)));
    Token { id: *id, text, special: *special, start, stop }
}
