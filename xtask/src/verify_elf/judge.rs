//! One input: read it, find the ELF files in it, gather the evidence, let the gate judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use diag::Diagnostic;
use elf_gate::containers::{self, Format, Found, Limits};
use elf_gate::facts::Form;
use elf_gate::policy::{self, Owner};
use elf_gate::report::FileReport;
use elf_gate::{Evidence, Facts, Stage};
use release::previous::Previous;

use super::beside;
use super::inputs::{Input, Source};
use super::policies::Policies;
use super::read::{self, Bytes, Unreadable, sha256_hex};

pub struct Judge<'a> {
    pub policies: Policies,
    pub stage: Option<Stage>,
    pub parent: Option<&'a Path>,
    /// Digest of the parent, for those who have no more of it.
    pub parent_sha256: Option<&'a str>,
    pub debug_file: Option<&'a Path>,
    pub previous: Option<PreviousRelease>,
    pub limits: Limits,
    /// A parent that is an input is judged as such, and not once more.
    pub is_input: &'a (dyn Fn(&Path) -> bool + Sync),
}

/// What came of one input.
#[derive(Default)]
pub struct Judged {
    pub reports: Vec<FileReport>,
    /// What was met in it and is no ELF file.
    pub not_elf: usize,
    /// It names a debug file, or is one.
    pub tie: Option<Tie>,
}

pub enum Tie {
    Owner { owner: Owner, folder: PathBuf },
    DebugFile { build_id: Option<String> },
}

/// What is known of the release before.
pub enum PreviousRelease {
    Manifest(Previous),
    /// The same file of that release.
    FileBytes(u64),
}

impl PreviousRelease {
    pub fn of(path: &Path) -> anyhow::Result<PreviousRelease> {
        let bytes = read::file(path).map_err(|unreadable| {
            Diagnostic::new(&release::GENERAL, unreadable.error).hint(unreadable.hint)
        })?;
        match std::str::from_utf8(&bytes).ok().filter(|text| text.trim_start().starts_with('{')) {
            Some(_) => Ok(PreviousRelease::Manifest(Previous::read(path)?)),
            None => Ok(PreviousRelease::FileBytes(bytes.len() as u64)),
        }
    }

    fn size_bytes(&self, stage: Stage) -> Option<u64> {
        match self {
            PreviousRelease::Manifest(previous) => previous.size_bytes(stage),
            PreviousRelease::FileBytes(bytes) => Some(*bytes),
        }
    }
}

/// Beyond this an unpacked file is not one of ours; the header of a packed file can promise up to 4 GiB.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

