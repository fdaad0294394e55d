//! Liveness of the real patches of OpenBLAS, with the calls of the build. A repair inside `#ifdef NEED_STACKATTR` of the real
//! blas_server.c, the incident behind this project, must be refused at the preprocessor.

mod inputs;

use std::path::{Path, PathBuf};
use std::process::Command;

use diag::Diagnostic;
use inputs::input;
use patchset::codes::{PATCH_OBJECT, PATCH_PREPROCESSOR};
use patchset::liveness::{LivenessReport, verify};
use patchset::{Input, Prepared, Vendored};
use release::stages::native::COMPILE_LOG;

struct Build {
    folder: tempfile::TempDir,
    prepared: Prepared,
    log: String,
}

/// The patched tree with the headers of the build, and the log with its paths moved there.
fn build() -> Build {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
    let vendored = Vendored::read(&vendor).unwrap();
    let prepared = vendored.prepare(Input::Tarball(&input("MUSLIN_NATIVE_OPENBLAS_SOURCE")), &tree).unwrap();
    let built = input("MUSLIN_NATIVE_OPENBLAS_DIR");
    for name in &vendored.build.keep_files {
        std::fs::copy(built.join(name), tree.join(name)).unwrap();
    }
    let log = std::fs::read_to_string(built.join(COMPILE_LOG)).unwrap();
    let entered = log.split("Entering directory '").nth(1).unwrap();
    let built_in = entered[..entered.find("/interface'").unwrap()].to_owned();
    let log = log.replace(&built_in, tree.to_str().unwrap());
    // Files of the kernels that make derives from others.
    let derive: Vec<&str> = log.lines().filter(|line| line.starts_with("sed ")).collect();
    let derived =
        Command::new("sh").arg("-ec").arg(derive.join("\n")).current_dir(tree.join("kernel")).status();
    assert!(derived.unwrap().success(), "{derive:?}");
    Build { folder, prepared, log }
}

impl Build {
    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn verify(&self) -> (Vec<LivenessReport>, Vec<Diagnostic>) {
        verify(&self.prepared.steps, &self.log, &self.tree(), &|folder, line| {
            let compiled = Command::new("sh").arg("-c").arg(line).current_dir(folder).output()?;
            anyhow::ensure!(
                compiled.status.success(),
                "{line}\n{}",
                String::from_utf8_lossy(&compiled.stderr)
            );
            Ok(())
        })
        .unwrap()
    }
}

#[test]
fn every_patch_of_openblas_is_live() {
    let build = build();
    let (reports, violations) = build.verify();
    assert_eq!(violations, []);
    assert_eq!(reports.len(), build.prepared.patches.len());
    for report in &reports {
        eprintln!("{report:?}");
        assert!(report.lines_added > 0 && report.lines_live == report.lines_added, "{report:?}");
        assert!(!report.compiled.is_empty() && !report.differs.is_empty(), "{report:?}");
    }
}

#[test]
fn a_repair_inside_need_stackattr_is_refused_at_the_preprocessor() {
    const INSIDE: &str = "#ifdef NEED_STACKATTR\n  pthread_attr_init(&attr);\n";
    const REPAIR: &str = "  pthread_attr_setstacksize(&attr, 8UL << 20);\n";
    let mut build = build();
    let first = &mut build.prepared.steps[0];
    first.patch.name = "0001-give-workers-a-stack".into();
    first.files.retain(|file| file.path.ends_with("blas_server.c"));
    first.patch.guard.objects.retain(|object| object.member == "blas_server.o");
    first.patch.guard.objects[0].function = Some("blas_thread_init".into());
    let file = &mut first.files[0];
    let pristine = String::from_utf8_lossy(&file.before).into_owned();
    assert_eq!(pristine.matches(INSIDE).count(), 1, "the #ifdef of the incident is not in the source");
    let after = pristine.replace(INSIDE, &format!("{INSIDE}{REPAIR}"));
    let line = after[..after.find(REPAIR).unwrap()].lines().count() + 1;
    (file.after, file.added) = (after.into_bytes(), vec![line]);
    build.prepared.steps.truncate(1);
    let (_, violations) = build.verify();
    assert_eq!((violations[0].code(), violations[1].code()), (&PATCH_PREPROCESSOR, &PATCH_OBJECT));
    let fields = violations[0].fields();
    assert_eq!(fields.subject.rule.as_deref(), Some("0001-give-workers-a-stack"));
    assert_eq!(fields.subject.location.map(|location| location.line), Some(line));
    assert_eq!(
        fields.expected.as_deref(),
        Some("`pthread_attr_setstacksize(&attr, 8UL << 20);` in the preprocessed source")
    );
}
