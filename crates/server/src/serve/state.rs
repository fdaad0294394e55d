//! The state that all handlers share. It is created once; what changes has its own lock.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::admission::Admission;
use super::api_keys::ApiKeys;
use super::backends::Described;
use super::catalog::{Catalog, Loader};
use super::memory_cap::MemoryCap;
use super::metrics::Metrics;
use super::options::{Options, RequestLimits};
use super::scheduler::Scheduler;
use super::trusted_proxy::TrustedProxy;

/// Estimate and measurement of the models' memory, in bytes above the usage of the process before loading.
#[derive(Debug, Clone, Copy)]
pub struct MemoryReport {
    pub estimate_anonymous: u64,
    pub estimate_file: u64,
    pub measured_anonymous: Option<u64>,
}

/// State of the router.
pub struct AppState {
    pub limits: RequestLimits,
    pub catalog: Catalog,
    pub admission: Arc<Admission>,
    pub scheduler: Scheduler,
    pub metrics: Arc<Metrics>,
    /// `None`: requests need no key.
    pub api_keys: Option<ApiKeys>,
    /// Whether `/metrics` and the status page require a key.
    pub protect_metrics: bool,
    /// Peers whose headers about the client are used.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Compute threads.
    pub threads: usize,
    /// What computes products, for people.
    pub kernels: String,
    pub started: Instant,
    /// `None`: memory has no bound at run time.
    pub memory_cap: Option<Arc<MemoryCap>>,
    memory: OnceLock<MemoryReport>,
}

impl AppState {
    /// State with no model loaded. Starts the threads of the scheduler.
    pub fn new(options: &Options, loader: Loader, api_keys: Option<ApiKeys>) -> io::Result<Self> {
        let metrics = Arc::new(Metrics::default());
        Ok(Self {
            limits: options.requests,
            catalog: Catalog::new(&options.models, loader),
            admission: Admission::new(options.admission),
            scheduler: Scheduler::start(options.batches, Arc::clone(&metrics))?,
            metrics,
            api_keys,
            protect_metrics: options.protect_metrics,
            trusted_proxies: options.trusted_proxies.clone(),
            threads: options.threads.get(),
            kernels: Described(options.backends.default).to_string(),
            started: Instant::now(),
            memory_cap: None,
            memory: OnceLock::new(),
        })
    }

    /// Bounds the memory of the process.
    pub fn with_memory_cap(self, memory_cap: Option<MemoryCap>) -> Self {
        let memory_cap = memory_cap.map(Arc::new);
        if let Some(cap) = &memory_cap {
            self.admission.set_memory_cap(Arc::clone(cap));
        }
        Self { memory_cap, ..self }
    }

    /// Records the memory of the models. Later calls change nothing.
    pub fn set_memory(&self, report: MemoryReport) {
        let _ = self.memory.set(report);
    }

    /// Memory of the models, unless they are loaded lazily.
    pub fn memory(&self) -> Option<&MemoryReport> {
        self.memory.get()
    }
}