impl Judge<'_> {
    pub fn input(&self, input: &Input, owner: Option<&Owner>) -> Judged {
        let bytes = match &input.source {
            Source::Path(path) => read::file(path),
            Source::Stdin => read::stdin(),
            Source::Missing { error, hint } => Err(Unreadable { error: error.clone(), hint: hint.clone() }),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(Unreadable { error, hint }) => {
                let reports = vec![FileReport::unreadable(&input.name, error, hint)];
                return Judged { reports, ..Judged::default() };
            }
        };
        let path = input.path();
        let mut judged = Judged::default();
        let hidden = containers::walk(&input.name, &bytes, &self.limits, &mut |name, found| {
            let is_member = name != input.name;
            let report = match found {
                Found::Elf(bytes) => {
                    let file = Elf { name, bytes, path, is_member, is_parent: false };
                    self.elf(&file, owner, &mut judged)
                }
                Found::Unreadable { error, hint } => FileReport::unreadable(name, error, hint),
                Found::Unsupported(format) if input.is_named && !is_member => {
                    let error = format!("`{name}`: {format} data, which is not read here");
                    FileReport::unreadable(name, error, "decompress it and judge what comes out")
                }
                Found::Other | Found::Unsupported(_) => return judged.not_elf += 1,
            };
            let container = is_member.then(|| input.name.clone());
            judged.reports.push(FileReport { container, ..report });
        });
        for hidden in hidden {
            let report = judged.reports.iter_mut().find(|report| report.file == hidden.name);
            if let Some(report) = report {
                report.notes.push(hidden.to_string());
            }
        }
        if input.is_named && judged.reports.is_empty() {
            let (error, hint) = match Format::of(&bytes) {
                Format::Other => match elf_gate::inspect(&bytes) {
                    Err(error) => (format!("`{}`: {error}", input.name), error.hint()),
                    Ok(_) => ("neither an ELF file nor a container".into(), ""),
                },
                format => (
                    format!(
                        "`{}`: no ELF file in this {format} file; {} others are",
                        input.name, judged.not_elf
                    ),
                    "name the file that holds the program",
                ),
            };
            let reports = vec![FileReport::unreadable(&input.name, error, hint)];
            judged = Judged { reports, ..Judged::default() };
        }
        judged
    }

    fn elf(&self, file: &Elf, owner: Option<&Owner>, judged: &mut Judged) -> FileReport {
        let Elf { name, bytes, path, is_member, is_parent } = *file;
        let facts = match elf_gate::inspect_for(bytes, &self.policies.local_paths) {
            Ok(facts) => facts,
            Err(error) => return FileReport::unreadable(name, format!("`{name}`: {error}"), error.hint()),
        };
        if let Some(path) = path.filter(|_| !is_member && !is_parent) {
            judged.tie = tie(name, path, &facts);
        }
        let (stage, because) = match self.stage.filter(|_| !is_parent) {
            Some(stage) => (stage, None),
            None => {
                let (stage, because) = Stage::detect(&facts);
                (stage, Some(because.to_string()))
            }
        };
        let mut notes = Vec::new();
        let mut named_or_beside = |named: Option<&Path>, found: Option<PathBuf>, what: &str| {
            if let (None, Some(found)) = (named, &found) {
                notes.push(format!("{what}: `{}`, found beside it", found.display()));
            }
            named.map(Path::to_path_buf).or(found)
        };
        let has_parent = stage == Stage::Packed && !is_parent;
        let beside = path.filter(|_| has_parent && self.parent_sha256.is_none());
        let beside = beside.and_then(|path| beside::parent(path, is_member, &facts));
        let parent = named_or_beside(self.parent.filter(|_| has_parent), beside, "parent");
        let beside = path.filter(|_| stage == Stage::Stripped && !is_member);
        let beside = beside.and_then(|path| beside::debug_file(path, &facts));
        let debug_file = named_or_beside(self.debug_file.filter(|_| !is_parent), beside, "debug file");
        let (parent, debug_file) =
            match (Shown::read(parent, "parent"), Shown::read(debug_file, "debug file")) {
                (Ok(parent), Ok(debug_file)) => (parent, debug_file),
                (Err(Unreadable { error, hint }), _) | (_, Err(Unreadable { error, hint })) => {
                    return FileReport::unreadable(name, error, hint);
                }
            };
        let parent_sha256 = match &parent {
            Some(parent) => Some(sha256_hex(&parent.bytes)),
            None => self.parent_sha256.filter(|_| stage == Stage::Packed).map(str::to_string),
        };
        let unpacked = parent_sha256.as_ref().and_then(|_| unpacked_sha256(bytes, &facts));
        let mut policy = self.policies.at(stage);
        policy.needs_debug_file |= debug_file.is_some();
        policy.needs_owner |= owner.is_some();
        if stage == Stage::Debug {
            let build_id = facts.build_id.as_deref().unwrap_or("none");
            notes.push(match owner {
                Some(owner) => format!("debug file of `{}`, build-id {build_id}", owner.name),
                None => format!("debug file of build-id {build_id}; its program is not among the inputs"),
            });
        }
        if self.previous.is_some() && policy.growth_percent_max.is_none() {
            notes.push("--previous is not used: the policy does not set `growth_percent_max`".into());
        }
        let evidence = Evidence {
            debug_file: debug_file.as_ref().map(|file| &file.facts),
            debug_file_bytes: debug_file.as_ref().map(|file| &*file.bytes),
            debug_file_name: debug_file.as_ref().and_then(|file| file.path.file_name()?.to_str()),
            owner,
            own_bytes: Some(bytes),
            parent: parent.as_ref().map(|file| &file.facts),
            parent_sha256: parent_sha256.as_deref(),
            unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
            file_name: Some(name),
            previous_size_bytes: self.previous.as_ref().and_then(|previous| previous.size_bytes(stage)),
            today: Some(self.policies.today),
            ..Evidence::default()
        };
        let rules = policy::judge(&facts, stage, &policy, &evidence);
        // Equality with a file that nobody judged would carry over nothing.
        if let Some(parent) = parent.as_ref().filter(|parent| !(self.is_input)(&parent.path)) {
            let parent_name = parent.path.display().to_string();
            let file = Elf {
                name: &parent_name,
                bytes: &parent.bytes,
                path: Some(&parent.path),
                is_member: false,
                is_parent: true,
            };
            let mut report = self.elf(&file, None, judged);
            report.notes.push(format!("judged as the parent of `{name}`"));
            judged.reports.push(report);
        }
        FileReport { notes, ..FileReport::judged(name, stage, because, facts.size_bytes, rules) }
    }
}

