//! `POST /v1/embeddings`, as OpenAI has it.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::app::App;
use super::super::model::Shape;
use super::super::scheduler;
use super::body::{self, HeldBody};
use super::deadline::Deadline;
use super::error::ApiError;
use super::request_log::RequestContext;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest {
    input: Input,
    model: Option<String>,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
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

/// A string, strings, token ids, or lists of token ids. Read without a detour over a JSON tree.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`input`: a string, a list of strings, a list of token ids or a list of lists of token ids",
        )
    }

    fn visit_str<E>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        use serde::de::Error;
        let mixed = || A::Error::custom("all elements of `input` must be of one kind");
        let (mut texts, mut ids, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(element) = list.next_element::<Element>().map_err(|error| {
            A::Error::custom(format!("an element of `input` is neither text nor token ids: {error}"))
        })? {
            match element {
                Element::Text(text) => texts.push(text),
                Element::Id(id) => ids.push(id),
                Element::Ids(list) => lists.push(list),
            }
        }
        match (texts.is_empty(), ids.is_empty(), lists.is_empty()) {
            (_, true, true) => Ok(Input::Texts(texts)),
            (true, false, true) => Ok(Input::Tokens(vec![ids])),
            (true, true, false) => Ok(Input::Tokens(lists)),
            _ => Err(mixed()),
        }
    }
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

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let deadline = Deadline::of(request.headers(), app.limits.infer_timeout, context.started)?;
    let limits = &app.limits;
    body::require_json(request.headers())?;
    let bytes = body::announced_bytes(request.headers(), limits.body_bytes_max)?;
    let mut permit = app.admission.admit(&context.client, bytes)?;
    let body = body::read(request.into_body(), limits.body_bytes_max, limits.body_timeout).await?;

    let EmbeddingsRequest { input, model, encoding_format, dimensions, user: _ } =
        serde_json::from_slice(&body).map_err(|error| ApiError::json(error.to_string()))?;
    drop(body);
    let entry = app.catalog.find(model.as_deref())?;
    let model = deadline.limit(entry.get(&app.catalog)).await?.map_err(|why| {
        ApiError::unavailable(
            "model_not_loaded",
            format!("the model `{}` cannot be loaded: {why}", entry.name),
        )
    })?;
    let shape = model.shape();
    let input = check(input, shape, limits.inputs_max)?;
    let width = dimensions.unwrap_or(shape.dimension);
    if width == 0 || width > shape.dimension {
        let message = format!("`dimensions` must be from 1 to {}", shape.dimension);
        return Err(ApiError::invalid("dimensions", message));
    }

    permit.charge((input.len() * shape.dimension * size_of::<f32>()) as u64)?;
    let mut ticket = app.scheduler.submit(context.client.clone(), model, input, permit);
    let done = deadline.limit(ticket.answer()).await??;
    app.metrics.queued(done.queued);
    context.note(done.tokens, done.queued);

    let mut data = Vec::with_capacity(done.vectors.len());
    for (index, mut vector) in done.vectors.into_iter().enumerate() {
        if !vector.iter().all(|value| value.is_finite()) {
            // JSON has no NaN: the client would find `null`.
            return Err(ApiError::internal(format!("the vector of input {index} is not finite")));
        }
        if width < vector.len() {
            shorten(&mut vector, width);
        }
        let embedding = match encoding_format {
            Encoding::Float => Numbers::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Numbers::Base64(BASE64.encode(bytes))
            }
        };
        data.push(Embedding { object: "embedding", index, embedding });
    }
    let usage = Usage { prompt_tokens: done.tokens, total_tokens: done.tokens };
    let answer = EmbeddingsAnswer { object: "list", data, model: &entry.name, usage };
    let json = serde_json::to_vec(&answer).map_err(|error| ApiError::internal(error.to_string()))?;
    let mut response = Response::new(Body::new(HeldBody::new(json, done.permit)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn check(input: Input, shape: Shape, inputs_max: usize) -> Result<scheduler::Input, ApiError> {
    let input = match input {
        Input::Texts(texts) => scheduler::Input::Texts(texts),
        Input::Tokens(sequences) => {
            for (index, ids) in sequences.iter().enumerate() {
                if ids.is_empty() || ids.len() > shape.tokens_max {
                    let message = format!(
                        "input {index} has {} token ids; the model reads 1 to {}",
                        ids.len(),
                        shape.tokens_max
                    );
                    return Err(ApiError::invalid("input", message));
                }
                if let Some(id) = ids.iter().find(|id| **id as usize >= shape.vocabulary) {
                    let message = format!(
                        "input {index} has token id {id}; the model knows those below {}",
                        shape.vocabulary
                    );
                    return Err(ApiError::invalid("input", message));
                }
            }
            scheduler::Input::Sequences(sequences)
        }
    };
    match input.len() {
        0 => Err(ApiError::invalid("input", "`input` is empty")),
        n if n > inputs_max => Err(ApiError::invalid(
            "input",
            format!("{n} inputs; this server takes {inputs_max} in one request"),
        )),
        _ => Ok(input),
    }
}

/// The first `width` values, of length 1 again, as OpenAI shortens vectors.
fn shorten(vector: &mut Vec<f32>, width: usize) {
    vector.truncate(width);
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> Result<Input, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_four_forms_of_input() {
        assert_eq!(input("\"a\""), Ok(Input::Texts(vec!["a".into()])));
        assert_eq!(input("[\"a\",\"\"]"), Ok(Input::Texts(vec!["a".into(), "".into()])));
        assert_eq!(input("[1,2]"), Ok(Input::Tokens(vec![vec![1, 2]])));
        assert_eq!(input("[[1],[2,3]]"), Ok(Input::Tokens(vec![vec![1], vec![2, 3]])));
    }

    #[test]
    fn other_forms_are_refused() {
        for json in
            ["[1,\"a\"]", "[[1],2]", "[-1]", "[1.5]", "{}", "null", "[null]", "[[[1]]]", "[4294967296]"]
        {
            assert!(input(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_shortened_vector_has_length_one() {
        let mut vector = vec![3.0, 4.0, 12.0];
        shorten(&mut vector, 2);
        assert_eq!(vector, [0.6, 0.8]);
    }
}
