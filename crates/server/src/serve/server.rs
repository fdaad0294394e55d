//! The server as a value: opened (checked, loaded, bound, in this order), reloaded, drained.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use engine::memory::Workload;
use engine::{Embedder, WorkerPool};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::{self, Admission};
use super::api;
use super::app::{App, MemoryReport, RequestLimits};
use super::catalog::{Catalog, Loader};
use super::connections::{self, ConnectionLimits, Ending};
use super::keys::Keys;
use super::listen::{Listen, Listener};
use super::log::{Format, Level, Log, Writer};
use super::metrics::Metrics;
use super::model::Model;
use super::need;
use super::scheduler::{self, Scheduler};
use super::summary;
use crate::build_info::STACK_SIZE_BYTES;
use crate::failure::Failure;
use crate::memory::preflight::Need;
use crate::memory::process;

#[derive(Debug, Clone)]
pub struct Options {
    /// Name and folder.
    pub models: Vec<(String, PathBuf)>,
    /// At least one.
    pub listen: Vec<Listen>,
    /// Of unix sockets.
    pub socket_mode: u32,
    /// File with the keys of those who may ask; `None`: whoever reaches the server may.
    pub api_keys: Option<PathBuf>,
    /// Whether `/metrics` and the status page ask for a key too.
    pub protect_metrics: bool,
    pub threads: NonZeroUsize,
    pub origins: Origins,
    pub lazy_weights: bool,
    /// What must stay free; `None`: do not check.
    pub memcheck_headroom: Option<u64>,
    pub admission: admission::Limits,
    pub requests: RequestLimits,
    pub connections: ConnectionLimits,
    pub batches: scheduler::Settings,
    pub log_format: Format,
}

/// Where the options come from; said at the start, and of no other use.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    pub threads: String,
    pub config: Option<PathBuf>,
    /// What looks like a slip.
    pub warnings: Vec<String>,
}

pub struct Server {
    pub(super) runtime: Runtime,
    pub(super) app: Arc<App>,
    options: Arc<Options>,
    addresses: Vec<Listen>,
    ending: watch::Sender<Ending>,
    serving: JoinSet<()>,
    /// Connections that may still be opened.
    free: Arc<Semaphore>,
    log_writer: Option<Writer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request that was let in has been answered.
    Clean,
    /// The time was over; so many requests were told 503.
    Cut { requests: usize },
}

/// HTTP is little work beside computing: two threads, or one on a single core.
const HTTP_THREADS_MAX: usize = 2;
/// Between the last answer and the end, while there are connections that clients have kept: who sends on one is told 503 and
/// that it closes. One that closes while a request is on its way loses it.
const LAST_CALL: Duration = Duration::from_secs(1);
/// For connections to take the last answers.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

impl Server {
    /// With the engine's models.
    pub fn open(options: Options) -> Result<Self, Failure> {
        let before = process::read(Path::new("/"));
        let load = Workload { threads: options.threads.get(), batch_tokens: options.batches.batch_tokens };
        let parts = need::of_models(&options.models, load)?;
        let models = parts.need();
        let memory = match options.memcheck_headroom {
            _ if options.lazy_weights => "not checked, because of `--lazy-weights`".to_string(),
            None => "not checked, because of `--no-memcheck`".to_string(),
            Some(headroom) => need::check(models, options.admission.bytes_max, headroom, Path::new("/"))?,
        };
        let pool = WorkerPool::start(options.threads)
            .map_err(|error| Failure::new(error).context("cannot start the threads that compute"))?;
        let loader: Loader = Arc::new(move |_, dir| {
            let embedder = Embedder::open_with_pool(dir, &pool).map_err(|error| error.to_string())?;
            Ok(Arc::new(embedder) as Arc<dyn Model>)
        });
        let server = Self::open_with(options, loader)?;
        server.say(&memory, models);
        if !server.options.lazy_weights {
            let measured = process::read(Path::new("/")).zip(before);
            let measured = measured.map(|(now, before)| now.anonymous.saturating_sub(before.anonymous));
            let _ = server.app.memory.set(MemoryReport {
                estimate_anonymous: models.anonymous,
                estimate_file: models.file,
                measured_anonymous: measured,
            });
            server.say_loaded(parts, before.map(|before| before.anonymous));
        }
        Ok(server)
    }

