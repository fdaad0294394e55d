use std::path::PathBuf;

use super::*;
use crate::codes::ARTIFACT_CHANGED;
use crate::config::Config;
use crate::gate::Judged;
use crate::host_env::{Commit, HostEnv};
use crate::plan::CliOptions;
use crate::stages::link::Linked;
use crate::stages::mutation::MutationTested;
use crate::stages::native::NativeLibs;
use crate::stages::pack::Packed;
use crate::stages::prove::Proved;
use crate::stages::strip::Stripped;
use crate::{inputs, stages};
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
            environment: Default::default(),
            overrides: Default::default(),
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
        stages::image::build(&self.plan, self.proved()).unwrap()
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
    assert_eq!(release.files().len(), 6);
    let published = std::fs::read(build.path("dist").join(&build.plan.names.packed)).unwrap();
    assert_eq!(published, std::fs::read(fixture_path(PACKED)).unwrap());
    let sums = std::fs::read_to_string(build.path("dist/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 6);
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
        stages::image::build(&other.plan, other.proved()).unwrap().into_image(),
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
    let error = stages::image::build(&build.plan, proved).map(|_| ()).unwrap_err();
    assert!(diag::has_code(&error, &ARTIFACT_CHANGED), "{error:#}");
}
