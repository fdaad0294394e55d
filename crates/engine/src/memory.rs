//! What a model will need of memory, computed from its files before anything is loaded.
//!
//! Two kinds of bytes, because the kernel treats them differently: the weights are mapped, so under pressure their pages
//! can be dropped and read again; everything else is anonymous and must fit. Each part is kept apart, so that whoever is
//! refused sees what to change. Exact per tensor: element counts come from the header of the weight file, bytes per
//! element from the format.
//!
//! Deliberately not here: limits (the server reads them) and the server's own parts (queues, HTTP threads).

use std::path::Path;

use crate::batch;
use crate::bert;
use crate::blas;
use crate::config;
use crate::error::ModelError;
use crate::model_files::{EmbeddedFiles, ModelFiles};
use crate::weights::WeightsReader;

/// Element formats of weight files. The quantized ones store blocks: elements a block, bytes a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementFormat {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4K,
    Q5K,
    Q6K,
}

impl ElementFormat {
    pub fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of a tensor. A last block that is not full takes its whole idle.
    pub fn bytes(self, elements: u64) -> u64 {
        let (per_block, bytes) = self.block();
        elements.div_ceil(per_block) * bytes
    }
}

/// Keys and values of a decoder: `2 * sum over layers of (kv heads * head size) * context * slots` elements.
pub fn kv_cache_bytes(
    layer_widths: impl IntoIterator<Item = u64>,
    context_tokens: u64,
    slots: u64,
    format: ElementFormat,
) -> u64 {
    let row: u64 = layer_widths.into_iter().sum();
    format.bytes(2 * row * context_tokens * slots)
}

/// What runs beside the model decides what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub threads: usize,
    /// Tokens of one call at most.
    pub batch_tokens: usize,
}

/// Bytes, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBudget {
    /// WeightBytes from files.
    pub weights: u64,
    /// Keys and values of all slots; 0 for a model that keeps no state between calls.
    pub kv_cache: u64,
    /// Matrices of the chunk that each worker computes.
    pub scratch: u64,
    /// Copies of packed matrices inside OpenBLAS, a buffer a thread.
    pub blas: u64,
    pub tokenizer: u64,
    /// The part of each worker's stack that is ever touched.
    pub stacks: u64,
}

impl MemoryBudget {
    pub fn anonymous(&self) -> u64 {
        self.kv_cache + self.scratch + self.blas + self.tokenizer + self.stacks
    }

    /// The parts that belong to the threads: models that share a pool share these, and need the largest.
    pub fn shared(&self) -> u64 {
        self.scratch + self.blas + self.stacks
    }
}

/// What no file tells, measured on the musl target with mimalloc after it has given back what is free
/// (`crates/server/tests/memory.rs` holds the sum to 10 %). All that changes with the allocator stands here.
mod measured {
    /// Pages that a worker and a thread of OpenBLAS touch of their stacks.
    pub const STACK_BYTES_A_THREAD: u64 = 12 << 10;
    /// In quarters. The vocabulary is held as strings in two maps: 12.6 bytes for each byte of MiniLM's tokenizer.json.
    pub const TOKENIZER_QUARTERS_A_BYTE: u64 = 50;
}

/// Reads the configuration, the header of the weights and the size of the tokenizer; no weight.
pub fn budget(dir: &Path, load: Workload) -> Result<MemoryBudget, ModelError> {
    budget_of(ModelFiles::folder(dir)?, load)
}

/// The same for a model that is part of the program: its weights count as mapped, as they would be from a folder.
pub fn budget_embedded(name: &str, files: EmbeddedFiles, load: Workload) -> Result<MemoryBudget, ModelError> {
    budget_of(ModelFiles::embedded(name, files), load)
}

fn budget_of(files: ModelFiles<'_>, load: Workload) -> Result<MemoryBudget, ModelError> {
    let config = config::read(&files)?;
    let longest = config.max_tokens;
    let finder = WeightsReader::open(&files.file("model.safetensors"))?;
    let tokenizer = files.file("tokenizer.json");
    let tokenizer_bytes = tokenizer.len()?;

    let threads = load.threads.max(1);
    let chunk_tokens = batch::chunk_tokens_bound(load.batch_tokens, longest, threads);
    let scratch = 4 * bert::scratch_floats(&config, chunk_tokens, longest) as u64;
    Ok(MemoryBudget {
        weights: finder.tensor_bytes(),
        kv_cache: 0,
        scratch: scratch * threads as u64,
        blas: blas::packed_bytes(&openblas_sys::core_name(), &bert::products(&config), chunk_tokens) as u64
            * threads as u64,
        tokenizer: tokenizer_bytes * measured::TOKENIZER_QUARTERS_A_BYTE / 4,
        stacks: measured::STACK_BYTES_A_THREAD * threads as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantized_formats_take_exactly_their_blocks() {
        let bytes = |format: ElementFormat| format.bytes(4096 * 256);
        assert_eq!(bytes(ElementFormat::F32), 4096 * 1024);
        assert_eq!(bytes(ElementFormat::Q8_0), 4096 * 256 / 32 * 34);
        assert_eq!(bytes(ElementFormat::Q4_0), 4096 * 256 / 32 * 18);
        assert_eq!(bytes(ElementFormat::Q4K), 4096 * 144);
        assert_eq!(bytes(ElementFormat::Q5K), 4096 * 176);
        assert_eq!(bytes(ElementFormat::Q6K), 4096 * 210);
        assert_eq!(ElementFormat::Q4K.bytes(257), 2 * 144);
    }

    #[test]
    fn keys_and_values_of_a_known_decoder() {
        // 32 layers, 8 heads of 128, 8192 tokens, 4 slots, f16.
        let bytes = kv_cache_bytes([8 * 128; 32], 8192, 4, ElementFormat::F16);
        assert_eq!(bytes, 2 * 32 * 1024 * 8192 * 4 * 2);
        // Layers need not be alike.
        assert_eq!(kv_cache_bytes([64, 128], 10, 1, ElementFormat::F32), 2 * 192 * 10 * 4);
    }

    #[test]
    fn weights_are_the_sum_of_the_tensors_and_scratch_grows_with_threads() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/tiny-bert");
        let one = budget(&dir, Workload { threads: 1, batch_tokens: 1024 }).unwrap();
        let four = budget(&dir, Workload { threads: 4, batch_tokens: 4096 }).unwrap();
        let file = std::fs::metadata(dir.join("model.safetensors")).unwrap().len();
        assert!(one.weights <= file && one.weights + 8192 > file, "{} of {file}", one.weights);
        assert_eq!(one.weights, four.weights);
        assert_eq!((4 * one.scratch, 4 * one.stacks), (four.scratch, four.stacks));
        assert!(one.scratch >= 4 * 1024 * 32);
        assert_eq!(one.kv_cache, 0);
    }
}
