//! The forward pass of BERT: embeddings, layers, pooling.
//!
//! Sequences are adjacent in matrices of `[tokens, width]`, without padding.

use kernels::norm::unit_length;

use super::forward_times::ForwardStage;
use super::layout::Embeddings;
use super::load::{self, Tensors};
use super::normalizer::Normalizer;
use super::packed::PackedSequences;
use super::scratch::{Scratch, aligned};
use super::{openblas, own, scratch_floats, shared_floats};
use crate::cancel::Cancel;
use crate::compute_team::ComputeTeam;
use crate::config::{BertConfig, ModelConfig, Pooling};
use crate::error::{EngineError, ModelError, ModelErrorKind};
use crate::gemm_backend::GemmBackend;
use crate::model_files::ModelFile;
use crate::weights::Weights;

/// An encoder with pooling and normalization.
pub(crate) struct Bert {
    weights: Weights,
    config: BertConfig,
    pooling: Pooling,
    normalize: bool,
    gemm: GemmBackend,
    embeddings: Embeddings,
    layers: Layers,
}

/// The layers, with what computes them.
enum Layers {
    Own(own::Encoder),
    OpenBlas(openblas::Encoder),
}

impl Bert {
    /// Opens the weights of a model.
    pub fn open(file: &ModelFile, config: &ModelConfig, gemm: GemmBackend) -> Result<Bert, ModelError> {
        let Tensors { weights, embeddings, layers } = load::load(file, &config.bert)?;
        let layers = match gemm {
            GemmBackend::Own(kernels) => {
                own::Encoder::pack(kernels, &weights, &layers, &config.bert).map(Layers::Own).map_err(
                    |error| no_memory(file, own::packed_bytes(&config.bert, kernels.precision), &error),
                )?
            }
            GemmBackend::OpenBlas => {
                Layers::OpenBlas(openblas::Encoder::plan(gemm.isa(), &weights, layers, &config.bert))
            }
        };
        if weights.check().is_err() {
            let expected = "a file that no process writes to while it is read";
            let hint = "replace the file by rename, and try again";
            return Err(ModelError::new(ModelErrorKind::Unreadable, file, expected, "it changed", hint));
        }
        let (pooling, normalize) = (config.pooling, config.normalize);
        Ok(Bert { weights, config: config.bert.clone(), pooling, normalize, gemm, embeddings, layers })
    }

    /// The weights and what happened to their file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What computes the products.
    pub fn gemm(&self) -> GemmBackend {
        self.gemm
    }

    /// One vector per sequence, in order.
    pub fn forward(
        &self,
        packed: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let hidden = self.config.hidden_size;
        let (tokens, longest) = (packed.token_count(), packed.longest());
        let floats = scratch_floats(&self.config, self.gemm, tokens, longest);
        let (mut arena, operand, clock) = scratch.for_chunk(floats);
        let x = arena.take(tokens * hidden);

        self.embed_tokens(packed, x)?;
        self.normalize_embeddings(x);
        clock.lap(ForwardStage::Embed);
        match &self.layers {
            Layers::Own(layers) => layers.run(packed, x, &mut arena, operand, cancel, clock)?,
            Layers::OpenBlas(layers) => layers.run(&self.weights, packed, x, &mut arena, cancel, clock)?,
        }
        let states = packed.ranges().map(|range| &x[range.start * hidden..range.end * hidden]);
        let vectors = states.map(|states| self.pool(states)).collect();
        clock.lap(ForwardStage::Pool);
        Ok(vectors)
    }

