//! The memory that a model will need, computed from its files before anything is loaded.
//!
//! The budget separates two kinds of bytes because the kernel treats them differently: weights are mapped, so under
//! memory pressure the kernel can drop their pages and read them again; all other bytes are anonymous and must fit. Each
//! part is a field of its own, so that an error message can name the part to reduce. The weights are exact per tensor:
//! element counts come from the header of the weight file, bytes per element from the format.
//!
//! Not here: limits (the server reads them) and the memory of the server itself (queues, HTTP threads).
//!
//! ```no_run
//! use engine::GemmBackend;
//! use engine::memory::{Workload, budget};
//!
//! let workload = Workload { threads: 2, batch_tokens: 2048, gemm: GemmBackend::default() };
//! let budget = budget("models/all-MiniLM-L6-v2".as_ref(), workload)?;
//! println!("{} bytes of weights, {} anonymous", budget.weights, budget.anonymous());
//! # Ok::<(), engine::ModelError>(())
//! ```

use std::path::Path;

use crate::batch;
use crate::bert;
use crate::blas;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gemm_backend::GemmBackend;
use crate::model_files::{EmbeddedFiles, ModelFiles};
use crate::weights::WeightsReader;

/// The concurrency that a budget covers.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Worker threads.
    pub threads: usize,
    /// Upper bound of the tokens of one call.
    pub batch_tokens: usize,
    /// What computes the products.
    pub gemm: GemmBackend,
}

/// Bytes by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Mapped from files and used there: without the weights of layers that are packed.
    pub weights: u64,
    /// Packed copies of the weights of layers; 0 with OpenBLAS.
    pub packed: u64,
    /// Matrices of the chunk that each worker computes.
    pub scratch: u64,
    /// Copies of packed matrices inside OpenBLAS, one buffer per thread.
    pub blas: u64,
    /// Vocabulary and tables of the tokenizer.
    pub tokenizer: u64,
    /// The touched part of the stack of each worker.
    pub stacks: u64,
}

impl MemoryBudget {
    /// All parts except the weights.
    pub fn anonymous(&self) -> u64 {
        self.packed + self.scratch + self.blas + self.tokenizer + self.stacks
    }

    /// The parts that belong to the threads. Models on one pool share them and need the largest.
    pub fn shared(&self) -> u64 {
        self.scratch + self.blas + self.stacks
    }
}

/// Constants that no file contains, measured on the musl target with mimalloc after it has returned its free pages.
/// `crates/server/tests/memory.rs` requires the sum to be within 10 %. All values that depend on the allocator are here.
mod measured {
    /// Stack pages that a worker and its OpenBLAS thread touch.
    pub const STACK_BYTES_PER_THREAD: u64 = 12 << 10;
    /// In quarters. Two maps hold the vocabulary as strings: 12.6 bytes per byte of MiniLM's tokenizer.json.
    pub const TOKENIZER_QUARTERS_PER_BYTE: u64 = 50;
}

/// The budget of a model folder. Reads the configuration, the header of the weights and the size of the tokenizer, but no
/// weights.
pub fn budget(dir: &Path, workload: Workload) -> Result<MemoryBudget, ModelError> {
    budget_of(ModelFiles::in_folder(dir)?, workload)
}

/// As [`budget`] for a model inside the program. Its weights count as mapped, as they do in a folder.
pub fn budget_embedded(
    name: &str,
    files: EmbeddedFiles,
    workload: Workload,
) -> Result<MemoryBudget, ModelError> {
    budget_of(ModelFiles::embedded(name, files), workload)
}

fn budget_of(files: ModelFiles<'_>, workload: Workload) -> Result<MemoryBudget, ModelError> {
    let config = ModelConfig::load(&files)?;
    let longest = config.max_tokens;
    let weights = WeightsReader::open(&files.file("model.safetensors"))?;
    let tokenizer_bytes = files.file("tokenizer.json").len()?;

    let threads = workload.threads.max(1);
    let chunk_tokens = batch::chunk_tokens_bound(workload.batch_tokens, longest, threads);
    let gemm = workload.gemm;
    let scratch_bytes = size_of::<f32>() * bert::scratch_floats(&config.bert, gemm, chunk_tokens, longest)
        + bert::operand_bytes(&config.bert, gemm, chunk_tokens, longest);
    // One text of full length on all threads together.
    let shared_floats = if threads > 1 { bert::shared_floats(&config.bert, gemm, longest) } else { 0 };
    let products = bert::openblas_products(&config.bert, gemm);
    let blas_bytes = blas::packed_bytes(&openblas_sys::core_name(), &products, chunk_tokens);
    let (packed, released) = bert::packed_and_released_bytes(&config.bert, gemm);
    Ok(MemoryBudget {
        weights: weights.tensor_bytes().saturating_sub(released as u64),
        packed: packed as u64,
        scratch: scratch_bytes as u64 * threads as u64 + (size_of::<f32>() * shared_floats) as u64,
        blas: blas_bytes as u64 * threads as u64,
        tokenizer: tokenizer_bytes * measured::TOKENIZER_QUARTERS_PER_BYTE / 4,
        stacks: measured::STACK_BYTES_PER_THREAD * threads as u64,
    })
}

#[cfg(test)]
mod tests {
    use kernels::isa::Isa;
    use kernels::linear::Precision;

    use super::*;
    use crate::gemm_backend::OwnKernels;

    #[test]
    fn weights_are_the_sum_of_the_tensors_and_scratch_grows_with_threads() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/tiny-bert");
        let gemm = GemmBackend::OpenBlas;
        let one = budget(&dir, Workload { threads: 1, batch_tokens: 1024, gemm }).unwrap();
        let four = budget(&dir, Workload { threads: 4, batch_tokens: 4096, gemm }).unwrap();
        let file = std::fs::metadata(dir.join("model.safetensors")).unwrap().len();
        assert!(one.weights <= file && one.weights + 8192 > file, "{} of {file}", one.weights);
        assert_eq!(one.weights, four.weights);
        assert_eq!((4 * one.scratch, 4 * one.stacks), (four.scratch, four.stacks));
        assert!(one.scratch >= 4 * 1024 * 32);
        assert_eq!(one.packed, 0);

        // In groups of 64 rows; with AMX a group has as many rows as most chunks.
        let gemm = GemmBackend::Own(OwnKernels { isa: Isa::BASELINE, precision: Precision::F32 });
        let own = budget(&dir, Workload { threads: 1, batch_tokens: 1024, gemm }).unwrap();
        // Two layers of the widths 32 and 128.
        let floats = 2 * (4 * 32 * 32 + 2 * 32 * 128);
        assert_eq!(own.weights, one.weights - 4 * floats);
        assert!(own.packed >= 4 * floats && own.packed < 8 * floats, "{}", own.packed);
        assert!(own.scratch < one.scratch && own.blas == 0);
    }
}
