//! Memory of the models and the server together, and the check against the limits.

use std::path::PathBuf;

use diag::Diagnostic;
use engine::memory::{self, MemoryBudget, Workload};

use crate::memory::kernel_files::KernelFiles;
use crate::memory::limits;
use crate::memory::preflight::{self, Assessment, Footprint};

/// Threads, log and runtime of the server, and mimalloc itself: the measurement of the smallest model minus its own
/// parts.
const SERVER_BYTES: u64 = 200 << 10;

/// Bytes of the models and the server, by the step of the start that allocates them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// Threads and runtime of the server.
    pub server: u64,
    /// Allocated when the models are opened: tokenizers, keys and values.
    pub models: u64,
    /// Allocated by the first full batch: matrices, buffers of OpenBLAS, stacks.
    pub compute: u64,
    /// Mapped from files.
    pub weights: u64,
}

impl Breakdown {
    /// The estimate for models in folders.
    pub fn of_models(models: &[(String, PathBuf)], workload: Workload) -> Result<Self, Diagnostic> {
        let budgets: Result<Vec<_>, _> =
            models.iter().map(|(_, dir)| memory::budget(dir, workload)).collect();
        Ok(Self::of(budgets.map_err(|error| error.diagnostic())?))
    }

    /// The sum over models.
    pub fn of(models: impl IntoIterator<Item = MemoryBudget>) -> Self {
        let mut breakdown = Self { server: SERVER_BYTES, ..Self::default() };
        for model in models {
            breakdown.weights += model.weights;
            breakdown.models += model.anonymous() - model.shared();
            // All models share one thread pool, so the memory of its threads is that of the largest model.
            breakdown.compute = breakdown.compute.max(model.shared());
        }
        breakdown
    }

    /// The total.
    pub fn footprint(&self) -> Footprint {
        Footprint { anonymous: self.server + self.models + self.compute, file_backed: self.weights }
    }
}

/// Checks the models and `request_bytes` against the limits. Returns a summary for the log.
pub fn check(
    models: Footprint,
    request_bytes: u64,
    headroom: u64,
    files: &(impl KernelFiles + ?Sized),
) -> Result<String, Diagnostic> {
    let footprint = Footprint { anonymous: models.anonymous + request_bytes, ..models };
    match preflight::assess(footprint, headroom, &limits::read_limits(files)) {
        Assessment::Fits(limit) => Ok(format!("needs {}; {limit}", preflight::describe(footprint, headroom))),
        Assessment::Unknown => Ok("not checked: neither cgroups nor /proc/meminfo can be read".into()),
        Assessment::Exceeds(shortfall) => Err(shortfall.diagnostic()),
    }
}
