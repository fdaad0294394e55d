//! The programs of images, and where their symbol names come from.
//!
//! An image usually holds a stripped or packed program. Its names are those of the debug file of the same build-id: the file
//! of `--debug-file`, or the one that `.gnu_debuglink` names, next to the image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use elf_facts::facts::{DebugLink, Facts, FileKind};

use crate::cli::evidence_file::EvidenceFile;
use crate::cli::sidecar;
use crate::containers::{ImageProgram, MergedImage};
use crate::image::{self, ImageEvidence, ImagePolicy, Names};
use crate::report::FileReport;

/// What is kept of the ELF files of a container, by the name of the member.
#[derive(Default)]
pub(super) struct ImagePrograms(HashMap<String, Kept>);

struct Kept {
    is_static: bool,
    names: Names,
    build_id: Option<String>,
    debug_link: Option<DebugLink>,
    /// The file before packing.
    parent: Option<PathBuf>,
}

impl ImagePrograms {
    /// Records a member of a container.
    pub(super) fn add(&mut self, member: &str, facts: &Facts, parent: Option<&Path>) {
        let kept = Kept {
            is_static: matches!(facts.kind, FileKind::StaticExecutable | FileKind::StaticPie),
            names: Names::of(facts),
            build_id: facts.build_id.clone(),
            debug_link: facts.debug_link.clone(),
            parent: parent.map(Path::to_path_buf),
        };
        self.0.insert(member.into(), kept);
    }

    /// Judges the images of the archive at `path`.
    pub(super) fn judge(
        &self,
        images: &[MergedImage],
        path: Option<&Path>,
        debug_file: Option<&Path>,
        policy: &ImagePolicy,
    ) -> Vec<FileReport> {
        let judged = images.iter().map(|image| {
            let mut notes = Vec::new();
            let program = match image.program() {
                ImageProgram::None => Err("the image names no entrypoint and no command".to_string()),
                ImageProgram::NotElf(word) => Err(format!("`{word}` is no ELF file of the image")),
                ImageProgram::Elf { path: in_image, member } => match self.0.get(&member) {
                    None => Err(format!("`{in_image}` cannot be read")),
                    Some(kept) => Ok(image::Program {
                        path: in_image,
                        is_static: kept.is_static,
                        names: kept.names(path, debug_file, &mut notes),
                    }),
                },
            };
            let evidence = ImageEvidence { image, program: program.as_ref().map_err(String::as_str) };
            let rules = image::judge(&evidence, policy);
            let report = FileReport::image(
                image.name(images.len() == 1),
                program.ok().map(|program| program.path),
                rules,
            );
            FileReport { notes, ..report }
        });
        judged.collect()
    }
}

impl Kept {
    fn names(
        &self,
        archive: Option<&Path>,
        debug_file: Option<&Path>,
        notes: &mut Vec<String>,
    ) -> Option<Names> {
        if self.names.is_complete {
            return Some(self.names.clone());
        }
        let parent = self.parent.as_ref().and_then(|path| EvidenceFile::read(path.clone()).ok());
        let parent_facts = parent.as_ref().map(|parent| &parent.facts);
        if let Some((path, facts)) =
            self.parent.as_ref().zip(parent_facts).filter(|(_, facts)| facts.symbols.is_some())
        {
            notes.push(format!("symbol names: `{}`", path.display()));
            return Some(Names::of(facts));
        }
        let build_id = self.build_id.as_ref().or(parent_facts.and_then(|facts| facts.build_id.as_ref()))?;
        let link = self.debug_link.as_ref().or(parent_facts.and_then(|facts| facts.debug_link.as_ref()));
        let sidecar = archive.zip(link).and_then(|(archive, link)| sidecar::linked_debug_file(archive, link));
        let file = EvidenceFile::read(debug_file.map(Path::to_path_buf).or(sidecar)?).ok()?;
        if file.facts.build_id.as_ref() != Some(build_id) || file.facts.symbols.is_none() {
            notes.push(format!("`{}` is not the debug file of this program", file.path.display()));
            return None;
        }
        notes.push(format!("symbol names: `{}`, build-id {build_id}", file.path.display()));
        Some(Names::of(&file.facts))
    }
}
