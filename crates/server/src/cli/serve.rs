//! `inferd serve`: flags to checked options, and off.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgAction;
use clap::builder::BoolishValueParser;

use super::CommandResult;
use super::config::Settings;
use super::embed::{available_threads, threads};
use super::output::{Output, Stop};
use crate::failure::Failure;
use crate::serve::{
    AdmissionLimits, BatchSettings, ConnectionLimits, Listen, LogFormat, Options, Origins, RequestLimits,
    Server, run as run_server,
};
use crate::units;

/// Of one batch, for each thread: the engine's chunks are of about this size, so each thread gets one.
const BATCH_TOKENS_A_THREAD: usize = 1024;

#[derive(clap::Args)]
pub struct Flags {
    /// File with options: `queue = 512`; flags and the environment (`INFERD_QUEUE`) come before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every option with its value and where it comes from, and end
    #[arg(long)]
    print_config: bool,
    /// A model to serve, by the name of its folder or by a name of your own; may be given several times
    #[arg(long, value_name = "NAME=DIR|DIR")]
    model: Vec<String>,
    /// Address and port to listen on, or `unix:/path`; may be given several times; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: Vec<Listen>,
    /// Permissions of a unix socket, in octal
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = octal)]
    socket_mode: u32,
    /// File with the keys of those who may ask: `KEY` or `NAME KEY` a line; read anew on SIGHUP
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Ask for a key at `/metrics` and at the status page too
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    protect_metrics: bool,
    /// Threads to compute with [default: what the machine and its CPU quota allow]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// Load a model when it is first asked for; memory is then not checked at start
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    lazy_weights: bool,
    /// Start without looking whether the models fit into memory
    #[arg(long, value_name = "BOOL", value_parser = boolish(), num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, default_value = "false", default_missing_value = "true")]
    no_memcheck: bool,
    /// Memory that must stay free
    #[arg(long, value_name = "SIZE", default_value = "32 MiB", value_parser = units::bytes)]
    memcheck_headroom: u64,
    /// Requests that are let in at a time; more are told 429
    #[arg(long, value_name = "N", default_value = "256", value_parser = positive)]
    queue: usize,
    /// Bytes of bodies and answers that are held at a time
    #[arg(long, value_name = "SIZE", default_value = "64 MiB", value_parser = units::bytes)]
    queue_bytes: u64,
    /// Bytes of one body
    #[arg(long, value_name = "SIZE", default_value = "8 MiB", value_parser = units::bytes)]
    body_max: u64,
    /// Inputs of one request
    #[arg(long, value_name = "N", default_value = "2048", value_parser = positive)]
    inputs_max: usize,
    /// Tokens of one request
    #[arg(long, value_name = "N", default_value = "262144", value_parser = positive)]
    request_tokens: usize,
    /// Tokens of one batch [default: 1024 for each thread]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_tokens: Option<usize>,
    /// How long a request may wait for others to join its batch
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::duration)]
    batch_delay: Duration,
    /// Time of one request; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "60 s", value_parser = units::duration)]
    infer_timeout: Duration,
    /// Time for the headers of a request, and for which a connection is kept without one
    #[arg(long, value_name = "TIME", default_value = "30 s", value_parser = units::duration)]
    header_timeout: Duration,
    /// Time for the body of a request
    #[arg(long, value_name = "TIME", default_value = "20 s", value_parser = units::duration)]
    body_timeout: Duration,
    /// Time in which a client must take its answer, or 32 KiB a second of a long one
    #[arg(long, value_name = "TIME", default_value = "20 s", value_parser = units::duration)]
    write_timeout: Duration,
    /// Open connections; more wait to be accepted
    #[arg(long, value_name = "N", default_value = "1024", value_parser = positive)]
    connections: usize,
    /// Time for requests to end after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30 s", value_parser = units::duration)]
    drain_timeout: Duration,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text", value_parser = log_format)]
    log_format: LogFormat,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse::<NonZeroUsize>().map(usize::from).map_err(|_| "expected a whole number above 0".into())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected `text` or `json`".into()),
    }
}

/// Yes and no as people write them in the environment.
fn boolish() -> BoolishValueParser {
    BoolishValueParser::new()
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected three octal digits, such as `660`".into()),
    }
}

pub fn run(flags: Flags, settings: Settings) -> CommandResult {
    let threads = flags.threads.unwrap_or_else(available_threads);
    let threads_from = match flags.threads {
        Some(_) => settings.origin("threads").to_owned(),
        None => "the machine and its CPU quota".into(),
    };
    let batch_tokens = flags.batch_tokens.unwrap_or(BATCH_TOKENS_A_THREAD * threads.get());
    if flags.print_config {
        let decided = [
            ("threads", format!("{threads}, what the machine and its CPU quota allow")),
            ("batch_tokens", format!("{batch_tokens}, {BATCH_TOKENS_A_THREAD} for each thread")),
        ];
        return print(&settings.print(&decided));
    }
    if flags.model.is_empty() {
        return Err(Failure::message("no model is named").hint(
            "Name one: `--model DIR`, or `INFERD_MODEL`, or `model = [\"DIR\"]` in the file of `--config`.",
        ));
    }
    let options = Options {
        models: models(&flags.model)?,
        listen: flags.listen,
        socket_mode: flags.socket_mode,
        api_keys: flags.api_keys,
        protect_metrics: flags.protect_metrics,
        threads,
        origins: Origins { threads: threads_from, config: settings.file, warnings: settings.warnings },
        lazy_weights: flags.lazy_weights,
        memcheck_headroom: (!flags.no_memcheck).then_some(flags.memcheck_headroom),
        admission: AdmissionLimits { requests_max: flags.queue, bytes_max: flags.queue_bytes },
        requests: RequestLimits {
            body_bytes_max: flags.body_max,
            body_timeout: flags.body_timeout,
            infer_timeout: flags.infer_timeout,
            inputs_max: flags.inputs_max,
        },
        connections: ConnectionLimits {
            connections_max: flags.connections,
            header_timeout: flags.header_timeout,
            write_timeout: flags.write_timeout,
        },
        batches: BatchSettings {
            batch_tokens,
            batch_delay: flags.batch_delay,
            request_tokens_max: flags.request_tokens,
        },
        log_format: flags.log_format,
    };
    run_server(Server::open(options)?, flags.drain_timeout)
}

fn print(page: &str) -> CommandResult {
    let mut output = Output::stdout();
    match output.line(page.trim_end().as_bytes()).and_then(|()| output.flush()) {
        Ok(()) | Err(Stop::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// `NAME=DIR`, or `DIR` whose last part is the name.
fn models(given: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut names = HashSet::new();
    let mut models = Vec::new();
    for text in given {
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
            return Err(Failure::message(format_args!("`--model {text}` gives no name"))
                .hint("Give one: `--model NAME=DIR`."));
        }
        if !names.insert(name.clone()) {
            return Err(Failure::message(format_args!("two models are named `{name}`"))
                .hint("Give each a name of its own: `--model NAME=DIR`."));
        }
        models.push((name, dir));
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_user_or_by_its_folder() {
        let given = ["a=/m/x".to_string(), "/m/y".into()];
        assert_eq!(models(&given).unwrap(), [("a".into(), "/m/x".into()), ("y".into(), "/m/y".into())]);
        assert!(models(&["/a/m".into(), "/b/m".into()]).is_err());
        assert!(models(&["=/m".into()]).is_err());
    }
}
