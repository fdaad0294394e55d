//! `inferd serve`: converts flags to the options of the server and runs it.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ArgAction;
use clap::builder::BoolishValueParser;
use diag::Diagnostic;
use units::{ByteSize, TimeSpan};

use super::compute::{self, Compute};
use super::config::Settings;
use super::exit::CommandResult;
use super::threads::Available;
use super::{output, threads};
use crate::memory::memory_max::{MemoryBound, MemoryMax};
use crate::memory::{limits, preflight};
use crate::serve::{
    AdmissionLimits, AllowedHost, BatchSettings, ConnectionLimits, Listen, OptionSources, Options,
    RequestLimits, Server, TrustedProxy, run_until_signal,
};
use crate::{codes, crash, log};

/// Default batch size per thread: the average size of the engine's chunks, so that each thread gets one. Larger batches are not
/// faster and answer their requests later.
const BATCH_TOKENS_PER_THREAD: usize = 256;

/// Time for the last lines of the log at the end of the process.
const LOG_FLUSH_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Flags of the command. Their order is that of `--help` and of `--print-config`.
#[derive(clap::Args)]
pub struct Flags {
    /// Configuration file (TOML), such as `max_inflight = 512`; flags and environment (`INFERD_MAX_INFLIGHT`) take
    /// precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every option with its value and its source, and exit
    #[arg(long)]
    print_config: bool,
    /// Model to serve, named after its folder or `NAME`; repeatable
    #[arg(long, value_name = "NAME=DIR|DIR")]
    model: Vec<String>,
    /// Address and port to listen on, or `unix:/path`; repeatable; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: Vec<Listen>,
    /// Address for probes, `/metrics` and the status page only, with connections of its own; repeatable
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Vec<Listen>,
    /// Name that the header `Host` may have, `*` for any; repeatable [default: any, and on loopback only its own names]
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<AllowedHost>,
    /// Proxy whose `Forwarded` or `X-Forwarded-For` tells the client: address, network or `unix`; repeatable
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<TrustedProxy>,
    /// Permissions of a unix socket, in octal
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = octal)]
    socket_mode: u32,
    /// File of API keys, one `KEY` or `NAME KEY` per line; SIGHUP reloads it
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Require a key for `/metrics` and the status page
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    protect_metrics: bool,
    /// Compute threads [default: the CPUs that the machine and the CPU quota allow]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    compute: compute::Flags,
    /// Load a model at its first request; the start then skips the memory check
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    lazy_weights: bool,
    /// Start without the memory check
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    no_memory_check: bool,
    /// Memory that the check keeps free [default: 512 MiB if the limit is above 4 GiB, else 32 MiB]
    #[arg(long, value_name = "SIZE")]
    memory_headroom: Option<ByteSize>,
    /// Resident memory above which requests get status 503; 0 for no bound [default: 75% of the limit of the cgroup, or 50%
    /// of the machine]
    #[arg(long, value_name = "SIZE|PERCENT")]
    memory_max: Option<MemoryMax>,
    /// Concurrent requests; further ones get status 429
    #[arg(long, value_name = "N", default_value = "256", value_parser = positive)]
    max_inflight: usize,
    /// Bytes of the bodies and responses of all concurrent requests
    #[arg(long, value_name = "SIZE", default_value = "64 MiB")]
    max_inflight_bytes: ByteSize,
    /// Bytes of one request body
    #[arg(long, value_name = "SIZE", default_value = "8 MiB")]
    max_body_bytes: ByteSize,
    /// Accept token ids as inputs, for clients that have the tokenizer of the model
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    allow_token_ids: bool,
    /// Inputs of one request
    #[arg(long, value_name = "N", default_value = "2048", value_parser = positive)]
    max_inputs: usize,
    /// Tokens of one request
    #[arg(long, value_name = "N", default_value = "262144", value_parser = positive)]
    max_request_tokens: usize,
    /// Tokens of one batch [default: 256 per thread]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_tokens: Option<usize>,
    /// Time that a request waits for others to join its batch
    #[arg(long, value_name = "TIME", default_value = "0")]
    batch_delay: TimeSpan,
    /// Time that a request waits for computation; after it the request gets status 429; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "0")]
    queue_timeout: TimeSpan,
    /// Time limit of one request; 0 for none
    #[arg(long, value_name = "TIME", default_value = "60 s")]
    request_timeout: TimeSpan,
    /// Time limit for the headers of a request, and for an idle connection
    #[arg(long, value_name = "TIME", default_value = "30 s")]
    header_timeout: TimeSpan,
    /// Time limit for the body of a request
    #[arg(long, value_name = "TIME", default_value = "20 s")]
    body_timeout: TimeSpan,
    /// Bytes per second that a body must arrive with, measured over 5 s; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "1 KiB")]
    min_body_rate: ByteSize,
    /// Time in which a client must read its response, or 32 KiB/s of a long one
    #[arg(long, value_name = "TIME", default_value = "20 s")]
    write_timeout: TimeSpan,
    /// Open connections; a further one closes the connection that has been idle longest
    #[arg(long, value_name = "N", default_value = "1024", value_parser = positive)]
    max_connections: usize,
    /// Time for in-flight requests to finish after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30 s")]
    drain_timeout: TimeSpan,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: log::Format,
}

