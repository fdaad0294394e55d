//! The ELF gate between two stages: the policy of release.toml for each, and the only place that makes a [`Judged`] file.

use std::path::Path;

use diag::{Diagnostic, Diagnostics};
use elf_gate::containers::{self, ImageProgram, WalkLimits};
use elf_gate::facts::{FileKind, LocalPathSearch};
use elf_gate::image::{ImageEvidence, ImagePolicy, Names, Program};
use elf_gate::policy::{PolicyDocument, StackSize};
use elf_gate::size::SizeBreakdown;
use elf_gate::{Date, Evidence, Facts, Policy, RuleOutcome, Stage, Verdict};
use store::Digest;
use units::ByteSize;

use crate::artifact::Artifact;
use crate::codes::{GATE_CANNOT_TELL, GATE_FAILED, GATE_UNREADABLE};
use crate::config::Config;
use crate::plan::Plan;
use crate::stage::StageId;

/// A file that passes every rule that release.toml demands at a stage of the gate.
///
/// Only this module constructs it, after it has judged the bytes of the digest:
///
/// ```compile_fail,E0451
/// fn forge(file: release::artifact::Artifact) -> release::gate::Judged {
///     release::gate::Judged { file, stage: elf_gate::Stage::Linked, outcomes: Vec::new(), breakdown: None }
/// }
/// ```
#[derive(Debug)]
pub struct Judged {
    file: Artifact,
    stage: Stage,
    outcomes: Vec<RuleOutcome>,
    breakdown: Option<SizeBreakdown>,
}

impl Judged {
    /// The file by its bytes.
    pub fn file(&self) -> &Artifact {
        &self.file
    }

    /// The stage whose rules it passes.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// One outcome for each rule; none is a violation or "cannot tell".
    pub fn outcomes(&self) -> &[RuleOutcome] {
        &self.outcomes
    }

    /// Its size by section and crate. A packed file has neither.
    pub fn breakdown(&self) -> Option<&SizeBreakdown> {
        self.breakdown.as_ref()
    }

    /// For tests of later stages, whose subject is not the gate.
    #[cfg(test)]
    pub(crate) fn unchecked(file: Artifact, stage: Stage) -> Self {
        Self { file, stage, outcomes: Vec::new(), breakdown: None }
    }
}

/// The policy of release.toml for a stage. Stack size and machine have keys of their own there and apply here as well.
pub fn policy(config: &Config, target: &str, stage: Stage) -> Policy {
    let machine = target.split('-').next().unwrap_or(target);
    Policy {
        machines: vec![machine.into()],
        stack_size: StackSize::exactly(config.stack_size.0),
        ..config.gate.at(stage)
    }
}

/// The policy of this release for all stages, as it is published. It contains the sizes of the baseline, and no folder of
/// this machine.
pub(crate) fn published_policy(plan: &Plan) -> PolicyDocument {
    let of_stage = |stage| Policy {
        baseline_size: plan.baseline.as_ref().and_then(|baseline| baseline.size_bytes(stage)).map(ByteSize),
        ..policy(&plan.config, &plan.target, stage)
    };
    PolicyDocument::of_stages(of_stage, plan.config.gate.for_images())
}

/// Judges the file that the linker wrote.
pub(crate) fn linked(plan: &Plan, file: Artifact) -> anyhow::Result<Judged> {
    let shared = file.clone();
    let bytes = shared.read()?;
    let facts = facts(plan, Stage::Linked, file.path(), bytes)?;
    let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
    let judged = judge(plan, file, &facts, Stage::Linked, &evidence)?;
    Ok(Judged { breakdown: SizeBreakdown::of(bytes, None, false).ok(), ..judged })
}

/// Judges the stripped file together with the debug file that was split off.
pub(crate) fn stripped(plan: &Plan, file: Artifact, debug: &Artifact) -> anyhow::Result<Judged> {
    let shared = file.clone();
    let bytes = shared.read()?;
    let facts_of_file = facts(plan, Stage::Stripped, file.path(), bytes)?;
    let debug_bytes = debug.read()?;
    let facts_of_debug = facts(plan, Stage::Debug, debug.path(), debug_bytes)?;
    judge(plan, debug.clone(), &facts_of_debug, Stage::Debug, &Evidence::default())?;
    let evidence = Evidence {
        debug_file: Some(&facts_of_debug),
        debug_file_name: Some(&plan.names.debug),
        debug_file_bytes: Some(debug_bytes),
        own_bytes: Some(bytes),
        ..Evidence::default()
    };
    let judged = judge(plan, file, &facts_of_file, Stage::Stripped, &evidence)?;
    Ok(Judged { breakdown: SizeBreakdown::of(bytes, Some(debug_bytes), false).ok(), ..judged })
}

