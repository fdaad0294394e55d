//! Error types of the engine. Each error has a stable code and converts to a [`Diagnostic`] that states the file, the
//! expected and the found value, and a command or a change that helps.
//!
//! [`ModelError`] occurs only while a model is opened. [`EngineError`] concerns one call. The enums are complete: they
//! have no catch-all variant, and no error is derived from the text of a panic.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use diag::{Code, Diagnostic};

use crate::codes;

/// The class of a [`ModelError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// A required file of the folder does not exist.
    MissingFile,
    /// The file exists, but cannot be read or mapped.
    Unreadable,
    /// The file is not the JSON, or lacks the JSON fields, that its name implies.
    Malformed,
    /// Two values contradict each other.
    Inconsistent,
    /// A valid model of a kind that this engine does not implement.
    Unsupported,
    /// The file is shorter or longer than its header states.
    WrongLength,
    /// The weights lack a tensor that the configuration requires.
    MissingTensor,
    /// A tensor has another shape than the configuration requires.
    WrongShape,
    /// A tensor has an element type that the engine does not read.
    WrongDtype,
    /// A tensor does not start on a 4-byte boundary, so it cannot be used from the map.
    Misaligned,
    /// The model is valid, but its worker threads cannot be started.
    ThreadsUnavailable,
}

impl ModelErrorKind {
    /// The stable code of the class.
    pub fn code(self) -> &'static Code {
        match self {
            ModelErrorKind::MissingFile => &codes::MODEL_FILE_MISSING,
            ModelErrorKind::Unreadable => &codes::MODEL_FILE_UNREADABLE,
            ModelErrorKind::Malformed => &codes::MODEL_FILE_MALFORMED,
            ModelErrorKind::Inconsistent => &codes::MODEL_CONFIG_INCONSISTENT,
            ModelErrorKind::Unsupported => &codes::MODEL_UNSUPPORTED,
            ModelErrorKind::WrongLength => &codes::MODEL_FILE_LENGTH,
            ModelErrorKind::MissingTensor => &codes::TENSOR_MISSING,
            ModelErrorKind::WrongShape => &codes::TENSOR_SHAPE,
            ModelErrorKind::WrongDtype => &codes::TENSOR_DTYPE,
            ModelErrorKind::Misaligned => &codes::TENSOR_ALIGNMENT,
            ModelErrorKind::ThreadsUnavailable => &codes::WORKER_THREADS,
        }
    }
}

/// Why a model cannot be opened.
#[derive(Clone, Debug)]
pub struct ModelError {
    kind: ModelErrorKind,
    file: PathBuf,
    expected: String,
    found: String,
    hint: String,
}

/// For damaged or incomplete folders.
pub(crate) const RESAVE_HINT: &str = "fetch the model folder again, or save it again: python3 -c 'from \
                                      sentence_transformers import SentenceTransformer as S; S(\"NAME\").save(\"DIR\")'";

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

    /// An I/O error on a file of the model. Distinguishes a missing file from an unreadable one.
    pub(crate) fn io(file: &Path, error: &io::Error) -> ModelError {
        if error.kind() == io::ErrorKind::NotFound {
            let expected = "a model folder as sentence-transformers writes it, with this file in it";
            return ModelError::new(ModelErrorKind::MissingFile, file, expected, "no such file", RESAVE_HINT);
        }
        let hint = format!("ls -l {}", file.display());
        ModelError::new(ModelErrorKind::Unreadable, file, "a readable file", error.to_string(), hint)
    }

    /// A file that cannot be parsed.
    pub(crate) fn malformed(file: &Path, expected: &str, found: impl fmt::Display) -> ModelError {
        ModelError::new(ModelErrorKind::Malformed, file, expected, found.to_string(), RESAVE_HINT)
    }

    /// The class of the error.
    pub fn kind(&self) -> ModelErrorKind {
        self.kind
    }

    /// The file or the folder that the error concerns.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The stable code.
    pub fn code(&self) -> &'static Code {
        self.kind.code()
    }

    /// The error with all of its parts.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), self.code().summary)
            .file(&self.file)
            .expected(&self.expected)
            .found(&self.found)
            .hint(&self.hint)
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.diagnostic(), f)
    }
}

impl std::error::Error for ModelError {}

