//! Work on the real patches of OpenBLAS: unchanged patches are written back byte for byte.

mod inputs;

use std::path::{Path, PathBuf};

use patchset::patch::Patch;
use patchset::series::PatchStatus;
use patchset::worktree::EditTarget;
use patchset::{Input, Vendored};

use inputs::input;

fn vendor_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas")
}

/// The tarball is unpacked once for a dozen worktrees.
fn unpacked(folder: &Path) -> (Vendored, PathBuf) {
    let vendored = Vendored::read(&vendor_dir()).unwrap();
    let source = vendored.pristine(Input::Tarball(&input("MUSLIN_NATIVE_OPENBLAS_SOURCE")), folder).unwrap();
    (vendored, source)
}

fn patch_file(name: &str) -> Vec<u8> {
    std::fs::read(vendor_dir().join("patches").join(format!("{name}.patch"))).unwrap()
}

#[test]
fn a_refresh_without_an_edit_changes_no_patch() {
    let folder = tempfile::tempdir().unwrap();
    let (vendored, source) = unpacked(folder.path());
    for patch in vendored.patches() {
        let name = &patch.name;
        let tree = folder.path().join(name);
        let session = vendored.open(Input::Tree(&source), EditTarget::Existing(name), &tree).unwrap();
        assert_eq!(session.rejected, None, "{name}");
        let plan = vendored.refresh(Input::Tree(&source), &vendor_dir(), &tree).unwrap();
        assert!(plan.violations.is_empty() && plan.later_violations.is_empty(), "{plan:?}");
        let written: Vec<&PathBuf> = plan.writes.iter().map(|(path, _)| path).collect();
        assert!(written.is_empty(), "{name}: {written:?}");
        std::fs::remove_dir_all(tree).unwrap();
    }
}

/// Diffs are computed from the two states of each file, not copied from the patch.
#[test]
fn computes_the_same_diffs_as_the_patch_files() {
    let folder = tempfile::tempdir().unwrap();
    let (vendored, source) = unpacked(folder.path());
    for patch in vendored.patches() {
        let text = patch_file(&patch.name);
        let diffs = &text[Patch::header_bytes(&text).len()..];
        let computed = vendored.patch_diff(Input::Tree(&source), &patch.name, 3).unwrap();
        assert_eq!(String::from_utf8_lossy(&computed), String::from_utf8_lossy(diffs), "{}", patch.name);
    }
}

/// The new version has one more comment line at the top of every patched file.
#[test]
fn a_bump_to_a_version_with_moved_lines_gives_patches_that_apply() {
    let source = input("MUSLIN_NATIVE_OPENBLAS_SOURCE");
    let folder = tempfile::tempdir().unwrap();
    let vendor = folder.path().join("vendor");
    copy(&vendor_dir(), &vendor);
    let vendored = Vendored::read(&vendor).unwrap();
    let tree = vendored.pristine(Input::Tarball(&source), folder.path()).unwrap();
    for path in [
        "common_thread.h",
        "driver/others/blas_server.c",
        "driver/others/dynamic.c",
        "driver/others/memory.c",
    ] {
        let text = std::fs::read(tree.join(path)).unwrap();
        std::fs::write(tree.join(path), [b"/* moved */\n", &text[..]].concat()).unwrap();
    }
    let (changes, plan) = vendored.bump(&tree, "0.3.35", None, &vendor).unwrap();
    assert_eq!((changes.changed.len(), changes.missing.len()), (4, 0));
    assert_eq!(plan.later_violations, []);
    assert!(plan.later.iter().all(|patch| patch.status() == PatchStatus::Moved), "{plan:?}");
    plan.write().unwrap();
    let bumped = Vendored::read(&vendor).unwrap();
    let prepared = bumped.prepare(Input::Tree(&tree), &folder.path().join("prepared")).unwrap();
    assert_eq!((prepared.version.as_str(), prepared.steps.len()), ("0.3.35", bumped.patches().count()));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
