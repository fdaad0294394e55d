//! Memory of the models and the server together, and the check against the limits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use diag::Diagnostic;
use engine::memory::{self, MemoryBudget, Workload};

use super::backends::Backends;
use crate::memory::limits::{self, MemoryLimit};
use crate::memory::memory_max::MemoryBound;
use crate::memory::preflight::{self, Assessment, Footprint};
use crate::memory::process;
use crate::memory::remedies::{self, Need};

/// Threads, log and runtime of the server, and mimalloc itself: the measurement of the smallest model minus its own
/// parts.
const SERVER_BYTES: u64 = 96 << 10;

/// What a compute thread takes besides its matrices and its stack: the first pages of its heap, measured as the difference between
/// two threads and one with the smallest model.
const THREAD_BYTES: u64 = 112 << 10;

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
    pub fn of_models(
        models: &[(String, PathBuf)],
        backends: &Backends,
        (threads, batch_tokens): (usize, usize),
    ) -> Result<Self, Diagnostic> {
        let budget = |(name, dir): &(String, PathBuf)| {
            memory::budget(dir, Workload { threads, batch_tokens, gemm: backends.of(name) })
        };
        let budgets: Result<Vec<_>, _> = models.iter().map(budget).collect();
        let mut breakdown = Self::of(budgets.map_err(|error| error.diagnostic())?);
        // The caller of a computation is one of the threads, and is part of the server.
        breakdown.compute += THREAD_BYTES * (threads as u64).saturating_sub(1);
        Ok(breakdown)
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

/// What is checked against the limits.
pub struct MemoryCheck<'a> {
    pub models: &'a [(String, PathBuf)],
    pub backends: &'a Backends,
    pub need: Need,
    pub headroom: u64,
    /// Weights of other models that are mapped already. Their pages are page cache, which the limits count as free.
    pub mapped_weights: u64,
}

impl MemoryCheck<'_> {
    /// Compares the need with the limits. Returns a summary for the log.
    pub fn run(&self, limits: &[MemoryLimit]) -> Result<String, Diagnostic> {
        let footprint = self.footprint(self.need)?;
        match preflight::assess(footprint, self.headroom, limits) {
            Assessment::Fits(limit) => {
                Ok(format!("needs {}; {limit}", preflight::describe(footprint, self.headroom)))
            }
            Assessment::Unknown => Ok("not checked: neither cgroups nor /proc/meminfo can be read".into()),
            Assessment::Exceeds(shortfall) => {
                let total = |need| {
                    let Footprint { anonymous, file_backed } = self.footprint(need).ok()?;
                    Some(anonymous.saturating_add(file_backed).saturating_add(self.headroom))
                };
                let remedies = remedies::list(&shortfall, self.need, self.models.len(), total);
                Err(shortfall.diagnostic(&remedies))
            }
        }
    }

    fn footprint(&self, need: Need) -> Result<Footprint, Diagnostic> {
        let size = (need.threads, need.batch_tokens);
        let models = Breakdown::of_models(self.models, self.backends, size)?.footprint();
        Ok(Footprint {
            anonymous: models.anonymous.saturating_add(need.request_bytes),
            file_backed: models.file_backed.saturating_add(self.mapped_weights),
        })
    }
}

/// Checks each model at its first request, for `--lazy-weights`.
pub struct LazyMemoryCheck {
    need: Need,
    backends: Backends,
    headroom: u64,
    bound: Option<MemoryBound>,
    /// Names and weights of the models that were admitted. The lock also keeps two loads from passing the check together.
    admitted: Mutex<HashMap<String, u64>>,
}

impl LazyMemoryCheck {
    /// A check with the options of the server.
    pub fn new(need: Need, backends: Backends, headroom: u64, bound: Option<MemoryBound>) -> Self {
        Self { need, backends, headroom, bound, admitted: Mutex::default() }
    }

    /// Runs `load` if the model fits beside those that are loaded.
    pub fn load<T>(
        &self,
        name: &str,
        dir: &Path,
        load: impl FnOnce() -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let models = [(name.to_owned(), dir.to_owned())];
        let backends = &self.backends;
        let weights = Breakdown::of_models(&models, backends, (1, 1))?.weights;
        let mapped_weights =
            admitted.iter().filter(|(other, _)| *other != name).map(|(_, bytes)| bytes).sum();
        let check = MemoryCheck {
            models: &models,
            backends,
            need: self.need,
            headroom: self.headroom,
            mapped_weights,
        };
        let root = Path::new("/");
        let anonymous = process::read(root).map_or(0, |memory| memory.anonymous);
        let mut limits = limits::read_limits(root);
        limits.extend(self.bound.as_ref().and_then(|bound| bound.as_limit(anonymous)));
        let summary = check.run(&limits).inspect_err(|error| {
            let found = error.fields().found.as_deref().unwrap_or_default();
            let expected = error.fields().expected.as_deref().unwrap_or_default();
            tracing::error!(model = %name, expected = %expected, found = %found, "model_does_not_fit");
        })?;
        let loaded = load()?;
        tracing::info!(model = %name, check = %summary, "memory");
        admitted.insert(name.to_owned(), weights);
        Ok(loaded)
    }
}
