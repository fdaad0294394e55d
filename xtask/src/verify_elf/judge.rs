//! One input: read it, find the ELF files in it, gather the evidence, let the gate judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use elf_gate::containers::{self, Format, Found, Limits};
use elf_gate::report::FileReport;
use elf_gate::{Evidence, Facts, Stage, policy};

use super::beside;
use super::inputs::{Input, Source};
use super::policies::Policies;
use super::read::{self, Bytes, Unreadable, sha256_hex};

pub struct Judge<'a> {
    pub policies: Policies,
    pub stage: Option<Stage>,
    pub parent: Option<&'a Path>,
    pub debug_file: Option<&'a Path>,
    pub previous_size_bytes: Option<u64>,
    pub limits: Limits,
}

/// What came of one input.
#[derive(Default)]
pub struct Judged {
    pub reports: Vec<FileReport>,
    /// What was met in it and is no ELF file.
    pub not_elf: usize,
}

/// Beyond this an unpacked file is not one of ours; the header of a packed file can promise up to 4 GiB.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

impl Judge<'_> {
    pub fn input(&self, input: &Input) -> Judged {
        let bytes = match &input.source {
            Source::Path(path) => read::file(path),
            Source::Stdin => read::stdin(),
            Source::Missing { error, hint } => Err(Unreadable { error: error.clone(), hint: hint.clone() }),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(Unreadable { error, hint }) => {
                return Judged {
                    reports: vec![FileReport::unreadable(&input.name, error, hint)],
                    not_elf: 0,
                };
            }
        };
        let path = match &input.source {
            Source::Path(path) => Some(path.as_path()),
            _ => None,
        };
        let mut judged = Judged::default();
        containers::walk(&input.name, &bytes, &self.limits, &mut |name, found| {
            let is_member = name != input.name;
            let report = match found {
                Found::Elf(bytes) => self.elf(name, bytes, path, is_member),
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
            judged = Judged { reports: vec![FileReport::unreadable(&input.name, error, hint)], not_elf: 0 };
        }
        judged
    }

    /// `path` is the file on disk: the one that is judged, or the one that it is a member of.
    fn elf(&self, name: &str, bytes: &[u8], path: Option<&Path>, is_member: bool) -> FileReport {
        let facts = match elf_gate::inspect(bytes) {
            Ok(facts) => facts,
            Err(error) => return FileReport::unreadable(name, format!("`{name}`: {error}"), error.hint()),
        };
        let (stage, because) = match self.stage {
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
        let beside = path.filter(|_| stage == Stage::Packed);
        let beside = beside.and_then(|path| beside::parent(path, is_member, &facts));
        let parent = named_or_beside(self.parent, beside, "parent");
        let beside = path.filter(|_| stage == Stage::Stripped && !is_member);
        let beside = beside.and_then(|path| beside::debug_file(path, &facts));
        let debug_file = named_or_beside(self.debug_file, beside, "debug file");
        let (parent, debug_file) =
            match (Shown::read(parent, "parent"), Shown::read(debug_file, "debug file")) {
                (Ok(parent), Ok(debug_file)) => (parent, debug_file),
                (Err(Unreadable { error, hint }), _) | (_, Err(Unreadable { error, hint })) => {
                    return FileReport::unreadable(name, error, hint);
                }
            };
        let parent_sha256 = parent.as_ref().map(|parent| sha256_hex(&parent.bytes));
        let unpacked = parent.as_ref().and_then(|_| unpacked_sha256(bytes, &facts));
        let mut policy = self.policies.at(stage);
        policy.needs_debug_file |= debug_file.is_some();
        let evidence = Evidence {
            debug_file: debug_file.as_ref().map(|file| &file.facts),
            debug_file_bytes: debug_file.as_ref().map(|file| &*file.bytes),
            debug_file_name: debug_file.as_ref().and_then(|file| file.path.file_name()?.to_str()),
            parent: parent.as_ref().map(|file| &file.facts),
            parent_sha256: parent_sha256.as_deref(),
            unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
            file_name: Some(name),
            previous_size_bytes: self.previous_size_bytes,
            today: Some(self.policies.today),
            ..Evidence::default()
        };
        let rules = policy::judge(&facts, stage, &policy, &evidence);
        FileReport { notes, ..FileReport::judged(name, stage, because, facts.size_bytes, rules) }
    }
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
        Err(
            error @ (UnpackError::Layout(_) | UnpackError::Checksum { .. } | UnpackError::TooLarge { .. }),
        ) => Some(Err(error.to_string())),
        // A method or filter that the gate does not know: UPX may.
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
