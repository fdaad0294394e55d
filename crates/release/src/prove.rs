//! The packed file itself is run, and must show what was promised. A header can say anything; this is the measurement.
//!
//! Everything runs as the user would run it: the same bytes, an environment made here, no test build.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use crate::artifact::Artifact;
use crate::context::BuildContext;
use crate::plan::Plan;
use crate::stages::mutation::MutationTested;
use diag::Diagnostic;
use process::{Output, Task, quote};

/// How far a golden embedding may be from the committed one; the same bound as the engine's own tests.
const GOLDEN_MAX_ABS: f64 = 1e-5;

/// The file ran, and did not keep a promise.
#[derive(Debug)]
pub struct ProofFailure {
    pub artifact: Artifact,
    pub failed: Vec<String>,
    pub command: String,
}

impl fmt::Display for ProofFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the file that would ship was run and does not keep its promises: {}",
            self.artifact.path().display()
        )?;
        for line in &self.failed {
            write!(f, "\n  {line}")?;
        }
        write!(f, "\n  run by: {}", self.command)
    }
}

impl std::error::Error for ProofFailure {}

/// What `selftest --json` prints.
#[derive(Deserialize)]
struct SelfTest {
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    verdict: String,
    expected: String,
    found: String,
    time_ms: f64,
}

/// One fact that a run of the packed file showed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Proof {
    /// Name of the proof.
    pub name: String,
    /// Digest of the bytes that were run.
    pub ran_sha256: store::Digest,
    /// What release.toml demands.
    pub expected: String,
    /// What the run showed.
    pub found: String,
    /// Elapsed time.
    pub elapsed_ms: u64,
}

/// The packed bytes were run, and every proof of release.toml holds.
///
/// ```compile_fail,E0451
/// use release::stages::{mutation::MutationTested, prove::Proved};
/// fn forge(tested: MutationTested) -> Proved {
///     Proved { tested, proofs: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Proved {
    tested: MutationTested,
    proofs: Vec<Proof>,
}

impl Proved {
    /// The files before.
    pub fn tested(&self) -> &MutationTested {
        &self.tested
    }

    /// What the runs showed.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(tested: MutationTested) -> Self {
        Self { tested, proofs: Vec::new() }
    }
}

/// Runs the packed file; see release.toml for the proofs.
pub fn prove(plan: &Plan, site: &BuildContext, tested: MutationTested) -> anyhow::Result<Proved> {
    let file = tested.packed().file();
    file.verify()?;
    let mut proofs = self_test(plan, site, file)?;
    for count in &plan.config.prove.environment_counts {
        proofs.push(starts(plan, site, file, *count)?);
    }
    proofs.push(golden(plan, site, file)?);
    // The bytes that were run are still the bytes that were judged.
    file.verify()?;
    Ok(Proved { tested, proofs })
}

/// An empty environment: what ships must not need ours.
fn run(
    plan: &Plan,
    site: &BuildContext,
    file: &Artifact,
    prepare: impl FnOnce(&mut Command),
    stdin: &[u8],
) -> anyhow::Result<(Output, String)> {
    let mut command = Command::new(file.path());
    command.env_clear();
    prepare(&mut command);
    let quoted = quote(&command);
    let job = Task::new("run the packed binary", command).timeout(plan.config.prove.timeout.0).stdin(stdin);
    Ok((site.runner.output(job)?, quoted))
}