    /// With models of the caller's own; memory is not checked.
    pub fn open_with(options: Options, loader: Loader) -> Result<Self, Failure> {
        let threads = options.threads.get().clamp(1, HTTP_THREADS_MAX);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(1)
            .thread_name("inferd-http")
            .thread_stack_size(STACK_SIZE_BYTES as usize)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(error).context("cannot start the threads for HTTP"))?;
        let (log, log_writer) = Log::start(options.log_format)
            .map_err(|error| Failure::new(error).context("cannot start the thread for the log"))?;
        let keys = options.api_keys.as_deref().map(Keys::open).transpose().map_err(|error| {
            Failure::message(format_args!("cannot use the API keys: {error}"))
                .hint("One key a line, or a name and a key; `#` begins a comment.")
        })?;
        let app = Arc::new(app(&options, loader, log, keys)?);
        if !options.lazy_weights {
            let loading = Instant::now();
            let mut anonymous = vec![anonymous_now()];
            runtime.block_on(app.catalog.load_all()).map_err(Failure::message)?;
            // The JSON tree of a tokenizer takes as much as the tokenizer.
            mimalloc_sys::collect();
            anonymous.push(anonymous_now());
            runtime.block_on(warm_up(&app, options.batches.batch_tokens)).map_err(Failure::message)?;
            mimalloc_sys::collect();
            anonymous.push(anonymous_now());
            app.loaded_in(loading.elapsed());
            let _ = app.anonymous_while_loading.set(anonymous);
        }
        // All or none: a server that answers on half of its addresses looks well to whoever asks the wrong one.
        let mut listeners = Vec::new();
        for listen in &options.listen {
            listeners.push(runtime.block_on(Listener::bind(listen, options.socket_mode))?);
        }
        let addresses = listeners.iter().map(Listener::address).collect::<Result<Vec<_>, _>>();
        let addresses =
            addresses.map_err(|error| Failure::new(error).context("cannot tell where the server listens"))?;
        let (ending, ended) = watch::channel(Ending::Open);
        let router = api::router(Arc::clone(&app));
        let free = Arc::new(Semaphore::new(options.connections.connections_max));
        let mut serving = JoinSet::new();
        for listener in listeners {
            let (router, app, free) = (router.clone(), Arc::clone(&app), Arc::clone(&free));
            let one = connections::serve(listener, router, app, options.connections, free, ended.clone());
            serving.spawn_on(one, runtime.handle());
        }
        let options = Arc::new(options);
        Ok(Self { runtime, app, options, addresses, ending, serving, free, log_writer: Some(log_writer) })
    }

    /// Where it listens, with the port that the system chose, if it was asked to.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Permits that are held now.
    pub fn requests_held(&self) -> usize {
        self.app.admission.held().0
    }

    /// What was decided, and why.
    fn say(&self, memory: &str, need: Need) {
        let (log, options) = (&self.app.log, &*self.options);
        summary::start(log, options);
        summary::compute(log, options);
        summary::memory(log, memory, need);
        summary::limits(log, options);
        summary::access(log, options, self.app.keys.as_ref());
        for entry in self.app.catalog.entries().iter() {
            let (name, dir) = (entry.name.clone(), entry.dir.display().to_string());
            log.info("model", &[("name", name), ("dir", dir), ("loaded", entry.is_loaded().to_string())]);
        }
        summary::listening(log, &self.addresses);
    }

    /// The estimate beside what was found, step by step, in bytes.
    fn say_loaded(&self, estimate: need::Parts, before: Option<u64>) {
        let readings = self.app.anonymous_while_loading.get().map_or(&[][..], Vec::as_slice);
        let readings: Vec<Option<u64>> = [before].into_iter().chain(readings.iter().copied()).collect();
        let taken = |pair: &[Option<u64>]| match pair {
            [Some(from), .., Some(to)] => to.saturating_sub(*from).to_string(),
            _ => "unknown".to_string(),
        };
        let steps = [
            ("server", "server_estimate", estimate.server),
            ("models", "models_estimate", estimate.models),
            ("compute", "compute_estimate", estimate.compute),
        ];
        let mut fields =
            vec![("anonymous", taken(&readings)), ("estimate", estimate.need().anonymous.to_string())];
        for ((name, estimate_name, estimate), pair) in steps.into_iter().zip(readings.windows(2)) {
            fields.push((name, taken(pair)));
            fields.push((estimate_name, estimate.to_string()));
        }
        self.app.log.info("memory_after_load", &fields);
    }

    /// New weights from the same folders, if they can be loaded beside the old ones. No request is lost.
    pub async fn reload(app: &App, options: &Options) -> Result<(), String> {
        let started = Instant::now();
        // Keys first: one that was taken back must not live on because a model cannot be loaded.
        let keys = app.keys.as_ref().map_or(Ok(0), Keys::reload);
        let result = Self::try_reload(app, options).await.and(keys.map(drop));
        app.metrics.reload(result.is_ok());
        match &result {
            Ok(()) => {
                app.loaded_in(started.elapsed());
                let ms = started.elapsed().as_millis().to_string();
                app.log.info("reloaded", &[("ms", ms)]);
            }
            Err(why) => app.log.write(Level::Error, "reload_failed", &[("why", why.clone())]),
        }
        result
    }

    async fn try_reload(app: &App, options: &Options) -> Result<(), String> {
        if let (Some(headroom), false) = (options.memcheck_headroom, options.lazy_weights) {
            let load = Workload { threads: 0, batch_tokens: 0 };
            let parts = need::of_models(&options.models, load).map_err(|failure| failure.to_string())?;
            let need = parts.need();
            need::check(need, 0, headroom, Path::new("/")).map_err(|failure| failure.to_string())?;
        }
        let result = app.catalog.reload().await;
        mimalloc_sys::collect();
        result
    }

    pub fn reload_now(&self) -> Result<(), String> {
        self.runtime.block_on(Self::reload(&self.app, &self.options))
    }

    pub(super) fn shared(&self) -> (Arc<App>, Arc<Options>) {
        (Arc::clone(&self.app), Arc::clone(&self.options))
    }

    /// Lets nobody in any more, answers those who are in, and ends.
    pub fn drain(mut self, time_max: Duration) -> Drained {
        let mut serving = std::mem::take(&mut self.serving);
        let drained = self.runtime.block_on(async {
            let drained = settle(&self.app, time_max).await;
            self.ending.send_replace(Ending::Deaf);
            let until = Instant::now() + LAST_CALL;
            while self.free.available_permits() < self.options.connections.connections_max
                && Instant::now() < until
            {
                tokio::time::sleep(POLL).await;
            }
            self.ending.send_replace(Ending::Closing);
            let closed = async { while serving.join_next().await.is_some() {} };
            if tokio::time::timeout(CLOSING_TIME_MAX, closed).await.is_err() {
                self.ending.send_replace(Ending::Cut);
                while serving.join_next().await.is_some() {}
            }
            drained
        });
        let (outcome, level) = match drained {
            Drained::Clean => ("every request was answered".to_string(), Level::Info),
            Drained::Cut { requests } => (format!("{requests} requests were cut off"), Level::Warn),
        };
        self.app.log.write(level, "stopped", &[("outcome", outcome)]);
        self.app.scheduler.stop();
        let Self { runtime, app, log_writer, .. } = self;
        drop(runtime);
        drop(app);
        if let Some(writer) = log_writer {
            writer.join();
        }
        drained
    }
}

