//! The server as a value: opened (checked, loaded, bound, in this order), reloaded, drained.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use engine::memory::Load;
use engine::{Embedder, Pool};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::admission::{self, Admission};
use super::api;
use super::app::{App, MemoryReport, RequestLimits};
use super::catalog::{Catalog, Loader};
use super::connections::{self, ConnectionLimits, Ending};
use super::log::{Format, Level, Log, Writer};
use super::metrics::Metrics;
use super::model::Model;
use super::need;
use super::scheduler::{self, Scheduler};
use crate::build_info::{self, STACK_SIZE_BYTES};
use crate::failure::Failure;
use crate::memory::preflight::Need;
use crate::memory::process;

#[derive(Debug, Clone)]
pub struct Options {
    /// Name and folder.
    pub models: Vec<(String, PathBuf)>,
    pub listen: SocketAddr,
    pub threads: NonZeroUsize,
    pub lazy_weights: bool,
    /// What must stay free; `None`: do not check.
    pub memcheck_headroom: Option<u64>,
    pub admission: admission::Limits,
    pub requests: RequestLimits,
    pub connections: ConnectionLimits,
    pub batches: scheduler::Settings,
    pub log_format: Format,
}

pub struct Server {
    pub(super) runtime: Runtime,
    pub(super) app: Arc<App>,
    options: Arc<Options>,
    address: SocketAddr,
    ending: watch::Sender<Ending>,
    serving: Option<JoinHandle<()>>,
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
/// Between the last answer and the end: a client that is just sending on a kept connection is told 503, not cut off.
const LAST_CALL: Duration = Duration::from_millis(100);
/// For connections to take the last answers.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

impl Server {
    /// With the engine's models.
    pub fn open(options: Options) -> Result<Self, Failure> {
        let before = process::read(Path::new("/"));
        let load = Load { threads: options.threads.get(), batch_tokens: options.batches.batch_tokens };
        let parts = need::of_models(&options.models, load)?;
        let models = parts.need();
        let memory = match options.memcheck_headroom {
            _ if options.lazy_weights => "not checked, because of `--lazy-weights`".to_string(),
            None => "not checked, because of `--no-memcheck`".to_string(),
            Some(headroom) => need::check(models, options.admission.bytes_max, headroom, Path::new("/"))?,
        };
        let pool = Pool::start(options.threads)
            .map_err(|error| Failure::new(error).context("cannot start the threads that compute"))?;
        let loader: Loader = Arc::new(move |_, dir| {
            let embedder = Embedder::open_on(dir, &pool).map_err(|error| error.to_string())?;
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
        let app = Arc::new(app(&options, loader, log)?);
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
            let _ = app.load_time.set(loading.elapsed());
            let _ = app.anonymous_while_loading.set(anonymous);
        }
        let listener = runtime.block_on(tokio::net::TcpListener::bind(options.listen));
        let listener = listener.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        let (listener, address) = listener.map_err(|error| {
            Failure::new(error).context(format!("cannot listen on {}", options.listen)).hint(format!(
                "See who does with `ss -ltnp`, or choose another `--listen {}:PORT`.",
                options.listen.ip()
            ))
        })?;
        let (ending, ended) = watch::channel(Ending::Open);
        let router = api::router(Arc::clone(&app));
        let serving = connections::serve(listener, router, Arc::clone(&app), options.connections, ended);
        let serving = Some(runtime.spawn(serving));
        let options = Arc::new(options);
        Ok(Self { runtime, app, options, address, ending, serving, log_writer: Some(log_writer) })
    }

    /// With the port that the system chose, if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Permits that are held now.
    pub fn requests_held(&self) -> usize {
        self.app.admission.held().0
    }

    /// What was decided, and why: one line of the log each.
    fn say(&self, memory: &str, need: Need) {
        let Options { threads, batches, admission, requests, .. } = &*self.options;
        let blas = engine::blas_info();
        let info = build_info::get();
        let log = &self.app.log;
        log.info("start", &[("version", info.version.into()), ("commit", info.commit.into())]);
        let fields = [
            ("threads", threads.to_string()),
            ("stack", format!("{} MiB", STACK_SIZE_BYTES >> 20)),
            ("blas", blas.core),
            ("allocator", "mimalloc".into()),
            ("batch_tokens", batches.batch_tokens.to_string()),
        ];
        log.info("compute", &fields);
        let fields = [
            ("check", memory.to_owned()),
            ("anonymous", need.anonymous.to_string()),
            ("weights", need.file.to_string()),
        ];
        log.info("memory", &fields);
        let fields = [
            ("queue", admission.requests_max.to_string()),
            ("queue_bytes", admission.bytes_max.to_string()),
            ("infer_timeout_ms", requests.infer_timeout.as_millis().to_string()),
        ];
        log.info("limits", &fields);
        for entry in self.app.catalog.entries().iter() {
            let loaded = entry.is_loaded().to_string();
            log.info(
                "model",
                &[("name", entry.name.clone()), ("dir", entry.dir.display().to_string()), ("loaded", loaded)],
            );
        }
        log.info("listening", &[("url", format!("http://{}", self.address))]);
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
        let result = Self::try_reload(app, options).await;
        app.metrics.reload(result.is_ok());
        match &result {
            Ok(()) => {
                let ms = started.elapsed().as_millis().to_string();
                app.log.info("reloaded", &[("ms", ms)]);
            }
            Err(why) => app.log.write(Level::Error, "reload_failed", &[("why", why.clone())]),
        }
        result
    }

    async fn try_reload(app: &App, options: &Options) -> Result<(), String> {
        if let (Some(headroom), false) = (options.memcheck_headroom, options.lazy_weights) {
            let load = Load { threads: 0, batch_tokens: 0 };
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
        let serving = self.serving.take();
        let drained = self.runtime.block_on(async {
            let drained = settle(&self.app, time_max).await;
            tokio::time::sleep(LAST_CALL).await;
            self.ending.send_replace(Ending::Closing);
            if let Some(mut serving) = serving
                && tokio::time::timeout(CLOSING_TIME_MAX, &mut serving).await.is_err()
            {
                self.ending.send_replace(Ending::Cut);
                let _ = serving.await;
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
pub(crate) fn app(options: &Options, loader: Loader, log: Log) -> Result<App, Failure> {
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
        started: Instant::now(),
        load_time: OnceLock::new(),
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
