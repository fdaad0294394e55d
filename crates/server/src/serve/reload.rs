//! Reloads API keys and models without losing a request.

use std::path::Path;
use std::time::Instant;

use diag::Diagnostic;
use engine::memory::Workload;

use super::api_keys::ApiKeys;
use super::memory_budget::{self, Breakdown};
use super::options::Options;
use super::server::Server;
use super::state::AppState;

impl Server {
    /// Reloads and waits for the result.
    pub fn reload(&self) -> Result<(), Diagnostic> {
        self.runtime.block_on(reload(&self.state, &self.options))
    }
}

/// Reads the keys again and loads the models again from the same folders, if they fit into memory beside the present ones.
pub async fn reload(state: &AppState, options: &Options) -> Result<(), Diagnostic> {
    let started = Instant::now();
    // Keys first: a revoked key must not stay valid because a model cannot be loaded.
    let keys = state.api_keys.as_ref().map_or(Ok(0), ApiKeys::reload);
    let result = reload_models(state, options).await.and(keys.map(drop));
    state.metrics.reload(result.is_ok());
    match &result {
        Ok(()) => {
            state.set_load_time(started.elapsed());
            tracing::info!(ms = started.elapsed().as_millis() as u64, "reloaded");
        }
        Err(diagnostic) => {
            tracing::error!(code = %diagnostic.code().id, error = %diagnostic, "reload_failed");
        }
    }
    result
}

async fn reload_models(state: &AppState, options: &Options) -> Result<(), Diagnostic> {
    if let (Some(headroom), false) = (options.memory_headroom, options.lazy_weights) {
        // The threads and their memory exist already.
        let workload = Workload { threads: 0, batch_tokens: 0 };
        let footprint = Breakdown::of_models(&options.models, workload)?.footprint();
        memory_budget::check(footprint, 0, headroom, Path::new("/"))?;
    }
    let result = state.catalog.reload().await;
    mimalloc_sys::collect();
    result
}
