//! Stage `strip`: splits the debug file off, then strips everything that is not executed. Build-id and `.gnu_debuglink` join
//! the two; the link has the name of the debug file in `dist/`.

use anyhow::Context;
use process::Task;

use crate::artifact::Artifact;
use crate::context::BuildContext;
use crate::gate::{self, Judged};
use crate::plan::Plan;
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

/// Strips the binary and judges it with its debug file.
pub fn strip(plan: &Plan, context: &BuildContext, linked: Linked) -> anyhow::Result<Stripped> {
    linked.file().verify()?;
    let folder = plan.paths.work.join("stripped");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let debug = folder.join(&plan.names.debug);
    let file = folder.join(&plan.names.unpacked);
    let objcopy = |arguments: &[&str]| {
        let mut command = context.command(&linked.native().toolchain().objcopy().path);
        command.current_dir(&folder).args(arguments);
        command
    };

    let mut split = objcopy(&["--only-keep-debug"]);
    split.arg(linked.file().path()).arg(&debug);
    context.runner.run(Task::new("split the debug file off", split))?;

    // Only sections that are not loaded: when objcopy removes a loaded one, it rewrites the program headers and sets the size
    // of PT_GNU_STACK to 0.
    let mut strip = objcopy(&["--strip-all", "--remove-section=.comment"]);
    // objcopy runs in the folder, so the link has the bare name and no path of this machine.
    strip.arg(format!("--add-gnu-debuglink={}", plan.names.debug)).arg(linked.file().path()).arg(&file);
    context.runner.run(Task::new("strip the binary", strip))?;

    let (file, debug) = (Artifact::of(file)?, Artifact::of(debug)?);
    let judged = gate::stripped(plan, file, &debug)?;
    Ok(Stripped { linked, judged, debug })
}