/// Judges the packed file. `unpacked` is the digest of the output of `upx -d`.
pub(crate) fn packed(
    plan: &Plan,
    file: Artifact,
    stripped: &Artifact,
    unpacked: &Digest,
) -> anyhow::Result<Judged> {
    let facts_of_file = facts(plan, Stage::Packed, file.path(), file.read()?)?;
    let facts_of_parent = facts(plan, Stage::Packed, stripped.path(), stripped.read()?)?;
    let evidence = Evidence {
        parent: Some(&facts_of_parent),
        parent_sha256: Some(stripped.sha256().as_str()),
        unpacked_sha256: Some(Ok(unpacked.as_str())),
        ..Evidence::default()
    };
    judge(plan, file, &facts_of_file, Stage::Packed, &evidence)
}

/// The bytes of the image that is published, not the specification that they were made of.
pub(crate) struct ImageArchive<'a> {
    plan: &'a Plan,
    bytes: Vec<u8>,
}

impl<'a> ImageArchive<'a> {
    pub(crate) fn of(plan: &'a Plan, image: &oci_image::OciImage) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        image.write_oci_tar(&mut bytes)?;
        Ok(Self { plan, bytes })
    }

    /// Judges the image: what the program needs, by the names of the linked file, and what the layers contain.
    pub(crate) fn judge(&self, linked: &Artifact) -> anyhow::Result<Vec<RuleOutcome>> {
        let facts = facts(self.plan, Stage::Linked, linked.path(), linked.read()?)?;
        let outcomes = self.outcomes(&facts)?;
        let (name, stage) = (self.name(), StageId::Image.name());
        let problems: Diagnostics =
            outcomes.iter().filter_map(|outcome| problem(name, stage, outcome)).collect();
        problems.into_result()?;
        Ok(outcomes)
    }

    /// One outcome for each rule on images.
    pub(crate) fn outcomes(&self, linked: &Facts) -> anyhow::Result<Vec<RuleOutcome>> {
        image_outcomes(self.name(), &self.bytes, linked, &self.plan.config.gate.for_images())
    }

    fn name(&self) -> &Path {
        Path::new(&self.plan.names.oci_tar)
    }
}

fn image_outcomes(
    name: &Path,
    archive: &[u8],
    linked: &Facts,
    policy: &ImagePolicy,
) -> anyhow::Result<Vec<RuleOutcome>> {
    let walked = containers::walk("image", archive, &WalkLimits::default(), &mut |_, _| {});
    let unreadable = |found: String| {
        Diagnostic::new(&GATE_UNREADABLE, "the gate cannot read the image")
            .file(name)
            .stage(StageId::Image.name())
            .expected("one image that runs an ELF file")
            .found(found)
    };
    let [image] = &walked.images[..] else {
        return Err(unreadable(format!("{} images", walked.images.len())).into());
    };
    let ImageProgram::Elf { path, .. } = image.program() else {
        return Err(unreadable(format!("{:?}", image.program())).into());
    };
    let is_static = matches!(linked.kind, FileKind::StaticExecutable | FileKind::StaticPie);
    let program = Program { path, is_static, names: Some(Names::of(linked)) };
    Ok(elf_gate::image::judge(&ImageEvidence { image, program: Ok(&program) }, policy))
}

/// Folders whose paths no compiler may write into the file: the checkout, and the cache with the native sources.
fn build_folders(plan: &Plan) -> Vec<String> {
    [&plan.paths.root, &plan.paths.cache].map(|folder| format!("{}/", folder.display())).to_vec()
}

fn facts(plan: &Plan, stage: Stage, path: &Path, bytes: &[u8]) -> anyhow::Result<Facts> {
    let local_paths = plan.config.gate.at(stage).local_paths.into_iter().chain(build_folders(plan));
    let local_paths = LocalPathSearch::new(local_paths);
    elf_gate::inspect_for(bytes, &local_paths).map_err(|error| {
        Diagnostic::new(&GATE_UNREADABLE, "the gate cannot read the file")
            .file(path)
            .stage(stage.name())
            .cause(&error)
            .hint(error.hint())
            .into()
    })
}

