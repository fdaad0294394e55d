//! `GET /metrics`: all metrics as OpenMetrics text. Values that other modules own are read here.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::super::super::state::AppState;
use super::super::error::ApiError;
use crate::build_info;
use crate::memory::{limits, process};

/// Media type of the response.
pub const MEDIA_TYPE: &str = "application/openmetrics-text";
const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

/// The page.
pub async fn scrape(State(state): State<Arc<AppState>>) -> Result<Response<Body>, ApiError> {
    let page = page(&state).map_err(|error| ApiError::internal(error.to_string()))?;
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    Ok(response)
}

fn page(state: &AppState) -> Result<String, fmt::Error> {
    let mut page = String::new();
    state.metrics.encode(&mut page)?;
    encode_registry(&mut page, &snapshot(state))?;
    encode_eof(&mut page)?;
    Ok(page)
}

/// The present values of the gauges.
fn snapshot(state: &AppState) -> Registry {
    let mut registry = Registry::default();
    let mut integer = |name: &str, help: &str, value: u64| register(&mut registry, name, help, value);
    let (requests, bytes) = state.admission.inflight();
    integer("inferd_inflight_requests", "Requests that hold a permit", requests as u64);
    integer("inferd_inflight_bytes", "Bytes of bodies and responses that permits count", bytes);
    integer(
        "inferd_queued_requests",
        "Requests in the queue of the scheduler",
        state.scheduler.queued() as u64,
    );
    integer("inferd_blas_threads", "Threads that OpenBLAS uses", engine::blas_info().threads as u64);
    if let Some(memory) = process::read(Path::new("/")) {
        integer("inferd_memory_anonymous_bytes", "Anonymous memory of the process", memory.anonymous);
        integer("process_resident_memory_bytes", "Resident memory of the process", memory.resident);
        integer("process_threads", "Threads of the process", memory.threads);
    }
    if let Some(anonymous) = limits::own_anonymous(Path::new("/")) {
        integer(
            "inferd_cgroup_anonymous_bytes",
            "`anon` in memory.stat of the cgroup of the process",
            anonymous,
        );
    }
    if let Some(cap) = &state.memory_cap {
        integer("inferd_memory_max_bytes", "Resident memory above which requests get 503", cap.bound().bytes);
    }
    if let Some(mappings) = mappings() {
        integer("process_memory_mappings", "Mappings of the process; vm.max_map_count bounds them", mappings);
    }
    if let Some(stats) = mimalloc_sys::stats() {
        let gauges = [
            ("inferd_allocator_reserved_bytes", "Reserved address space", stats.reserved_bytes),
            (
                "inferd_allocator_committed_bytes",
                "Address space that was in use once, returned memory included",
                stats.committed_bytes,
            ),
            ("inferd_allocator_pages", "Pages that hold blocks", stats.pages),
            ("inferd_allocator_abandoned_pages", "Those without an owning thread", stats.pages_abandoned),
        ];
        for (name, help, value) in gauges {
            integer(name, help, value);
        }
        let counters = [
            ("inferd_allocator_reset_bytes", "Memory returned with MADV_FREE", stats.reset_bytes),
            ("inferd_allocator_purged_bytes", "Memory returned with any call", stats.purged_bytes),
        ];
        for (name, help, value) in counters {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
    }
    if let Some(cap) = &state.memory_cap {
        let rejected = Counter::<u64>::default();
        rejected.inc_by(cap.rejected());
        registry.register("inferd_memory_max_rejections", "Requests that got 503 at the bound", rejected);
        let source = vec![("source", cap.bound().source.clone())];
        registry.register("inferd_memory_max", "What set the bound of the memory", Info::new(source));
    }
    let mut integer = |name: &str, help: &str, value: u64| register(&mut registry, name, help, value);
    if let Some(measured) = state.memory().and_then(|report| report.measured_anonymous) {
        let help = "Anonymous memory that loading and the first full batch allocated";
        integer("inferd_memory_loaded_bytes", help, measured);
    }
    let mut float = |name: &str, help: &str, value: f64| {
        let gauge = FloatGauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    float("inferd_uptime_seconds", "Time since the start", state.started.elapsed().as_secs_f64());
    models(state, &mut registry);
    registry
}

fn register(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

/// The kernel has no cheaper source of this number; the server has below 200 mappings.
fn mappings() -> Option<u64> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    Some(maps.iter().filter(|byte| **byte == b'\n').count() as u64)
}

fn models(state: &AppState, registry: &mut Registry) {
    let loaded = Family::<ModelLabels, Gauge>::default();
    let load_time = Family::<ModelLabels, FloatGauge>::default();
    for entry in state.catalog.entries().iter() {
        let labels = ModelLabels { model: entry.name().to_owned() };
        loaded.get_or_create(&labels).set(entry.is_loaded().into());
        if let Some(time) = entry.load_time() {
            load_time.get_or_create(&labels).set(time.as_secs_f64());
        }
    }
    registry.register("inferd_model_loaded", "Whether the model is in memory", loaded);
    registry.register(
        "inferd_model_load_duration_seconds",
        "Duration of the last load of the model",
        load_time,
    );
    if let Some(report) = state.memory() {
        let estimate = Family::<KindLabels, Gauge>::default();
        for (kind, bytes) in [("anonymous", report.estimate_anonymous), ("file", report.estimate_file)] {
            estimate.get_or_create(&KindLabels { kind }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        registry.register("inferd_memory_estimate_bytes", "Estimated memory of the models", estimate);
    }
    let info = build_info::get();
    let labels = vec![
        ("version", info.version.to_owned()),
        ("commit", info.commit.to_owned()),
        ("kernels", state.kernels.clone()),
        ("isa", engine::Isa::best().to_string()),
        ("blas", engine::blas_info().core),
    ];
    registry.register("inferd_build", "Version of the server and kernel of OpenBLAS", Info::new(labels));
}
