//! The public interface of a model: calls that tokenize and embed, divided among the members of the thread team.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::batch;
use crate::bert::PackedSequences;
use crate::cancel::Cancel;
use crate::compute_team::ComputeTeam;
use crate::error::{EngineError, ModelError, ModelErrorKind};
use crate::gemm_backend::GemmBackend;
use crate::idle_signal::IdleSignal;
use crate::model::Model;
use crate::model_files::{EmbeddedFiles, ModelFiles};
use crate::tokenizer::{TextCursor, TextTokenizer, Token};

/// Tokenizer units per member and call: more than one, so that a member with short texts takes over work of the others.
const SHARES_PER_MEMBER: usize = 4;
/// Calls of at most this much text, some milliseconds of work, are tokenized by the caller while the members are busy.
const CALLER_TEXT_BYTES_MAX: usize = 16 << 10;

/// A sentence-embedding model. Any number of callers can share it by reference.
pub struct Embedder {
    model: Model,
    team: ComputeTeam,
}

impl Embedder {
    /// Opens a model folder with a team of `threads` members, callers included. Weights are mapped; own kernels pack those of the
    /// layers here, and what is used in place is read by the first call.
    pub fn open(dir: &Path, gemm: GemmBackend, threads: NonZeroUsize) -> Result<Embedder, ModelError> {
        let model = Model::open(&ModelFiles::in_folder(dir)?, gemm)?;
        Ok(Embedder { model, team: start_team(dir, threads)? })
    }

    /// Opens a model folder on a team that other models use, too.
    pub fn open_with_team(dir: &Path, gemm: GemmBackend, team: &ComputeTeam) -> Result<Embedder, ModelError> {
        let model = Model::open(&ModelFiles::in_folder(dir)?, gemm)?;
        Ok(Embedder { model, team: team.clone() })
    }

    /// Opens a model that is part of the program; `name` replaces the path of the folder in messages.
    pub fn from_embedded(
        name: &str,
        files: EmbeddedFiles,
        gemm: GemmBackend,
        threads: NonZeroUsize,
    ) -> Result<Embedder, ModelError> {
        let model = Model::open(&ModelFiles::embedded(name, files), gemm)?;
        Ok(Embedder { model, team: start_team(Path::new(name), threads)? })
    }

