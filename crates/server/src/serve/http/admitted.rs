//! The extractor of every request that computes: deadline, admission, body; then model and scheduler.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::{HeaderMap, Request};
use serde::Serialize;

use super::super::admission::Permit;
use super::super::catalog::CatalogEntry;
use super::super::exhaustion;
use super::super::job::JobOutput;
use super::super::model::{Model, Shape};
use super::super::scheduler;
use super::super::state::AppState;
use super::super::text::BodyText;
use super::context::{self, Phase, RequestContext};
use super::deadline::Deadline;
use super::error::ApiError;
use super::input::InputLimits;
use super::stream::BUFFER_BYTES;
use super::{body, body_reader};

/// Larger bodies are parsed on a thread of their own: the threads of HTTP serve all clients.
const INLINE_BODY_BYTES_MAX: usize = 64 << 10;

/// JSON of a value of a vector: a sign, eight or nine digits, a point, an exponent, a comma.
const JSON_BYTES_PER_VALUE: usize = 16;

/// A request that has been admitted, and its body.
pub struct Admitted {
    request: AdmittedRequest,
    body: Vec<u8>,
}

/// Holds the permit of a request.
pub struct AdmittedRequest {
    state: Arc<AppState>,
    context: RequestContext,
    deadline: Deadline,
    permit: Permit,
    body_bytes: u64,
}

/// The model of a request, in memory.
pub struct LoadedModel {
    pub entry: Arc<CatalogEntry>,
    pub model: Arc<dyn Model>,
    pub shape: Shape,
}

/// The field `usage` of a response.
#[derive(Serialize)]
pub struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    /// Usage of an encoder: all tokens are prompt tokens.
    pub fn of(tokens: usize) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

impl FromRequest<Arc<AppState>> for Admitted {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let (head, mut body) = request.into_parts();
        let context = head.extensions.get::<RequestContext>().cloned();
        let context = context.ok_or_else(|| ApiError::internal("the request has no context"))?;
        // The layer around the handlers reads the rest of the body of a rejected request.
        let (request, body) = AdmittedRequest::admit(state, context, &head.headers, &mut body).await?;
        Ok(Self { request, body })
    }
}

impl Admitted {
    /// Parses the body with `read`. The permit goes along, so that a request whose client has disconnected counts until
    /// its body is parsed.
    pub async fn parse<T: Send + 'static>(
        self,
        read: impl FnOnce(&Arc<BodyText>, InputLimits) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(AdmittedRequest, T), ApiError> {
        let Self { request, body } = self;
        let is_large = body.len() > INLINE_BODY_BYTES_MAX;
        let parse = move || {
            let body = String::from_utf8(body)
                .map_err(|error| ApiError::json(format!("the body is not UTF-8: {}", error.utf8_error())))?;
            let value = read(&Arc::new(body.into()), request.input_limits())?;
            Ok((request, value))
        };
        if !is_large {
            return parse();
        }
        // The runtime has one such thread. A task that waits for it is dropped with its request.
        let mut task = AbortOnDrop(tokio::task::spawn_blocking(parse));
        let result = (&mut task.0).await;
        result.unwrap_or_else(|_| Err(ApiError::internal("the parser of this request panicked")))
    }
}