/// An ELF file on its way to the judge.
#[derive(Clone, Copy)]
struct Elf<'a> {
    name: &'a str,
    bytes: &'a [u8],
    /// The file on disk: this one, or the one that it is a member of.
    path: Option<&'a Path>,
    is_member: bool,
    /// Of a packed file that was named.
    is_parent: bool,
}

fn tie(name: &str, path: &Path, facts: &Facts) -> Option<Tie> {
    if facts.form == Form::DebugFile {
        return Some(Tie::DebugFile { build_id: facts.build_id.clone() });
    }
    facts.debug_link.as_ref()?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Some(Tie::Owner { owner: Owner::of(name, facts), folder })
}

/// A file that is evidence for another one.
pub struct Shown {
    pub path: PathBuf,
    pub bytes: Bytes,
    pub facts: Facts,
}

impl Shown {
    pub fn read(path: Option<PathBuf>, what: &str) -> Result<Option<Shown>, Unreadable> {
        let Some(path) = path else { return Ok(None) };
        let about = |unreadable: Unreadable| Unreadable {
            error: format!("{what}: {}", unreadable.error),
            hint: unreadable.hint,
        };
        let bytes = read::file(&path).map_err(about)?;
        match elf_gate::inspect(&bytes) {
            Ok(facts) => Ok(Some(Shown { path, bytes, facts })),
            Err(error) => Err(about(Unreadable {
                error: format!("`{}`: {error}", path.display()),
                hint: error.hint().into(),
            })),
        }
    }
}

/// Nothing when the file is not packed, or when neither the gate nor UPX can unpack it.
fn unpacked_sha256(bytes: &[u8], facts: &Facts) -> Option<Result<String, String>> {
    use elf_gate::upx::UnpackError;
    match elf_gate::upx::unpack(bytes, facts.upx.as_ref()?, UNPACKED_BYTES_MAX) {
        Ok(original) => Some(Ok(sha256_hex(&original))),
        // UPX would unpack it, and ask nothing.
        Err(
            error @ (UnpackError::Layout(_)
            | UnpackError::IdleFilter { .. }
            | UnpackError::Checksum { .. }
            | UnpackError::TooLarge { .. }),
        ) => Some(Err(error.to_string())),
        // A method that the gate does not know: UPX may.
        Err(error) => Some(unpack_with_upx(bytes)?.map_err(|upx| format!("{error}; {upx:#}"))),
    }
}

/// Nothing when there is no UPX on this machine.
fn unpack_with_upx(bytes: &[u8]) -> Option<anyhow::Result<String>> {
    let is_there = |name: &&str| Command::new(name).env_remove("UPX").arg("--version").output().is_ok();
    let upx = ["upx", "upx-ucl"].into_iter().find(is_there)?;
    let unpack = || {
        let folder = tempfile::tempdir()?;
        let (packed, out) = (folder.path().join("packed"), folder.path().join("unpacked"));
        std::fs::write(&packed, bytes)?;
        let run = Command::new(upx).env_remove("UPX").args(["-qqd", "-o"]).arg(&out).arg(&packed).output()?;
        if !run.status.success() {
            bail!("`{upx} -d -o OUT FILE`: {}", String::from_utf8_lossy(&run.stderr).trim());
        }
        Ok(sha256_hex(&std::fs::read(&out)?))
    };
    Some(unpack())
}
