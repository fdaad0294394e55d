//! Opens a server: memory check, models, listeners, in this order.

use std::path::Path;
use std::sync::Arc;

use diag::Diagnostic;
use engine::memory::Workload;
use engine::{Embedder, STACK_SIZE_BYTES, WorkerPool};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::api_keys::ApiKeys;
use super::catalog::Loader;
use super::connections;
use super::http;
use super::listen::{Listen, Listener};
use super::memory_budget::{self, Breakdown};
use super::model::Model;
use super::options::Options;
use super::shutdown::Shutdown;
use super::startup_log::{self, AnonymousReadings};
use super::state::{AppState, MemoryReport};
use crate::memory::process;
use crate::{codes, compute_thread};

/// Two threads for HTTP, or one on a single core: the work is small compared with computing.
const HTTP_THREADS_MAX: usize = 2;

/// A running server. `drain` and `reload` implement the rest of its methods and use the fields.
pub struct Server {
    pub(super) runtime: Runtime,
    pub(super) state: Arc<AppState>,
    pub(super) options: Arc<Options>,
    pub(super) shutdown: watch::Sender<Shutdown>,
    pub(super) listeners: JoinSet<()>,
    /// Connections that may still be opened.
    pub(super) free_connections: Arc<Semaphore>,
    addresses: Vec<Listen>,
}

impl Server {
    /// A server with models of the engine.
    pub fn open(options: Options) -> Result<Self, Diagnostic> {
        let before = process::read(Path::new("/"));
        let workload =
            Workload { threads: options.threads.get(), batch_tokens: options.batches.batch_tokens };
        let estimate = Breakdown::of_models(&options.models, workload)?;
        let footprint = estimate.footprint();
        let check = match options.memory_headroom {
            _ if options.lazy_weights => "not checked, because of `--lazy-weights`".to_string(),
            None => "not checked, because of `--no-memory-check`".to_string(),
            Some(headroom) => {
                memory_budget::check(footprint, options.admission.bytes_max, headroom, Path::new("/"))?
            }
        };
        let pool =
            WorkerPool::start(options.threads).map_err(|error| thread_error("compute threads", &error))?;
        let loader: Loader = Arc::new(move |_, dir| {
            let embedder = Embedder::open_with_pool(dir, &pool).map_err(|error| error.diagnostic())?;
            embedder.remember_weights();
            Ok(Arc::new(embedder) as Arc<dyn Model>)
        });
        let (server, readings) = Self::start(options, loader)?;
        startup_log::all(&server.options, &server.state, &server.addresses, &check, footprint);
        if !server.options.lazy_weights {
            let measured = process::read(Path::new("/")).zip(before);
            let measured = measured.map(|(now, before)| now.anonymous.saturating_sub(before.anonymous));
            server.state.set_memory(MemoryReport {
                estimate_anonymous: footprint.anonymous,
                estimate_file: footprint.file_backed,
                measured_anonymous: measured,
            });
            startup_log::memory_after_load(&estimate, before.map(|before| before.anonymous), &readings);
        }
        Ok(server)
    }

    /// A server with models of the caller, without a memory check.
    pub fn open_with(options: Options, loader: Loader) -> Result<Self, Diagnostic> {
        Self::start(options, loader).map(|(server, _)| server)
    }

    fn start(options: Options, loader: Loader) -> Result<(Self, AnonymousReadings), Diagnostic> {
        let runtime = http_runtime(&options)?;
        let api_keys = options.api_keys.as_deref().map(ApiKeys::open).transpose()?;
        let state = AppState::new(&options, loader, api_keys)
            .map_err(|error| thread_error("scheduler threads", &error))?;
        let state = Arc::new(state);
        let mut readings = AnonymousReadings::default();
        if !options.lazy_weights {
            readings = runtime.block_on(load_models(&state, options.batches.batch_tokens))?;
        }
        // All listeners or none: a server that listens on half of its addresses looks healthy on the other half.
        let mut bound = Vec::new();
        for listen in &options.listen {
            bound.push(runtime.block_on(Listener::bind(listen, options.socket_mode))?);
        }
        let addresses = bound.iter().map(Listener::address).collect::<Result<Vec<_>, _>>();
        let addresses = addresses.map_err(|error| {
            codes::caused(&codes::LISTEN_FAILED, "cannot read the address of a listener", &error)
        })?;
        let (shutdown, phase) = watch::channel(Shutdown::NotStarted);
        let router = http::router(Arc::clone(&state));
        let free_connections = Arc::new(Semaphore::new(options.connections.connections_max));
        let mut listeners = JoinSet::new();
        for listener in bound {
            let (router, metrics) = (router.clone(), Arc::clone(&state.metrics));
            let free = Arc::clone(&free_connections);
            let serve =
                connections::serve(listener, router, metrics, options.connections, free, phase.clone());
            listeners.spawn_on(serve, runtime.handle());
        }
        let options = Arc::new(options);
        let server = Self { runtime, state, options, shutdown, listeners, free_connections, addresses };
        Ok((server, readings))
    }

    /// The addresses of the listeners, with the ports that the system selected.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Number of requests that hold a permit.
    pub fn inflight_requests(&self) -> usize {
        self.state.admission.inflight().0
    }
}

fn thread_error(what: &str, error: &dyn std::error::Error) -> Diagnostic {
    codes::caused(&codes::SYSTEM_RESOURCE, format!("cannot start the {what}"), error)
        .hint(codes::fix(&codes::SYSTEM_RESOURCE))
}

fn http_runtime(options: &Options) -> Result<Runtime, Diagnostic> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads.get().clamp(1, HTTP_THREADS_MAX))
        .max_blocking_threads(1)
        .thread_name("inferd-http")
        .thread_stack_size(STACK_SIZE_BYTES)
        .enable_all()
        .build()
        .map_err(|error| thread_error("HTTP threads", &error))
}

/// Loads all models and computes one full batch each. Returns the anonymous memory before, between and after these
/// steps.
async fn load_models(state: &AppState, batch_tokens: usize) -> Result<AnonymousReadings, Diagnostic> {
    let mut readings = vec![anonymous_memory()];
    state.catalog.load_all().await?;
    // The parsed JSON of a tokenizer takes as much memory as the tokenizer itself.
    mimalloc_sys::collect();
    readings.push(anonymous_memory());
    warm_up(state, batch_tokens).await?;
    mimalloc_sys::collect();
    readings.push(anonymous_memory());
    Ok(readings)
}

fn anonymous_memory() -> Option<u64> {
    process::read(Path::new("/")).map(|memory| memory.anonymous)
}

/// Computes one full batch per model, so that the first request finds all memory allocated and the measurement is
/// complete.
async fn warm_up(state: &AppState, batch_tokens: usize) -> Result<(), Diagnostic> {
    for entry in state.catalog.entries().iter() {
        let failed = |cause: String| {
            let message = format!("the first batch of the model `{}` failed", entry.name());
            Diagnostic::new(&codes::MODEL_UNUSABLE, message).cause(cause)
        };
        let model = entry.get(&state.catalog).await?;
        let step = move || model.warm_up(batch_tokens);
        let thread = compute_thread::spawn(step).map_err(|error| thread_error("compute threads", &error))?;
        let result = thread.join().map_err(|_| failed("a panic; its message is on stderr".into()))?;
        result.map_err(|error| failed(error.diagnostic().fields().message.clone()))?;
    }
    Ok(())
}
