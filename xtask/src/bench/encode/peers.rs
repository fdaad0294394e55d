//! The Python environments of the peers, and which peers can be measured.

use std::path::{Path, PathBuf};

use release::context::BuildContext;
use release::fetch::pip;
use release::plan::Plan;

use super::super::REFERENCE;
use super::bench_case::{BenchCase, Program};

/// Runtimes, and what makes their models. 700 MB with their dependencies.
pub const REQUIREMENTS: &str = "numpy==2.4.6\nonnx==1.23.2\nonnxruntime==1.31.1\nopenvino==2026.4.1\nnncf==3.4.0\n\
     tokenizers==0.23.3\nsafetensors==0.8.0\n";
/// PyPI's torch for x86-64 does not import without the CUDA libraries, which are 5 GB of its 6.
const NO_TORCH: &str = "torch needs an environment of 6 GB; `--torch` installs it";

/// The interpreters.
pub struct Peers {
    /// With [`REQUIREMENTS`].
    pub python: PathBuf,
    /// With torch and transformers.
    torch: Option<PathBuf>,
    script: PathBuf,
    tuning: &'static str,
}

/// How a peer is started.
#[derive(Clone, Copy)]
pub struct PeerScript<'a> {
    pub python: &'a Path,
    pub file: &'a Path,
    /// Whether the peer chooses its best setting: an argument of the script.
    pub tuning: &'static str,
}

impl Peers {
    /// `python` replaces the environment of the cache. The one of torch is the reference of the other benches. An untuned peer has all
    /// cores on batches of 32 texts in their order.
    pub fn install(
        plan: &Plan,
        context: &BuildContext,
        python: Option<PathBuf>,
        with_torch: bool,
        untuned: bool,
    ) -> anyhow::Result<Self> {
        let python = match python {
            Some(python) => python,
            None => pip::environment(
                context,
                "bench-encode",
                REQUIREMENTS,
                "`--python` names another Python that has them",
            )?,
        };
        let torch = with_torch
            .then(|| {
                pip::environment(
                    context,
                    "reference",
                    REFERENCE,
                    "without `--torch` the other peers are measured",
                )
            })
            .transpose()?;
        Ok(Self {
            python,
            torch,
            script: super::scripts(plan).join("peer.py"),
            tuning: if untuned { "untuned" } else { "tuned" },
        })
    }

    pub fn cases() -> impl Iterator<Item = BenchCase> {
        let rows = |program: Program| {
            program.precisions().iter().map(move |precision| BenchCase::peer(program, *precision))
        };
        Program::PEERS.into_iter().flat_map(rows)
    }

    /// The interpreter and the script of a peer, or why there is none.
    pub fn script(&self, program: Program) -> anyhow::Result<PeerScript<'_>> {
        let python = match program {
            Program::Torch => self.torch.as_deref().ok_or_else(|| anyhow::anyhow!(NO_TORCH))?,
            _ => &self.python,
        };
        Ok(PeerScript { python, file: &self.script, tuning: self.tuning })
    }
}