/// Why a call returned no vectors.
#[derive(Clone, Debug)]
pub enum EngineError {
    /// The tokenizer refused a text.
    Tokenize {
        /// Position of the text in the call, from 0.
        index: usize,
        /// The message of the tokenizer.
        reason: String,
    },
    /// A sequence of token ids is empty or longer than the model reads.
    SequenceLength {
        /// Position of the sequence in the call, from 0.
        index: usize,
        /// Length of the sequence.
        tokens: usize,
        /// Largest length that the model reads.
        tokens_max: usize,
    },
    /// A token id has no row in the embedding table.
    UnknownToken {
        /// The id.
        id: u32,
        /// Rows of the embedding table; valid ids are below this.
        vocab_size: usize,
    },
    /// A worker panicked on this call. The message of the panic is on stderr; other calls are not affected.
    WorkerFailed,
    /// The call was cancelled before it completed.
    Cancelled,
    /// The weight file was truncated or written to after the model was opened, so no vector of the model is reliable.
    WeightsChanged,
}

impl EngineError {
    /// The stable code.
    pub fn code(&self) -> &'static Code {
        match self {
            EngineError::Tokenize { .. } => &codes::TOKENIZE,
            EngineError::SequenceLength { .. } => &codes::SEQUENCE_LENGTH,
            EngineError::UnknownToken { .. } => &codes::UNKNOWN_TOKEN,
            EngineError::WorkerFailed => &codes::WORKER_PANIC,
            EngineError::Cancelled => &codes::CALL_CANCELLED,
            EngineError::WeightsChanged => &codes::WEIGHTS_CHANGED,
        }
    }

    /// The error with all of its parts.
    pub fn diagnostic(&self) -> Diagnostic {
        let diagnostic = Diagnostic::new(self.code(), self.message());
        match self {
            EngineError::UnknownToken { .. } => diagnostic.hint(
                "`tokenizer.json` and `model.safetensors` come from different models: fetch the model folder again",
            ),
            EngineError::WorkerFailed => diagnostic.hint("report it with the text"),
            EngineError::WeightsChanged => {
                diagnostic.hint("replace the file by rename, then open the model again")
            }
            EngineError::Tokenize { .. } | EngineError::SequenceLength { .. } | EngineError::Cancelled => {
                diagnostic
            }
        }
    }

    fn message(&self) -> String {
        match self {
            EngineError::Tokenize { index, reason } => {
                format!("text {index} could not be tokenized: {reason}")
            }
            EngineError::SequenceLength { index, tokens, tokens_max } => {
                format!("sequence {index} has {tokens} tokens; the model reads 1 to {tokens_max}")
            }
            EngineError::UnknownToken { id, vocab_size } => {
                format!("token id {id} is unknown: `word_embeddings` has {vocab_size} rows")
            }
            EngineError::WorkerFailed => "an engine worker panicked; its message is on stderr".into(),
            EngineError::Cancelled => "the call was cancelled".into(),
            EngineError::WeightsChanged => {
                "`model.safetensors` was changed in place after it was opened".into()
            }
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.diagnostic(), f)
    }
}

impl std::error::Error for EngineError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_error_states_code_file_and_values_and_carries_its_hint() {
        let error = ModelError::io(Path::new("dir/config.json"), &io::ErrorKind::NotFound.into());
        assert_eq!((error.kind(), error.code().id), (ModelErrorKind::MissingFile, "model-file-missing"));
        insta::assert_snapshot!(error, @r#"
        the model folder lacks a required file
          --> dir/config.json
          expected: a model folder as sentence-transformers writes it, with this file in it
          found:    no such file
        "#);
        assert!(
            error
                .diagnostic()
                .fields()
                .hint
                .as_deref()
                .is_some_and(|hint| hint.starts_with("fetch the model"))
        );
    }

    #[test]
    fn an_engine_error_carries_its_hint_beside_its_text() {
        let error = EngineError::UnknownToken { id: 7, vocab_size: 5 };
        assert!(error.diagnostic().fields().hint.is_some());
        insta::assert_snapshot!(error, @"token id 7 is unknown: `word_embeddings` has 5 rows");
        insta::assert_snapshot!(EngineError::Cancelled, @"the call was cancelled");
    }
}
