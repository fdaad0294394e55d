//! What a server says when it starts: what it decided, and why.

use super::keys::Keys;
use super::listen::Listen;
use super::log::{Level, Log};
use super::server::Options;
use crate::build_info::{self, STACK_SIZE_BYTES};
use crate::memory::preflight::{Need, mib};

/// OpenBLAS reads it; whoever sets it has chosen the kernel by hand.
const KERNEL_VARIABLE: &str = "OPENBLAS_CORETYPE";

pub fn start(log: &Log, options: &Options) {
    let info = build_info::get();
    let config = options.origins.config.as_ref().map_or("none".into(), |file| file.display().to_string());
    let fields = [
        ("version", info.version.to_owned()),
        ("commit", info.commit.to_owned()),
        ("pid", std::process::id().to_string()),
        ("config", config),
    ];
    log.info("start", &fields);
    for warning in &options.origins.warnings {
        log.write(Level::Warn, "config", &[("why", warning.clone())]);
    }
}

pub fn compute(log: &Log, options: &Options) {
    let blas = engine::blas_info();
    let kernel_from = if std::env::var_os(KERNEL_VARIABLE).is_some() { KERNEL_VARIABLE } else { "the CPU" };
    let stack = format!("{} MiB", STACK_SIZE_BYTES >> 20);
    let fields = [
        ("threads", options.threads.to_string()),
        ("threads_from", options.origins.threads.clone()),
        ("stack", stack),
        ("blas", blas.core),
        ("blas_from", kernel_from.into()),
        ("allocator", allocator()),
        ("batch_tokens", options.batches.batch_tokens.to_string()),
        ("batch_delay_ms", options.batches.batch_delay.as_millis().to_string()),
    ];
    log.info("compute", &fields);
}

/// The program is linked with no other; the version is known of a release.
fn allocator() -> String {
    let native = build_info::get().native;
    let version = native.iter().find(|library| library.name == "mimalloc").map(|library| library.version);
    version.map_or("mimalloc".into(), |version| format!("mimalloc {version}"))
}

/// `check` has the limit and where it comes from.
pub fn memory(log: &Log, check: &str, need: Need) {
    let fields = [
        ("check", check.to_owned()),
        ("anonymous", format!("{} MiB", mib(need.anonymous))),
        ("weights", format!("{} MiB", mib(need.file))),
    ];
    log.info("memory", &fields);
}

pub fn limits(log: &Log, options: &Options) {
    let Options { admission, requests, connections, .. } = options;
    let fields = [
        ("queue", admission.requests_max.to_string()),
        ("queue_bytes", admission.bytes_max.to_string()),
        ("body_max", requests.body_bytes_max.to_string()),
        ("inputs_max", requests.inputs_max.to_string()),
        ("request_tokens", options.batches.request_tokens_max.to_string()),
        ("connections", connections.connections_max.to_string()),
        ("infer_timeout_ms", requests.infer_timeout.as_millis().to_string()),
    ];
    log.info("limits", &fields);
}

pub fn access(log: &Log, options: &Options, keys: Option<&Keys>) {
    let Some(keys) = keys else {
        let who = "whoever reaches the server".to_owned();
        return log.info("access", &[("who", who), ("why", "no `--api-keys`".into())]);
    };
    let metrics = if options.protect_metrics { "with a key" } else { "open" };
    let fields = [
        ("who", "holders of a key".to_owned()),
        ("keys", keys.count().to_string()),
        ("metrics", metrics.into()),
    ];
    log.info("access", &fields);
    if let Some(warning) = keys.warning() {
        log.write(Level::Warn, "keys_readable", &[("why", warning)]);
    }
}

pub fn listening(log: &Log, addresses: &[Listen]) {
    for listen in addresses {
        let url = match listen {
            Listen::Tcp(address) => format!("http://{address}"),
            Listen::Unix(_) => listen.to_string(),
        };
        log.info("listening", &[("url", url)]);
    }
}
