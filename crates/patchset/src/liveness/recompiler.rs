//! Compiles patched files again, in the state of the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use store::sha256_hex;

use super::calls::{CompilerCall, DerivedSource};
use super::lines::kept_lines;
use crate::prepare::{AppliedPatch, ChangedFile};

/// Runs a shell command in a folder; its error is the compiler's.
pub(super) type Run<'a> = &'a dyn Fn(&Path, &str) -> Result<()>;

/// The tree of a build and its compiler calls.
pub(super) struct Recompiler<'a> {
    pub tree: &'a Path,
    pub run: Run<'a>,
    pub calls: Vec<CompilerCall>,
    /// Sources that the build makes of others.
    pub derived: Vec<DerivedSource>,
    /// Paths of all patched files.
    pub patched: BTreeSet<&'a str>,
    /// Objects by output and by the digest of all patched text that they can contain.
    pub objects: BTreeMap<(String, String), Vec<u8>>,
}

impl Recompiler<'_> {
    /// Writes one state of the files of a patch, and of the sources that the build makes of them.
    pub fn write(&self, step: &AppliedPatch, text: impl Fn(&ChangedFile) -> &Vec<u8>) -> Result<()> {
        for file in &step.files {
            let path = self.tree.join(&file.path);
            fs::write(&path, text(file)).with_context(|| format!("writing `{}`", path.display()))?;
            for derived in self.derived_from(Path::new(&file.path)) {
                (self.run)(&self.tree.join(&derived.folder), &derived.line)?;
            }
        }
        Ok(())
    }

    /// The call that makes a member of the archive.
    pub fn call_for_member(&self, member: &str) -> Option<CompilerCall> {
        self.calls.iter().find(|call| call.output.rsplit('/').next() == Some(member)).cloned()
    }

    /// The calls that compile a source, or a source that the build makes of it.
    pub fn calls_for_source(&self, path: &Path) -> Vec<CompilerCall> {
        let mut sources: Vec<&Path> =
            self.derived_from(path).map(|derived| derived.output.as_path()).collect();
        sources.push(path);
        let compiles = |call: &&CompilerCall| sources.contains(&call.folder.join(&call.source).as_path());
        self.calls.iter().filter(compiles).cloned().collect()
    }

    fn derived_from(&self, path: &Path) -> impl Iterator<Item = &DerivedSource> {
        self.derived.iter().filter(move |derived| derived.origin == path)
    }

    /// The object of a call in the present state of the tree.
    pub fn object(&mut self, call: &CompilerCall) -> Result<Vec<u8>> {
        let source = call.folder.join(&call.source);
        let mut text = Vec::new();
        let headers = self.patched.iter().filter(|path| !path.ends_with(".c")).map(Path::new);
        for path in headers.chain([source.as_path()]) {
            text.extend(
                fs::read(self.tree.join(path)).with_context(|| format!("reading `{}`", path.display()))?,
            );
        }
        let key = (call.output.clone(), sha256_hex(&text));
        if let Some(object) = self.objects.get(&key) {
            return Ok(object.clone());
        }
        let object = self.output_of(call, "")?;
        self.objects.insert(key, object.clone());
        Ok(object)
    }

    /// Lines of a file that the preprocessor keeps in a call. A source that is made of it has the same lines.
    pub fn kept_lines(&self, call: &CompilerCall, path: &Path) -> Result<BTreeSet<usize>> {
        let folder = self.tree.join(&call.folder);
        let source = call.folder.join(&call.source);
        let is_derived = self.derived_from(path).any(|derived| derived.output == source);
        let wanted = self.tree.join(if is_derived { &source } else { path }).canonicalize()?;
        let text = self.output_of(call, " -E")?;
        Ok(kept_lines(&String::from_utf8_lossy(&text), |name| {
            folder.join(name).canonicalize().is_ok_and(|found| found == wanted)
        }))
    }

    /// Runs a call with additional flags and another output.
    fn output_of(&self, call: &CompilerCall, flags: &str) -> Result<Vec<u8>> {
        let output = self.tree.join("liveness.out");
        let wanted = format!(" -o {}", call.output);
        ensure!(call.line.contains(&wanted), "`{}`: expected `{wanted}` in it", call.line);
        let line = call.line.replacen(&wanted, &format!("{flags} -o '{}'", output.display()), 1);
        (self.run)(&self.tree.join(&call.folder), &line)?;
        fs::read(&output).with_context(|| format!("reading the output of `{line}`"))
    }
}
