//! Opens a server: memory check, models, listeners, in this order.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use diag::Diagnostic;
use engine::{ComputeTeam, Embedder, STACK_SIZE_BYTES};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api_keys::ApiKeys;
use super::catalog::Loader;
use super::connection_table::ConnectionTable;
use super::connections::{self, Endpoint};
use super::http::{self, HostPolicy};
use super::listen::{Listen, Listener};
use super::memory_budget::{Breakdown, LazyMemoryCheck, MemoryCheck};
use super::memory_cap::MemoryCap;
use super::model::Model;
use super::options::Options;
use super::purge::{self, Purger};
use super::purge_request::PurgeRequest;
use super::shutdown::Shutdown;
use super::signals::Signals;
use super::startup_log::{self, AnonymousReadings};
use super::state::{AppState, MemoryReport};
use crate::memory::limits;
use crate::memory::memory_max::MemoryBound;
use crate::memory::process;
use crate::memory::remedies::Need;
use crate::{codes, compute_thread};

/// Two threads for HTTP, or one on a single core: the work is small compared with computing.
const HTTP_THREADS_MAX: usize = 2;

/// Connections of all `--admin-listen` addresses together.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A running server. `drain` and `reload` implement the rest of its methods; they and `run` use the fields.
pub struct Server {
    /// The first field: it ends before the threads that it wakes.
    _purger: Purger,
    pub(super) runtime: Runtime,
    pub(super) state: Arc<AppState>,
    pub(super) options: Arc<Options>,
    pub(super) shutdown: watch::Sender<Shutdown>,
    pub(super) listeners: JoinSet<()>,
    /// Open connections, without those of `--admin-listen`.
    pub(super) connections: Arc<ConnectionTable>,
    addresses: Vec<Listen>,
    admin_addresses: Vec<Listen>,
}

impl Server {
    /// A server with models of the engine, and its signals. They are registered when the models are loaded, before a listener is
    /// bound: until then a signal ends the process at once, and from the first response on it drains or reloads.
    pub fn open(options: Options) -> Result<(Self, Signals), Diagnostic> {
        let before = process::read(Path::new("/"));
        let need = Need {
            threads: options.threads.get(),
            batch_tokens: options.batches.batch_tokens,
            request_bytes: options.admission.bytes_max,
        };
        let size = (need.threads, need.batch_tokens);
        let estimate = Breakdown::of_models(&options.models, &options.backends, size)?;
        let footprint = estimate.footprint();
        let mut limits = limits::read_limits(Path::new("/"));
        let need_bytes = (footprint.anonymous + footprint.file_backed).saturating_add(need.request_bytes);
        let bound = MemoryBound::of(options.memory_max, &limits, need_bytes);
        let anonymous = before.map_or(0, |before| before.anonymous);
        limits.extend(bound.as_ref().and_then(|bound| bound.as_limit(anonymous)));
        let check = match options.memory_headroom {
            _ if options.lazy_weights => "at the first request of each model: `--lazy-weights`".to_string(),
            None => "not checked, because of `--no-memory-check`".to_string(),
            Some(headroom) => MemoryCheck {
                models: &options.models,
                backends: &options.backends,
                need,
                headroom,
                mapped_weights: 0,
            }
            .run(&limits)?,
        };
        let team =
            ComputeTeam::start(options.threads).map_err(|error| thread_error("compute threads", &error))?;
        let lazy_check = options.memory_headroom.filter(|_| options.lazy_weights);
        let lazy_check = lazy_check
            .map(|headroom| LazyMemoryCheck::new(need, options.backends.clone(), headroom, bound.clone()));
        let (team_of_models, backends) = (team.clone(), options.backends.clone());
        let loader: Loader = Arc::new(move |name, dir| {
            let open = || {
                let embedder = Embedder::open_with_team(dir, backends.of(name), &team_of_models);
                let embedder = embedder.map_err(|error| error.diagnostic())?;
                embedder.remember_weights();
                Ok(Arc::new(embedder) as Arc<dyn Model>)
            };
            match &lazy_check {
                Some(check) => check.load(name, dir, open),
                None => open(),
            }
        });
        let (server, readings, signals) = Self::start(options, loader, Some(team), bound, Signals::register)?;
        let addresses = (server.addresses(), server.admin_addresses());
        startup_log::all(&server.options, &server.state, addresses, &check, footprint);
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
        Ok((server, signals))
    }

    /// A server with models of the caller, without a memory check and without signals.
    pub fn open_with(options: Options, loader: Loader) -> Result<Self, Diagnostic> {
        Self::start(options, loader, None, None, || Ok(())).map(|(server, ..)| server)
    }

    /// Registers the signals of a server that was opened without them.
    pub fn register_signals(&self) -> Result<Signals, Diagnostic> {
        let _runtime = self.runtime.enter();
        Signals::register()
    }

