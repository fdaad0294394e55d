//! Another version of the library: what of the list, the patches and the guards holds on its tree. Looks at every patch, also
//! after one that does not fit, and proposes what would have to be written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Vendored;
use super::manifest::{FileList, SourceManifest};
use super::series::Texts;
use super::working::Proposal;
use store::sha256_hex;

/// The files of the list on another tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub same: usize,
    pub changed: Vec<String>,
    pub missing: Vec<String>,
    /// Not listed, in a folder that has listed ones.
    pub beside: Vec<String>,
}

impl Vendored {
    /// `list` is the list of digests for the new tree, when the vendor folder has a program that makes it; without it, the
    /// present paths with new digests.
    pub fn bump(
        &self,
        tree: &Path,
        version: &str,
        list: Option<&str>,
        vendor_dir: &Path,
    ) -> Result<(Files, Proposal<'_>)> {
        let files = self.files_on(tree)?;
        let mut proposal = Proposal::of(version);
        let list = match list {
            Some(text) => FileList::parse(text).context("the new list of files")?,
            None => relisted(&self.list, tree)?,
        };
        let listed: BTreeSet<&str> = list.files().iter().map(|file| file.path.as_str()).collect();
        self.lay_later(0, &mut Texts::of(tree.to_owned()), vendor_dir, &mut proposal)?;
        for patch in self.patches() {
            for file in patch.guard.files.iter().filter(|file| !listed.contains(file.path.as_str())) {
                proposal
                    .later_violations
                    .push(format!("patch `{}`: `{}` is not on the new list of files", patch.name, file.path));
            }
        }
        let source = vendor_dir.join("source.toml");
        let text = fs::read_to_string(&source).with_context(|| format!("reading `{}`", source.display()))?;
        proposal.writes.push((vendor_dir.join(&self.manifest.files), list.to_text().into_bytes()));
        proposal.writes.push((source, with_version(&text, &self.manifest.version, version)?.into_bytes()));
        Ok((files, proposal))
    }

    fn files_on(&self, tree: &Path) -> Result<Files> {
        let (mut files, mut listed, mut folders) = (Files::default(), BTreeSet::new(), BTreeSet::new());
        for file in self.list.files() {
            let path = Path::new(&file.path);
            listed.insert(path);
            folders.extend(path.parent());
            match fs::read(tree.join(path)) {
                Ok(bytes) if sha256_hex(&bytes) == file.sha256 => files.same += 1,
                Ok(_) => files.changed.push(file.path.clone()),
                Err(_) => files.missing.push(file.path.clone()),
            }
        }
        for folder in folders {
            for entry in fs::read_dir(tree.join(folder)).into_iter().flatten().flatten() {
                let path = folder.join(entry.file_name());
                if entry.file_type()?.is_file() && !listed.contains(path.as_path()) {
                    files.beside.push(path.to_string_lossy().into_owned());
                }
            }
        }
        files.beside.sort();
        Ok(files)
    }
}

fn relisted(list: &FileList, tree: &Path) -> Result<FileList> {
    let mut text = String::new();
    for file in list.files() {
        if let Ok(bytes) = fs::read(tree.join(&file.path)) {
            text.push_str(&format!("{}  {}\n", sha256_hex(&bytes), file.path));
        }
    }
    FileList::parse(&text)
}

fn with_version(text: &str, old: &str, new: &str) -> Result<String> {
    let changed = text.replacen(&format!("\nversion = \"{old}\""), &format!("\nversion = \"{new}\""), 1);
    ensure!(
        SourceManifest::parse(&changed)?.version == new,
        "source.toml: the version could not be set\nhint: write `version = \"{old}\"` on a line of its own"
    );
    Ok(changed)
}
