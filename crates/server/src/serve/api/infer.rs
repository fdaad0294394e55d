//! `POST /v1/infer`: this server's own interface. `task` says what is wanted, and with it which fields there are.
//!
//! ```json
//! {"task": "embed",      "inputs": "a text, texts, token ids or lists of token ids", "dimensions": 128}
//! {"task": "similarity", "source": "one input", "targets": ["inputs"]}
//! {"task": "rerank",     "query": "one input", "documents": ["inputs"], "top_n": 3}
//! ```

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{Request, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::app::App;
use super::error::ApiError;
use super::input::{Input, Limits};
use super::request_log::RequestContext;
use super::vectors::{rank, shorten, similarities, width};
use super::whole::Whole;
use super::work::{Usage, Work, answer, parse};

/// Read first: which of the three the body is. A tagged enum would keep the whole body as a tree to find out.
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
    #[allow(dead_code, reason = "read before")]
    task: IgnoredAny,
    model: Option<String>,
    #[serde(borrow)]
    inputs: &'a RawValue,
    dimensions: Option<Whole<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Similarity<'a> {
    #[allow(dead_code, reason = "read before")]
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
    #[allow(dead_code, reason = "read before")]
    task: IgnoredAny,
    model: Option<String>,
    #[serde(borrow)]
    query: &'a RawValue,
    #[serde(borrow)]
    documents: &'a RawValue,
    top_n: Option<Whole<u32>>,
}

#[derive(Serialize)]
struct InferAnswer<'a> {
    task: Task,
    model: &'a str,
    #[serde(flatten)]
    found: Found,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    Embeddings(Vec<Vec<f32>>),
    Similarities(Vec<f32>),
    Results(Vec<Ranked>),
}

#[derive(Serialize)]
struct Ranked {
    index: usize,
    score: f32,
}

/// What the scheduler is asked for, and what is made of its vectors.
struct Question {
    task: Task,
    model: Option<String>,
    input: Input,
    param: &'static str,
    dimensions: Option<usize>,
    top_n: Option<usize>,
}

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (work, body) = Work::begin(app, context, request).await?;
    let question = read(&body, work.limits())?;
    drop(body);
    let loaded = work.model(question.model.as_deref()).await?;
    let width = width(question.dimensions, loaded.shape)?;
    let mut done = work.run(&loaded, question.input.into(), question.param).await?;
    let found = match question.task {
        Task::Embed => {
            done.vectors.iter_mut().for_each(|vector| shorten(vector, width));
            Found::Embeddings(done.vectors)
        }
        Task::Similarity => Found::Similarities(similarities(&done.vectors)),
        Task::Rerank => {
            let ranked = rank(&similarities(&done.vectors), question.top_n)?;
            Found::Results(ranked.into_iter().map(|(index, score)| Ranked { index, score }).collect())
        }
    };
    let (model, usage) = (loaded.entry.name.as_str(), Usage::of(done.tokens));
    answer(&InferAnswer { task: question.task, model, found, usage }, done.permit)
}

fn read(body: &[u8], limits: Limits) -> Result<Question, ApiError> {
    let task = parse::<Tagged>(body)?.task;
    let plain = |model, input, param| Question { task, model, input, param, dimensions: None, top_n: None };
    match task {
        Task::Embed => {
            let Embed { model, inputs, dimensions, .. } = parse(body)?;
            let input = Input::read(inputs, "inputs", limits)?;
            let dimensions = dimensions.map(|whole| whole.0);
            Ok(Question { dimensions, ..plain(model, input, "inputs") })
        }
        Task::Similarity => {
            let Similarity { model, source, targets, .. } = parse(body)?;
            let input = one_and_many((source, "source"), (targets, "targets"), limits)?;
            Ok(plain(model, input, "targets"))
        }
        Task::Rerank => {
            let Rerank { model, query, documents, top_n, .. } = parse(body)?;
            let top_n = top_n.map(|whole| whole.0 as usize);
            // Before anything is computed for it.
            rank(&[], top_n)?;
            let input = one_and_many((query, "query"), (documents, "documents"), limits)?;
            Ok(Question { top_n, ..plain(model, input, "documents") })
        }
    }
}

type Field<'a> = (&'a RawValue, &'static str);

fn one_and_many(one: Field<'_>, many: Field<'_>, limits: Limits) -> Result<Input, ApiError> {
    let ((one, one_name), (many, many_name)) = (one, many);
    let one = Input::read(one, one_name, limits)?;
    if one.len() != 1 {
        let message = format!("`{one_name}` must be one input; these are {}", one.len());
        return Err(ApiError::invalid(one_name, message));
    }
    let many = Input::read(many, many_name, limits)?;
    if many.len() == 0 {
        return Err(ApiError::invalid(many_name, format!("`{many_name}` is empty")));
    }
    let both = one.and(many);
    both.ok_or_else(|| {
        ApiError::invalid(
            many_name,
            format!("`{one_name}` and `{many_name}` must both be text or both token ids"),
        )
    })
}
