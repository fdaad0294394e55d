use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::codes::ARTIFACT_CHANGED;
use crate::config::Config;
use crate::gate::Judged;
use crate::host_env::{Commit, HostEnv};
use crate::inputs;
use crate::plan::CliOptions;
use crate::stages::link::Linked;
use crate::stages::mutation::MutationTested;
use crate::stages::native::NativeLibs;
use crate::stages::pack::Packed;
use crate::stages::prove::Proved;
use crate::stages::strip::Stripped;
use process::Runner;

/// Four files that stand for the files of a build; each test changes one of them after it was "proved".
struct Build {
    folder: tempfile::TempDir,
    plan: Plan,
    context: BuildContext,
}

const PACKED: &str = "packed-nrv2b";

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf").join(name)
}

impl Build {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The image is judged, so it needs a real program.
        let fixtures =
            [("linked", "linked"), ("stripped", "stripped"), ("stripped.debug", "debug"), (PACKED, "packed")];
        for (fixture, name) in fixtures {
            std::fs::copy(fixture_path(fixture), folder.path().join(name)).unwrap();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let host = HostEnv {
            root: root.clone(),
            cache_dir: folder.path().join("cache"),
            cores: 1,
            commit: Commit { id: "0".repeat(40), dirty: false, epoch_seconds: 1 },
            environment: BTreeMap::default(),
            overrides: BTreeMap::default(),
            profiles: Vec::new(),
        };
        let options = CliOptions { dist_dir: Some(folder.path().join("dist")), ..CliOptions::default() };
        let context = BuildContext::new(&host, Runner::without_signals(), true, 1).unwrap();
        let config = Config::load(&root.join("release.toml")).unwrap();
        let inputs = inputs::read(&config, &host, &options, &context).unwrap();
        Self { folder, plan: Plan::new(config, &host, &options, inputs).unwrap(), context }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn judged(&self, name: &str, stage: elf_gate::Stage) -> Judged {
        Judged::unchecked(Artifact::of(self.path(name)).unwrap(), stage)
    }

    fn proved(&self) -> Proved {
        use elf_gate::Stage;
        let linked = Linked::unchecked(NativeLibs::none(), self.judged("linked", Stage::Linked));
        let debug = Artifact::of(self.path("debug")).unwrap();
        let stripped = Stripped::unchecked(linked, self.judged("stripped", Stage::Stripped), debug);
        let packed = Packed::unchecked(stripped, self.judged("packed", Stage::Packed));
        Proved::unchecked(MutationTested::unchecked(packed))
    }

    fn image(&self) -> Image {
        image::build(&self.plan, self.proved()).unwrap()
    }

    fn fails_with(&self, code: &'static diag::Code, result: anyhow::Result<Release>) {
        let error = result.expect_err(code.id);
        assert!(diag::has_code(&error, code), "{error:#}");
        assert_eq!(diag::exit_code(&diag::collect(&error)), 1);
        assert!(
            !self.path("dist").join(&self.plan.names.packed).exists(),
            "a rejected file has a final name"
        );
    }
}

#[test]
fn publishes_the_proved_bytes() {
    let build = Build::new();
    let release = publish(&build.plan, &build.context, build.image()).unwrap();
    assert_eq!(release.files().len(), 9);
    let published = std::fs::read(build.path("dist").join(&build.plan.names.packed)).unwrap();
    assert_eq!(published, std::fs::read(fixture_path(PACKED)).unwrap());
    let sums = std::fs::read_to_string(build.path("dist/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 9);
}

#[test]
fn publishes_the_policy_of_every_stage_with_its_digest() {
    use elf_gate::policy::PolicyDocument;
    let build = Build::new();
    let release = publish(&build.plan, &build.context, build.image()).unwrap();
    let text = std::fs::read_to_string(build.path("dist/gate-policy.toml")).unwrap();
    let published = PolicyDocument::parse(&text).unwrap();
    for stage in elf_gate::Stage::ALL {
        let judged_by = gate::policy(&build.plan.config, &build.plan.target, stage);
        let mut published = published.at(stage);
        // Exceptions for rules that are off at the stage are omitted.
        assert!(
            published
                .cannot_tell
                .iter()
                .all(|(rule, reason)| judged_by.cannot_tell.get(rule) == Some(reason))
        );
        published.cannot_tell = judged_by.cannot_tell.clone();
        assert_eq!(published, judged_by, "{stage}");
    }
    let digest = Digest::of(text.as_bytes());
    let listed = release.files().iter().find(|file| file.name == "gate-policy.toml").unwrap();
    assert_eq!(listed.sha256, digest);
    let sums = std::fs::read_to_string(build.path("dist/SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{digest}  gate-policy.toml\n")), "{sums}");
    let root = build.plan.paths.root.display().to_string();
    assert!(!text.contains(&root), "the policy names a folder of this machine");
}

/// Both bills of materials of a release.
fn bills(build: &Build) -> [String; 2] {
    publish(&build.plan, &build.context, build.image()).unwrap();
    let names = [&build.plan.names.cyclonedx, &build.plan.names.spdx];
    names.map(|name| std::fs::read_to_string(build.path("dist").join(name)).unwrap())
}

#[test]
fn bills_of_materials_are_the_same_bytes_in_two_folders_and_name_neither() {
    let (one, other) = (Build::new(), Build::new());
    let documents = bills(&one);
    assert_eq!(documents, bills(&other));
    let root = one.plan.paths.root.display().to_string();
    for text in &documents {
        assert!(!text.contains(&root) && !text.contains(&one.folder.path().display().to_string()));
        // A library, the reason for its patch, the digest of what ships, a crate and a tool.
        let packed = Digest::of_file(&one.path("packed")).unwrap();
        for expected in
            ["openblas", "A worker that cannot be created", packed.as_str(), "text-lib", "objcopy"]
        {
            assert!(text.contains(expected), "{expected} is missing in {text}");
        }
    }
}

#[test]
fn bills_of_materials_change_with_a_patch_and_with_a_file() {
    let before = bills(&Build::new());
    let mut unpatched = Build::new();
    // A vendor folder without its patch.
    let folder = unpatched.path("vendor");
    let vendor = unpatched.plan.paths.root.join("vendor/mimalloc");
    std::fs::create_dir_all(folder.join("tests")).unwrap();
    for name in ["build.toml", "files.sha256", "tests/tests.toml", "tests/no_build_time.c"] {
        std::fs::copy(vendor.join(name), folder.join(name)).unwrap();
    }
    let source = std::fs::read_to_string(vendor.join("source.toml")).unwrap();
    let patched = "patches = [\"0001-leave-the-time-of-the-build-out\"]";
    assert!(source.contains(patched), "the anchor is gone from source.toml");
    std::fs::write(folder.join("source.toml"), source.replace(patched, "patches = []")).unwrap();
    let library = unpatched.plan.native.iter_mut().find(|library| library.name == "mimalloc").unwrap();
    library.vendored = patchset::Vendored::read(&folder).unwrap();
    let other_file = Build::new();
    std::fs::copy(fixture_path("packed-nrv2e"), other_file.path("packed")).unwrap();
    for (what, build) in [("patch", unpatched), ("file", other_file)] {
        for (before, after) in before.iter().zip(bills(&build)) {
            assert_ne!(*before, after, "{what}");
        }
    }
}

#[test]
fn rejects_an_image_of_other_bytes_than_the_proved_ones() {
    let build = Build::new();
    let genuine = build.image();
    let other = Build::new();
    std::fs::copy(fixture_path("packed-nrv2e"), other.path("packed")).unwrap();
    let foreign = other.image();
    let facts = foreign.facts().clone();
    let forged = Image::unchecked(
        build.proved(),
        image::build(&other.plan, other.proved()).unwrap().into_image(),
        facts,
    );
    build.fails_with(&IMAGE_MISMATCH, publish(&build.plan, &build.context, forged));
    publish(&build.plan, &build.context, genuine).unwrap();
}

#[test]
fn rejects_each_file_that_changed_after_the_proof() {
    for name in ["stripped", "debug", "packed"] {
        let build = Build::new();
        let image = build.image();
        std::fs::write(build.path(name), "changed").unwrap();
        build.fails_with(&PUBLISH_MISMATCH, publish(&build.plan, &build.context, image));
    }
}

#[test]
fn makes_no_image_of_a_file_that_changed_after_the_proof() {
    let build = Build::new();
    let proved = build.proved();
    std::fs::write(build.path("packed"), "changed").unwrap();
    let error = image::build(&build.plan, proved).map(|_| ()).unwrap_err();
    assert!(diag::has_code(&error, &ARTIFACT_CHANGED), "{error:#}");
}