    /// As [`Bert::forward`], computed by all members of a team together. `shared` is the memory that the members share. Only with own
    /// kernels: [`Bert::forward`] computes with OpenBLAS, which has threads of its own.
    pub fn forward_on_team(
        &self,
        packed: &PackedSequences,
        shared: &mut Scratch,
        team: &ComputeTeam,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let layers = match &self.layers {
            Layers::Own(layers) => layers,
            Layers::OpenBlas(_) => return self.forward(packed, shared, cancel),
        };
        let hidden = self.config.hidden_size;
        let (tokens, longest) = (packed.token_count(), packed.longest());
        let floats = shared_floats(&self.config, self.gemm, tokens);
        let (mut arena, _, clock) = shared.for_chunk(floats);
        let x = arena.take(tokens * hidden);
        self.embed_tokens(packed, x)?;
        self.normalize_embeddings(x);
        clock.lap(ForwardStage::Embed);

        let buffers = layers.shared_buffers(x, &mut arena);
        let attention_floats = own::attention_floats(&self.config, longest);
        let outcomes = team.run_with(team.members(), |member, scratch| {
            let (mut arena, operand, _) = scratch.for_chunk(attention_floats);
            let attention = arena.take(attention_floats);
            layers.run_part(member, packed, &buffers, attention, operand, || cancel.check().is_err())
        })?;
        clock.lap(ForwardStage::Together);
        for outcome in outcomes {
            // A barrier breaks only when a member panics, which `run_with` reports.
            if outcome.unwrap_or(true) {
                return Err(cancel.check().err().unwrap_or(EngineError::WorkerFailed));
            }
        }
        let x = shared.hidden_states(tokens * hidden);
        let states = packed.ranges().map(|range| &x[range.start * hidden..range.end * hidden]);
        Ok(states.map(|states| self.pool(states)).collect())
    }

    fn normalize_embeddings(&self, x: &mut [f32]) {
        let (isa, epsilon) = (self.gemm.isa(), self.config.layer_norm_eps);
        Normalizer { isa, weights: &self.weights, epsilon }.apply(x, &self.embeddings.norm);
    }

    /// Word + position + token type; the token type is 0 for a single text.
    fn embed_tokens(&self, packed: &PackedSequences, x: &mut [f32]) -> Result<(), EngineError> {
        let hidden = self.config.hidden_size;
        let words = self.weights.floats(self.embeddings.words);
        let positions = self.weights.floats(self.embeddings.positions);
        let token_type = &self.weights.floats(self.embeddings.token_types)[..hidden];
        let mut rows = x.chunks_exact_mut(hidden);
        for sequence in packed.sequences() {
            for (id, position) in sequence.iter().zip(positions.chunks_exact(hidden)) {
                let start = *id as usize * hidden;
                let Some(word) = words.get(start..start + hidden) else {
                    return Err(EngineError::UnknownToken { id: *id, vocab_size: words.len() / hidden });
                };
                let row = rows.next().unwrap_or_default();
                for (i, value) in row.iter_mut().enumerate() {
                    *value = word[i] + position[i] + token_type[i];
                }
            }
        }
        Ok(())
    }

    /// The vector of one sequence from its hidden states.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.config.hidden_size;
        let mut vector = states[..hidden].to_vec();
        if self.pooling == Pooling::Mean {
            for row in states.chunks_exact(hidden).skip(1) {
                vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let tokens = (states.len() / hidden) as f32;
            vector.iter_mut().for_each(|value| *value /= tokens);
        }
        if self.normalize {
            unit_length(&mut vector);
        }
        vector
    }

    #[cfg(test)]
    pub(super) fn openblas_layers(&mut self) -> &mut openblas::Encoder {
        match &mut self.layers {
            Layers::OpenBlas(encoder) => encoder,
            Layers::Own(_) => panic!("opened with own kernels"),
        }
    }

    #[cfg(test)]
    pub(super) fn truncate_layers(&mut self, layers: usize) {
        match &mut self.layers {
            Layers::Own(encoder) => encoder.truncate_layers(layers),
            Layers::OpenBlas(encoder) => encoder.truncate_layers(layers),
        }
    }
}

fn no_memory(file: &ModelFile, bytes: usize, error: &std::io::Error) -> ModelError {
    let expected = format!("{bytes} bytes of memory for the packed weights");
    ModelError::new(ModelErrorKind::Unreadable, file, expected, error.to_string(), "ulimit -v; free -m")
}

/// Floats of the hidden states, at the start of the scratch memory.
pub(super) fn hidden_floats(config: &BertConfig, tokens: usize) -> usize {
    aligned(tokens * config.hidden_size)
}