    fn start<S>(
        options: Options,
        loader: Loader,
        team: Option<ComputeTeam>,
        bound: Option<MemoryBound>,
        register_signals: impl FnOnce() -> Result<S, Diagnostic>,
    ) -> Result<(Self, AnonymousReadings, S), Diagnostic> {
        let runtime = http_runtime(&options)?;
        let api_keys = options.api_keys.as_deref().map(ApiKeys::open).transpose()?;
        let state = AppState::new(&options, loader, api_keys)
            .map_err(|error| thread_error("scheduler threads", &error))?;
        let purge_request = PurgeRequest::default();
        let cap = bound.map(|bound| MemoryCap::new(bound, purge_request.clone())).transpose();
        let cap = cap.map_err(|error| {
            codes::caused(&codes::SYSTEM_RESOURCE, "cannot read the memory of the process", &error)
        })?;
        let state = Arc::new(state.with_memory_cap(cap));
        let mut readings = AnonymousReadings::default();
        if !options.lazy_weights {
            readings = runtime.block_on(load_models(&state, options.batches.batch_tokens))?;
        }
        let signals = {
            let _runtime = runtime.enter();
            register_signals()?
        };
        let (bound, addresses) = bind_all(&runtime, &options.listen, options.socket_mode)?;
        let (admin_bound, admin_addresses) = bind_all(&runtime, &options.admin_listen, options.socket_mode)?;
        let (shutdown, phase) = watch::channel(Shutdown::NotStarted);
        let connections = ConnectionTable::new(options.connections.connections_max);
        let probe_router = http::probe_router(Arc::clone(&state));
        let endpoint = |router: Router, table: &Arc<ConnectionTable>, listener: &Listener| Endpoint {
            router,
            probe_router: probe_router.clone(),
            hosts: Arc::new(HostPolicy::new(listener.is_loopback(), &options.allowed_hosts)),
            table: Arc::clone(table),
            metrics: Arc::clone(&state.metrics),
            limits: options.connections,
        };
        let mut listeners = JoinSet::new();
        let router = http::router(Arc::clone(&state));
        for listener in bound {
            let endpoint = endpoint(router.clone(), &connections, &listener);
            listeners.spawn_on(connections::serve(listener, endpoint, phase.clone()), runtime.handle());
        }
        let admin_connections = ConnectionTable::new(ADMIN_CONNECTIONS_MAX);
        let admin_router = http::admin_router(Arc::clone(&state));
        for listener in admin_bound {
            let endpoint = endpoint(admin_router.clone(), &admin_connections, &listener);
            listeners.spawn_on(connections::serve(listener, endpoint, phase.clone()), runtime.handle());
        }
        let options = Arc::new(options);
        let threads = purge::Threads { team, http: runtime.handle().clone() };
        let purger = Purger::start(&state, threads, purge_request)
            .map_err(|error| thread_error("thread that returns memory", &error))?;
        let server = Self {
            _purger: purger,
            runtime,
            state,
            options,
            shutdown,
            listeners,
            connections,
            addresses,
            admin_addresses,
        };
        Ok((server, readings, signals))
    }

    /// The addresses of the listeners, with the ports that the system selected.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// The addresses of the listeners for probes and metrics.
    pub fn admin_addresses(&self) -> &[Listen] {
        &self.admin_addresses
    }

    /// Number of requests that hold a permit.
    pub fn inflight_requests(&self) -> usize {
        self.state.admission.inflight().0
    }

    /// Number of tokens that wait for a batch: those of texts that are tokenized.
    pub fn queued_tokens(&self) -> usize {
        self.state.scheduler.queued_tokens()
    }
}

/// All listeners or none: a server that listens on half of its addresses looks healthy on the other half. Returns the
/// addresses with the ports that the system selected.
fn bind_all(
    runtime: &Runtime,
    listen: &[Listen],
    socket_mode: u32,
) -> Result<(Vec<Listener>, Vec<Listen>), Diagnostic> {
    let mut bound = Vec::new();
    for listen in listen {
        bound.push(runtime.block_on(Listener::bind(listen, socket_mode))?);
    }
    let addresses = bound.iter().map(Listener::address).collect::<Result<Vec<_>, _>>();
    let addresses = addresses.map_err(|error| {
        codes::caused(&codes::LISTEN_FAILED, "cannot read the address of a listener", &error)
    })?;
    Ok((bound, addresses))
}

fn thread_error(what: &str, error: &dyn std::error::Error) -> Diagnostic {
    codes::caused(&codes::SYSTEM_RESOURCE, format!("cannot start the {what}"), error)
        .hint(codes::fix(&codes::SYSTEM_RESOURCE))
}

/// Steps of tasks between two looks at the sockets. A step of a long response takes up to half a millisecond.
const EVENT_INTERVAL: u32 = 4;

fn http_runtime(options: &Options) -> Result<Runtime, Diagnostic> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads.get().clamp(1, HTTP_THREADS_MAX))
        .max_blocking_threads(1)
        // The default of 61 steps between two looks at the sockets is 20 ms while long responses are encoded.
        .event_interval(EVENT_INTERVAL)
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