/// Everything behind the listener, with nothing loaded.
pub(crate) fn app(options: &Options, loader: Loader, log: Log, keys: Option<Keys>) -> Result<App, Failure> {
    let metrics = Arc::new(Metrics::default());
    let scheduler = Scheduler::start(options.batches, Arc::clone(&metrics))
        .map_err(|error| Failure::new(error).context("cannot start the threads for batches"))?;
    Ok(App {
        limits: options.requests,
        catalog: Catalog::new(&options.models, loader),
        admission: Admission::new(options.admission),
        scheduler,
        metrics,
        log,
        keys,
        protect_metrics: options.protect_metrics,
        threads: options.threads.get(),
        started: Instant::now(),
        load_time: Mutex::default(),
        memory: OnceLock::new(),
        anonymous_while_loading: OnceLock::new(),
    })
}

/// Until no permit is held, or the time is over: then what is left is stopped and told so.
pub(crate) async fn settle(app: &App, time_max: Duration) -> Drained {
    app.admission.drain();
    let until = Instant::now() + time_max;
    loop {
        let requests = match app.admission.held() {
            (0, 0) => return Drained::Clean,
            (requests, _) => requests,
        };
        if Instant::now() >= until {
            app.scheduler.stop();
            return Drained::Cut { requests };
        }
        tokio::time::sleep(POLL).await;
    }
}

fn anonymous_now() -> Option<u64> {
    process::read(Path::new("/")).map(|memory| memory.anonymous)
}

/// Before anyone waits for it, and so that what loading took can be compared with the estimate.
async fn warm_up(app: &App, batch_tokens: usize) -> Result<(), String> {
    for entry in app.catalog.entries().iter() {
        let model = entry.get(&app.catalog).await.map_err(|why| why.to_string())?;
        let step = move || model.warm_up(batch_tokens);
        let thread = crate::compute_thread::spawn(step).map_err(|error| error.to_string())?;
        let result = thread.join().map_err(|_| "the first batch panicked".to_string())?;
        result.map_err(|error| format!("the first batch of the model `{}` failed: {error}", entry.name))?;
    }
    Ok(())
}
