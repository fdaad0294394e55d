//! `POST /v1/infer`: the native interface of this server. `task` selects the operation and its fields.
//!
//! ```json
//! {"task": "embed",      "inputs": "a text, texts, token ids or lists of token ids", "dimensions": 128}
//! {"task": "similarity", "source": "one input", "targets": ["inputs"]}
//! {"task": "rerank",     "query": "one input", "documents": ["inputs"], "top_n": 3}
//! ```

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::super::text::BodyText;
use super::super::admitted::{Admitted, Usage};
use super::super::error::ApiError;
use super::super::input::{Input, InputLimits};
use super::super::json::{counted, parse};
use super::super::lenient_int::LenientInt;
use super::super::parts::{VectorParts, append};
use super::super::stream::respond;
use super::super::vectors::{dimension, rank, similarities, truncate};

/// Parsed first, to select the task. A tagged enum would buffer the whole body as a tree.
#[derive(Deserialize)]
struct Tagged {
    task: Task,
}

#[derive(Deserialize, Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Task {
    Embed,
    Similarity,
    Rerank,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Embed<'a> {
    #[expect(dead_code, reason = "parsed as `Tagged`")]
    task: IgnoredAny,
    model: Option<String>,
    #[serde(borrow)]
    inputs: &'a RawValue,
    dimensions: Option<LenientInt<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Similarity<'a> {
    #[expect(dead_code, reason = "parsed as `Tagged`")]
    task: IgnoredAny,
    model: Option<String>,
    #[serde(borrow)]
    source: &'a RawValue,
    #[serde(borrow)]
    targets: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rerank<'a> {
    #[expect(dead_code, reason = "parsed as `Tagged`")]
    task: IgnoredAny,
    model: Option<String>,
    #[serde(borrow)]
    query: &'a RawValue,
    #[serde(borrow)]
    documents: &'a RawValue,
    top_n: Option<LenientInt<u32>>,
}

#[derive(Serialize)]
struct InferResponse<'a> {
    task: Task,
    model: &'a str,
    #[serde(flatten)]
    output: Output,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    Similarities(Vec<f32>),
    Results(Vec<Ranked>),
}

#[derive(Serialize)]
struct Ranked {
    index: usize,
    score: f32,
}

/// A parsed request.
struct Query {
    task: Task,
    model: Option<String>,
    input: Input,
    param: &'static str,
    dimensions: Option<usize>,
    top_n: Option<usize>,
}

/// The handler.
pub async fn infer(admitted: Admitted) -> Result<Response<Body>, ApiError> {
    let (request, query) = admitted.parse(read).await?;
    let loaded = request.model(query.model.as_deref()).await?;
    let dimension = dimension(query.dimensions, loaded.shape)?;
    let mut computed = request.compute(&loaded, query.input.into(), query.param).await?;
    let (model, usage) = (loaded.entry.name(), Usage::of(computed.token_count));
    let output = match query.task {
        Task::Embed => {
            computed.vectors.iter_mut().for_each(|vector| truncate(vector, dimension));
            let (head, tail) = around_embeddings(model, &usage);
            let write = |out: &mut Vec<u8>, _, vector: &[f32]| append(out, &vector);
            let parts = VectorParts { head, tail, vectors: computed.vectors, write };
            return Ok(respond(parts, computed.permit).await);
        }
        Task::Similarity => Output::Similarities(similarities(&computed.vectors)),
        Task::Rerank => {
            let ranked = rank(&similarities(&computed.vectors), query.top_n)?;
            Output::Results(ranked.into_iter().map(|(index, score)| Ranked { index, score }).collect())
        }
    };
    counted(&InferResponse { task: query.task, model, output, usage }, computed.permit)
}

/// What comes before and after the vectors.
fn around_embeddings(model: &str, usage: &Usage) -> (Vec<u8>, Vec<u8>) {
    let mut head = br#"{"task":"embed","model":"#.to_vec();
    append(&mut head, &model);
    head.extend(br#","embeddings":["#);
    let mut tail = br#"],"usage":"#.to_vec();
    append(&mut tail, usage);
    tail.push(b'}');
    (head, tail)
}

fn read(body: &Arc<BodyText>, limits: InputLimits) -> Result<Query, ApiError> {
    let task = parse::<Tagged>(body)?.task;
    let plain = |model, input, param| Query { task, model, input, param, dimensions: None, top_n: None };
    match task {
        Task::Embed => {
            let Embed { model, inputs, dimensions, .. } = parse(body)?;
            let input = Input::read(body, inputs, "inputs", limits)?;
            let dimensions = dimensions.map(|number| number.0);
            Ok(Query { dimensions, ..plain(model, input, "inputs") })
        }
        Task::Similarity => {
            let Similarity { model, source, targets, .. } = parse(body)?;
            let input = one_and_many(body, (source, "source"), (targets, "targets"), limits)?;
            Ok(plain(model, input, "targets"))
        }
        Task::Rerank => {
            let Rerank { model, query, documents, top_n, .. } = parse(body)?;
            let top_n = top_n.map(|number| number.0 as usize);
            // Rejects an invalid `top_n` before the computation.
            rank(&[], top_n)?;
            let input = one_and_many(body, (query, "query"), (documents, "documents"), limits)?;
            Ok(Query { top_n, ..plain(model, input, "documents") })
        }
    }
}

type Field<'a> = (&'a RawValue, &'static str);

fn one_and_many(
    body: &Arc<BodyText>,
    one: Field<'_>,
    many: Field<'_>,
    limits: InputLimits,
) -> Result<Input, ApiError> {
    let ((one, one_name), (many, many_name)) = (one, many);
    let is_list = is_list_of_inputs(one);
    let one = Input::read(body, one, one_name, limits)?;
    if is_list || one.len() != 1 {
        let message =
            format!("`{one_name}` must be one text or the token ids of one, not a list of {}", one.len());
        return Err(ApiError::invalid(one_name, message));
    }
    let many = Input::read(body, many, many_name, limits)?;
    if many.len() == 0 {
        return Err(ApiError::invalid(many_name, format!("`{many_name}` is empty")));
    }
    let both = one.concat(many);
    both.ok_or_else(|| {
        ApiError::invalid(
            many_name,
            format!("`{one_name}` and `{many_name}` must both be text or both token ids"),
        )
    })
}

/// Whether valid JSON is a list of texts or of lists. A list of numbers is one input.
fn is_list_of_inputs(json: &RawValue) -> bool {
    let elements = json.get().strip_prefix('[').map(str::trim_start);
    elements.is_some_and(|elements| elements.starts_with(['"', '[']))
}
