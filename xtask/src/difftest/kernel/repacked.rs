//! Edits of the headers that the packed file contains: a copy of the stripped file is edited and packed again. UPX refuses many
//! of them, and corrects some.
//!
//! The edited copy is the parent in the judgement, as in a release that packs a damaged file, and is judged as well. With the
//! real parent the comparison of digests would refuse every copy, and nothing would be learnt about the rules for headers.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use process::sandbox::Ran;
use process::{COMMAND_FAILED, COMMAND_TIMEOUT, Task};
use release::context::BuildContext;
use store::Digest;

use super::edits::Edit;
use super::oracle::{self, Observation};
use super::test_program::{Gate, Judgement, Parent, Rules, TestProgram};

/// A packer that does not end counts as one that refuses.
const PACK_TIMEOUT: Duration = Duration::from_mins(1);

/// The observations, and the number of edits that UPX does not pack.
pub fn observe<'a>(
    context: &BuildContext,
    upx: &std::path::Path,
    stripped: &TestProgram,
    packed: &TestProgram,
    edits: &'a [Edit],
    rules: Rules,
) -> anyhow::Result<(Vec<Observation<'a>>, usize)> {
    let (_, original) = oracle::start(packed)?;
    let one = |index: usize| observe_one(context, upx, stripped, (packed, &original), &edits[index], rules);
    let results = context.jobs.map(edits.len(), one).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let observations: Vec<Observation> = results.into_iter().flatten().collect();
    let refused = edits.len() - observations.len();
    Ok((observations, refused))
}

fn observe_one<'a>(
    context: &BuildContext,
    upx: &std::path::Path,
    stripped: &TestProgram,
    (packed, original): (&TestProgram, &Ran),
    edit: &'a Edit,
    rules: Rules,
) -> anyhow::Result<Option<Observation<'a>>> {
    let folder = tempfile::tempdir().context("creating a folder for the packer")?;
    let (input, output) = (folder.path().join("edited"), folder.path().join("packed"));
    let mut bytes = stripped.bytes.clone();
    edit.apply(&mut bytes);
    std::fs::write(&input, &bytes).context("writing an edited copy")?;
    // UPX refuses files that are not executable.
    std::fs::set_permissions(&input, std::fs::Permissions::from_mode(0o755))?;
    let mut pack: Command = context.command(upx);
    // The headers matter, not the ratio: the fastest method.
    pack.args(["-1", "--no-filter", "--quiet", "--no-progress", "-o"]).arg(&output).arg(&input);
    match context.runner.run(Task::new("pack an edited copy", pack).timeout(PACK_TIMEOUT)) {
        Err(error) if [&COMMAND_FAILED, &COMMAND_TIMEOUT].iter().any(|code| diag::has_code(&error, code)) => {
            return Ok(None);
        }
        result => result?,
    };
    let parent = packed.gate.parent.as_ref().context("the packed file has no parent")?;
    let parent = Parent { facts: parent.facts.clone(), sha256: Digest::of(&bytes).as_str().into() };
    let copy = TestProgram {
        name: packed.name.clone(),
        path: output.clone(),
        bytes: std::fs::read(&output).context("reading a packed copy")?,
        args: packed.args.clone(),
        contains: packed.contains.clone(),
        gate: Gate { parent: Some(parent), policy: packed.gate.policy.clone(), debug: None, ..packed.gate },
    };
    let start = oracle::start_of_copy(&copy, original)?;
    let judgement = match copy.gate.judge(&copy.bytes, rules) {
        Judgement::Passes => stripped.gate.judge(&bytes, rules),
        judgement => judgement,
    };
    Ok(Some(Observation { edit, start, judgement }))
}