impl Flags {
    /// Whether stderr carries JSON.
    pub fn logs_json(&self) -> bool {
        self.log_format == log::Format::Json
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse::<NonZeroUsize>().map(usize::from).map_err(|_| "expected a whole number above 0".into())
}

/// `true`, `yes`, `1` and their opposites, as environment variables spell them.
fn boolish() -> BoolishValueParser {
    BoolishValueParser::new()
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected three octal digits, such as `660`".into()),
    }
}

/// The default of `--memory-headroom` on this machine. A bound of the user counts like a limit of the machine.
fn default_headroom(memory_max: Option<MemoryMax>) -> u64 {
    let mut limits = limits::read_limits(Path::new("/"));
    let bound = MemoryBound::of(memory_max, &limits, 0);
    limits.extend(bound.and_then(|bound| bound.as_limit(0)));
    preflight::default_headroom(&limits)
}

/// The default of `--memory-max` on this machine. The estimate of the models is not known here.
fn default_memory_max() -> String {
    match MemoryBound::of(None, &limits::read_limits(Path::new("/")), 0) {
        Some(bound) => {
            format!("{} MiB, {}, or the estimate if that is more", bound.bytes >> 20, bound.source)
        }
        None => "none: no limit can be read".into(),
    }
}

/// Serves until a signal ends the process.
pub fn run(flags: Flags, settings: Settings) -> CommandResult {
    let available = threads::available();
    let threads = flags.threads.unwrap_or(available.threads);
    let batch_tokens = flags.batch_tokens.unwrap_or(BATCH_TOKENS_PER_THREAD * threads.get());
    let headroom = flags.memory_headroom.map_or_else(|| default_headroom(flags.memory_max), ByteSize::bytes);
    if flags.print_config {
        let derived = [
            ("threads", format!("{threads}, from: {}", available.source)),
            ("isa", format!("{}, the best of this CPU", engine::Isa::best())),
            ("blas_core", format!("{:?}, detected", engine::blas_info().core)),
            ("batch_tokens", format!("{batch_tokens}, {BATCH_TOKENS_PER_THREAD} per thread")),
            ("memory_headroom", format!("{}, from the memory limit", ByteSize(headroom))),
            ("memory_max", default_memory_max()),
        ];
        return output::print(&settings.print(&derived));
    }
    log::init(flags.log_format).map_err(|error| {
        codes::caused(&codes::SYSTEM_RESOURCE, "cannot start the thread of the log", &error)
    })?;
    let drain_timeout = flags.drain_timeout.duration();
    crash::hold_reserve();
    let result = flags
        .compute
        .select(|option| settings.source(option).to_owned())
        .and_then(|compute| options(flags, settings, compute, available, batch_tokens, headroom))
        .and_then(Server::open)
        .and_then(|(server, signals)| run_until_signal(server, signals, drain_timeout));
    log::flush(LOG_FLUSH_TIME_MAX);
    result
}

