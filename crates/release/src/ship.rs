//! `dist/`: the files under their final names, their sums, and the manifest that joins them with all that was proved.
//!
//! The old set stays until the new one is whole on the same disk. The manifest is renamed last, so that a reader who finds
//! it finds everything that it names.

use std::path::Path;

use anyhow::Context;
use elf_gate::{RuleOutcome, Verdict};
use serde::Serialize;

use crate::artifact::{Artifact, Proved};
use crate::image::{Built, ImageFacts};
use crate::mutants::KillMatrix;
use crate::native::StaticLib;
use crate::plan::Plan;
use crate::prove::Proof;
use crate::toolchain::{Site, Toolchain};
use store::Digest;
use store::atomic_write;
use store::{cannot_write, lock_folder};

/// What a run made, for the summary at its end.
pub struct Shipped {
    pub files: Vec<NamedFile>,
    pub image: ImageFacts,
    pub manifest: Manifest,
}

#[derive(Debug, Clone, Serialize)]
pub struct NamedFile {
    pub name: String,
    pub sha256: Digest,
    pub size_bytes: u64,
}

/// `dist-manifest.json`.
#[derive(Debug, Serialize)]
pub struct Manifest {
    pub schema: u32,
    pub product: String,
    pub version: String,
    pub target: String,
    pub commit: crate::surroundings::Commit,
    pub stack_size_bytes: u64,
    pub toolchain: Toolchain,
    pub native: Vec<StaticLib>,
    pub rustflags: Vec<String>,
    pub stages: Vec<Stage>,
    pub proofs: Vec<Proof>,
    /// What the gate refused: damaged copies of these very files.
    pub mutants: KillMatrix,
    pub image: ImageFacts,
    pub files: Vec<NamedFile>,
}

#[derive(Debug, Serialize)]
pub struct Stage {
    pub stage: &'static str,
    pub sha256: Digest,
    pub size_bytes: u64,
    pub verdict: &'static str,
    pub rules: Vec<RuleOutcome>,
}

impl Stage {
    fn of(stage: &'static str, file: &Artifact, rules: &[RuleOutcome]) -> Self {
        let passed = !rules.is_empty() && rules.iter().all(|rule| rule.effective() == Verdict::Pass);
        Self {
            stage,
            sha256: file.sha256.clone(),
            size_bytes: file.size_bytes,
            verdict: if passed { "pass" } else { "fail" },
            rules: rules.to_vec(),
        }
    }
}

pub fn ship(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    native: &[StaticLib],
    proved: Proved,
    image: &Built,
) -> anyhow::Result<Shipped> {
    let dist = &plan.paths.dist;
    std::fs::create_dir_all(dist).map_err(|error| cannot_write(dist, error))?;
    // Two checkouts may be told the same folder.
    let _lock = lock_folder(dist, &site.runner)?;
    sweep(dist);
    let staging = tempfile::Builder::new()
        .prefix(".staging-")
        .tempdir_in(dist)
        .map_err(|error| cannot_write(dist, error))?;
    let names = &plan.names;
    let at = |name: &str| staging.path().join(name);
    let packed = &proved.packed;
    let stripped = &packed.stripped;

    atomic_write::copy(&packed.file.path, &at(&names.packed))?;
    atomic_write::copy(&stripped.file.path, &at(&names.unpacked))?;
    atomic_write::copy(&stripped.debug.path, &at(&names.debug))?;
    atomic_write::write(&at(&names.docker_tar), 0o644, |file| image.image.write_docker_tar(file))?;
    atomic_write::write(&at(&names.oci_tar), 0o644, |file| image.image.write_oci_tar(file))?;

    // Read back from disk: the sums are of what is there, not of what was meant.
    let mut files = Vec::new();
    for name in [&names.packed, &names.unpacked, &names.debug, &names.docker_tar, &names.oci_tar] {
        let Artifact { sha256, size_bytes, .. } = Artifact::of(at(name))?;
        files.push(NamedFile { name: name.clone(), sha256, size_bytes });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for (name, proved) in
        [(&names.packed, &packed.file), (&names.unpacked, &stripped.file), (&names.debug, &stripped.debug)]
    {
        let written = files.iter().find(|file| file.name == *name).map(|file| &file.sha256);
        anyhow::ensure!(
            written == Some(&proved.sha256),
            "{name} in {} is not what was proved",
            dist.display()
        );
    }

    let manifest = Manifest {
        schema: 1,
        product: plan.config.product.name.clone(),
        version: plan.version.clone(),
        target: plan.target.clone(),
        commit: plan.commit.clone(),
        stack_size_bytes: plan.config.stack_size.0,
        toolchain: toolchain.clone(),
        native: native.to_vec(),
        rustflags: plan.rustflags.iter().map(|flag| without_machine_path(flag)).collect(),
        stages: vec![
            Stage::of("linked", &stripped.linked.file, &stripped.linked.verdicts),
            Stage::of("stripped", &stripped.file, &stripped.verdicts),
            Stage::of("packed", &packed.file, &packed.verdicts),
        ],
        proofs: proved.proofs.clone(),
        mutants: proved.kills.clone(),
        image: image.facts.clone(),
        files: files.clone(),
    };
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    atomic_write::bytes(&at(&names.manifest), 0o644, text.as_bytes())?;
    let manifest_sum = Artifact::of(at(&names.manifest))?;
    let mut summed = files.clone();
    summed.push(NamedFile {
        name: names.manifest.clone(),
        sha256: manifest_sum.sha256,
        size_bytes: manifest_sum.size_bytes,
    });
    summed.sort_by(|a, b| a.name.cmp(&b.name));
    let sums: String = summed.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    atomic_write::bytes(&at(&names.sums), 0o644, sums.as_bytes())?;

    publish(dist, staging.path(), &summed, names)?;
    Ok(Shipped { files: summed, image: image.facts.clone(), manifest })
}

/// `--remap-path-prefix=FROM=TO` with FROM left out: two machines that made the same bytes write the same manifest.
fn without_machine_path(flag: &str) -> String {
    match flag.strip_prefix("--remap-path-prefix=").and_then(|mapping| mapping.rsplit_once('=')) {
        Some((_, to)) => format!("--remap-path-prefix=*={to}"),
        None => flag.to_string(),
    }
}

/// From here on there are only renames. The old manifest goes first and the new one comes last, so that there is never a
/// manifest beside files that are not its own.
fn publish(
    dist: &Path,
    staging: &Path,
    files: &[NamedFile],
    names: &crate::plan::Names,
) -> anyhow::Result<()> {
    match std::fs::remove_file(dist.join(&names.manifest)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("removing the old manifest");
        }
        _ => {}
    }
    let order = files
        .iter()
        .map(|file| &file.name)
        .filter(|name| **name != names.manifest)
        .chain([&names.sums, &names.manifest]);
    for name in order {
        std::fs::rename(staging.join(name), dist.join(name))
            .with_context(|| format!("naming {name} in {}", dist.display()))?;
    }
    Ok(())
}

/// Staging folders of killed runs. We hold the lock of this folder, so nobody is in them.
fn sweep(dist: &Path) {
    for entry in std::fs::read_dir(dist).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".staging-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
