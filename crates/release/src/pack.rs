//! UPX, and its way back: what `upx -d` gives must be the stripped file byte for byte.

use anyhow::Context;

use crate::artifact::{Artifact, Packed, Stripped};
use crate::gate;
use crate::plan::Plan;
use crate::toolchain::{Site, Toolchain};
use process::Task;
use store::{Digest, Fingerprint};
use store::{Record, Store};

const PACKED: &str = "packed";
const ROUND_TRIP: &str = "round-trip-sha256";

pub fn pack(plan: &Plan, site: &Site, toolchain: &Toolchain, stripped: Stripped) -> anyhow::Result<Packed> {
    // Packing takes seconds and depends on these parts only.
    let name = Fingerprint::default()
        .part("file", &stripped.file.sha256)
        .part("upx", &toolchain.upx.sha256)
        .part("args", plan.config.pack_args.join("\n"))
        .digest();
    let store = Store::new(plan.paths.work.join("packed"), site.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        let packed = staging.join(PACKED);
        let mut upx = site.command(&toolchain.upx.path);
        upx.args(["--quiet", "--no-progress"])
            .args(&plan.config.pack_args)
            .arg("-o")
            .arg(&packed)
            .arg(&stripped.file.path);
        site.runner.run(Task::new("pack the binary", upx))?;
        let back = staging.join("back");
        let mut unpack = site.command(&toolchain.upx.path);
        unpack.args(["-d", "--quiet", "--no-progress", "-o"]).arg(&back).arg(&packed);
        site.runner.run(Task::new("unpack the packed binary again", unpack))?;
        let mut record = Record::default();
        record.add_file(staging, PACKED)?.set_note(ROUND_TRIP, Digest::of_file(&back)?.as_str());
        std::fs::remove_file(&back)?;
        Ok(record)
    })?;
    store.prune_except(name.short())?;
    let unpacked: Digest = serde_json::from_value(
        entry.record.notes.get(ROUND_TRIP).context("a packed entry without its round trip")?.as_str().into(),
    )?;
    let file = Artifact::of(entry.path.join(PACKED))?;
    let verdicts = gate::packed(plan, &file, &stripped.file, &unpacked)?;
    Ok(Packed { stripped, file, verdicts })
}