fn options(
    flags: Flags,
    settings: Settings,
    compute: Compute,
    available: Available,
    batch_tokens: usize,
    headroom: u64,
) -> Result<Options, Diagnostic> {
    if flags.model.is_empty() {
        return Err(
            Diagnostic::new(&codes::NO_MODEL, "no model is configured").hint(codes::fix(&codes::NO_MODEL))
        );
    }
    let (threads, threads_source) = match flags.threads {
        Some(threads) => (threads, settings.source("threads").to_owned()),
        None => (available.threads, available.source),
    };
    let models = models(&flags.model)?;
    if let Some(unknown) =
        compute.backends.by_model.keys().find(|name| !models.iter().any(|(model, _)| model == *name))
    {
        let message = format!("`--dtype {unknown}=…` names no model that is served");
        let served: Vec<String> = models.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(Diagnostic::new(&codes::COMPUTE_OPTIONS, message)
            .expected(served.join(", "))
            .found(format!("`{unknown}`"))
            .hint(format!("pass `--dtype {}=TYPE`, or `--dtype TYPE` for all models", models[0].0)));
    }
    Ok(Options {
        models,
        backends: compute.backends,
        listen: flags.listen,
        admin_listen: flags.admin_listen,
        allowed_hosts: flags.allowed_host,
        trusted_proxies: flags.trusted_proxy,
        socket_mode: flags.socket_mode,
        api_keys: flags.api_keys,
        protect_metrics: flags.protect_metrics,
        threads,
        sources: OptionSources {
            threads: threads_source,
            kernels: compute.source,
            config: settings.file,
            warnings: [settings.warnings, compute.warnings].concat(),
        },
        lazy_weights: flags.lazy_weights,
        memory_headroom: (!flags.no_memory_check).then_some(headroom),
        memory_max: flags.memory_max,
        admission: AdmissionLimits {
            requests_max: flags.max_inflight,
            bytes_max: flags.max_inflight_bytes.bytes(),
        },
        requests: RequestLimits {
            body_bytes_max: flags.max_body_bytes.bytes(),
            body_timeout: flags.body_timeout.duration(),
            body_rate_min: flags.min_body_rate.bytes(),
            timeout: flags.request_timeout.duration(),
            inputs_max: flags.max_inputs,
            token_ids: flags.allow_token_ids,
        },
        connections: ConnectionLimits {
            connections_max: flags.max_connections,
            header_timeout: flags.header_timeout.duration(),
            write_timeout: flags.write_timeout.duration(),
        },
        batches: BatchSettings {
            batch_tokens,
            batch_delay: flags.batch_delay.duration(),
            queue_timeout: Some(flags.queue_timeout.duration()).filter(|limit| !limit.is_zero()),
            request_tokens_max: flags.max_request_tokens,
            tokenize_max: threads.get(),
        },
    })
}

/// `NAME=DIR`, or `DIR` whose last component is the name.
fn models(arguments: &[String]) -> Result<Vec<(String, PathBuf)>, Diagnostic> {
    let error =
        |message: String| Diagnostic::new(&codes::MODEL_NAME, message).hint(codes::fix(&codes::MODEL_NAME));
    let mut names = HashSet::new();
    let mut models = Vec::new();
    for text in arguments {
        let (name, dir) = match text.split_once('=') {
            Some((name, dir)) => (name.to_string(), PathBuf::from(dir)),
            None => {
                let dir = PathBuf::from(text);
                let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
                let name = real.file_name().map(|name| name.to_string_lossy().into_owned());
                (name.unwrap_or_default(), dir)
            }
        };
        if name.is_empty() {
            return Err(error(format!("`--model {text}` has no name")));
        }
        if !names.insert(name.clone()) {
            return Err(error(format!("two models have the name `{name}`")));
        }
        models.push((name, dir));
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_argument_or_by_its_folder() {
        let arguments = ["a=/m/x".to_string(), "/m/y".into()];
        assert_eq!(models(&arguments).unwrap(), [("a".into(), "/m/x".into()), ("y".into(), "/m/y".into())]);
    }

    #[test]
    fn rejects_an_empty_and_a_repeated_name() {
        insta::assert_snapshot!(models(&["=/m".into()]).unwrap_err(), @"`--model =/m` has no name");
        let repeated = models(&["/a/m".into(), "/b/m".into()]).unwrap_err();
        insta::assert_snapshot!(repeated, @"two models have the name `m`");
    }
}
