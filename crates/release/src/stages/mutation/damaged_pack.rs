//! The one mutant that needs the real packer: a packed file with wrong headers inside.

use anyhow::Context;
use process::Task;
use store::{Digest, Fingerprint, Record, Store};

use super::elf_edit;
use crate::artifact::Artifact;
use crate::context::BuildContext;
use crate::plan::Plan;
use crate::stages::strip::Stripped;

const PACKED: &str = "packed";

/// A packed copy of the stripped file with wrong program headers, and the digest of the file that was copied.
///
/// ```compile_fail,E0451
/// use release::{artifact::Artifact, stages::mutation::DamagedPack};
/// fn forge(file: Artifact, made_from: store::Digest) -> DamagedPack {
///     DamagedPack { file, made_from }
/// }
/// ```
#[derive(Debug)]
pub struct DamagedPack {
    file: Artifact,
    made_from: Digest,
}

impl DamagedPack {
    /// The packed file.
    pub fn file(&self) -> &Artifact {
        &self.file
    }

    /// Digest of the stripped file.
    pub fn made_from(&self) -> &Digest {
        &self.made_from
    }
}

/// Packs a stripped copy whose program headers lost the stack size. Takes seconds, so it runs in parallel with the packing
/// of the product, and the result is kept for the digest of the input.
pub fn pack_damaged(plan: &Plan, context: &BuildContext, stripped: &Stripped) -> anyhow::Result<DamagedPack> {
    let upx = stripped.linked().native().toolchain().upx();
    let input = stripped.file();
    let name = Fingerprint::default()
        .part("file", input.sha256())
        .part("upx", &upx.sha256)
        .part("damage", elf_edit::INNER_DAMAGE_VERSION)
        .digest();
    let store = Store::new(plan.paths.work.join("mutants"), context.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        use std::os::unix::fs::PermissionsExt;
        let _token = context.jobs.token()?;
        let damaged = staging.join("damaged");
        let mut bytes = input.read()?.to_vec();
        elf_edit::inner(&mut bytes)
            .map_err(anyhow::Error::msg)
            .context("damaging the headers of a stripped copy")?;
        std::fs::write(&damaged, &bytes)?;
        // UPX refuses files that are not executable.
        std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o755))?;
        let mut pack = context.command(&upx.path);
        // The headers matter, not the ratio: the fastest method.
        pack.args(["-1", "--quiet", "--no-progress", "-o"]).arg(staging.join(PACKED)).arg(&damaged);
        context.runner.run(Task::new("pack a damaged copy of the binary", pack))?;
        std::fs::remove_file(&damaged)?;
        let mut record = Record::default();
        record.add_file(staging, PACKED)?;
        Ok(record)
    })?;
    store.prune_except(name.short())?;
    Ok(DamagedPack { file: Artifact::of_entry(&entry, PACKED)?, made_from: input.sha256().clone() })
}
