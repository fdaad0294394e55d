//! Reloads API keys and models without losing a request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diag::Diagnostic;

use super::api_keys::ApiKeys;
use super::memory_budget::MemoryCheck;
use super::options::Options;
use super::server::Server;
use super::state::AppState;
use crate::codes;
use crate::memory::limits;
use crate::memory::remedies::Need;

impl Server {
    /// Reloads and waits for the result.
    pub fn reload(&self) -> Result<(), Diagnostic> {
        let result = self.runtime.block_on(reload(&self.state, &self.options));
        log_result(&result);
        result.map(drop)
    }
}

/// Reads the keys again and loads the models again from the same folders, if they fit into memory beside the present
/// ones. Returns the duration.
pub async fn reload(state: &AppState, options: &Options) -> Result<Duration, Diagnostic> {
    let started = Instant::now();
    // Keys first: a revoked key must not stay valid because a model cannot be loaded.
    let keys = state.api_keys.as_ref().map_or(Ok(0), ApiKeys::reload);
    let result = reload_models(state, options).await.and(keys.map(drop));
    state.metrics.reload(result.is_ok());
    result.map(|()| started.elapsed())
}

/// Admits one reload at a time.
#[derive(Clone, Default)]
pub struct ReloadGate(Arc<AtomicBool>);

/// The right to reload; another reload can begin when it is dropped, also by a panic.
pub struct ReloadPermit(Arc<AtomicBool>);

impl ReloadGate {
    /// `None` while another reload runs.
    pub fn enter(&self) -> Option<ReloadPermit> {
        let is_free = !self.0.swap(true, Ordering::AcqRel);
        is_free.then(|| ReloadPermit(Arc::clone(&self.0)))
    }
}

impl Drop for ReloadPermit {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Reloads on a task of its own and logs the result. A panic is a failed reload.
pub async fn reload_and_log(state: Arc<AppState>, options: Arc<Options>, permit: ReloadPermit) {
    let metrics = Arc::clone(&state.metrics);
    let result = match tokio::spawn(async move { reload(&state, &options).await }).await {
        Ok(result) => result,
        Err(_) => {
            metrics.reload(false);
            Err(Diagnostic::new(&codes::INTERNAL_ERROR, "the reload panicked; the message is on stderr"))
        }
    };
    drop(permit);
    log_result(&result);
}

/// Logs the end of a reload, when the server accepts the next one.
fn log_result(result: &Result<Duration, Diagnostic>) {
    match result {
        Ok(time) => tracing::info!(ms = time.as_millis() as u64, "reloaded"),
        Err(diagnostic) => {
            tracing::error!(code = %diagnostic.code().id, error = %diagnostic, "reload_failed");
        }
    }
}

async fn reload_models(state: &AppState, options: &Options) -> Result<(), Diagnostic> {
    if let (Some(headroom), false) = (options.memory_headroom, options.lazy_weights) {
        // The threads and their memory exist already.
        let need = Need { threads: 0, batch_tokens: 0, request_bytes: 0 };
        let check = MemoryCheck {
            models: &options.models,
            backends: &options.backends,
            need,
            headroom,
            mapped_weights: 0,
        };
        check.run(&limits::read_limits(Path::new("/")))?;
    }
    let result = state.catalog.reload().await;
    mimalloc_sys::collect();
    result
}
