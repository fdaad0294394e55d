//! The checks of each patch and their report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use diag::{Diagnostic, Location};
use serde::{Deserialize, Serialize};

use super::calls::{CompilerCall, compiler_calls, derived_sources};
use super::lines::code_lines;
use super::object_code::object_code;
use super::recompiler::Recompiler;
use crate::codes::{PATCH_COMPILED, PATCH_LINKED, PATCH_OBJECT, PATCH_PREPROCESSOR};
use crate::prepare::{AppliedPatch, ChangedFile};

/// The evidence for one patch; part of the release manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivenessReport {
    /// Name of the patch.
    pub patch: String,
    /// Patched files that the build compiled.
    pub compiled: Vec<String>,
    /// Lines of code that the patch adds.
    pub lines_added: usize,
    /// Those of them that the preprocessor keeps.
    pub lines_live: usize,
    /// Functions (or members) whose code or relocations differ without the patch.
    pub differs: Vec<String>,
    /// Functions of the guard, to be found in the archive and in the linked file.
    pub functions: Vec<String>,
    /// The behavioural test that fails without the patch.
    pub test: String,
}

/// Checks every patch, in the tree of the build and with the compiler calls of its log. `run` gets a folder and a shell
/// command; its error is the compiler's. The tree ends in its last state. The rule of each violation is its patch.
pub fn verify(
    steps: &[AppliedPatch],
    log: &str,
    tree: &Path,
    run: &dyn Fn(&Path, &str) -> Result<()>,
) -> Result<(Vec<LivenessReport>, Vec<Diagnostic>)> {
    let patched = steps.iter().flat_map(|step| step.files.iter().map(|file| file.path.as_str())).collect();
    let calls = compiler_calls(log, tree);
    let derived = derived_sources(log, tree);
    let mut recompiler = Recompiler { tree, run, calls, derived, patched, objects: BTreeMap::new() };
    let (mut reports, mut violations) = (Vec::new(), Vec::new());
    // the state before the first patch; a file of two patches gets its oldest text last
    for step in steps.iter().rev() {
        recompiler.write(step, |file| &file.before)?;
    }
    for step in steps {
        let (report, found) = verify_patch(&mut recompiler, step)
            .with_context(|| format!("checking whether patch `{}` is live", step.patch.name))?;
        violations.extend(found.into_iter().map(|violation| violation.rule(&step.patch.name)));
        reports.push(report);
    }
    Ok((reports, violations))
}

/// Functions of the guards that a linked file does not define. `symbols` are the names of its symbol table.
pub fn linked_violations<'a>(
    reports: impl IntoIterator<Item = &'a LivenessReport>,
    symbols: &BTreeSet<&str>,
) -> Vec<Diagnostic> {
    let mut violations = Vec::new();
    for report in reports {
        for function in report.functions.iter().filter(|function| !symbols.contains(function.as_str())) {
            violations.push(
                Diagnostic::new(&PATCH_LINKED, format!("the linked file has no function `{function}`"))
                    .rule(&report.patch)
                    .hint(
                        "`cargo xtask build-native` names the archive; check whether its member is linked at all",
                    ),
            );
        }
    }
    violations
}

/// From the state before the patch to the state after it.
fn verify_patch(
    recompiler: &mut Recompiler<'_>,
    step: &AppliedPatch,
) -> Result<(LivenessReport, Vec<Diagnostic>)> {
    let guard = &step.patch.guard;
    let mut violations = Vec::new();
    let members: BTreeSet<&str> = guard.objects.iter().map(|object| object.member.as_str()).collect();
    let mut before = BTreeMap::new();
    for member in &members {
        match recompiler.call_for_member(member) {
            Some(call) => drop(before.insert(*member, recompiler.object(&call)?)),
            None => violations.push(
                Diagnostic::new(&PATCH_COMPILED, "no compiler call of the build makes a guarded member")
                    .file(member),
            ),
        }
    }
    recompiler.write(step, |file| &file.after)?;

    let mut report = LivenessReport {
        patch: step.patch.name.clone(),
        compiled: Vec::new(),
        lines_added: 0,
        lines_live: 0,
        differs: Vec::new(),
        functions: guard.objects.iter().filter_map(|object| object.function.clone()).collect(),
        test: step.patch.test.clone(),
    };
    for file in &step.files {
        let path = Path::new(&file.path);
        let is_source = path.extension().is_some_and(|extension| extension == "c");
        // the effect of a header is expected in the members of the guard
        let calls: Vec<CompilerCall> = match is_source {
            true => recompiler.calls_for_source(path),
            false => members.iter().filter_map(|member| recompiler.call_for_member(member)).collect(),
        };
        let mut kept = BTreeSet::new();
        for call in &calls {
            kept.extend(recompiler.kept_lines(call, path)?);
        }
        if kept.is_empty() {
            violations.push(
                Diagnostic::new(&PATCH_COMPILED, "no compiler call of the build reads a patched file")
                    .file(&file.path),
            );
            continue;
        }
        report.compiled.push(file.path.clone());
        let guarded = guard.files.iter().find(|guarded| guarded.path == file.path);
        let allowed = guarded.map_or(&[][..], |guarded| &guarded.allow_uncompiled);
        violations.extend(line_violations(file, &kept, allowed, &mut report));
    }
    for object in &guard.objects {
        let call = recompiler.call_for_member(&object.member);
        let (Some(call), Some(old)) = (call, before.get(object.member.as_str())) else { continue };
        let new = recompiler.object(&call)?;
        let function = object.function.as_deref();
        if object_code(old, function)? == object_code(&new, function)? {
            violations.push(
                Diagnostic::new(
                    &PATCH_OBJECT,
                    format!("the code of {} is the same without the patch", object.place()),
                )
                .file(&object.member),
            );
        } else {
            report.differs.push(object.place());
        }
    }
    Ok((report, violations))
}

/// The preprocessor must keep each added line of code, except for the lines of `allow_uncompiled`, which it must drop.
fn line_violations(
    file: &ChangedFile,
    kept: &BTreeSet<usize>,
    allowed: &[String],
    report: &mut LivenessReport,
) -> Vec<Diagnostic> {
    let text = String::from_utf8_lossy(&file.after).into_owned();
    let code = code_lines(&text);
    let lines: Vec<&str> = text.lines().collect();
    let mut violations = Vec::new();
    let mut unused: Vec<&String> = allowed.iter().collect();
    for number in file.added.iter().filter(|number| code.contains(number)) {
        let shown = lines[number - 1].trim();
        if kept.contains(number) {
            report.lines_live += 1;
        } else if let Some(at) = unused.iter().position(|text| *text == shown) {
            unused.remove(at); // an entry excuses one line
            continue;
        } else {
            violations.push(
                Diagnostic::new(&PATCH_PREPROCESSOR, "the preprocessor drops an added line")
                    .file(&file.path)
                    .at(Location { line: *number, column: 1 })
                    .expected(format!("`{shown}` in the preprocessed source"))
                    .hint("look for an #if around it that is off in this build"),
            );
        }
        report.lines_added += 1;
    }
    violations.extend(unused.into_iter().map(|text| {
        Diagnostic::new(&PATCH_PREPROCESSOR, "an entry of `allow_uncompiled` excuses no line")
            .file(&file.path)
            .expected(format!("an added line `{text}` that the preprocessor drops"))
    }));
    violations
}
