//! What can go wrong, said so that the reader can act: the file, what was expected, what was found, what to run.
//!
//! [`ModelError`] is about a model folder and appears only while opening one. [`EngineError`] is about one call. There
//! is no variant for "anything else", and no error here is made from a panic's text.

use std::fmt;
use std::path::{Path, PathBuf};

/// The class of a [`ModelError`], for callers that tell them apart; the text is in its `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// A file that the folder must have is not there.
    MissingFile,
    /// The file is there and cannot be read or mapped.
    Unreadable,
    /// Not the JSON, or not the JSON fields, that this file must hold.
    Malformed,
    /// Two values that cannot both be true.
    Contradiction,
    /// A sound model of a kind that this engine does not run.
    Unsupported,
    /// Fewer or more bytes than the header promises.
    Truncated,
    MissingTensor,
    WrongShape,
    WrongDtype,
    /// Weights that cannot be used from the map because they do not lie on a 4-byte boundary.
    Misaligned,
    /// The model is sound, but its worker threads could not be started.
    NoThreads,
}

/// Why a model folder was refused.
#[derive(Debug)]
pub struct ModelError {
    pub kind: ModelErrorKind,
    pub file: PathBuf,
    pub expected: String,
    pub found: String,
    pub hint: String,
}

impl ModelError {
    pub(crate) fn new(
        kind: ModelErrorKind,
        file: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (expected, found, hint) = (expected.into(), found.into(), hint.into());
        ModelError { kind, file: file.to_owned(), expected, found, hint }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ModelErrorKind::MissingFile => "file is missing",
            ModelErrorKind::Unreadable => "file cannot be read",
            ModelErrorKind::Malformed => "file is malformed",
            ModelErrorKind::Contradiction => "configuration contradicts itself",
            ModelErrorKind::Unsupported => "model is of a kind that is not supported",
            ModelErrorKind::Truncated => "file has the wrong length",
            ModelErrorKind::MissingTensor => "weights lack a tensor",
            ModelErrorKind::WrongShape => "tensor has the wrong shape",
            ModelErrorKind::WrongDtype => "tensor has the wrong element type",
            ModelErrorKind::Misaligned => "tensor is not aligned",
            ModelErrorKind::NoThreads => "model cannot be run",
        };
        write!(
            f,
            "`{}`: {what}\n  expected: {}\n  found:    {}",
            self.file.display(),
            self.expected,
            self.found
        )?;
        write!(f, "\nhint: {}", self.hint)
    }
}

impl std::error::Error for ModelError {}

/// Why one call gave no vectors.
#[derive(Clone, Debug)]
pub enum EngineError {
    /// The tokenizer refused text number `index`.
    Tokenize { index: usize, reason: String },
    /// Token ids that cannot be one sequence: none, or more than the model reads.
    SequenceLength { index: usize, tokens: usize, tokens_max: usize },
    /// The tokenizer produced an id that the embedding table does not have.
    UnknownToken { id: u32, vocab_size: usize },
    /// A worker panicked on this call. The panic's message is on stderr; other calls are not affected.
    WorkerFailed,
    /// The call was cancelled before it ended.
    Cancelled,
    /// The weight file was cut or written to since the model was opened: no vector of this model can be trusted.
    WeightsChanged,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Tokenize { index, reason } => {
                write!(f, "text {index} could not be tokenized: {reason}")
            }
            EngineError::SequenceLength { index, tokens, tokens_max } => {
                write!(f, "sequence {index} has {tokens} tokens; the model reads 1 to {tokens_max}")
            }
            EngineError::UnknownToken { id, vocab_size } => write!(
                f,
                "the tokenizer produced token id {id}, but `word_embeddings` has {vocab_size} rows\nhint: `tokenizer.json` \
                 and `model.safetensors` come from different models: fetch the model folder again"
            ),
            EngineError::WorkerFailed => f.write_str(
                "an engine worker panicked; its message is above on stderr\nhint: report it with the text",
            ),
            EngineError::Cancelled => f.write_str("the call was cancelled"),
            EngineError::WeightsChanged => f.write_str(
                "`model.safetensors` was changed in place after it was opened\nhint: put a whole file there by rename, then \
                 open the model again",
            ),
        }
    }
}

impl std::error::Error for EngineError {}
