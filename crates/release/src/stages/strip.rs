//! Stage `strip`: splits the debug file off, then strips everything that is not executed. Build-id and `.gnu_debuglink` join
//! the two; the link has the name of the debug file in `dist/`.

use std::path::Path;

use process::Task;
use store::{Fingerprint, Record, Store};

use crate::artifact::Artifact;
use crate::bill::dep_v0;
use crate::context::BuildContext;
use crate::gate::{self, Judged};
use crate::plan::{Names, Plan};
use crate::stage::StageId;
use crate::stages::link::Linked;

/// The binary without symbols, judged, and its debug file.
///
/// ```compile_fail,E0451
/// use release::{artifact::Artifact, gate::Judged, stages::{link::Linked, strip::Stripped}};
/// fn forge(linked: Linked, judged: Judged, debug: Artifact) -> Stripped {
///     Stripped { linked, judged, debug }
/// }
/// ```
#[derive(Debug)]
pub struct Stripped {
    linked: Linked,
    judged: Judged,
    debug: Artifact,
}

impl Stripped {
    /// The file before.
    pub fn linked(&self) -> &Linked {
        &self.linked
    }

    /// The file with the outcomes of the gate.
    pub fn judged(&self) -> &Judged {
        &self.judged
    }

    /// The file.
    pub fn file(&self) -> &Artifact {
        self.judged.file()
    }

    /// The debug file.
    pub fn debug(&self) -> &Artifact {
        &self.debug
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(linked: Linked, judged: Judged, debug: Artifact) -> Self {
        Self { linked, judged, debug }
    }
}

/// Strips the binary and judges it with its debug file. The two files are kept for the digest of the input; the gate judges
/// them in every run.
pub fn strip(plan: &Plan, context: &BuildContext, linked: Linked) -> anyhow::Result<Stripped> {
    let objcopy = linked.native().toolchain().objcopy();
    let input = linked.file();
    let name = Fingerprint::default()
        .part("file", input.sha256())
        .part("objcopy", &objcopy.sha256)
        .part("stripped", &plan.names.unpacked)
        .part("debug", &plan.names.debug)
        .digest();
    let store = Store::new(plan.paths.work.join("stripped"), context.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        let _token = context.jobs.token()?;
        input.verify()?;
        split_and_strip(&plan.names, context, &objcopy.path, input, staging)?;
        let mut record = Record::default();
        record.add_file(staging, &plan.names.debug)?.add_file(staging, &plan.names.unpacked)?;
        Ok(record)
    })?;
    store.prune_except(name.short())?;
    let debug = Artifact::of_entry(&entry, &plan.names.debug)?;
    let stripped = Artifact::of_entry(&entry, &plan.names.unpacked)?;
    dep_v0::require(&stripped, &linked.crates().section, StageId::Strip.name())?;
    let judged = gate::stripped(plan, stripped, &debug)?;
    Ok(Stripped { linked, judged, debug })
}

fn split_and_strip(
    names: &Names,
    context: &BuildContext,
    objcopy: &Path,
    input: &Artifact,
    folder: &Path,
) -> anyhow::Result<()> {
    // objcopy runs in the folder of its outputs, so the debug link has the bare name and no path of this machine.
    let command = |arguments: &[&str]| {
        let mut command = context.command(objcopy);
        command.current_dir(folder).args(arguments);
        command
    };
    let mut split = command(&["--only-keep-debug"]);
    split.arg(input.path()).arg(&names.debug);
    context.runner.run(Task::new("split the debug file off", split))?;

    // Only sections that are not loaded: when objcopy removes a loaded one, it rewrites the program headers and sets the size
    // of PT_GNU_STACK to 0.
    let mut strip = command(&["--strip-all", "--remove-section=.comment"]);
    strip.arg(format!("--add-gnu-debuglink={}", names.debug)).arg(input.path()).arg(&names.unpacked);
    context.runner.run(Task::new("strip the binary", strip)).map(|_| ())
}
