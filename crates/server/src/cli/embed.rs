//! `inferd embed`: texts in, one JSON object a line out.
//!
//! A filter: it holds one batch of texts at a time, answers a batch before it reads the next, and prints what it has before it
//! reports that a later line is bad. The model is opened first, so that a bad folder is said before any text is read.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::{Embedder, EngineError};
use serde::Serialize;

use super::output::{Output, Stop};
use super::{CommandResult, EXIT_FAILURE};
use crate::compute_thread;
use crate::failure::Failure;
use crate::text_lines::{BATCH_TEXTS_MAX, LineError, TextLines};

/// OpenBLAS is built for fewer; a larger number is a slip of the pen.
const THREADS_MAX: usize = 1024;

#[derive(clap::Args)]
pub struct Flags {
    /// Folder with config.json, tokenizer.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Threads to compute with [default: what the machine and its CPU quota allow]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// The texts; without `--`, texts are read from stdin, one a line
    #[arg(last = true, value_name = "TEXT")]
    texts: Vec<OsString>,
}

pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= THREADS_MAX => Ok(threads),
        _ => Err(format!("expected a whole number from 1 to {THREADS_MAX}")),
    }
}

enum Source {
    Arguments(Vec<String>),
    Stdin,
}

pub fn run(flags: Flags, args: &[OsString]) -> CommandResult {
    // `-- "${texts[@]}"` with an empty list means no texts; it must not wait for stdin.
    let source = if args.iter().any(|arg| arg == "--") {
        Source::Arguments(arguments(flags.texts)?)
    } else {
        Source::Stdin
    };
    let threads = flags.threads.unwrap_or_else(available_threads);
    let job = move || embed_all(&flags.model, threads, source);
    let thread = compute_thread::spawn(job)
        .map_err(|error| Failure::new(error).context("cannot start the thread that computes"))?;
    match thread.join() {
        Ok(Ok(())) | Ok(Err(Stop::ReaderGone)) => Ok(ExitCode::SUCCESS),
        Ok(Err(Stop::Failed(failure))) => Err(failure),
        // The panic hook has reported it.
        Err(_) => Ok(ExitCode::from(EXIT_FAILURE)),
    }
}

fn arguments(texts: Vec<OsString>) -> Result<Vec<String>, Failure> {
    let text = |(index, text): (usize, OsString)| {
        text.into_string().map_err(|_| {
            Failure::message(format_args!(
                "text {index} (the first is 0) of the arguments is not valid UTF-8"
            ))
        })
    };
    texts.into_iter().enumerate().map(text).collect()
}

pub(super) fn available_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or_else(|error| {
        let _ = writeln!(
            std::io::stderr(),
            "cannot find out how many CPUs there are ({error}): using one thread"
        );
        NonZeroUsize::MIN
    })
}

fn embed_all(model: &std::path::Path, threads: NonZeroUsize, source: Source) -> Result<(), Stop> {
    let embedder = Embedder::open(model, threads).map_err(|error| Stop::Failed(Failure::new(error)))?;
    let mut lines = EmbeddingLines { embedder, output: Output::stdout(), next_index: 0, buffer: Vec::new() };
    match source {
        Source::Arguments(texts) => {
            for batch in texts.chunks(BATCH_TEXTS_MAX) {
                lines.write(batch)?;
            }
        }
        Source::Stdin => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                let _ = writeln!(
                    std::io::stderr(),
                    "reading texts from the terminal, one a line; end with Ctrl-D"
                );
            }
            let mut texts = TextLines::new(stdin.lock());
            while let Some(batch) = texts.next_batch().map_err(|error| Stop::Failed(line_failure(error)))? {
                lines.write(&batch)?;
            }
        }
    }
    Ok(())
}

fn line_failure(error: LineError) -> Failure {
    let hint = match &error {
        LineError::TooLong { .. } => Some("Give one text a line; split long documents first."),
        LineError::NotUtf8 { .. } => Some("Convert the input, for example with `iconv -t UTF-8`."),
        LineError::Read { .. } => None,
    };
    match hint {
        Some(hint) => Failure::new(error).hint(hint),
        None => Failure::new(error),
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
    /// Embeds and prints one batch; when it returns, the reader has the lines.
    fn write(&mut self, texts: &[String]) -> Result<(), Stop> {
        let first = self.next_index;
        let vectors = self.embedder.embed(texts).map_err(|error| {
            // The engine counts within the batch; the user counts from the first text.
            let which = match error {
                EngineError::Tokenize { index, .. } => format!("text {}", first + index as u64),
                _ => format!("texts {first} to {}", first + texts.len() as u64 - 1),
            };
            Stop::Failed(Failure::new(error).context(format!("cannot embed {which}")))
        })?;
        for embedding in &vectors {
            let index = self.next_index;
            // JSON has no NaN: serde_json would print `null`, and the reader would find out much later.
            if !embedding.iter().all(|value| value.is_finite()) {
                return Err(Stop::Failed(
                    Failure::message(format_args!("the vector of text {index} holds a value that is not a number"))
                        .hint("The weights may be damaged: compare the digest of model.safetensors with its source."),
                ));
            }
            self.buffer.clear();
            serde_json::to_writer(&mut self.buffer, &Line { index, embedding }).map_err(|error| {
                Stop::Failed(Failure::new(error).context("cannot write a vector as JSON"))
            })?;
            self.output.line(&self.buffer)?;
            self.next_index += 1;
        }
        self.output.flush()
    }
}
