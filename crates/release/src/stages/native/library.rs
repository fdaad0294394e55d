//! A compiled library as the cache holds it, and the report that its build wrote.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use patchset::liveness::LivenessReport;
use process::CpuTime;
use serde::{Deserialize, Serialize};
use store::{CacheEntry, Digest, Record};

use crate::artifact::Artifact;
use crate::library::LibraryPlan;
use crate::native_inputs::NativeInputs;

/// Name of the report in a cache entry.
const REPORT: &str = "build-report.json";

/// An archive of native code that passed every check.
///
/// ```compile_fail,E0451
/// use release::{artifact::Artifact, stages::native::StaticLib};
/// fn forge(archive: Artifact, fingerprint: store::Digest) -> StaticLib {
///     StaticLib {
///         name: String::new(), version: String::new(), licence: String::new(), fingerprint, folder: "/".into(),
///         archive, patches: Vec::new(), proofs: Vec::new(), liveness: Vec::new(), steps: Vec::new(), reused: true,
///     }
/// }
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct StaticLib {
    name: String,
    version: String,
    licence: String,
    fingerprint: Digest,
    #[serde(skip)]
    folder: PathBuf,
    archive: Artifact,
    patches: Vec<String>,
    proofs: Vec<String>,
    liveness: Vec<LivenessReport>,
    #[serde(skip)]
    steps: Vec<StepTime>,
    reused: bool,
}

impl StaticLib {
    pub(super) fn from_entry(
        library: &LibraryPlan,
        inputs: &NativeInputs,
        entry: &CacheEntry,
    ) -> anyhow::Result<Self> {
        let BuildReport { patches, proofs, liveness, steps } = BuildReport::read(entry)?;
        Ok(Self {
            name: library.name.clone(),
            version: library.version.clone(),
            licence: library.licence.clone(),
            fingerprint: inputs.fingerprint().clone(),
            archive: Artifact::of_entry(entry, &library.build().archive)?,
            folder: entry.path.clone(),
            reused: entry.reused,
            patches,
            proofs,
            liveness,
            steps,
        })
    }

    /// Name in release.toml.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Upstream version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SPDX expression.
    pub fn licence(&self) -> &str {
        &self.licence
    }

    /// Digest of all inputs.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// The folder of the archive; the build script of the library's crate receives it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The archive by its bytes.
    pub fn archive(&self) -> &Artifact {
        &self.archive
    }

    /// What the archive shows, in sentences.
    pub fn proofs(&self) -> &[String] {
        &self.proofs
    }

    /// The evidence for each patch, from the build that made the archive.
    pub fn liveness(&self) -> &[LivenessReport] {
        &self.liveness
    }

    /// Times of the build that made the archive.
    pub fn steps(&self) -> &[StepTime] {
        &self.steps
    }

    /// Whether the archive was in the cache.
    pub fn reused(&self) -> bool {
        self.reused
    }
}

/// `build-report.json` of a cache entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BuildReport {
    pub(super) patches: Vec<String>,
    pub(super) proofs: Vec<String>,
    pub(super) liveness: Vec<LivenessReport>,
    pub(super) steps: Vec<StepTime>,
}

impl BuildReport {
    pub(super) fn write(&self, staging: &Path, record: &mut Record) -> anyhow::Result<()> {
        std::fs::write(staging.join(REPORT), serde_json::to_string_pretty(self)?)
            .with_context(|| format!("writing {}", staging.join(REPORT).display()))?;
        record.add_file(staging, REPORT)?;
        Ok(())
    }

    fn read(entry: &CacheEntry) -> anyhow::Result<Self> {
        let path = entry.path.join(REPORT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// The steps of a build that is in no cache entry.
    pub(super) fn steps_of(folder: &Path) -> anyhow::Result<Vec<StepTime>> {
        let text = crate::artifact::read(&folder.join(REPORT))?;
        Ok(serde_json::from_slice::<Self>(&text).context("reading the build report")?.steps)
    }
}

/// Time of one step of a native build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Name of the step.
    pub step: String,
    /// Elapsed time.
    pub wall_seconds: f64,
    /// Processor time of this process and its children.
    pub cpu_seconds: f64,
}

impl StepTime {
    pub(super) fn measure<T>(
        steps: &mut Vec<StepTime>,
        step: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (started, cpu) = (Instant::now(), CpuTime::now());
        let result = work()?;
        let (wall_seconds, cpu_seconds) =
            (started.elapsed().as_secs_f64(), CpuTime::now().since(cpu).as_secs_f64());
        steps.push(Self { step: step.into(), wall_seconds, cpu_seconds });
        Ok(result)
    }
}

impl std::fmt::Display for StepTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:.2} s, {:.2} CPU s", self.step, self.wall_seconds, self.cpu_seconds)
    }
}
