//! What the models and the server will need together, and whether it fits.

use std::path::PathBuf;

use engine::memory::{self, MemoryBudget, Workload};

use crate::failure::Failure;
use crate::memory::Tree;
use crate::memory::limits::{self, Room};
use crate::memory::preflight::{self, Need, Verdict};

/// Threads, log and runtime of the server, and mimalloc's own: what is left of the smallest model's measurement.
const SERVER_BYTES: u64 = 400 << 10;

/// Of the models and the threads around them: what [`crate::serve::Server`] compares with what loading took.
pub fn of_models(models: &[(String, PathBuf)], load: Workload) -> Result<Parts, Failure> {
    let one = |(name, dir): &(String, PathBuf)| {
        memory::budget(dir, load).map_err(|error| {
            Failure::new(error).context(format!("cannot tell how much memory the model `{name}` needs"))
        })
    };
    Ok(of(models.iter().map(one).collect::<Result<Vec<_>, Failure>>()?))
}

/// Bytes, by when a start takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Threads and runtime of the server itself.
    pub server: u64,
    /// What opening the models takes: tokenizers, keys and values.
    pub models: u64,
    /// What the first full batch takes: matrices, OpenBLAS's buffers, stacks.
    pub compute: u64,
    /// Mapped from files.
    pub weights: u64,
}

impl Parts {
    pub fn need(&self) -> Need {
        Need { anonymous: self.server + self.models + self.compute, file: self.weights }
    }
}

pub fn of(models: impl IntoIterator<Item = MemoryBudget>) -> Parts {
    let mut parts = Parts { server: SERVER_BYTES, ..Parts::default() };
    for one in models {
        parts.weights += one.weights;
        parts.models += one.anonymous() - one.shared();
        // The threads are one pool, so what hangs on them is needed once, for the largest.
        parts.compute = parts.compute.max(one.shared());
    }
    parts
}

/// One line about what was decided, or why not.
pub fn check(
    models: Need,
    requests: u64,
    headroom: u64,
    tree: &(impl Tree + ?Sized),
) -> Result<String, Failure> {
    let need = Need { anonymous: models.anonymous + requests, file: models.file };
    match preflight::judge(need, headroom, &limits::rooms(tree)) {
        Verdict::Fits(Room { bytes, limit, source }) => Ok(format!(
            "needs {} MiB anonymous + {} MiB of weights + {} MiB headroom; {} MiB are free of {} MiB ({source})",
            preflight::mib(need.anonymous),
            preflight::mib(need.file),
            preflight::mib(headroom),
            bytes >> 20,
            limit >> 20,
        )),
        Verdict::Unknown => Ok("not checked: neither cgroups nor /proc/meminfo could be read".into()),
        Verdict::Refused(refused) => Err(Failure::message(refused)),
    }
}
