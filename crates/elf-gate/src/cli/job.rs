//! The judgement of one input: reads it, finds its ELF files, collects evidence and judges them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use diag::Diagnostic;
use elf_facts::facts::{Facts, FileKind, inspect, inspect_for};

use crate::cli::baseline::Baseline;
use crate::cli::evidence_file::EvidenceFile;
use crate::cli::image_programs::ImagePrograms;
use crate::cli::input_bytes;
use crate::cli::inputs::{Input, Source};
use crate::cli::policy_args::SelectedPolicy;
use crate::cli::sidecar;
use crate::cli::unpacking::{sha256_hex, unpacked_sha256};
use crate::codes;
use crate::containers::{self, Content, Format, WalkLimits};
use crate::policy::{Date, Evidence, Policy, Program, Stage, judge};
use crate::report::FileReport;

/// Everything that is equal for all inputs of a run.
pub(super) struct Job<'a> {
    pub(super) stage: Option<Stage>,
    pub(super) parent: Option<&'a Path>,
    /// Digest of the parent, when the file itself is not available.
    pub(super) parent_sha256: Option<&'a str>,
    pub(super) debug_file: Option<&'a Path>,
    pub(super) baseline: Option<Baseline>,
    pub(super) limits: WalkLimits,
    pub(super) today: Option<Date>,
    /// Canonical paths of the inputs: a parent that is an input is judged only once.
    pub(super) input_paths: HashSet<PathBuf>,
}

/// The result of one input.
#[derive(Default)]
pub(super) struct InputResult {
    pub(super) reports: Vec<FileReport>,
    /// Members that are not ELF files.
    pub(super) not_elf: usize,
    pub(super) debug_role: Option<DebugRole>,
    /// ELF files of a container, which may be an image.
    programs: ImagePrograms,
}

/// The part of a file in a pair of program and debug file.
pub(super) enum DebugRole {
    /// The file names a debug file.
    Program { program: Program, folder: PathBuf },
    /// The file is a debug file.
    DebugFile { build_id: Option<String> },
}

/// An ELF file that is judged.
#[derive(Clone, Copy)]
struct ElfFile<'a> {
    name: &'a str,
    bytes: &'a [u8],
    policy: &'a SelectedPolicy,
    /// The file on disk, or the container of a member.
    path: Option<&'a Path>,
    is_member: bool,
    /// The file is the parent of a packed input.
    is_parent: bool,
}

/// Evidence from other files.
struct Attachments {
    parent: Option<EvidenceFile>,
    parent_sha256: Option<String>,
    debug_file: Option<EvidenceFile>,
}

