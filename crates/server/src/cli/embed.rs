//! `inferd embed`: reads texts, prints one JSON object per line.
//!
//! With `--rounds` it measures: all texts are one call of the engine, in a process that is warm, without reading and printing.
//!
//! A filter: it holds one batch of texts, prints the vectors of a batch before it reads the next one, and prints all
//! vectors before it reports that a later line is invalid. The model is opened first, so that a bad folder is reported
//! before any text is read.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use diag::Diagnostic;
use engine::{Embedder, EngineError, GemmBackend};
use serde::Serialize;

use super::exit::{self, CommandResult};
use super::output::{Output, Stop};
use super::{compute, threads};
use crate::text_lines::{BATCH_TEXTS_MAX, LineError, TextLines};
use crate::{codes, compute_thread};

/// Flags of the command.
#[derive(clap::Args)]
pub struct Flags {
    /// Folder with config.json, tokenizer.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Compute threads [default: the CPUs that the machine and the CPU quota allow]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    compute: compute::Flags,
    /// Measure instead: embed all texts in one call, N times after a first one that does not count; prints the seconds of each
    #[arg(long, value_name = "N", value_parser = parse_rounds)]
    rounds: Option<NonZeroU32>,
    /// Texts; without `--`, texts are read from stdin, one per line
    #[arg(last = true, value_name = "TEXT")]
    texts: Vec<OsString>,
}

fn parse_rounds(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", u32::MAX))
}

enum Source {
    Arguments(Vec<String>),
    Stdin,
}

/// Embeds all texts on a compute thread.
pub fn run(flags: Flags, args: &[OsString]) -> CommandResult {
    // `-- "${texts[@]}"` with an empty list means no texts; it must not wait for stdin.
    let source = if args.iter().any(|arg| arg == "--") {
        Source::Arguments(to_strings(flags.texts)?)
    } else {
        Source::Stdin
    };
    let threads = flags.threads.unwrap_or_else(|| threads::available().threads);
    let backends = flags.compute.select(|option| format!("--{option}"))?.backends;
    if let Some(name) = backends.by_model.keys().next() {
        let message = format!("`--dtype {name}=…` names a model, and `embed` has one");
        return Err(Diagnostic::new(&codes::COMPUTE_OPTIONS, message)
            .hint("leave the name out: `inferd embed --model DIR --dtype bf16 -- TEXT`"));
    }
    let backend = backends.default;
    let job = move || embed_all(&flags.model, backend, threads, source, flags.rounds);
    let thread = compute_thread::spawn(job)
        .map_err(|error| codes::caused(&codes::SYSTEM_RESOURCE, "cannot start the compute thread", &error))?;
    match thread.join() {
        Ok(Ok(()) | Err(Stop::ReaderGone)) => Ok(ExitCode::SUCCESS),
        Ok(Err(Stop::Failed(diagnostic))) => Err(diagnostic),
        // The panic hook has printed the report.
        Err(_) => Ok(ExitCode::from(exit::FAILURE)),
    }
}

fn to_strings(texts: Vec<OsString>) -> Result<Vec<String>, Diagnostic> {
    let text = |(index, text): (usize, OsString)| {
        text.into_string().map_err(|_| {
            let message = format!("text {index} (counted from 0) of the arguments is not valid UTF-8");
            Diagnostic::new(&codes::INVALID_ARGUMENT, message)
        })
    };
    texts.into_iter().enumerate().map(text).collect()
}

fn embed_all(
    model: &Path,
    backend: GemmBackend,
    threads: NonZeroUsize,
    source: Source,
    rounds: Option<NonZeroU32>,
) -> Result<(), Stop> {
    let embedder =
        Embedder::open(model, backend, threads).map_err(|error| Stop::Failed(error.diagnostic()))?;
    if let Some(rounds) = rounds {
        let texts = source.all()?;
        if texts.is_empty() {
            return Err(Stop::Failed(
                Diagnostic::new(&codes::INVALID_INPUT, "`--rounds` has no text to measure")
                    .expected("texts after `--`, or on stdin, one per line")
                    .hint("for example `inferd embed --model DIR --rounds 10 -- 'a text'`"),
            ));
        }
        return measure(&embedder, &texts, rounds);
    }
    let mut lines = EmbeddingLines { embedder, output: Output::stdout(), next_index: 0, buffer: Vec::new() };
    match source {
        Source::Arguments(texts) => {
            for batch in texts.chunks(BATCH_TEXTS_MAX) {
                lines.write(batch)?;
            }
        }
        Source::Stdin => {
            let stdin = std::io::stdin();
            say_if_terminal();
            let mut texts = TextLines::new(stdin.lock());
            while let Some(batch) = texts.next_batch().map_err(|error| Stop::Failed(input_error(&error)))? {
                lines.write(&batch)?;
            }
        }
    }
    Ok(())
}

