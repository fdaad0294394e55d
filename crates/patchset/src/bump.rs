//! Another version of the library: how the list, the patches and the guards fit its tree. Judges every patch, also after one
//! that does not fit, and plans the new files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use diag::Diagnostic;
use store::sha256_hex;

use crate::codes::PATCH_PRE_IMAGE;
use crate::file_list::FileList;
use crate::library::Vendored;
use crate::refresh_plan::RefreshPlan;
use crate::series::Overlay;
use crate::templates;

/// The listed files, compared with another tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// Number of files with the listed digest.
    pub unchanged: usize,
    /// Files with another digest.
    pub changed: Vec<String>,
    /// Listed files that the tree does not have.
    pub missing: Vec<String>,
    /// Files that are not listed, in a folder with listed ones.
    pub unlisted: Vec<String>,
}

impl Vendored {
    /// Plans the vendor folder for the version of `tree`. `list` is the new list of files, when the vendor folder has a program
    /// that makes it; without it, the present paths get new digests.
    pub fn bump(
        &self,
        tree: &Path,
        version: &str,
        list: Option<&str>,
        vendor_dir: &Path,
    ) -> Result<(FileChanges, RefreshPlan<'_>)> {
        let changes = self.file_changes(tree)?;
        let mut plan = RefreshPlan::new(version);
        let list = match list {
            Some(text) => FileList::parse(text).context("reading the new list of files")?,
            None => new_digests(&self.list, tree)?,
        };
        let listed: BTreeSet<&str> = list.files().iter().map(|file| file.path.as_str()).collect();
        self.plan_later(0, &mut Overlay::new(tree.to_owned()), vendor_dir, &mut plan)?;
        for patch in self.patches() {
            for file in patch.guard.files.iter().filter(|file| !listed.contains(file.path.as_str())) {
                plan.later_violations.push(
                    Diagnostic::new(&PATCH_PRE_IMAGE, "a patched file is not on the new list of files")
                        .file(&file.path)
                        .rule(&patch.name),
                );
            }
        }
        let source = vendor_dir.join("source.toml");
        let text = fs::read_to_string(&source).with_context(|| format!("reading `{}`", source.display()))?;
        let text = templates::set_version(&text, &self.manifest.version, version)?;
        plan.writes.push((vendor_dir.join(&self.manifest.files), list.to_text().into_bytes()));
        plan.writes.push((source, text.into_bytes()));
        Ok((changes, plan))
    }

    fn file_changes(&self, tree: &Path) -> Result<FileChanges> {
        let (mut changes, mut listed, mut folders) = (FileChanges::default(), BTreeSet::new(), BTreeSet::new());
        for file in self.list.files() {
            let path = Path::new(&file.path);
            listed.insert(path);
            folders.extend(path.parent());
            match fs::read(tree.join(path)) {
                Ok(bytes) if sha256_hex(&bytes) == file.sha256 => changes.unchanged += 1,
                Ok(_) => changes.changed.push(file.path.clone()),
                Err(_) => changes.missing.push(file.path.clone()),
            }
        }
        for folder in folders {
            for entry in fs::read_dir(tree.join(folder)).into_iter().flatten().flatten() {
                let path = folder.join(entry.file_name());
                if entry.file_type()?.is_file() && !listed.contains(path.as_path()) {
                    changes.unlisted.push(path.to_string_lossy().into_owned());
                }
            }
        }
        changes.unlisted.sort();
        Ok(changes)
    }
}

fn new_digests(list: &FileList, tree: &Path) -> Result<FileList> {
    let mut text = String::new();
    for file in list.files() {
        if let Ok(bytes) = fs::read(tree.join(&file.path)) {
            text.push_str(&format!("{}  {}\n", sha256_hex(&bytes), file.path));
        }
    }
    Ok(FileList::parse(&text)?)
}