impl Job<'_> {
    /// Judges all ELF files of an input. `program` is the program of an input that is a debug file.
    pub(super) fn run(
        &self,
        input: &Input,
        policy: &SelectedPolicy,
        program: Option<&Program>,
    ) -> InputResult {
        let bytes = match &input.source {
            Source::Path(path) => input_bytes::file(path),
            Source::Stdin => input_bytes::stdin(),
            Source::Missing(error) => Err(error.clone()),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(&input.name, error),
        };
        let path = input.path();
        let mut result = InputResult::default();
        let walked = containers::walk(&input.name, &bytes, &self.limits, &mut |name, content| {
            let is_member = name != input.name;
            let report = match content {
                Content::Elf(bytes) => {
                    let file = ElfFile { name, bytes, policy, path, is_member, is_parent: false };
                    self.judge(&file, program, &mut result)
                }
                Content::Unreadable(error) => FileReport::unreadable(name, error),
                Content::Unsupported(format) if input.is_named && !is_member => {
                    let code = &codes::UNSUPPORTED_FORMAT;
                    let error = Diagnostic::new(code, format!("{format} data are not supported"));
                    FileReport::unreadable(name, error.hint(codes::fix(code)))
                }
                Content::Other | Content::Unsupported(_) => {
                    result.not_elf += 1;
                    return;
                }
            };
            let container = is_member.then(|| input.name.clone());
            result.reports.push(FileReport { container, ..report });
        });
        let image_policy = policy.document.for_images();
        let images = result.programs.judge(&walked.images, path, self.debug_file, &image_policy);
        result.reports.extend(images);
        for hidden in walked.hidden {
            if let Some(report) = result.reports.iter_mut().find(|report| report.file == hidden.name) {
                report.notes.push(hidden.to_string());
            }
        }
        if input.is_named && result.reports.is_empty() {
            return unreadable(&input.name, no_elf_file(&bytes, result.not_elf));
        }
        result
    }

    fn judge(&self, file: &ElfFile, program: Option<&Program>, result: &mut InputResult) -> FileReport {
        let ElfFile { name, bytes, policy: selected, path, is_member, is_parent } = *file;
        let facts = match inspect_for(bytes, &selected.local_paths) {
            Ok(facts) => facts,
            Err(error) => return FileReport::unreadable(name, error.into()),
        };
        if let Some(path) = path.filter(|_| !is_member && !is_parent) {
            result.debug_role = debug_role(name, path, &facts);
        }
        let (stage, reason) = match self.stage.filter(|_| !is_parent) {
            Some(stage) => (stage, None),
            None => {
                let (stage, reason) = Stage::detect(&facts);
                (stage, Some(reason.to_string()))
            }
        };
        let mut notes = Vec::new();
        let attachments = match self.attachments(file, stage, &facts, &mut notes) {
            Ok(attachments) => attachments,
            Err(error) => return FileReport::unreadable(name, error),
        };
        if is_member {
            result.programs.add(name, &facts, attachments.parent.as_ref().map(|parent| &*parent.path));
        }
        let policy = policy_for(selected, stage, &attachments, program);
        if stage == Stage::Debug {
            let build_id = facts.build_id.as_deref().unwrap_or("none");
            notes.push(match program {
                Some(program) => format!("debug file of `{}`, build-id {build_id}", program.name),
                None => format!("debug file with build-id {build_id}; its program is not among the inputs"),
            });
        }
        if self.baseline.is_some() && policy.growth_percent_max.is_none() {
            notes.push("--baseline has no effect: the policy does not set `growth_percent_max`".into());
        }
        let Attachments { parent, parent_sha256, debug_file } = attachments;
        let unpacked = parent_sha256.as_ref().and_then(|_| unpacked_sha256(bytes, &facts));
        let evidence = Evidence {
            debug_file: debug_file.as_ref().map(|file| &file.facts),
            debug_file_bytes: debug_file.as_ref().map(|file| &*file.bytes),
            debug_file_name: debug_file.as_ref().and_then(|file| file.path.file_name()?.to_str()),
            program,
            own_bytes: Some(bytes),
            parent: parent.as_ref().map(|file| &file.facts),
            parent_sha256: parent_sha256.as_deref(),
            unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
            file_name: Some(name),
            baseline_size_bytes: self.baseline.as_ref().and_then(|baseline| baseline.size_bytes(stage)),
            baseline_breakdown: self.baseline.as_ref().and_then(|baseline| baseline.breakdown(stage)),
            today: self.today,
            ..Evidence::default()
        };
        let rules = judge(&facts, stage, &policy, &evidence);
        // Equality with a parent is meaningful only if the parent is judged as well.
        if let Some(parent) = parent.as_ref().filter(|parent| !self.is_input(&parent.path)) {
            let parent_name = parent.path.display().to_string();
            let file = ElfFile {
                name: &parent_name,
                bytes: &parent.bytes,
                policy: selected,
                path: Some(&parent.path),
                is_member: false,
                is_parent: true,
            };
            let mut report = self.judge(&file, None, result);
            report.notes.push(format!("judged as the parent of `{name}`"));
            result.reports.push(report);
        }
        FileReport { notes, ..FileReport::judged(name, stage, reason, facts.size_bytes, rules) }
    }

    /// The files of flags, or sidecar files, which are added to the notes.
    fn attachments(
        &self,
        file: &ElfFile,
        stage: Stage,
        facts: &Facts,
        notes: &mut Vec<String>,
    ) -> Result<Attachments, Diagnostic> {
        let ElfFile { path, is_member, is_parent, .. } = *file;
        let mut flag_or_sidecar = |flag: Option<&Path>, sidecar: Option<PathBuf>, what: &str| {
            if let (None, Some(sidecar)) = (flag, &sidecar) {
                notes.push(format!("{what}: `{}`, found next to the file", sidecar.display()));
            }
            flag.map(Path::to_path_buf).or(sidecar)
        };
        let needs_parent = stage == Stage::Packed && !is_parent;
        let sidecar = path.filter(|_| needs_parent && self.parent_sha256.is_none());
        let sidecar = sidecar.and_then(|path| sidecar::parent(path, is_member, facts));
        let parent = flag_or_sidecar(self.parent.filter(|_| needs_parent), sidecar, "parent");
        let sidecar = path.filter(|_| stage == Stage::Stripped && !is_member);
        let sidecar = sidecar.and_then(|path| sidecar::debug_file(path, facts));
        let debug_file = flag_or_sidecar(self.debug_file.filter(|_| !is_parent), sidecar, "debug file");
        let parent = parent.map(EvidenceFile::read).transpose()?;
        let debug_file = debug_file.map(EvidenceFile::read).transpose()?;
        let parent_sha256 = match &parent {
            Some(parent) => Some(sha256_hex(&parent.bytes)),
            None => self.parent_sha256.filter(|_| stage == Stage::Packed).map(str::to_string),
        };
        Ok(Attachments { parent, parent_sha256, debug_file })
    }

    fn is_input(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| self.input_paths.contains(&path))
    }
}

/// Evidence that is present must be correct, even if the policy does not require it.
fn policy_for(
    selected: &SelectedPolicy,
    stage: Stage,
    attachments: &Attachments,
    program: Option<&Program>,
) -> Policy {
    let mut policy = selected.at(stage);
    policy.needs_debug_file |= attachments.debug_file.is_some();
    policy.needs_program |= program.is_some();
    policy
}

fn unreadable(name: &str, error: Diagnostic) -> InputResult {
    InputResult { reports: vec![FileReport::unreadable(name, error)], ..InputResult::default() }
}

/// Why a named input has no report.
fn no_elf_file(bytes: &[u8], not_elf: usize) -> Diagnostic {
    match (Format::of(bytes), inspect(bytes)) {
        (Format::Other, Err(error)) => error.into(),
        (format, _) => {
            let message = format!("the {format} file contains no ELF file, and {not_elf} other files");
            Diagnostic::new(&codes::NO_ELF_FILE, message).hint(codes::fix(&codes::NO_ELF_FILE))
        }
    }
}

fn debug_role(name: &str, path: &Path, facts: &Facts) -> Option<DebugRole> {
    if facts.kind == FileKind::DebugFile {
        return Some(DebugRole::DebugFile { build_id: facts.build_id.clone() });
    }
    facts.debug_link.as_ref()?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Some(DebugRole::Program { program: Program::new(name, facts), folder })
}
