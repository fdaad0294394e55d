//! Stage `link`: cargo links the binary; the gate judges it with its symbols. Every patched function must be in it, and a trace
//! of every crate.

use anyhow::Context;

use crate::artifact::Artifact;
use crate::bill::{self, Crates, LinkedCrates, dep_v0};
use crate::cargo;
use crate::context::BuildContext;
use crate::gate::{self, Judged};
use crate::plan::Plan;
use crate::stages::native::{self, NativeLibs, PatchesLinked};

/// The binary as the linker wrote it, judged, with symbols and debug information.
///
/// ```compile_fail,E0451
/// use release::{bill::LinkedCrates, gate::Judged, stages::{link::Linked, native::{NativeLibs, PatchesLinked}}};
/// fn forge(native: NativeLibs, judged: Judged, patches: PatchesLinked, crates: LinkedCrates) -> Linked {
///     Linked { native, judged, patches, crates }
/// }
/// ```
#[derive(Debug)]
pub struct Linked {
    native: NativeLibs,
    judged: Judged,
    patches: PatchesLinked,
    crates: LinkedCrates,
}

impl Linked {
    /// The libraries in it, and the tools.
    pub fn native(&self) -> &NativeLibs {
        &self.native
    }

    /// The file with the outcomes of the gate.
    pub fn judged(&self) -> &Judged {
        &self.judged
    }

    /// The file.
    pub fn file(&self) -> &Artifact {
        self.judged.file()
    }

    /// Shows that each function that a patch changes is in the file.
    pub fn patches(&self) -> &PatchesLinked {
        &self.patches
    }

    /// The crates of the product, each with what the file shows of it.
    pub fn crates(&self) -> &LinkedCrates {
        &self.crates
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(native: NativeLibs, judged: Judged) -> Self {
        let patches = PatchesLinked::none(judged.file());
        let crates = LinkedCrates::none(judged.file());
        Self { native, judged, patches, crates }
    }
}

/// Links the binary and judges it.
pub fn link(plan: &Plan, context: &BuildContext, native: NativeLibs) -> anyhow::Result<Linked> {
    let crates = Crates::read(plan, context, native.toolchain().rust())?;
    let section = dep_v0::content(&crates)?;
    let mut cargo = cargo::command(plan, context, native.toolchain(), native.inputs(), "rustc")?;
    cargo.args(["--package", &plan.config.product.package, "--bin", &plan.config.product.name]);
    // For the few lines of main.rs only: with debug information there, rustc writes `.debug_gdb_scripts` as a loaded section,
    // which no strip removes.
    cargo.args(["--", "-Cdebuginfo=0"]);
    cargo.arg(format!("-Clink-arg={}", dep_v0::write(plan, &section)?.display()));
    cargo::run(plan, context, cargo, "link the binary")?;
    // A copy in a folder of the pipeline: the next cargo command may replace cargo's file.
    let folder = plan.paths.work.join("linked");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(&plan.config.product.name);
    store::atomic_write::copy(&plan.paths.linked, &path)?;
    let judged = gate::linked(plan, Artifact::of(path)?)?;
    let patches = native::require_linked(&native, judged.file())?;
    let crates = bill::require_linked(plan, crates, section, judged.file())?;
    Ok(Linked { native, judged, patches, crates })
}
