//! The way of every request that computes, whatever it asks for: deadline, admission, body, model, scheduler, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use serde::{Deserialize, Serialize};

use super::super::admission::Permit;
use super::super::app::App;
use super::super::catalog::Entry;
use super::super::job::Done;
use super::super::model::{Model, Shape};
use super::super::scheduler::Input;
use super::body::{self, HeldBody};
use super::deadline::Deadline;
use super::error::ApiError;
use super::input::Limits;
use super::request_log::RequestContext;

/// A request that was let in.
pub struct Work {
    app: Arc<App>,
    context: RequestContext,
    deadline: Deadline,
    permit: Permit,
}

/// The model that a request asked for, in memory.
pub struct Loaded {
    pub entry: Arc<Entry>,
    pub model: Arc<dyn Model>,
    pub shape: Shape,
}

#[derive(Serialize)]
pub struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    pub fn of(tokens: usize) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

impl Work {
    /// Lets the request in and reads its body.
    pub async fn begin(
        app: Arc<App>,
        context: RequestContext,
        request: Request<Body>,
    ) -> Result<(Self, Vec<u8>), ApiError> {
        let (head, mut body) = request.into_parts();
        match Self::admit(app, context, &head.headers, &mut body).await {
            Ok(begun) => Ok(begun),
            // The permit, if there was one, is gone by now: nobody waits for the rest of a body that is refused.
            Err(error) => Err(error.with_body_read(body::discard(&head.headers, &mut body).await)),
        }
    }

    async fn admit(
        app: Arc<App>,
        context: RequestContext,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<(Self, Vec<u8>), ApiError> {
        let limits = app.limits;
        let deadline = Deadline::of(headers, limits.infer_timeout, context.started)?;
        body::require_json(headers)?;
        let bytes = body::announced_bytes(headers, limits.body_bytes_max)?;
        let permit = app.admission.admit(&context.client, bytes)?;
        let body = body::read(body, limits.body_bytes_max, limits.body_timeout).await?;
        Ok((Self { app, context, deadline, permit }, body))
    }

    pub async fn model(&self, name: Option<&str>) -> Result<Loaded, ApiError> {
        let entry = self.app.catalog.find(name)?;
        let model = self.deadline.limit(entry.get(&self.app.catalog)).await?.map_err(|why| {
            ApiError::unavailable(
                "model_not_loaded",
                format!("the model `{}` cannot be loaded: {why}", entry.name),
            )
        })?;
        let shape = model.shape();
        Ok(Loaded { entry, model, shape })
    }

    /// What the inputs of one request may be.
    pub fn limits(&self) -> Limits {
        let ids_max = self.app.scheduler.request_tokens_max();
        Limits { inputs_max: self.app.limits.inputs_max, ids_max }
    }

    /// Counts bytes that the request holds besides its body.
    pub fn charge(&mut self, bytes: usize) -> Result<(), ApiError> {
        Ok(self.permit.charge(bytes as u64)?)
    }

    /// Waits for the scheduler's answer. `param` is the field that the inputs came from.
    pub async fn run(mut self, loaded: &Loaded, input: Input, param: &'static str) -> Result<Done, ApiError> {
        check(&input, loaded.shape, self.app.limits.inputs_max, param)?;
        if !matches!(input, Input::ToPieces { .. }) {
            self.charge(input.len() * loaded.shape.dimension * size_of::<f32>())?;
        }
        let model = Arc::clone(&loaded.model);
        let mut ticket = self.app.scheduler.submit(self.context.client.clone(), model, input, self.permit);
        let done = self.deadline.limit(ticket.answer()).await?;
        let done = done.map_err(|error| ApiError::of_job(error, param))?;
        self.app.metrics.queued(done.queued);
        self.context.note(done.tokens, done.queued);
        // JSON has no NaN: the client would find `null`.
        match done.vectors.iter().position(|vector| !vector.iter().all(|value| value.is_finite())) {
            Some(index) => Err(ApiError::internal(format!("the vector of input {index} is not finite"))),
            None => Ok(done),
        }
    }
}

/// What can be known before anything is computed.
fn check(input: &Input, shape: Shape, inputs_max: usize, param: &'static str) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::invalid(param, message));
    if let Input::Sequences(sequences) = input {
        for (index, ids) in sequences.iter().enumerate() {
            if ids.is_empty() || ids.len() > shape.tokens_max {
                let (tokens, tokens_max) = (ids.len(), shape.tokens_max);
                return invalid(format!(
                    "input {index} has {tokens} token ids; the model reads 1 to {tokens_max}"
                ));
            }
            if let Some(id) = ids.iter().find(|id| **id as usize >= shape.vocabulary) {
                let below = shape.vocabulary;
                return invalid(format!(
                    "input {index} has token id {id}; the model knows those below {below}"
                ));
            }
        }
    }
    match input.len() {
        0 => invalid(format!("`{param}` is empty")),
        n if n > inputs_max => invalid(format!("{n} inputs; this server takes {inputs_max} in one request")),
        _ => Ok(()),
    }
}

pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::json(error.to_string()))
}

/// The answer; the permit is held until it has been sent.
pub fn answer(value: &impl Serialize, permit: Permit) -> Result<Response<Body>, ApiError> {
    let json = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
    let mut response = Response::new(Body::new(HeldBody::new(json, permit)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
