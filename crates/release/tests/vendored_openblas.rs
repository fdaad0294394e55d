//! The patches of OpenBLAS, worked on with its real source: what is not changed comes back byte for byte.

mod inputs;

use std::path::{Path, PathBuf};

use patchset::patch::Patch;
use patchset::series::Standing;
use patchset::working::Target;
use patchset::{Input, Vendored};

use inputs::input;

fn vendor_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas")
}

/// The tarball is unpacked once: a dozen trees are made of it.
fn unpacked(folder: &Path) -> (Vendored, PathBuf) {
    let vendored = Vendored::read(&vendor_dir()).unwrap();
    let source = vendored.pristine(Input::Tarball(&input("MUSLIN_NATIVE_OPENBLAS_SOURCE")), folder).unwrap();
    (vendored, source)
}

fn patch_file(name: &str) -> Vec<u8> {
    std::fs::read(vendor_dir().join("patches").join(format!("{name}.patch"))).unwrap()
}

#[test]
fn every_patch_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (vendored, source) = unpacked(folder.path());
    for patch in vendored.patches() {
        let name = &patch.name;
        let tree = folder.path().join(name);
        let opened = vendored.open(Input::Tree(&source), Target::Patch(name), &tree).unwrap();
        assert_eq!(opened.rejected, None, "{name}");
        let proposal = vendored.refresh(Input::Tree(&source), &vendor_dir(), &tree).unwrap();
        assert!(proposal.violations.is_empty() && proposal.later_violations.is_empty(), "{proposal:?}");
        let written: Vec<&PathBuf> = proposal.writes.iter().map(|(path, _)| path).collect();
        assert!(written.is_empty(), "{name}: {written:?}");
        std::fs::remove_dir_all(tree).unwrap();
    }
}

/// The diffs made anew from the two states of each file, not kept from the patch.
#[test]
fn every_diff_is_written_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (vendored, source) = unpacked(folder.path());
    for patch in vendored.patches() {
        let text = patch_file(&patch.name);
        let diffs = &text[Patch::header_bytes(&text).len()..];
        let anew = vendored.shown(Input::Tree(&source), &patch.name, 3).unwrap();
        assert_eq!(String::from_utf8_lossy(&anew), String::from_utf8_lossy(diffs), "{}", patch.name);
    }
}

/// A version in which a comment came to the top of every patched file.
#[test]
fn a_version_that_moved_the_patches_is_carried_over() {
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
    let (files, proposal) = vendored.bump(&tree, "0.3.35", None, &vendor).unwrap();
    assert_eq!((files.changed.len(), files.missing.len()), (4, 0));
    assert_eq!(proposal.later_violations, Vec::<String>::new());
    assert!(proposal.later.iter().all(|patch| patch.standing() == Standing::Moved), "{proposal:?}");
    proposal.write().unwrap();
    let carried = Vendored::read(&vendor).unwrap();
    let prepared = carried.prepare(Input::Tree(&tree), &folder.path().join("prepared")).unwrap();
    assert_eq!((prepared.version.as_str(), prepared.steps.len()), ("0.3.35", carried.patches().count()));
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
