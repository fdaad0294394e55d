//! Model files, tokenizers and forward passes.
//!
//! [`Embedder`] opens a model folder as sentence-transformers writes it and turns texts into vectors, equal to the
//! reference within 1e-5 (see the golden tests). How a call flows:
//!
//! ```text
//! texts -> tokenizer   on the workers, a share each
//!       -> batch       cut into chunks of equal work, packed without padding
//!       -> bert        one forward pass a chunk, on the workers; products in OpenBLAS, the rest in kernels
//!       -> vectors     in the order of the texts
//! ```
//!
//! `folder` and `weights` read the model strictly; `workers` owns the threads and their stacks; `blas` owns the one
//! thread count of OpenBLAS and `lone` advises it.
//!
//! Deliberately not here: HTTP, async, queues, deadlines (the server's), and any choice made from the environment.

mod batch;
mod bert;
mod blas;
mod cancel;
mod config;
mod cost_model;
mod error;
mod idle_signal;
mod kernels;
pub mod memory;
mod model_files;
mod sigbus_guard;
mod tokenizer;
mod weights;
mod workers;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use blas::{BlasInfo, blas_info};
pub use cancel::Cancel;
pub use error::{EngineError, ModelError, ModelErrorKind};
pub use idle_signal::IdleSignal;
pub use model_files::EmbeddedFiles;
pub use tokenizer::TokenWithOffsets;
pub use workers::WorkerPool;

use bert::{Bert, PackedSequences, Scratch, Stage, StageTimes};
use cost_model::{CostModel, Threading};
use model_files::ModelFiles;
use tokenizer::TextTokenizer;
use workers::Workers;

/// A sentence-embedding model, ready to run. Shared by reference between any number of callers.
pub struct Embedder {
    model: Arc<Model>,
    workers: Arc<Workers>,
}

/// What the workers need of the model; they may outlive a call, not the embedder.
struct Model {
    tokenizer: TextTokenizer,
    bert: Bert,
    times: Mutex<StageTimes>,
    cost_model: Mutex<CostModel>,
}

impl Embedder {
    /// Opens a model folder and starts `threads` workers. Weights are mapped, not read: the first call pages them in.
    pub fn open(dir: &Path, threads: NonZeroUsize) -> Result<Embedder, ModelError> {
        Self::open_files(ModelFiles::folder(dir)?, || start(dir, threads))
    }

    /// Opens a model folder to be run by threads that other models use too.
    pub fn open_with_pool(dir: &Path, pool: &WorkerPool) -> Result<Embedder, ModelError> {
        Self::open_files(ModelFiles::folder(dir)?, || Ok(pool.clone()))
    }

    /// Opens a model that is part of the program; `name` stands for its folder in messages.
    pub fn from_embedded(
        name: &str,
        files: EmbeddedFiles,
        threads: NonZeroUsize,
    ) -> Result<Embedder, ModelError> {
        Self::open_files(ModelFiles::embedded(name, files), || start(Path::new(name), threads))
    }

    fn open_files(
        files: ModelFiles,
        pool: impl FnOnce() -> Result<WorkerPool, ModelError>,
    ) -> Result<Embedder, ModelError> {
        let config = config::read(&files)?;
        let tokenizer = TextTokenizer::open(&files.file("tokenizer.json"), &config)?;
        let bert = bert::open(&files.file("model.safetensors"), config)?;
        Ok(Embedder {
            model: Arc::new(Model { tokenizer, bert, times: Mutex::default(), cost_model: Mutex::default() }),
            workers: pool()?.0,
        })
    }