fn judge(
    plan: &Plan,
    file: Artifact,
    facts: &Facts,
    stage: Stage,
    evidence: &Evidence,
) -> anyhow::Result<Judged> {
    // The day of the commit, not of the build: the same commit is judged alike on every day.
    let today = Some(Date::of_unix_time(plan.commit.epoch_seconds));
    let folders = build_folders(plan);
    let evidence =
        Evidence { file_name: Some(&plan.config.product.name), build_folders: &folders, today, ..*evidence };
    let baseline_size_bytes = plan.baseline.as_ref().and_then(|baseline| baseline.size_bytes(stage));
    let baseline_breakdown = plan.baseline.as_ref().and_then(|baseline| baseline.breakdown(stage));
    let evidence = Evidence { baseline_size_bytes, baseline_breakdown, ..evidence };
    let outcomes = elf_gate::judge(facts, stage, &policy(&plan.config, &plan.target, stage), &evidence);
    let problems: Diagnostics =
        outcomes.iter().filter_map(|outcome| problem(file.path(), stage.name(), outcome)).collect();
    problems.into_result()?;
    Ok(Judged { file, stage, outcomes, breakdown: None })
}

/// One diagnostic for each rule that does not pass.
fn problem(file: &Path, stage: &str, outcome: &RuleOutcome) -> Option<Diagnostic> {
    let (code, message) = match outcome.effective() {
        Verdict::Pass => return None,
        Verdict::Violation => (&GATE_FAILED, "the file violates a rule of the gate"),
        Verdict::CannotTell => (&GATE_CANNOT_TELL, "the gate cannot judge a rule"),
    };
    Some(
        Diagnostic::new(code, message)
            .file(file)
            .stage(stage)
            .rule(outcome.rule)
            .expected(&*outcome.expected)
            .found(&*outcome.found)
            .hint(&*outcome.hint),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> RuleOutcome {
        RuleOutcome {
            rule: "stack-size",
            severity: elf_gate::Severity::Error,
            verdict,
            expected: "8 MiB".into(),
            found: "0 bytes".into(),
            hint: "link again".into(),
            waived: None,
        }
    }

    /// The names of a program that reads zones, beside an image that has none.
    #[test]
    fn rejects_an_image_without_what_the_program_reads() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut bytes = std::fs::read(root.join("fixtures/elf/linked")).unwrap();
        let image = oci_image::OciImage::build(&oci_image::ImageSpec {
            files: vec![oci_image::ImageFile::from_bytes("/program", 0o555, bytes.clone())],
            entrypoint: vec!["/program".into()],
            cmd: vec![],
            env: vec![],
            user: "65532:65532".into(),
            workdir: "/".into(),
            labels: std::collections::BTreeMap::new(),
            exposed_ports: vec![],
            architecture: "amd64".into(),
            created_unix_seconds: 0,
            reference: "program:1".into(),
        })
        .unwrap();
        let mut archive = Vec::new();
        image.write_oci_tar(&mut archive).unwrap();
        let violated = |bytes: &[u8]| -> Vec<&str> {
            let facts = elf_gate::inspect(bytes).unwrap();
            let outcomes =
                image_outcomes(Path::new("image.tar"), &archive, &facts, &ImagePolicy::default()).unwrap();
            let failed = outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass);
            failed.map(|outcome| outcome.rule).collect()
        };
        assert_eq!(violated(&bytes), [""; 0]);
        let (name, other) = (b"\0required_function\0", b"\0localtime_r\0");
        // Debug information has the name as well.
        while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes[at..at + other.len()].copy_from_slice(other);
        }
        assert_eq!(violated(&bytes), ["image-zone-data"]);
    }

    #[test]
    fn reports_a_violation_apart_from_a_rule_that_cannot_be_judged() {
        let of = |verdict| problem(Path::new("inferd"), Stage::Linked.name(), &outcome(verdict));
        assert!(of(Verdict::Pass).is_none());
        let violated = of(Verdict::Violation).unwrap();
        let unknown = of(Verdict::CannotTell).unwrap();
        assert_eq!(diag::exit_code(std::slice::from_ref(&violated)), 1);
        assert_eq!(diag::exit_code(std::slice::from_ref(&unknown)), 2);
        assert_eq!(diag::exit_code(&[unknown, violated.clone()]), 1);
        insta::assert_snapshot!(violated, @r"
        the file violates a rule of the gate
          --> inferd (stage linked, rule stack-size)
          expected: 8 MiB
          found:    0 bytes
        ");
    }
}
