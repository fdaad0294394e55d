//! The log of a start: what the server decided, and the source of each decision.

use std::time::Duration;

use super::api_keys::ApiKeys;
use super::backends::Described;
use super::listen::Listen;
use super::memory_budget::Breakdown;
use super::options::Options;
use super::state::AppState;
use crate::build_info::{self, STACK_SIZE_BYTES};
use crate::memory::preflight::{Footprint, mib};

/// Anonymous memory before the models are opened, after that, and after the first full batch.
pub type AnonymousReadings = Vec<Option<u64>>;

/// Logs everything that is known before the first request.
/// `addresses` are those of the API and those of the administration.
pub fn all(
    options: &Options,
    state: &AppState,
    addresses: (&[Listen], &[Listen]),
    memory_check: &str,
    need: Footprint,
) {
    start(options);
    compute(options);
    tracing::info!(
        check = %memory_check,
        anonymous_mib = mib(need.anonymous),
        weights_mib = mib(need.file_backed),
        max_mib = state.memory_cap.as_ref().map(|cap| cap.bound().bytes >> 20),
        max_source = %state.memory_cap.as_ref().map_or("none", |cap| &cap.bound().source),
        "memory"
    );
    limits(options);
    access(options, state.api_keys.as_ref());
    for entry in state.catalog.entries().iter() {
        let compute = Described(options.backends.of(entry.name()));
        tracing::info!(name = %entry.name(), compute = %compute, dir = %entry.dir().display(), loaded = entry.is_loaded(), "model");
    }
    for listen in addresses.0 {
        tracing::info!(url = %url(listen), "listening");
    }
    for listen in addresses.1 {
        tracing::info!(url = %url(listen), "admin");
    }
}

fn url(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(_) => listen.to_string(),
    }
}

fn start(options: &Options) {
    let info = build_info::get();
    let config = options.sources.config.as_ref().map_or("none".into(), |file| file.display().to_string());
    tracing::info!(
        version = %info.version, commit = %info.commit, pid = std::process::id(), config = %config,
        "start"
    );
    for warning in &options.sources.warnings {
        tracing::warn!(reason = %warning, "config");
    }
}

fn compute(options: &Options) {
    tracing::info!(
        threads = options.threads.get(),
        threads_source = %options.sources.threads,
        stack_bytes = STACK_SIZE_BYTES,
        kernels = %Described(options.backends.default),
        kernels_source = %options.sources.kernels,
        blas = %engine::blas_info().core,
        allocator = %allocator(),
        batch_tokens = options.batches.batch_tokens,
        batch_delay_ms = options.batches.batch_delay.as_millis() as u64,
        "compute"
    );
}

/// mimalloc is the only allocator; its version is known in a release.
fn allocator() -> String {
    let native = build_info::get().native;
    let version = native.iter().find(|library| library.name == "mimalloc").map(|library| library.version);
    version.map_or("mimalloc".into(), |version| format!("mimalloc {version}"))
}

fn limits(options: &Options) {
    let Options { admission, requests, connections, .. } = options;
    let text = |limit: Option<Duration>| match limit {
        None => "disabled".to_string(),
        Some(limit) => format!("{} ms", limit.as_millis()),
    };
    tracing::info!(
        max_inflight = admission.requests_max,
        max_inflight_bytes = admission.bytes_max,
        max_body_bytes = requests.body_bytes_max,
        max_inputs = requests.inputs_max,
        max_request_tokens = options.batches.request_tokens_max,
        max_connections = connections.connections_max,
        queue_timeout = %text(options.batches.queue_timeout),
        request_timeout = %text(Some(requests.timeout).filter(|limit| !limit.is_zero())),
        token_ids = %if requests.token_ids { "accepted" } else { "refused" },
        "limits"
    );
}

fn access(options: &Options, api_keys: Option<&ApiKeys>) {
    if !options.trusted_proxies.is_empty() {
        let proxies: Vec<String> = options.trusted_proxies.iter().map(ToString::to_string).collect();
        tracing::info!(proxies = %proxies.join(","), "trusted_proxies");
    }
    let Some(api_keys) = api_keys else {
        tracing::info!(authentication = %"none", reason = %"no `--api-keys`", "access");
        return;
    };
    let metrics = if options.protect_metrics { "protected" } else { "open" };
    tracing::info!(authentication = %"api-key", keys = api_keys.count(), metrics = %metrics, "access");
    if let Some(warning) = api_keys.warning() {
        tracing::warn!(reason = %warning, "api_keys_readable");
    }
}

/// Logs the estimate beside the measurement, step by step, in bytes. A missing measurement has no field.
pub fn memory_after_load(estimate: &Breakdown, before: Option<u64>, readings: &AnonymousReadings) {
    let readings: Vec<Option<u64>> = [before].into_iter().chain(readings.iter().copied()).collect();
    let growth = |from: usize, to: usize| {
        let reading = |index: usize| readings.get(index).copied().flatten();
        Some(reading(to)?.saturating_sub(reading(from)?))
    };
    tracing::info!(
        anonymous = growth(0, readings.len() - 1),
        estimate = estimate.footprint().anonymous,
        server = growth(0, 1),
        server_estimate = estimate.server,
        models = growth(1, 2),
        models_estimate = estimate.models,
        compute = growth(2, 3),
        compute_estimate = estimate.compute,
        "memory_after_load"
    );
}