    /// One vector a text, in order. The empty text is a text; no texts give no vectors.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.embed_cancellable(texts, &Cancel::default())
    }

    /// As [`Embedder::embed`], until `cancel` says stop. When this returns, no work of the call is left.
    pub fn embed_cancellable<S: AsRef<str>>(
        &self,
        texts: &[S],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        self.forward(&self.tokenize(texts, cancel)?, cancel, &IdleSignal::default())
    }

    /// One vector a sequence of token ids, in order. The ids are used as they are: special tokens are the caller's.
    pub fn embed_tokens(
        &self,
        sequences: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let tokens_max = self.max_tokens();
        for (index, ids) in sequences.iter().enumerate() {
            let tokens = ids.len();
            if tokens == 0 || tokens > tokens_max {
                return Err(EngineError::SequenceLength { index, tokens, tokens_max });
            }
            let vocab_size = self.vocab_size();
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
        let chunks = batch::chunks(&lengths, self.max_tokens(), self.workers.count());
        let packed = chunks
            .iter()
            .map(|chunk| PackedSequences::new(chunk.iter().map(|i| &sequences[*i][..])))
            .collect();

        // One chunk leaves the other workers idle: BLAS may have their cores.
        let idle_cores = if chunks.len() == 1 { self.workers.count() } else { 1 };
        let (model, cancel) = (Arc::clone(&self.model), cancel.clone());
        let outputs = self.workers.map_with_signal(packed, idle, move |chunk: PackedSequences, scratch| {
            if idle_cores > 1 {
                model.forward_single_chunk(&chunk, scratch, &cancel, idle_cores)
            } else {
                let _caller = blas::acquire(1);
                model.forward(&chunk, scratch, &cancel)
            }
        });

        let mut vectors = vec![Vec::new(); sequences.len()];
        for (chunk, output) in chunks.iter().zip(outputs) {
            for (i, vector) in chunk.iter().zip(output.ok_or(EngineError::WorkerFailed)??) {
                vectors[*i] = vector;
            }
        }
        Ok(vectors)
    }

    /// Token ids of each text, special tokens and all, cut as [`Embedder::max_tokens`] says.
    pub fn tokenize<S: AsRef<str>>(
        &self,
        texts: &[S],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<u32>>, EngineError> {
        self.each_text(texts, cancel, TextTokenizer::ids)
    }

    /// Every token of each text with its place in it, not cut.
    pub fn tokens_with_offsets<S: AsRef<str>>(
        &self,
        texts: &[S],
        special_tokens: bool,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        self.each_text(texts, cancel, move |tokenizer, text| {
            tokenizer.tokens_with_offsets(text, special_tokens)
        })
    }

    /// Runs the tokenizer on the workers, a share of the texts a job. A few texts are not worth waiting for: while workers are at
    /// chunks, which take long, they are tokenized here, so that they can be in the next batch.
    fn each_text<S: AsRef<str>, T: Send + 'static>(
        &self,
        texts: &[S],
        cancel: &Cancel,
        run: impl Fn(&TextTokenizer, &str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Vec<T>, EngineError> {
        const SHARES_PER_WORKER: usize = 4;
        /// A few milliseconds.
        const BYTES_HERE_MAX: usize = 16 << 10;
        let each = move |model: &Model, texts: &mut dyn Iterator<Item = (usize, &str)>, cancel: &Cancel| {
            let each = texts.map(|(index, text)| {
                cancel.check()?;
                run(&model.tokenizer, text).map_err(|reason| EngineError::Tokenize { index, reason })
            });
            each.collect::<Result<Vec<_>, EngineError>>()
        };
        let bytes = texts.iter().map(|text| text.as_ref().len()).sum::<usize>();
        if bytes <= BYTES_HERE_MAX && !self.workers.are_idle() {
            let mut texts = texts.iter().map(AsRef::as_ref).enumerate();
            // As on a worker: a panic of the tokenizer costs this call an error.
            let here = AssertUnwindSafe(|| each(&self.model, &mut texts, cancel));
            return catch_unwind(here).unwrap_or(Err(EngineError::WorkerFailed));
        }
        let share = texts.len().div_ceil(self.workers.count() * SHARES_PER_WORKER).max(1);
        let shares = texts.chunks(share).enumerate();
        let shares: Vec<(usize, Vec<String>)> = shares
            .map(|(n, texts)| (n * share, texts.iter().map(|t| t.as_ref().to_owned()).collect()))
            .collect();
        let (model, cancel) = (Arc::clone(&self.model), cancel.clone());
        let outputs = self.workers.map(shares, move |(first, texts): (usize, Vec<String>), _| {
            let mut texts = texts.iter().enumerate().map(|(i, text)| (first + i, text.as_str()));
            each(&model, &mut texts, &cancel)
        });
        let mut results = Vec::with_capacity(texts.len());
        for output in outputs {
            results.extend(output.ok_or(EngineError::WorkerFailed)??);
        }
        Ok(results)
    }

    /// Computes, on every worker, as large a chunk as calls of `call_tokens` can give, and throws it away: pages the weights
    /// in and takes all the memory that calls will need. For a pool that does nothing else yet.
    pub fn warm_up(&self, call_tokens: usize) -> Result<(), EngineError> {
        let (workers, longest) = (self.workers.count(), self.max_tokens());
        let mut tokens = batch::chunk_tokens_bound(call_tokens, longest, workers);
        let mut sequences = Vec::new();
        while tokens > 0 {
            sequences.push(vec![0; tokens.min(longest)]);
            tokens -= tokens.min(longest);
        }
        let chunk = || PackedSequences::new(sequences.iter().map(|sequence| &sequence[..]));
        let chunks = (0..workers).map(|_| chunk()).collect();
        // Each worker takes one and waits for the others: none takes two.
        let (all, model) = (Barrier::new(workers), Arc::clone(&self.model));
        let outputs = self.workers.map(chunks, move |chunk: PackedSequences, scratch| {
            all.wait();
            let _caller = blas::acquire(1);
            model.forward(&chunk, scratch, &Cancel::default()).map(drop)
        });
        outputs.into_iter().try_for_each(|output| output.unwrap_or(Err(EngineError::WorkerFailed)))
    }

    /// Length of a vector.
    pub fn dimension(&self) -> usize {
        self.model.bert.config().bert.hidden_size
    }

    /// Longer texts are cut to this many tokens, two of them special, as sentence-transformers does.
    pub fn max_tokens(&self) -> usize {
        self.model.bert.config().max_tokens
    }

    /// Layers of the forward pass: before each of them a call looks whether it is still wanted.
    pub fn layers(&self) -> usize {
        self.model.bert.config().bert.num_hidden_layers
    }

    /// Token ids are below this.
    pub fn vocab_size(&self) -> usize {
        self.model.bert.config().bert.vocab_size
    }

    /// The weights are still those that were opened. Cheap: asks the file system for its length and time.
    pub fn check_weights(&self) -> Result<(), EngineError> {
        self.model.bert.check_weights()
    }

    /// The name of the model's folder.
    pub fn name(&self) -> &str {
        &self.model.bert.config().name
    }

    /// Where the workers' time went since the model was opened: stage by stage, summed over the workers.
    pub fn stage_times(&self) -> Vec<(&'static str, Duration)> {
        let times = lock(&self.model.times);
        Stage::ALL.iter().map(|(stage, name)| (*name, times.0[*stage as usize])).collect()
    }
}

fn start(model: &Path, threads: NonZeroUsize) -> Result<WorkerPool, ModelError> {
    WorkerPool::start(threads).map_err(|error| {
        let (expected, hint) =
            (format!("{threads} worker threads"), "ulimit -u; ulimit -v; or ask for fewer threads");
        ModelError::new(ModelErrorKind::NoThreads, model, expected, error.to_string(), hint)
    })
}

impl Model {
    fn forward(
        &self,
        chunk: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let vectors = self.bert.forward(chunk, scratch, cancel);
        lock(&self.times).add(&scratch.take_times());
        // Whatever went wrong on numbers that are not the model's is not worth telling.
        self.bert.check_weights()?;
        vectors
    }

    /// The same for a call of one chunk: alone, it may use `cores` by BLAS's threads.
    fn forward_single_chunk(
        &self,
        chunk: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
        cores: usize,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let threading = lock(&self.cost_model).choose();
        let caller = blas::acquire(if threading == Threading::Multi { cores } else { 1 });
        let start = Instant::now();
        let vectors = self.forward(chunk, scratch, cancel)?;
        if caller.stayed_exclusive() {
            lock(&self.cost_model).record(threading, chunk.ids.len(), start.elapsed());
        }
        Ok(vectors)
    }
}

/// The state behind these locks is numbers, written whole: a panic elsewhere leaves nothing half-made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
