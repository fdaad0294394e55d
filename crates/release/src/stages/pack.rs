//! Stage `pack`: UPX, and the way back: the output of `upx -d` must be the stripped file byte for byte.

use anyhow::Context;
use diag::Diagnostic;
use process::Task;
use store::{Digest, Fingerprint, Record, Store};

use crate::artifact::Artifact;
use crate::codes::ARTIFACT_CHANGED;
use crate::context::BuildContext;
use crate::gate::{self, Judged};
use crate::plan::Plan;
use crate::stages::strip::Stripped;

const PACKED: &str = "packed";
const ROUND_TRIP: &str = "round-trip-sha256";

/// The packed binary, judged. Unpacking returns the stripped file byte for byte.
///
/// ```compile_fail,E0451
/// use release::{gate::Judged, stages::{pack::Packed, strip::Stripped}};
/// fn forge(stripped: Stripped, judged: Judged) -> Packed {
///     Packed { stripped, judged }
/// }
/// ```
#[derive(Debug)]
pub struct Packed {
    stripped: Stripped,
    judged: Judged,
}

impl Packed {
    /// The file before.
    pub fn stripped(&self) -> &Stripped {
        &self.stripped
    }

    /// The file with the outcomes of the gate.
    pub fn judged(&self) -> &Judged {
        &self.judged
    }

    /// The file.
    pub fn file(&self) -> &Artifact {
        self.judged.file()
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(stripped: Stripped, judged: Judged) -> Self {
        Self { stripped, judged }
    }
}

/// The output of the packer for one stripped file, not judged yet.
#[derive(Debug)]
pub struct Compressed {
    file: Artifact,
    made_from: Digest,
    round_trip: Digest,
}

/// Packs the stripped file and unpacks it again. Takes seconds, so the result is kept for the digest of the input.
pub fn compress(plan: &Plan, context: &BuildContext, stripped: &Stripped) -> anyhow::Result<Compressed> {
    let upx = stripped.linked().native().toolchain().upx();
    let input = stripped.file();
    let name = Fingerprint::default()
        .part("file", input.sha256())
        .part("upx", &upx.sha256)
        .part("args", plan.config.pack_args.join("\n"))
        .digest();
    let store = Store::new(plan.paths.work.join("packed"), context.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        let _token = context.jobs.token()?;
        input.verify()?;
        let packed = staging.join(PACKED);
        let mut pack = context.command(&upx.path);
        pack.args(["--quiet", "--no-progress"])
            .args(&plan.config.pack_args)
            .arg("-o")
            .arg(&packed)
            .arg(input.path());
        context.runner.run(Task::new("pack the binary", pack))?;
        let unpacked = staging.join("unpacked");
        let mut unpack = context.command(&upx.path);
        unpack.args(["-d", "--quiet", "--no-progress", "-o"]).arg(&unpacked).arg(&packed);
        context.runner.run(Task::new("unpack the packed binary", unpack))?;
        let mut record = Record::default();
        record.add_file(staging, PACKED)?.set_note(ROUND_TRIP, Digest::of_file(&unpacked)?.as_str());
        std::fs::remove_file(&unpacked)?;
        Ok(record)
    })?;
    store.prune_except(name.short())?;
    let round_trip = entry.record.notes.get(ROUND_TRIP).and_then(|text| Digest::from_hex(text));
    Ok(Compressed {
        file: Artifact::of_entry(&entry, PACKED)?,
        made_from: input.sha256().clone(),
        round_trip: round_trip.context("the packed file has no digest of its round trip")?,
    })
}

/// Judges the packed file against the stripped file that it was made from.
pub fn pack(plan: &Plan, stripped: Stripped, compressed: Compressed) -> anyhow::Result<Packed> {
    let Compressed { file, made_from, round_trip } = compressed;
    require_made_from("the packed file", &made_from, &stripped)?;
    let judged = gate::packed(plan, file, stripped.file(), &round_trip)?;
    Ok(Packed { stripped, judged })
}

/// Fails when a derived file belongs to another stripped file.
pub(crate) fn require_made_from(what: &str, made_from: &Digest, stripped: &Stripped) -> anyhow::Result<()> {
    let file = stripped.file();
    if made_from == file.sha256() {
        return Ok(());
    }
    Err(Diagnostic::new(&ARTIFACT_CHANGED, format!("{what} was made from another stripped file"))
        .file(file.path())
        .expected(format!("made from sha256 {}", file.sha256()))
        .found(format!("made from sha256 {made_from}"))
        .into())
}