/// Public for the tests that run it on files which must fail.
pub fn self_test(plan: &Plan, site: &BuildContext, file: &Artifact) -> anyhow::Result<Vec<Proof>> {
    let prepare = |command: &mut Command| {
        command.args(["selftest", "--json"]);
    };
    let (finished, command) = run(plan, site, file, prepare, b"")?;
    let refuse =
        |failed: Vec<String>| ProofFailure { artifact: file.clone(), failed, command: command.clone() };
    let report: SelfTest = serde_json::from_slice(&finished.stdout).map_err(|error| {
        let stderr = String::from_utf8_lossy(&finished.stderr).trim().to_string();
        refuse(vec![format!(
            "exit code {}, and no report on stdout ({error}) {stderr}",
            finished.shell_code()
        )])
    })?;
    let failed: Vec<String> = report
        .checks
        .iter()
        .filter(|check| check.verdict != "pass")
        .map(|check| {
            format!("{}: {}; expected {}, found {}", check.name, check.verdict, check.expected, check.found)
        })
        .collect();
    // The exit code, the summary and the list must say the same: a report that contradicts itself is no proof.
    if !failed.is_empty() || !report.ok || !finished.status.success() || report.checks.is_empty() {
        return Err(refuse(failed).into());
    }
    Ok(report
        .checks
        .into_iter()
        .map(|check| Proof {
            name: format!("selftest {}", check.name),
            ran_sha256: file.sha256().clone(),
            expected: check.expected,
            found: check.found,
            elapsed_ms: check.time_ms as u64,
        })
        .collect())
}

/// The stub of UPX moves the program over itself while the environment lies on the stack above it.
fn starts(plan: &Plan, site: &BuildContext, file: &Artifact, variables: u32) -> anyhow::Result<Proof> {
    let prepare = |command: &mut Command| {
        for number in 0..variables {
            command.env(format!("MUSLIN_PROBE_{number:04}"), "x".repeat(number as usize % 200));
        }
        command.arg("--version");
    };
    let (finished, _) = run(plan, site, file, prepare, b"")?;
    let text = finished.stdout_text();
    let wanted = &plan.version;
    if !finished.status.success() || !text.contains(wanted.as_str()) {
        return Err(ProofFailure {
            artifact: file.clone(),
            failed: vec![format!(
                "start with {variables} environment variables: expected exit code 0 and version {wanted}, found exit code {} and `{text}`",
                finished.shell_code()
            )],
            // A thousand variables are not worth quoting.
            command: format!("{} --version", file.path().display()),
        }
        .into());
    }
    Ok(Proof {
        name: format!("start with {variables} environment variables"),
        ran_sha256: file.sha256().clone(),
        expected: format!("version {wanted}"),
        found: text.lines().next().unwrap_or_default().into(),
        elapsed_ms: finished.elapsed.as_millis() as u64,
    })
}

/// The tiny committed model, through the same path that a user takes, against numbers that the reference made.
fn golden(plan: &Plan, site: &BuildContext, file: &Artifact) -> anyhow::Result<Proof> {
    let golden = Golden::read(&plan.paths.goldens)?;
    let prepare = |command: &mut Command| {
        command.args(["embed", "--model"]).arg(&plan.paths.tiny_model).arg("--").args(&golden.texts);
    };
    let (finished, command) = run(plan, site, file, prepare, b"")?;
    let refuse = |why: String| ProofFailure {
        artifact: file.clone(),
        failed: vec![format!("golden embedding: {why}")],
        command: command.clone(),
    };
    if !finished.status.success() {
        let stderr = String::from_utf8_lossy(&finished.stderr).trim().to_string();
        return Err(refuse(format!("exit code {}: {stderr}", finished.shell_code())).into());
    }
    let worst = golden.worst_distance(&finished.stdout_text()).map_err(&refuse)?;
    if worst >= GOLDEN_MAX_ABS {
        return Err(refuse(format!("expected max-abs below {GOLDEN_MAX_ABS:e}, found {worst:e}")).into());
    }
    Ok(Proof {
        name: "golden embedding of the tiny model".into(),
        ran_sha256: file.sha256().clone(),
        expected: format!("max-abs below {GOLDEN_MAX_ABS:e} over {} texts", golden.texts.len()),
        found: format!("max-abs {worst:.1e}"),
        elapsed_ms: finished.elapsed.as_millis() as u64,
    })
}