/// A user at a terminal would see nothing happen.
fn say_if_terminal() {
    if std::io::stdin().is_terminal() {
        let _ = writeln!(
            std::io::stderr(),
            "reading texts from the terminal, one per line; Ctrl-D ends the input"
        );
    }
}

impl Source {
    /// All texts, however many there are.
    fn all(self) -> Result<Vec<String>, Stop> {
        match self {
            Self::Arguments(texts) => Ok(texts),
            Self::Stdin => {
                say_if_terminal();
                let mut lines = TextLines::new(std::io::stdin().lock());
                let mut texts = Vec::new();
                while let Some(batch) =
                    lines.next_batch().map_err(|error| Stop::Failed(input_error(&error)))?
                {
                    texts.extend(batch);
                }
                Ok(texts)
            }
        }
    }
}

#[derive(Serialize)]
struct Round {
    round: u32,
    /// From the texts to their vectors.
    seconds: f64,
}

/// Prints the time of each round as one JSON object per line.
fn measure(embedder: &Embedder, texts: &[String], rounds: NonZeroU32) -> Result<(), Stop> {
    let mut output = Output::stdout();
    for round in 0..=rounds.get() {
        let started = Instant::now();
        let vectors = embedder.embed(texts).map_err(|error| Stop::Failed(error.diagnostic()))?;
        let seconds = started.elapsed().as_secs_f64();
        drop(vectors);
        // Round 0 is the first call.
        if round > 0 {
            let line = serde_json::to_vec(&Round { round, seconds });
            let line = line.map_err(|error| {
                Stop::Failed(codes::caused(&codes::INTERNAL_ERROR, "cannot encode a time as JSON", &error))
            })?;
            output.line(&line)?;
        }
    }
    output.flush()
}

fn input_error(error: &LineError) -> Diagnostic {
    let diagnostic = codes::from_error(&codes::INVALID_INPUT, error);
    match error {
        LineError::TooLong { .. } => diagnostic.hint("pass one text per line; split long documents"),
        LineError::NotUtf8 { .. } => diagnostic.hint("convert the input, for example with `iconv -t UTF-8`"),
        LineError::Read { .. } => diagnostic,
    }
}

struct EmbeddingLines {
    embedder: Embedder,
    output: Output,
    next_index: u64,
    buffer: Vec<u8>,
}

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    embedding: &'a [f32],
}

impl EmbeddingLines {
    /// Embeds and prints one batch, and flushes stdout.
    fn write(&mut self, texts: &[String]) -> Result<(), Stop> {
        let first = self.next_index;
        let vectors = self.embedder.embed(texts).map_err(|error| {
            // The engine counts from the start of the batch, the user from the first text.
            let which = match error {
                EngineError::Tokenize { index, .. } => format!("text {}", first + index as u64),
                _ => format!("texts {first} to {}", first + texts.len() as u64 - 1),
            };
            let error = error.diagnostic();
            let diagnostic = Diagnostic::new(error.code(), format!("cannot embed {which}"));
            let diagnostic = diagnostic.cause(&error.fields().message);
            Stop::Failed(match &error.fields().hint {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic,
            })
        })?;
        for embedding in &vectors {
            let index = self.next_index;
            // JSON has no NaN: serde_json would print `null`.
            if !embedding.iter().all(|value| value.is_finite()) {
                let message = format!("the vector of text {index} holds a value that is not finite");
                return Err(Stop::Failed(
                    Diagnostic::new(&codes::EMBEDDING_FAILED, message)
                        .hint("compare the digest of model.safetensors with its source"),
                ));
            }
            self.buffer.clear();
            serde_json::to_writer(&mut self.buffer, &Line { index, embedding }).map_err(|error| {
                Stop::Failed(codes::caused(&codes::INTERNAL_ERROR, "cannot encode a vector as JSON", &error))
            })?;
            self.output.line(&self.buffer)?;
            self.next_index += 1;
        }
        self.output.flush()
    }
}