/// Cancels a task that has not begun.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl AdmittedRequest {
    async fn admit(
        state: &Arc<AppState>,
        context: RequestContext,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<(Self, Vec<u8>), ApiError> {
        let limits = state.limits;
        let deadline = Deadline::of(headers, limits.timeout, context.started)?;
        body::require_json(headers)?;
        let announced = body::announced_bytes(headers, limits.body_bytes_max)?;
        if !exhaustion::has_memory() {
            return Err(ApiError::out_of_memory());
        }
        if let Some(cap) = &state.memory_cap {
            cap.check(announced.unwrap_or(limits.body_bytes_max)).map_err(ApiError::memory_full)?;
        }
        let mut permit = state.admission.admit(&context.client)?;
        let body = deadline.limit(body_reader::read(body, announced, &limits, &mut permit)).await??;
        let body_bytes = body.len() as u64;
        Ok((Self { state: Arc::clone(state), context, deadline, permit, body_bytes }, body))
    }

    /// The model with this name; loads it when necessary.
    pub async fn model(&self, name: Option<&str>) -> Result<LoadedModel, ApiError> {
        let entry = self.state.catalog.find(name)?;
        self.context.set_phase(Phase::ModelLoad);
        let model = self.deadline.limit(entry.get(&self.state.catalog)).await?.map_err(|error| {
            let message =
                format!("the model `{}` cannot be loaded: {}", entry.name(), error.fields().message);
            ApiError::model_not_loaded(error.code(), message)
        })?;
        let shape = model.shape();
        Ok(LoadedModel { entry, model, shape })
    }

    /// Bytes of the body.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Limits on the inputs of one request.
    pub fn input_limits(&self) -> InputLimits {
        let ids_max = self.state.scheduler.request_tokens_max();
        InputLimits {
            inputs_max: self.state.limits.inputs_max,
            ids_max,
            token_ids: self.state.limits.token_ids,
        }
    }

    /// Counts bytes that the request holds besides its body.
    pub fn charge(&mut self, bytes: usize) -> Result<(), ApiError> {
        Ok(self.permit.charge(bytes as u64)?)
    }

    /// Submits the input and waits for the result. `param` is the field that the input came from.
    pub async fn compute(
        mut self,
        loaded: &LoadedModel,
        input: scheduler::Input,
        param: &'static str,
    ) -> Result<JobOutput, ApiError> {
        check(&input, loaded.shape, self.state.limits.inputs_max, param)?;
        // The tokens of `/tokenize` are charged while they are counted.
        let encoded = match &input {
            scheduler::Input::TokenizeOnly { .. } => BUFFER_BYTES,
            _ => {
                let values = input.len() * loaded.shape.dimension;
                self.charge(values * size_of::<f32>())?;
                (values * JSON_BYTES_PER_VALUE).min(BUFFER_BYTES)
            }
        };
        self.charge(encoded)?;
        let (client, model) = (self.context.client.clone(), Arc::clone(&loaded.model));
        let mut response = self.state.scheduler.submit(client, model, input, self.permit);
        self.context.set_phase(Phase::Queue);
        let output = self.deadline.limit(response.receive()).await.inspect_err(|_| {
            if response.has_begun() {
                self.context.set_phase(Phase::Compute);
            }
        })?;
        let output = output.map_err(|error| ApiError::of_job(&error, param))?;
        self.state.metrics.queued(output.queued);
        self.context.set_usage(context::Usage { tokens: output.token_count, queued: output.queued });
        // JSON has no NaN: the client would receive `null`.
        match output.vectors.iter().position(|vector| !vector.iter().all(|value| value.is_finite())) {
            Some(index) => Err(ApiError::internal(format!("the vector of input {index} is not finite"))),
            None => Ok(output),
        }
    }
}

/// Checks that need no computation.
fn check(
    input: &scheduler::Input,
    shape: Shape,
    inputs_max: usize,
    param: &'static str,
) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::invalid(param, message));
    if let scheduler::Input::Sequences(sequences) = input {
        for (index, ids) in sequences.iter().enumerate() {
            if ids.is_empty() || ids.len() > shape.tokens_max {
                let (tokens, tokens_max) = (ids.len(), shape.tokens_max);
                return invalid(format!(
                    "input {index} has {tokens} token ids; the model accepts 1 to {tokens_max}"
                ));
            }
            if let Some(id) = ids.iter().find(|id| **id as usize >= shape.vocabulary) {
                let vocabulary = shape.vocabulary;
                return invalid(format!(
                    "input {index} has the token id {id}; the ids of the model are below {vocabulary}"
                ));
            }
        }
    }
    match input.len() {
        0 => invalid(format!("`{param}` is empty")),
        n if n > inputs_max => invalid(format!("{n} inputs; the limit of this server is {inputs_max}")),
        _ => Ok(()),
    }
}
