//! The debug file is split off first, then everything that is not run is stripped. The two stay joined by the build-id and
//! by a `.gnu_debuglink` that names the debug file as it is called in `dist/`.

use anyhow::Context;

use crate::artifact::{Artifact, Linked, Stripped};
use crate::gate;
use crate::plan::Plan;
use crate::toolchain::{Site, Toolchain};
use process::Task;

pub fn strip(plan: &Plan, site: &Site, toolchain: &Toolchain, linked: Linked) -> anyhow::Result<Stripped> {
    let folder = plan.paths.work.join("stripped");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let debug = folder.join(&plan.names.debug);
    let file = folder.join(&plan.names.unpacked);
    let objcopy = |arguments: &[&str]| {
        let mut command = site.command(&toolchain.objcopy.path);
        command.current_dir(&folder).args(arguments);
        command
    };

    let mut split = objcopy(&["--only-keep-debug"]);
    split.arg(&linked.file.path).arg(&debug);
    site.runner.run(Task::new("split the debug file off", split))?;

    // Only sections that are not loaded: told to remove a loaded one, objcopy writes the program headers anew and sets
    // the size of PT_GNU_STACK to 0.
    let mut strip = objcopy(&["--strip-all", "--remove-section=.comment"]);
    // The folder is objcopy's, so that the link holds the bare name and no path of this machine.
    strip.arg(format!("--add-gnu-debuglink={}", plan.names.debug)).arg(&linked.file.path).arg(&file);
    site.runner.run(Task::new("strip the binary", strip))?;

    let (file, debug) = (Artifact::of(file)?, Artifact::of(debug)?);
    let verdicts = gate::stripped(plan, &file, &debug)?;
    Ok(Stripped { linked, file, debug, verdicts })
}