    /// One vector per text, in order. The empty text is a valid text; an empty list yields an empty list.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.embed_cancellable(texts, &Cancel::default())
    }

    /// As [`Embedder::embed`] until `cancel` is set. No work of the call remains when this function returns.
    pub fn embed_cancellable<S: AsRef<str>>(
        &self,
        texts: &[S],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        self.forward(&self.tokenize(texts, cancel)?, cancel, &IdleSignal::default())
    }

    /// One vector per sequence of token ids, in order. The ids are used unchanged: the caller adds special tokens.
    pub fn embed_tokens(
        &self,
        sequences: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let (tokens_max, vocab_size) = (self.max_tokens(), self.vocab_size());
        for (index, ids) in sequences.iter().enumerate() {
            let tokens = ids.len();
            if tokens == 0 || tokens > tokens_max {
                return Err(EngineError::SequenceLength { index, tokens, tokens_max });
            }
            if let Some(id) = ids.iter().copied().find(|id| *id as usize >= vocab_size) {
                return Err(EngineError::UnknownToken { id, vocab_size });
            }
        }
        self.forward(sequences, cancel, idle)
    }

    fn forward(
        &self,
        sequences: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let members = self.team.members();
        let chunks = batch::split_into_chunks(&lengths, members);
        // A single chunk would leave the other members idle.
        let is_single_chunk = chunks.len() == 1 && members > 1;
        if is_single_chunk {
            let chunk = PackedSequences::new(chunks[0].iter().map(|i| &sequences[*i][..]));
            if let Some(vectors) = self.model.forward_on_team(&chunk, &self.team, cancel) {
                return Ok(in_order(sequences.len(), &chunks, vectors?));
            }
        }
        let outputs = self.team.map(chunks.len(), idle, |i, scratch| {
            // Before the embeddings of the chunk are looked up: of a batch of many chunks they take as long as several layers.
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let chunk = PackedSequences::new(chunks[i].iter().map(|i| &sequences[*i][..]));
            if is_single_chunk {
                self.model.forward_single_chunk(&chunk, scratch, cancel, members)
            } else {
                self.model.forward(&chunk, scratch, cancel)
            }
        })?;

        Ok(in_order(sequences.len(), &chunks, outputs.into_iter().flatten()))
    }

    /// The token ids of each text including special tokens, truncated to [`Embedder::max_tokens`].
    pub fn tokenize<S: AsRef<str>>(
        &self,
        texts: &[S],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<u32>>, EngineError> {
        self.map_texts(texts, cancel, |tokenizer, text, cancel| {
            let (mut ids, mut cursor) = (Vec::new(), TextCursor::default());
            while !cursor.is_finished() {
                cancel.check()?;
                let added = tokenizer.next_ids(text, &mut cursor, &mut ids);
                added.map_err(|reason| EngineError::Tokenize { index: 0, reason })?;
            }
            Ok(ids)
        })
    }

    /// Adds the ids of the next piece of a text; the ids of all pieces are those of [`Embedder::tokenize`]. Returns within
    /// some milliseconds, on the thread of the caller, so that a caller can stop between pieces or do other work.
    pub fn next_ids(
        &self,
        text: &str,
        cursor: &mut TextCursor,
        ids: &mut Vec<u32>,
    ) -> Result<(), EngineError> {
        caught(|| self.model.tokenizer().next_ids(text, cursor, ids))
    }

    /// Adds the tokens of the next piece of a text, not truncated. As [`Embedder::next_ids`].
    pub fn next_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        caught(|| self.model.tokenizer().next_tokens(text, special_tokens, cursor, tokens))
    }

    /// All tokens of a text, not truncated.
    pub fn tokens(&self, text: &str, special_tokens: bool) -> Result<Vec<Token>, EngineError> {
        let (mut tokens, mut cursor) = (Vec::new(), TextCursor::default());
        while !cursor.is_finished() {
            self.next_tokens(text, special_tokens, &mut cursor, &mut tokens)?;
        }
        Ok(tokens)
    }

    /// The name of a token in the vocabulary, for a token without a part of the text.
    pub fn token_name(&self, id: u32) -> Option<String> {
        self.model.tokenizer().token_name(id)
    }

    /// Runs the tokenizer on the members, one share of the texts per unit. While the members compute chunks, which take
    /// long, the caller tokenizes a small call itself, so that its texts are ready for the next batch.
    fn map_texts<S: AsRef<str>, T: Send>(
        &self,
        texts: &[S],
        cancel: &Cancel,
        run: impl Fn(&TextTokenizer, &str, &Cancel) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        // The elements may not be shareable between threads, the texts are.
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let run_share = |first: usize, texts: &[&str]| {
            let results = (first..).zip(texts).map(|(index, text)| {
                run(self.model.tokenizer(), text, cancel).map_err(|error| match error {
                    EngineError::Tokenize { reason, .. } => EngineError::Tokenize { index, reason },
                    other => other,
                })
            });
            results.collect::<Result<Vec<_>, EngineError>>()
        };
        let bytes = texts.iter().map(|text| text.len()).sum::<usize>();
        if bytes <= CALLER_TEXT_BYTES_MAX && !self.team.is_idle() {
            // As on a member: a panic of the tokenizer fails this call only.
            let on_caller = AssertUnwindSafe(|| run_share(0, &texts));
            return catch_unwind(on_caller).unwrap_or(Err(EngineError::WorkerFailed));
        }
        let share = texts.len().div_ceil(self.team.members() * SHARES_PER_MEMBER).max(1);
        let shares: Vec<&[&str]> = texts.chunks(share).collect();
        let results =
            self.team.map(shares.len(), &IdleSignal::default(), |n, _| run_share(n * share, shares[n]))?;
        Ok(results.into_iter().flatten().collect())
    }

    /// Computes the largest chunk that calls of `call_tokens` can yield on every member and discards the result. Loads the
    /// pages of the weights and allocates all memory that calls will need. Requires a team without other work.
    pub fn warm_up(&self, call_tokens: usize) -> Result<(), EngineError> {
        let (members, longest) = (self.team.members(), self.max_tokens());
        let mut tokens = batch::chunk_tokens_bound(call_tokens, longest, members);
        let mut sequences = Vec::new();
        while tokens > 0 {
            sequences.push(vec![0; tokens.min(longest)]);
            tokens -= tokens.min(longest);
        }
        let results = self.team.run_with(members, |member, scratch| {
            let chunk = PackedSequences::new(sequences.iter().map(|sequence| &sequence[..]));
            // All at once, so that OpenBLAS allocates a buffer for each.
            member.barrier().map_err(|_| EngineError::WorkerFailed)?;
            self.model.forward(&chunk, scratch, &Cancel::default()).map(drop)
        })?;
        results.into_iter().collect::<Result<(), EngineError>>()?;
        if members > 1 {
            self.forward(&[vec![0; longest]], &Cancel::default(), &IdleSignal::default())?;
        }
        Ok(())
    }

    /// The length of a vector.
    pub fn dimension(&self) -> usize {
        self.model.config().bert.hidden_size
    }

    /// The number of tokens, two of them special, to which longer texts are truncated, as sentence-transformers does.
    pub fn max_tokens(&self) -> usize {
        self.model.config().max_tokens
    }

    /// The number of encoder layers. A call checks for cancellation before each of them.
    pub fn layers(&self) -> usize {
        self.model.config().bert.num_hidden_layers
    }

    /// The number of rows of the embedding table; valid token ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.model.config().bert.vocab_size
    }

    /// Fails when the weight file changed after it was opened. Cheap: reads the length and the times of the file. When only
    /// the times changed, the content is compared in the background, and the result is returned by later calls.
    pub fn check_weights(&self) -> Result<(), EngineError> {
        self.model.weights().check_without_reading()
    }

    /// Reads the weight file in the background, so that new times without new bytes (`touch`) do not make it unusable. For
    /// processes that keep a model for long; each computation compares the content when the times have changed.
    pub fn remember_weights(&self) {
        self.model.weights().remember_content();
    }

    /// The name of the model folder.
    pub fn name(&self) -> &str {
        &self.model.config().name
    }

    /// Time of the members per stage of the forward pass since the model was opened, summed over the members.
    pub fn stage_times(&self) -> Vec<(&'static str, Duration)> {
        self.model.stage_times()
    }
}

/// The vectors of chunks, which list the positions of their sequences, in the order of the sequences.
fn in_order(
    count: usize,
    chunks: &[Vec<usize>],
    vectors: impl IntoIterator<Item = Vec<f32>>,
) -> Vec<Vec<f32>> {
    let mut ordered = vec![Vec::new(); count];
    for (i, vector) in chunks.iter().flatten().zip(vectors) {
        ordered[*i] = vector;
    }
    ordered
}

/// As on a member: a panic of the tokenizer fails this call only.
fn caught(run: impl FnOnce() -> Result<(), String>) -> Result<(), EngineError> {
    let result = catch_unwind(AssertUnwindSafe(run)).map_err(|_| EngineError::WorkerFailed)?;
    result.map_err(|reason| EngineError::Tokenize { index: 0, reason })
}

fn start_team(model: &Path, threads: NonZeroUsize) -> Result<ComputeTeam, ModelError> {
    ComputeTeam::start(threads).map_err(|error| {
        let (expected, hint) =
            (format!("{threads} worker threads"), "ulimit -u; ulimit -v; or configure fewer threads");
        ModelError::new(ModelErrorKind::ThreadsUnavailable, model, expected, error.to_string(), hint)
    })
}
