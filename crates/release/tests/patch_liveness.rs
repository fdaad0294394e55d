//! Liveness on the real thing: every patch of OpenBLAS with the calls of the build, and the mistake that began this project,
//! a repair inside `#ifdef NEED_STACKATTR` of the real blas_server.c, which must be refused at the preprocessor by name.

mod inputs;

use std::path::{Path, PathBuf};
use std::process::Command;

use inputs::input;
use patchset::liveness::{Chain, walk};
use patchset::{Input, Prepared, Vendored};
use release::stages::native::COMPILE_LOG;

struct Build {
    folder: tempfile::TempDir,
    prepared: Prepared,
    log: String,
}

/// The patched tree with the headers of the build, and its log as if the build had run there.
fn build() -> Build {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
    let vendored = Vendored::read(&vendor).unwrap();
    let prepared = vendored.prepare(Input::Tarball(&input("MUSLIN_NATIVE_OPENBLAS_SOURCE")), &tree).unwrap();
    let built = input("MUSLIN_NATIVE_OPENBLAS_DIR");
    for name in &vendored.build.keeps {
        std::fs::copy(built.join(name), tree.join(name)).unwrap();
    }
    let log = std::fs::read_to_string(built.join(COMPILE_LOG)).unwrap();
    let entered = log.split("Entering directory '").nth(1).unwrap();
    let built_in = entered[..entered.find("/interface'").unwrap()].to_owned();
    let log = log.replace(&built_in, tree.to_str().unwrap());
    Build { folder, prepared, log }
}

impl Build {
    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn walk(&self) -> (Vec<Chain>, Vec<String>) {
        walk(&self.prepared.steps, &self.log, &self.tree(), &|folder, line| {
            let made = Command::new("sh").arg("-c").arg(line).current_dir(folder).output()?;
            anyhow::ensure!(made.status.success(), "{line}\n{}", String::from_utf8_lossy(&made.stderr));
            Ok(())
        })
        .unwrap()
    }
}

#[test]
fn every_patch_of_openblas_is_live() {
    let build = build();
    let (chains, violations) = build.walk();
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(chains.len(), build.prepared.patches.len());
    for chain in &chains {
        eprintln!("{chain:?}");
        assert!(chain.lines_added > 0 && chain.lines_live == chain.lines_added, "{chain:?}");
        assert!(!chain.compiled.is_empty() && !chain.differs.is_empty(), "{chain:?}");
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
    first.patch.guard.objects.retain(|proof| proof.member == "blas_server.o");
    first.patch.guard.objects[0].function = Some("blas_thread_init".into());
    let file = &mut first.files[0];
    let pristine = String::from_utf8_lossy(&file.before).into_owned();
    assert_eq!(pristine.matches(INSIDE).count(), 1, "the place of the original mistake is gone");
    let after = pristine.replace(INSIDE, &format!("{INSIDE}{REPAIR}"));
    let line = after[..after.find(REPAIR).unwrap()].lines().count() + 1;
    (file.after, file.added) = (after.into_bytes(), vec![line]);
    build.prepared.steps.truncate(1);
    let (_, violations) = build.walk();
    assert!(
        violations[0].starts_with(&format!(
            "patch `0001-give-workers-a-stack`: preprocessor: `driver/others/blas_server.c` line {line}, \
             `pthread_attr_setstacksize(&attr, 8UL << 20);`"
        )),
        "{violations:?}"
    );
    assert!(
        violations[1].contains("object: the code of blas_thread_init in blas_server.o is the same"),
        "{violations:?}"
    );
}
