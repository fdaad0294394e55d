//! `dist-manifest.json`: what was released, from what, and everything that was shown about it.

use elf_gate::RuleOutcome;
use elf_gate::size::SizeBreakdown;
use serde::Serialize;
use store::Digest;

use super::NamedFile;
use crate::gate::Judged;
use crate::host_env::Commit;
use crate::plan::Plan;
use crate::rustflags::without_machine_path;
use crate::stages::image::{Image, ImageFacts};
use crate::stages::mutation::MutationReport;
use crate::stages::native::StaticLib;
use crate::stages::prove::Proof;
use crate::stages::toolchain::Toolchain;

/// The schema of `dist-manifest.json`; docs/release.md describes each key.
#[derive(Debug, Serialize)]
pub struct Manifest {
    schema: u32,
    product: String,
    version: String,
    target: String,
    commit: Commit,
    stack_size_bytes: u64,
    toolchain: Toolchain,
    native: Vec<StaticLib>,
    rustflags: Vec<String>,
    stages: Vec<GateRecord>,
    proofs: Vec<Proof>,
    mutants: MutationReport,
    image: ImageFacts,
    files: Vec<NamedFile>,
}

/// The gate's judgement of one file.
#[derive(Debug, Serialize)]
pub struct GateRecord {
    /// Stage of the gate.
    pub stage: &'static str,
    /// Digest of the file.
    pub sha256: Digest,
    /// Size of the file.
    pub size_bytes: u64,
    /// Its size by section and crate; `elf-gate size --baseline` and the rule `size-growth` of the next release compare it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<SizeBreakdown>,
    /// Always `pass`: a file that does not pass is not released.
    pub verdict: &'static str,
    /// One outcome for each rule.
    pub rules: Vec<RuleOutcome>,
}

impl GateRecord {
    fn of(judged: &Judged) -> Self {
        Self {
            stage: judged.stage().name(),
            sha256: judged.file().sha256().clone(),
            size_bytes: judged.file().size_bytes(),
            breakdown: judged.breakdown().cloned(),
            verdict: "pass",
            rules: judged.outcomes().to_vec(),
        }
    }
}

impl Manifest {
    pub(super) fn new(plan: &Plan, image: &Image, files: Vec<NamedFile>) -> Self {
        let proved = image.proved();
        let packed = proved.tested().packed();
        let stripped = packed.stripped();
        let linked = stripped.linked();
        Self {
            schema: 1,
            product: plan.config.product.name.clone(),
            version: plan.version.clone(),
            target: plan.target.clone(),
            commit: plan.commit.clone(),
            stack_size_bytes: plan.config.stack_size.0,
            toolchain: linked.native().toolchain().clone(),
            native: linked.native().libraries().to_vec(),
            rustflags: plan.rustflags.iter().map(|flag| without_machine_path(flag)).collect(),
            stages: [linked.judged(), stripped.judged(), packed.judged()].map(GateRecord::of).into(),
            proofs: proved.proofs().to_vec(),
            mutants: proved.tested().report().clone(),
            image: image.facts().clone(),
            files,
        }
    }

    /// The judgements of the gate, in the order of the stages.
    pub fn stages(&self) -> &[GateRecord] {
        &self.stages
    }

    /// What runs of the packed file showed.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// The damaged copies that the gate rejected.
    pub fn mutants(&self) -> &MutationReport {
        &self.mutants
    }
}