/// Texts and the vectors that the reference made of them; `fixtures/goldens/make.py` says how.
struct Golden {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

impl Golden {
    /// `NAME.json` holds the texts and where their vectors begin in `NAME.f32`, little-endian floats.
    fn read(json: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Index {
            dimension: usize,
            texts: Vec<Text>,
        }
        #[derive(Deserialize)]
        struct Text {
            text: String,
            vector: usize,
        }
        let missing = |path: &Path, error: std::io::Error| {
            Diagnostic::new(
                &crate::GENERAL,
                format!("the golden numbers are missing: {}: {error}", path.display()),
            )
            .hint("restore them: git checkout fixtures/goldens")
        };
        let text = std::fs::read_to_string(json).map_err(|error| missing(json, error))?;
        let index: Index =
            serde_json::from_str(&text).with_context(|| format!("reading {}", json.display()))?;
        let numbers_path = json.with_extension("f32");
        let bytes = std::fs::read(&numbers_path).map_err(|error| missing(&numbers_path, error))?;
        let numbers: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        anyhow::ensure!(!index.texts.is_empty(), "{} has no texts", json.display());
        let vector = |text: &Text| {
            let numbers = numbers.get(text.vector..text.vector + index.dimension);
            numbers.map(<[f32]>::to_vec).with_context(|| format!("{} is too short", numbers_path.display()))
        };
        let vectors = index.texts.iter().map(vector).collect::<anyhow::Result<_>>()?;
        Ok(Self { texts: index.texts.into_iter().map(|text| text.text).collect(), vectors })
    }

    /// Over all numbers of all lines; or what is wrong with the lines.
    fn worst_distance(&self, output: &str) -> Result<f64, String> {
        #[derive(Deserialize)]
        struct Line {
            index: usize,
            embedding: Vec<f32>,
        }
        let lines: Vec<Line> = output
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the output is no JSON lines: {error}"))?;
        if lines.len() != self.vectors.len() {
            return Err(format!("expected {} lines, found {}", self.vectors.len(), lines.len()));
        }
        let mut worst = 0.0_f64;
        for (number, (line, wanted)) in lines.iter().zip(&self.vectors).enumerate() {
            if line.index != number || line.embedding.len() != wanted.len() {
                let found = line.embedding.len();
                return Err(format!(
                    "line {number} has index {} and {found} numbers, expected {}",
                    line.index,
                    wanted.len()
                ));
            }
            for (found, wanted) in line.embedding.iter().zip(wanted) {
                // `max` would drop a NaN.
                let distance = f64::from((found - wanted).abs());
                worst = if distance.is_nan() { f64::INFINITY } else { worst.max(distance) };
            }
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_comparison_can_fail() {
        let golden =
            Golden { texts: vec!["a".into(), "b".into()], vectors: vec![vec![0.5, 0.25], vec![0.0, 1.0]] };
        let distance = |output: &str| golden.worst_distance(output);
        let first = r#"{"index": 0, "embedding": [0.5, 0.25]}"#;
        let second = r#"{"index": 1, "embedding": [0.0, 1.0]}"#;
        assert_eq!(distance(&format!("{first}\n{second}\n")), Ok(0.0));
        let off = r#"{"index": 1, "embedding": [0.0, 0.75]}"#;
        assert_eq!(distance(&format!("{first}\n{off}")), Ok(0.25));
        for bad in
            [first.to_string(), format!("{second}\n{first}"), format!("{first}\nnonsense"), String::new()]
        {
            assert!(distance(&bad).is_err(), "accepted: {bad}");
        }
        let short = r#"{"index": 1, "embedding": [0.0]}"#;
        assert!(distance(&format!("{first}\n{short}")).is_err());
    }

    #[test]
    fn the_committed_numbers_can_be_read() {
        let json = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/tiny-bert.json");
        let golden = Golden::read(&json).unwrap();
        assert!(golden.texts.len() > 10 && golden.texts.contains(&String::new()));
    }
}
