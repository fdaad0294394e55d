//! An open model: tokenizer, encoder, and the measurements of its calls. The members of the thread team share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bert::{Bert, ForwardTimes, PackedSequences, Scratch};
use crate::blas;
use crate::cancel::Cancel;
use crate::compute_team::ComputeTeam;
use crate::config::ModelConfig;
use crate::cost_model::{CostModel, Threading};
use crate::error::{EngineError, ModelError};
use crate::gemm_backend::GemmBackend;
use crate::model_files::ModelFiles;
use crate::tokenizer::TextTokenizer;
use crate::weights::Weights;

/// What the members of the thread team use of a model.
pub(crate) struct Model {
    config: ModelConfig,
    tokenizer: TextTokenizer,
    bert: Bert,
    times: Mutex<ForwardTimes>,
    cost_model: Mutex<CostModel>,
    /// For chunks that the members of a team compute together, one at a time.
    shared: Mutex<Scratch>,
}

impl Model {
    /// Opens all files of a model.
    pub fn open(files: &ModelFiles, gemm: GemmBackend) -> Result<Model, ModelError> {
        let config = ModelConfig::load(files)?;
        let tokenizer = TextTokenizer::open(&files.file("tokenizer.json"), &config)?;
        let bert = Bert::open(&files.file("model.safetensors"), &config, gemm)?;
        Ok(Model {
            config,
            tokenizer,
            bert,
            times: Mutex::default(),
            cost_model: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// The weights and what happened to their file.
    pub fn weights(&self) -> &Weights {
        self.bert.weights()
    }

    /// Time per stage since the model was opened, summed over the members.
    pub fn stage_times(&self) -> Vec<(&'static str, Duration)> {
        lock(&self.times).named().collect()
    }

    /// The vectors of a chunk that runs beside other chunks, on this thread only.
    pub fn forward(
        &self,
        chunk: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let _guard = (self.bert.gemm() == GemmBackend::OpenBlas).then(|| blas::acquire(1));
        self.run(chunk, scratch, cancel)
    }

    /// The vectors of the only chunk of a call, by all members of the team together; `None` with OpenBLAS, which has threads of its own.
    pub fn forward_on_team(
        &self,
        chunk: &PackedSequences,
        team: &ComputeTeam,
        cancel: &Cancel,
    ) -> Option<Result<Vec<Vec<f32>>, EngineError>> {
        if self.bert.gemm() == GemmBackend::OpenBlas {
            return None;
        }
        let mut shared = lock(&self.shared);
        let vectors = self.bert.forward_on_team(chunk, &mut shared, team, cancel);
        lock(&self.times).add(&shared.take_times());
        // First: an error that results from modified weights would be misleading.
        Some(self.weights().check().and(vectors))
    }

    /// The vectors of the only chunk of a call. OpenBLAS can use `cores` threads if the cost model chooses them.
    pub fn forward_single_chunk(
        &self,
        chunk: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
        cores: usize,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        if self.bert.gemm() != GemmBackend::OpenBlas {
            return self.forward(chunk, scratch, cancel);
        }
        let threading = lock(&self.cost_model).choose();
        let guard = blas::acquire(if threading == Threading::Multi { cores } else { 1 });
        let start = Instant::now();
        let vectors = self.run(chunk, scratch, cancel)?;
        if guard.stayed_exclusive() {
            lock(&self.cost_model).record(threading, chunk.token_count(), start.elapsed());
        }
        Ok(vectors)
    }

    fn run(
        &self,
        chunk: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let vectors = self.bert.forward(chunk, scratch, cancel);
        lock(&self.times).add(&scratch.take_times());
        // First: an error that results from modified weights would be misleading.
        self.weights().check()?;
        vectors
    }
}

/// The values behind these locks are numbers that are written at once, so a panic under the lock leaves a consistent state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
